"""Engines within the runtime: segmenter, overlapped frames, choice of the backend, parity."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from contract.install import Bed, fake_tensorrt
from contract_engines import engine_of
from tiny_network import (
    tiny_manifest,
)

from differseg.errors import (
    CheckFailedError,
    InputError,
    ModelFileError,
)
from differseg.export.parity import parity
from differseg.manifest import Manifest
from differseg.runtime.backends import open_backend
from differseg.runtime.backends.tensorrt import TensorRtBackend
from differseg.runtime.segmenter import Segmenter
from differseg.signing import load_key


def test_the_segmenter_takes_an_engine_file(
    orin_bed: Bed, tiny_model: Path, tmp_path: Path
) -> None:
    engine = engine_of(orin_bed, tiny_model, tmp_path)
    rng = np.random.default_rng(0)
    frames = {
        "rgb": rng.integers(0, 256, (40, 60, 3), np.uint8),
        "thermal": rng.integers(29_000, 31_000, (40, 60), np.uint16),
    }
    with Segmenter(engine) as on_gpu, Segmenter(tiny_model, backend="onnxruntime") as on_cpu:
        assert on_gpu.backend.name == "tensorrt Orin"
        assert "the file is an engine" in on_gpu.backend.reason
        masks = [segmenter(**frames).mask.copy() for segmenter in (on_gpu, on_cpu)]
    assert np.array_equal(*masks)
    assert 0 < masks[0].mean() < 1


@pytest.mark.parametrize("integrated", [True, False], ids=["jetson", "desktop"])
@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_overlapped_frames_give_what_single_ones_give(
    tiny_model: Path, tmp_path: Path, integrated: bool, count: int
) -> None:
    rng = np.random.default_rng(1)
    frames = [
        {
            "rgb": rng.integers(0, 256, (20 + number, 30, 3), np.uint8),
            "thermal": rng.integers(29_000, 31_000, (20 + number, 30), np.uint16),
        }
        for number in range(count)
    ]
    with fake_tensorrt("10.3", integrated=integrated) as bed:
        with Segmenter(engine_of(bed, tiny_model, tmp_path)) as segmenter:
            single = [segmenter(**frame).copy() for frame in frames]
            overlapped = [result.copy() for result in segmenter.overlapped(frames)]
        assert not bed.machine.faults
    assert len(overlapped) == count
    for one, other in zip(single, overlapped, strict=True):
        assert np.array_equal(one.mask, other.mask)
        assert np.array_equal(one.probability, other.probability)
        assert one.coverage == other.coverage
    with Segmenter(tiny_model, backend="onnxruntime") as plain:
        again = [result.copy() for result in plain.overlapped(frames)]
    assert [np.array_equal(a.mask, b.mask) for a, b in zip(single, again, strict=True)] == (
        [True] * count
    )


def test_nan_is_told(orin_bed: Bed, tiny_model: Path, tmp_path: Path) -> None:
    with Segmenter(engine_of(orin_bed, tiny_model, tmp_path)) as segmenter:
        thermal = np.full((16, 24), 30_000, np.uint16)
        segmenter(rgb=np.zeros((16, 24, 3), np.uint8), thermal=thermal)
        backend: Any = segmenter.backend
        start = backend.start

        def poisoned(index: int) -> None:
            backend.slots[index].inputs["thermal"][0, 0, 3, 4] = np.nan
            start(index)

        backend.start = poisoned
        with pytest.raises(CheckFailedError, match="NaN or infinity"):
            segmenter(rgb=np.zeros((16, 24, 3), np.uint8), thermal=thermal)


def test_parity_takes_only_engines_of_the_key(
    orin_bed: Bed, tiny_model: Path, tmp_path: Path
) -> None:
    for name in ("k", "other"):
        (tmp_path / name).write_bytes(name.encode() * 32)
    engine = engine_of(orin_bed, tiny_model, tmp_path, key=load_key(tmp_path / "k"))
    assert parity(tiny_model, engine, limit=1, engine_key=tmp_path / "k").passed
    with pytest.raises(CheckFailedError, match="not of this key"):
        parity(tiny_model, engine, limit=1, engine_key=tmp_path / "other")
    with pytest.raises(InputError, match="neither side is an engine"):
        parity(tiny_model, tiny_model, limit=1, engine_key=tmp_path / "k")


def test_a_named_backend_for_the_wrong_file_is_refused(
    orin_bed: Bed, tiny_model: Path, tmp_path: Path
) -> None:
    engine = engine_of(orin_bed, tiny_model, tmp_path)
    with pytest.raises(ModelFileError, match="--backend tensorrt reads"):
        open_backend(tiny_model, "tensorrt")
    with pytest.raises(ModelFileError, match="--backend onnxruntime reads"):
        open_backend(engine, "onnxruntime")


def test_the_manifest_of_an_engine_is_the_models(
    orin_bed: Bed, tiny_model: Path, tmp_path: Path
) -> None:
    backend = TensorRtBackend(engine_of(orin_bed, tiny_model, tmp_path))
    assert isinstance(backend.manifest, Manifest)
    assert backend.manifest == tiny_manifest()
    backend.close()
