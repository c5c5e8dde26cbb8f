"""LayerNormalization in older operators, for TensorRT 8.5 (JetPack 5), which does not import it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from differseg.export.targets import Target
from differseg.manifest import Decision

OLDER_NORMS = Decision(
    "LayerNormalization", "in older operators", "TensorRT before 8.6 does not import it"
)
"""What the manifest says of a file without it."""

_SINCE = (8, 6)
"""The first TensorRT that imports LayerNormalization."""
_AXES_AS_INPUT = 18
"""Opset from which ReduceMean takes its axes as an input; no such graph goes to TensorRT 8.5."""


def needs_older_norms(target: Target) -> bool:
    """Whether a target's parser does not import LayerNormalization."""
    return target.engine == "tensorrt" and target.version < _SINCE


def decompose_layer_norms(model: ir.Model) -> int:
    """Write every LayerNormalization as means, differences and a quotient, in place.

    ``(x - mean) / sqrt(mean((x - mean)^2) + epsilon) * scale + bias`` over the last axes, as ONNX
    defines the operator.  New nodes are called by the same module.

    Args:
        model: With shapes, of opset 17.

    Returns:
        How many there were.
    """
    if model.opset_imports.get("", 0) >= _AXES_AS_INPUT:
        return 0
    norms = [node for node in model.graph if node.op_type == "LayerNormalization"]
    taken = {str(node.name) for node in model.graph}
    for node in norms:
        _decompose(model.graph, node, taken)
    return len(norms)


def _decompose(graph: ir.Graph, node: ir.Node, taken: set[str]) -> None:
    x, scale = node.inputs[0], node.inputs[1]
    assert x is not None
    assert x.shape is not None
    dtype = x.dtype
    assert dtype is not None
    axis = node.attributes["axis"].as_int() if "axis" in node.attributes else -1
    axes = list(range(axis if axis < 0 else axis - len(x.shape), 0))
    small = node.attributes["epsilon"].as_float() if "epsilon" in node.attributes else 1e-5
    reduced = ir.Shape([1 if i - len(x.shape) in axes else n for i, n in enumerate(x.shape)])
    path = str(node.name).rpartition("/")[0]
    made: list[ir.Node] = []

    def add(op: str, inputs: Sequence[ir.Value | None], shape: ir.Shape) -> ir.Value:
        over: dict[str, Sequence[int] | int] = {"axes": axes, "keepdims": 1}
        attributes = over if op == "ReduceMean" else None
        made.append(ir.node(op, inputs, attributes, name=_free(path, op, taken)))
        result = made[-1].outputs[0]
        result.name, result.shape = f"{made[-1].name}_output_0", shape
        result.type = ir.TensorType(dtype)
        return result

    centred = add("Sub", [x, add("ReduceMean", [x], reduced)], x.shape)
    variance = add("ReduceMean", [add("Mul", [centred, centred], x.shape)], reduced)
    epsilon = _constant(graph, f"{node.name}.epsilon", small, dtype)
    deviation = add("Sqrt", [add("Add", [variance, epsilon], reduced)], reduced)
    result = add("Mul", [add("Div", [centred, deviation], x.shape), scale], x.shape)
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        result = add("Add", [result, node.inputs[2]], x.shape)
    ir.convenience.replace_nodes_and_values(graph, node, [node], made, [node.outputs[0]], [result])


def _free(path: str, op: str, taken: set[str]) -> str:
    name = first = f"{path}/{op}" if path else op
    number = 0
    while name in taken:
        number += 1
        name = f"{first}_{number}"
    taken.add(name)
    return name


def _constant(graph: ir.Graph, name: str, number: float, dtype: ir.DataType) -> ir.Value:
    tensor = ir.tensor(np.asarray(number, dtype.numpy()), name=name)
    value = ir.Value(name=name, type=ir.TensorType(dtype), shape=ir.Shape([]), const_value=tensor)
    graph.register_initializer(value)
    return value
