"""Small ONNX graphs, each with one thing that some target refuses or minds."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, INT64, UINT8 = TensorProto.FLOAT, TensorProto.INT64, TensorProto.UINT8
INT8, INT16, INT32 = TensorProto.INT8, TensorProto.INT16, TensorProto.INT32


def planted(
    op: str,
    *,
    shape=(1, 4, 8, 8),
    dtype: int = FLOAT,
    inputs=("x",),
    constants=(),
    opset: int = 17,
    domain: str = "",
    outputs=("y",),
    functions=(),
    **attributes,
) -> onnx.ModelProto:
    """Return a model of one node of this operator."""
    node = helper.make_node(
        op, list(inputs), list(outputs), name="net/planted", domain=domain, **attributes
    )
    free = [name for name in inputs if name and name not in dict(constants)]
    graph = helper.make_graph(
        [node],
        "planted",
        [helper.make_tensor_value_info(name, dtype, list(shape)) for name in free],
        [helper.make_tensor_value_info(outputs[0], dtype, list(shape))],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants],
    )
    opsets = [helper.make_opsetid("", opset)]
    if domain:
        opsets.append(helper.make_opsetid(domain, 1))
    return helper.make_model(graph, opset_imports=opsets, ir_version=9, functions=list(functions))


def dft() -> onnx.ModelProto:
    """Return a valid Fourier transform over height, which no TensorRT before 11.2 reads."""
    model = planted("DFT", shape=(1, 4, 8, 2), axis=1)
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", FLOAT, [1, 4, 8, 2]))
    return model


def function(node: onnx.NodeProto, *, opset: int = 17, name: str = "Double") -> onnx.FunctionProto:
    """Return a local function of one node that reads x and makes y."""
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("differseg", 1)]
    return helper.make_function("differseg", name, ["x"], ["y"], [node], opsets)


def doubling_function() -> onnx.FunctionProto:
    return function(helper.make_node("Add", ["x", "x"], ["y"]))


def function_of(op: str, name: str) -> onnx.FunctionProto:
    """Return a local function of the domain acme that computes one standard operator."""
    node = helper.make_node(op, ["x"], ["y"])
    return helper.make_function("acme", name, ["x"], ["y"], [node], [helper.make_opsetid("", 17)])


def with_ir(model: onnx.ModelProto, version: int) -> onnx.ModelProto:
    """Return the model in another version of the file format."""
    model.ir_version = version
    return model


def dft_function(opset: int = 17) -> onnx.FunctionProto:
    node = helper.make_node("DFT", ["x"], ["y"], axis=1, name="spectrum")
    return function(node, opset=opset)


def quantised(zero_point: int | None, *, opset: int = 17, **attributes) -> onnx.ModelProto:
    """Return x -> QuantizeLinear -> y with a zero point of 0 of this type, or none."""
    model = planted(
        "QuantizeLinear", inputs=("x", "s"), constants=[("s", np.float32(0.1))], opset=opset,
        **attributes,
    )  # fmt: skip
    add_zero_point(model, zero_point)
    return model


def dequantised(dtype: int, zero_point: int | None) -> onnx.ModelProto:
    """Return the same for DequantizeLinear on an x of this type."""
    scale = [("s", np.float32(0.1))]
    model = planted("DequantizeLinear", dtype=dtype, inputs=("x", "s"), constants=scale)
    add_zero_point(model, zero_point)
    return model


def add_zero_point(model: onnx.ModelProto, dtype: int | None) -> None:
    if dtype is not None:
        model.graph.node[0].input.append("z")
        model.graph.initializer.append(helper.make_tensor("z", dtype, [], [0]))


def derived_zero_point(value: int) -> onnx.ModelProto:
    """Return x -> QuantizeLinear -> y with an int8 zero point behind an Identity and a Cast."""
    model = planted("QuantizeLinear", inputs=("x", "s", "z"),
                    constants=[("s", np.float32(0.1)), ("z0", np.float32(value))])  # fmt: skip
    del model.graph.input[1:]
    model.graph.node.insert(0, helper.make_node("Identity", ["z0"], ["z1"]))
    model.graph.node.insert(1, helper.make_node("Cast", ["z1"], ["z"], to=INT8))
    model.graph.output[0].type.tensor_type.elem_type = INT8
    return model


def chain(*nodes: onnx.NodeProto, x: int = FLOAT, y: int = FLOAT, opset: int = 17):
    """Return a model of these nodes from an x to a y of these types, all of one shape."""
    shape = [1, 4, 8, 8]
    graph = helper.make_graph(
        list(nodes), "chain", [helper.make_tensor_value_info("x", x, shape)],
        [helper.make_tensor_value_info("y", y, shape)],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def cast(before: str, after: str, to: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [before], [after], name=f"to_{after}", to=to)
