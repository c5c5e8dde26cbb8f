"""NVIDIA ModelOpt's calibration: asked for by name, and its scales on our placement."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from differseg.calibration.calibrated import graph_of, grouped
from differseg.calibration.modelopt_scales import modelopt_scales
from differseg.calibration.placement import place
from differseg.calibration.scales import tensor_scales
from differseg.errors import DifferSegError, MissingComponentError

SHAPE = (1, 32, 8, 8)
FEEDS = [
    {"x": np.random.default_rng(seed).normal(size=SHAPE).astype(np.float32)} for seed in range(3)
]


def network() -> onnx.ModelProto:
    """Two convolutions with a sum, and the one that makes the logits."""
    random, names = np.random.default_rng(9), ["a", "b", "head"]
    nodes = [
        helper.make_node("Conv", ["x", "a.weight"], ["p"], name="a/Conv"),
        helper.make_node("Relu", ["p"], ["q"], name="a/Relu"),
        helper.make_node("Conv", ["q", "b.weight"], ["r"], name="b/Conv"),
        helper.make_node("Add", ["q", "r"], ["s"], name="b/Add"),
        helper.make_node("Conv", ["s", "head.weight"], ["y"], name="head/Conv"),
    ]
    weights = [
        numpy_helper.from_array(
            random.normal(size=(32, 32, 1, 1)).astype(np.float32), f"{n}.weight"
        )
        for n in names
    ]
    entries = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, SHAPE) for name in "xy"]
    graph = helper.make_graph(nodes, "net", entries[:1], entries[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return onnx.shape_inference.infer_shapes(model)


def scales(method: str) -> dict[str, float]:
    model = network()
    placement = place(graph_of(model))
    nodes = sorted({node for edges in placement.edges.values() for node, _ in edges})
    return modelopt_scales(model, nodes, grouped(placement), FEEDS, method)  # type: ignore[arg-type]


@pytest.mark.skipif(not importlib.util.find_spec("modelopt"), reason="needs NVIDIA ModelOpt")
def test_its_largest_number_is_ours():
    groups = grouped(place(graph_of(network())))
    ours = tensor_scales(network(), groups, FEEDS, method="min-max")
    assert scales("modelopt-max") == pytest.approx(ours, rel=1e-5)


@pytest.mark.skipif(not importlib.util.find_spec("modelopt"), reason="needs NVIDIA ModelOpt")
def test_its_entropy_cuts_ranges():
    largest, cut = scales("modelopt-max"), scales("modelopt-entropy")
    assert largest.keys() == cut.keys() == {"x", "q"}
    assert all(0 < cut[name] <= 1.0001 * largest[name] for name in cut)


def test_without_it_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "modelopt.onnx.quantization", None)
    with pytest.raises(MissingComponentError, match=r"pip install 'nvidia-modelopt\[onnx\]'"):
        scales("modelopt-max")


class _Fake:
    """Stands for ModelOpt's function: writes a graph without some scale, or fails."""

    def __init__(self, fails: bool) -> None:
        self.fails = fails

    def __call__(self, path: str, **options: object) -> None:
        if self.fails:
            raise RuntimeError("no CUDA\ndevice")
        onnx.save(onnx.load(path), str(options["output_path"]))


@pytest.mark.parametrize(
    ("fails", "said"),
    [(True, "ModelOpt: RuntimeError: no CUDA device"), (False, r"gives 2 tensor\(s\) no scale")],
)
def test_what_it_does_not_do_is_said(monkeypatch, fails, said):
    module = type(sys)("modelopt.onnx.quantization")
    module.quantize = _Fake(fails)  # type: ignore[attr-defined]
    for name in ("modelopt", "modelopt.onnx"):
        monkeypatch.setitem(sys.modules, name, type(sys)(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    with pytest.raises(DifferSegError, match=said):
        scales("modelopt-max")
