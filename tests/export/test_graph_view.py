"""What a lint rule sees of a node: constants wherever they are kept, and what cannot be read."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper
from planted_graphs import INT64, planted

from differseg.export.graph_view import GraphView, NodeView
from differseg.export.lint import lint, worst
from differseg.export.targets import find_target


def view_of(model: onnx.ModelProto) -> NodeView:
    """Return the last node as a rule sees it."""
    graph = GraphView.of(model)
    return NodeView(graph.nodes[-1], graph)


def fed_by_constant(**attributes) -> onnx.ModelProto:
    model = planted("Slice", inputs=("x", "n", "n", "n"), constants=[("n", [0])])
    del model.graph.initializer[:]
    model.graph.node.insert(0, helper.make_node("Constant", [], ["n"], **attributes))
    return model


FORMS = {
    "value": ({"value": helper.make_tensor("n", INT64, [2], [2, 3])}, [2, 3], np.int64),
    "value_int": ({"value_int": 2}, [2], np.int64),
    "value_ints": ({"value_ints": [2, 3]}, [2, 3], np.int64),
    "value_float": ({"value_float": 0.5}, [0.5], np.float32),
    "value_floats": ({"value_floats": [0.5, 1.5]}, [0.5, 1.5], np.float32),
}


@pytest.mark.parametrize(("attributes", "numbers", "dtype"), FORMS.values(), ids=list(FORMS))
def test_a_constant_node_is_read_in_each_form(attributes, numbers, dtype):
    node = view_of(fed_by_constant(**attributes))
    values = node.constant(3)
    assert values is not None
    assert values.dtype == dtype
    assert values.tolist() == numbers
    assert node.dtype(3) == helper.np_dtype_to_tensor_dtype(np.dtype(dtype))


def test_text_is_constant_and_not_read():
    node = view_of(fed_by_constant(value_string="text"))
    assert node.is_constant(3)
    assert node.constant(3) is None


def test_constant_axes_are_constant_in_each_form():
    for attributes in ({"value_ints": [2]}, {"value_int": 2}):
        verdicts = lint(fed_by_constant(**attributes), find_target("jetpack6.0"))
        assert worst(verdicts) == "yes"
    computed = planted("Slice", inputs=("x", "x", "x", "x"))
    assert worst(lint(computed, find_target("jetpack6.0"))) == "no"


DAMAGED = {
    "too few bytes": onnx.TensorProto(name="n", dims=[5], data_type=INT64, raw_data=b"123"),
    "no type": onnx.TensorProto(name="n", dims=[1], raw_data=b"12345678"),
    "unknown type": onnx.TensorProto(name="n", dims=[1], data_type=99, raw_data=b"12345678"),
    "absent data": onnx.TensorProto(
        name="n", dims=[1], data_type=INT64, data_location=onnx.TensorProto.EXTERNAL,
        external_data=[onnx.StringStringEntryProto(key="location", value="no/such.data")],
    ),
    "data outside": onnx.TensorProto(
        name="n", dims=[1], data_type=INT64, data_location=onnx.TensorProto.EXTERNAL,
        external_data=[onnx.StringStringEntryProto(key="location", value="../../etc/passwd")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("tensor", DAMAGED.values(), ids=list(DAMAGED))
def test_what_cannot_be_read_is_constant_and_unknown(tensor):
    model = planted("TopK", inputs=("x", "n"), outputs=("y", "i"), constants=[("n", [1])])
    model.graph.initializer[0].CopyFrom(tensor)
    node = view_of(model)
    assert node.is_constant(1)
    assert node.constant(1) is None
    lint(model, find_target("jetpack5"))
