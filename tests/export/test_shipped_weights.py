"""The shipped weights on real image pairs: the exported file says what PyTorch says."""

from __future__ import annotations

from pathlib import Path

import pytest

from differseg.export.exporter import export_onnx
from differseg.export.manifest_builder import build_manifest
from differseg.export.network_source import NetworkSource, load_network
from differseg.export.parity import compare_deployment
from differseg.export.parity_compare import LITTLE_SHOWN
from differseg.export.parity_data import load_samples
from differseg.models.deployment import lowered_for_export

IMAGES = 8  # spread over the folder, day and night


@pytest.fixture(scope="module")
def shipped() -> NetworkSource:
    network = load_network("differseg-edge", None)
    assert not network.is_random
    return network


@pytest.mark.slow
@pytest.mark.parametrize("size_hw", [(480, 640), (256, 320), (352, 608)], ids=str)
def test_the_file_equals_pytorch_on_real_pairs(
    shipped: NetworkSource, sample_data: Path, tmp_path: Path, size_hw: tuple[int, int]
) -> None:
    module, file = shipped.module, tmp_path / "edge.onnx"
    manifest = build_manifest(
        shipped.spec, size_hw, weights=shipped.weights, thermal_policy=shipped.thermal_policy
    )
    export_onnx(
        lowered_for_export(module, size_hw),
        module.raw_inputs_example(size_hw),
        file,
        manifest=manifest,
        strip="model.",
        verify=False,
    )
    samples = load_samples(manifest.inputs, sample_data / "mfnet", IMAGES)
    result = compare_deployment(module, file, samples)
    assert len(result.images) == IMAGES
    assert result.passed, result.summary()
    assert result.overall.max_error <= 1e-4
    assert result.overall.flipped_pixels == 0
    assert LITTLE_SHOWN not in result.warnings
