"""float32, float16 and int8 graphs of every network: the lints, and NVIDIA's parser and builder."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from differseg.calibration.calibrated import Calibrated, family_of
from differseg.export import check, rtx
from differseg.export.modelfile import manifest_of, read_model
from differseg.export.parity_data import Feeds, load_samples
from differseg.export.precision import typed_half
from differseg.export.targets import find_target
from differseg.export.to_onnx import export_model
from differseg.models import create_model, list_models

TYPED = ("jetpack6", "jetpack7", "trt11.4")
OLDER = "jetpack5"
IN_EVERY_RUN = "differseg-edge"
"""The others take up to minutes each."""


def small_size(name: str) -> tuple[int, int]:
    """A quarter of the network's pixels: the graph is the same, but for its shapes."""
    spec = create_model(name).spec
    step = 2 * spec.multiple
    height, width = (max(spec.multiple, side // step * spec.multiple) for side in spec.size_hw)
    return height, width


def forms(name: str, folder: Path) -> dict[str, Path]:
    """Write all forms of a network with random weights; by their names."""
    paths = {form: folder / f"{form}.onnx" for form in ("fp32", "fp16", "int8", "older int8")}
    export_model(paths["fp32"], model=name, size=small_size(name), limit=1, real=False)
    model = read_model(paths["fp32"])
    manifest = manifest_of(model)
    assert manifest is not None
    feeds = Feeds(load_samples(manifest.inputs, None, 2, classes=manifest.classes), 2)
    onnx.save(typed_half(model, feeds)[0], paths["fp16"])
    calibrated = Calibrated.of(model, manifest, feeds, 2, method="min-max")
    onnx.save(calibrated.write(family_of(find_target(TYPED[0]))), paths["int8"])
    onnx.save(calibrated.write(family_of(find_target(OLDER))), paths["older int8"])
    return paths


@pytest.mark.parametrize(
    "name",
    [
        info.name if info.name == IN_EVERY_RUN else pytest.param(info.name, marks=pytest.mark.slow)
        for info in list_models()
    ],
)
def test_every_form_is_accepted(name, tmp_path):
    if not name.endswith("edge"):
        pytest.importorskip("timm")
    paths = forms(name, tmp_path)
    for form, path in paths.items():
        for target in (OLDER,) if form == "older int8" else TYPED:
            report = check(path, target)
            assert report.passed, (form, target, report.reasons()[:3])
        if form != "older int8" and rtx.is_available():
            report = check(path, TYPED[0], real=True)
            assert report.rtx is not None
            assert report.passed, (form, report.reasons()[:3])
