"""Nodes that do nothing go, and nodes that only look as if they did stay."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from differseg.export.simplify import simplify, strip_annotations

node = helper.make_node


def model_of(middle: onnx.NodeProto, constants=()) -> ir.Model:
    """Return Relu, the node in question, Relu on (1, 4, 8, 8)."""
    nodes = [node("Relu", ["x"], ["a"]), middle, node("Neg", ["b"], ["y"])]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "g",
        [info("x", TensorProto.FLOAT, [1, 4, 8, 8])],
        [info("y", TensorProto.FLOAT, [1, 4, 8, 8])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return ir.from_proto(onnx.shape_inference.infer_shapes(model))


def ints(*numbers: int):
    return np.array(numbers, dtype=np.int64)


IDLE = {
    "identity": (node("Identity", ["a"], ["b"]), ()),
    "cast": (node("Cast", ["a"], ["b"], to=1), ()),
    "reshape": (node("Reshape", ["a", "s"], ["b"]), [("s", ints(1, 4, 8, 8))]),
    "expand": (node("Expand", ["a", "s"], ["b"]), [("s", ints(1, 1, 1, 1))]),
    "transpose": (node("Transpose", ["a"], ["b"], perm=[0, 1, 2, 3]), ()),
    "tile": (node("Tile", ["a", "r"], ["b"]), [("r", ints(1, 1, 1, 1))]),
    "pad": (node("Pad", ["a", "p"], ["b"]), [("p", ints(*[0] * 8))]),
    "slice": (
        node("Slice", ["a", "s", "e", "ax"], ["b"]),
        [("s", ints(0)), ("e", ints(2**63 - 1)), ("ax", ints(2))],
    ),
    "resize": (
        node("Resize", ["a", "", "", "s"], ["b"], mode="linear"), [("s", ints(1, 4, 8, 8))],
    ),
}  # fmt: skip
ACTIVE = {
    "transpose of a square": (node("Transpose", ["a"], ["b"], perm=[0, 1, 3, 2]), ()),
    "pad that shifts": (
        node("Pad", ["a", "p"], ["b"]), [("p", ints(0, 0, 1, 0, 0, 0, -1, 0))],
    ),
    "slice that turns around": (
        node("Slice", ["a", "s", "e", "ax", "st"], ["b"]),
        [("s", ints(7)), ("e", ints(-9)), ("ax", ints(2)), ("st", ints(-1))],
    ),
    "resize by a little": (
        node("Resize", ["a", "", "s"], ["b"], mode="linear"),
        [("s", np.array([1, 1, 1.05, 1.05], np.float32))],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("middle", "constants"), IDLE.values(), ids=list(IDLE))
def test_what_does_nothing_goes(middle, constants):
    model = model_of(middle, constants)
    simplify(model)
    assert [n.op_type for n in model.graph] == ["Relu", "Neg"]
    assert not model.graph.initializers


@pytest.mark.parametrize(("middle", "constants"), ACTIVE.values(), ids=list(ACTIVE))
def test_what_keeps_the_shape_and_moves_pixels_stays(middle, constants):
    model = model_of(middle, constants)
    simplify(model)
    assert [n.op_type for n in model.graph] == ["Relu", middle.op_type, "Neg"]


def test_a_slice_to_the_end_ends_at_the_last_element():
    middle = node("Slice", ["a", "s", "e", "ax"], ["b"])
    model = model_of(middle, [("s", ints(1)), ("e", ints(2**63 - 1)), ("ax", ints(-1))])
    model.graph.outputs[0].shape = ir.Shape([1, 4, 8, 7])
    simplify(model)
    ends = model.graph[1].inputs[2].const_value
    assert ends.numpy().tolist() == [8]


def any_batch(middle: onnx.NodeProto, constants=(), *, extent: str | None = "batch") -> ir.Model:
    """Return the model with a first axis that varies, named or open."""
    model = model_of(middle, constants)
    values = [model.graph.inputs[0], *(v for each in model.graph for v in each.outputs)]
    for value in values:
        value.shape = ir.Shape([extent, *value.shape[1:]])
    return model


def test_a_slice_of_any_batch_ends_at_the_last_element():
    middle = node("Slice", ["a", "s", "e", "ax"], ["b"])
    ends = [("s", ints(0, 1)), ("e", ints(2**63 - 1, 2**63 - 1)), ("ax", ints(0, 1))]
    model = any_batch(middle, ends)
    model.graph[1].outputs[0].shape = ir.Shape(["batch", 3, 8, 8])
    simplify(model)
    assert model.graph[1].inputs[2].const_value.numpy().tolist() == [2**31 - 1, 4]


@pytest.mark.parametrize(("extent", "left"), [("batch", 2), (None, 3)])
def test_what_does_nothing_to_any_batch_goes(extent: str | None, left: int):
    middle = node("Expand", ["a", "s"], ["b"])
    model = any_batch(middle, [("s", ints(1, 1, 1, 1))], extent=extent)
    simplify(model)
    assert len(model.graph) == left


def bytes_model(outputs: list[str]) -> ir.Model:
    """Return a picture of bytes, channels moved to the front, and the same as numbers."""
    info = helper.make_tensor_value_info
    kinds = {"moved": TensorProto.UINT8, "real": TensorProto.FLOAT}
    graph = helper.make_graph(
        [
            node("Transpose", ["x"], ["moved"], perm=[0, 3, 1, 2]),
            node("Cast", ["moved"], ["real"], to=TensorProto.FLOAT),
        ],
        "g",
        [info("x", TensorProto.UINT8, [1, 5, 6, 3])],
        [info(name, kinds[name], [1, 3, 5, 6]) for name in outputs],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return ir.from_proto(onnx.shape_inference.infer_shapes(model))


def test_bytes_become_numbers_before_they_are_moved():
    model = bytes_model(["real"])
    simplify(model)
    assert [n.op_type for n in model.graph] == ["Cast", "Transpose"]


def test_bytes_that_are_an_output_stay_bytes():
    model = bytes_model(["moved", "real"])
    simplify(model)
    assert [value.dtype for value in model.graph.outputs] == [ir.DataType.UINT8, ir.DataType.FLOAT]
    assert [n.op_type for n in model.graph] == ["Transpose", "Cast"]


def test_attributes_that_repeat_a_default_go():
    middle = node(
        "Conv", ["a", "w"], ["b"], auto_pad="NOTSET", group=1, pads=[1, 1, 1, 1], doc_string="note"
    )
    model = model_of(middle, [("w", np.ones((4, 4, 3, 3), np.float32))])
    strip_annotations(model)
    assert list(model.graph[1].attributes) == ["pads"]
    assert not model.graph[1].doc_string
