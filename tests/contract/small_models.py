"""ONNX models for the test-bed's own tests, small enough to check by hand."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

FLOAT, HALF, INT8, INT32, INT64, UINT8 = (
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.FLOAT16,
    onnx.TensorProto.INT8,
    onnx.TensorProto.INT32,
    onnx.TensorProto.INT64,
    onnx.TensorProto.UINT8,
)


def model(
    nodes: list[onnx.NodeProto],
    inputs: dict[str, tuple[int, list[int | str]]],
    outputs: dict[str, tuple[int, list[int | str]]],
    initializers: list[onnx.TensorProto] | None = None,
    functions: list[onnx.FunctionProto] | None = None,
) -> onnx.ModelProto:
    """A model of opset 17 from nodes and typed ends."""
    ends = [
        [helper.make_tensor_value_info(name, *spec) for name, spec in side.items()]
        for side in (inputs, outputs)
    ]
    graph = helper.make_graph(nodes, "g", *ends, initializers or [])
    opsets = [helper.make_opsetid("", 17)]
    opsets += [helper.make_opsetid(d, 1) for d in {n.domain for n in nodes if n.domain}]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, functions=functions or [])


def doubled(height: int | str = 4, elem: int = FLOAT) -> onnx.ModelProto:
    """``y = 2 * relu(x)``, shape ``(1, 2, height, 4)``."""
    shape = [1, 2, height, 4]
    nodes = [
        helper.make_node("Relu", ["x"], ["r"], "relu"),
        helper.make_node("Add", ["r", "r"], ["y"], "add"),
    ]
    return model(nodes, {"x": (elem, shape)}, {"y": (elem, shape)})


def quantized() -> onnx.ModelProto:
    """``y = dequantize(quantize(x))`` with scale 0.5."""
    initial = [
        onnx.numpy_helper.from_array(np.array(0.5, np.float32), "scale"),
        onnx.numpy_helper.from_array(np.array(0, np.int8), "zero"),
    ]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"], "quantize"),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"], "dequantize"),
    ]
    return model(nodes, {"x": (FLOAT, [1, 4])}, {"y": (FLOAT, [1, 4])}, initial)


def largest_index() -> onnx.ModelProto:
    """``y = argmax(x)`` over channels, an INT64 output."""
    nodes = [helper.make_node("ArgMax", ["x"], ["y"], "argmax", axis=1, keepdims=1)]
    return model(nodes, {"x": (FLOAT, [1, 3, 2, 2])}, {"y": (INT64, [1, 1, 2, 2])})


def custom(op: str = "Triple", with_function: bool = False) -> onnx.ModelProto:
    """``y = op(x)`` with an operator of a domain of ours."""
    node = helper.make_node(op, ["x"], ["y"], "custom", domain="differseg", plugin_namespace="")
    functions = [tripling(op)] if with_function else []
    return model([node], {"x": (FLOAT, [1, 4])}, {"y": (FLOAT, [1, 4])}, functions=functions)


def tripling(op: str = "Triple") -> onnx.FunctionProto:
    """What a kernel for ``op`` would compute: ``y = x + x + x``."""
    return helper.make_function(
        "differseg",
        op,
        ["x"],
        ["y"],
        [
            helper.make_node("Add", ["x", "x"], ["two"]),
            helper.make_node("Add", ["two", "x"], ["y"]),
        ],
        [helper.make_opsetid("", 17)],
        ["plugin_namespace"],
    )
