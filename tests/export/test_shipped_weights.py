"""The shipped weights on real image pairs: the exported file says what PyTorch says."""

from __future__ import annotations

from pathlib import Path

import pytest

from differseg.export.parity_compare import LITTLE_SHOWN
from differseg.export.to_onnx import export_model

IMAGES = 8  # spread over the folder, day and night


@pytest.mark.parametrize(
    "size_hw",
    [
        (256, 320),
        pytest.param((480, 640), marks=pytest.mark.slow),
        pytest.param((352, 608), marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_the_file_equals_pytorch_on_real_pairs(
    sample_data: Path, tmp_path: Path, size_hw: tuple[int, int]
) -> None:
    report = export_model(
        tmp_path / "edge.onnx",
        model="differseg-edge",
        size=size_hw,
        data=sample_data / "mfnet",
        limit=IMAGES,
        real=False,
    )
    parity = report.manifest.parity
    assert parity is not None
    assert parity.images == IMAGES
    assert parity.max_error <= 1e-4
    assert (parity.flipped_pixels, parity.tied_pixels) == (0, 0)
    assert LITTLE_SHOWN not in report.warnings
