"""Every edge network in float32, float16 and int8 as an engine, against the file it is of.

On a machine with TensorRT, ``pytest -m tensorrt`` builds the engines there and runs them on its
GPU.  Elsewhere the same lines run on the contract test-bed, which computes with ONNX Runtime; and
NVIDIA's TensorRT-RTX builds its engines for real, without a GPU.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from contract.install import fake_tensorrt
from contract_engines import engine_of
from typed_forms import typed_forms

from differseg.export import check, rtx
from differseg.export.build_engine import build_engine
from differseg.export.parity import parity
from differseg.export.parity_result import Thresholds
from differseg.models import list_models
from differseg.runtime.engine_file import read_sidecar

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.early]

HAS_TENSORRT = importlib.util.find_spec("tensorrt") is not None
IN_EVERY_RUN = ("differseg-edge", "rgbt-fusion-edge")
EDGE = [
    pytest.param(info.name, marks=() if info.name in IN_EVERY_RUN else pytest.mark.slow)
    for info in list_models()
    if info.name.endswith("-edge")
]
SIZE_HW = (96, 128)
"""The least that every network takes twice over: the graphs are those of full size."""
LIMITS = {
    "fp32": Thresholds(max_error=1e-3, flipped_part=1e-4),
    "fp16": Thresholds(max_error=0.5, flipped_part=0.01, min_mask_iou=0.98, min_boundary_f=0.95),
    "int8": Thresholds(max_error=0.5, flipped_part=0.01, min_mask_iou=0.98, min_boundary_f=0.95),
}
"""Of an engine against the file that it was built from: both compute in the file's precision, and
add in another order.  TF32 is off, see ``differseg build --tf32``."""

Build = Callable[[Path, Path], Path]


@contextlib.contextmanager
def tensorrt_here() -> Iterator[Build]:
    """Give what builds an engine from a file: TensorRT where it is installed, else the test-bed."""
    if HAS_TENSORRT:
        yield lambda model, folder: build_engine(model, out=folder / "model.engine").path
        return
    with fake_tensorrt("10.3") as bed:
        yield lambda model, folder: engine_of(bed, model, folder)
        assert not bed.machine.faults


@pytest.mark.tensorrt
@pytest.mark.parametrize("name", EDGE)
def test_every_form_becomes_an_engine_that_agrees(name: str, tmp_path: Path) -> None:
    files = typed_forms(name, tmp_path, SIZE_HW)
    for form, path in files.items():
        for target in ("jetpack6", "jetpack7", "trt11.4"):
            report = check(path, target)
            assert report.passed, (form, target, report.reasons()[:3])
        if rtx.is_available():
            built = build_engine(path, out=tmp_path / f"{form}.rtx", target="rtx1", cache=False)
            assert read_sidecar(built.path).manifest.precision == form
        folder = tmp_path / form
        folder.mkdir()
        with tensorrt_here() as build:
            engine = build(path, folder)
            result = parity(path, engine, limit=1, thresholds=LIMITS[form])
        assert result.passed, (form, result.summary())
        assert result.b.kind.startswith("TensorRT")
