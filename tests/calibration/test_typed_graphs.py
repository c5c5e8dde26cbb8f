"""float32, float16 and int8 graphs of every network: the lints, and NVIDIA's parser and builder."""

from __future__ import annotations

import pytest
from typed_forms import typed_forms

from differseg.export import check, rtx
from differseg.models import create_model, list_models

TYPED = ("jetpack6", "jetpack7", "trt11.4")
OLDER = "jetpack5"
IN_EVERY_RUN = "sfm-edge"
"""The others take up to minutes each; tests/parity builds the forms of every edge network."""


def small_size(name: str) -> tuple[int, int]:
    """A quarter of the network's pixels: the graph is the same, but for its shapes."""
    spec = create_model(name).spec
    step = 2 * spec.multiple
    height, width = (max(spec.multiple, side // step * spec.multiple) for side in spec.size_hw)
    return height, width


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
    paths = typed_forms(name, tmp_path, small_size(name), ("int8", "older int8"))
    for form, path in paths.items():
        for target in (OLDER,) if form == "older int8" else TYPED:
            report = check(path, target)
            assert report.passed, (form, target, report.reasons()[:3])
        if form != "older int8" and rtx.is_available():
            report = check(path, TYPED[0], real=True)
            assert report.rtx is not None
            assert report.passed, (form, report.reasons()[:3])
