"""A typed graph in float32 that rounds where the typed graph is float16.

ONNX Runtime's processor kernels compute most float16 nodes in float32 and leave the rounding
between them out: what it makes of a typed file is not what a GPU makes of it.  Here every float16
tensor is rounded by a pair of Casts that it does compute.  Inside a node numbers are added in
float32, as tensor cores do it.
"""

from __future__ import annotations

import onnx
import onnx_ir as ir

_FLOAT, _HALF = ir.DataType.FLOAT, ir.DataType.FLOAT16
_EXACT = frozenset(
    "Abs Clip Concat DepthToSpace Expand Flatten Gather GatherElements GatherND Identity Max "
    "MaxPool Min Neg Pad ReduceMax ReduceMin Relu Reshape ScatterElements ScatterND Slice "
    "SpaceToDepth Split Squeeze Tile Transpose Unsqueeze Where".split()
)
"""Operators whose results are numbers that they were given."""


def simulated(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph in float32 with every float16 tensor rounded; tensors keep their names.

    Inputs and outputs of float16 become float32.

    Args:
        model: A typed graph; left as it is.
    """
    return _in_float32(model, rounded=True)


def widened(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph in float32 without any rounding but that of its constants."""
    return _in_float32(model, rounded=False)


def _in_float32(model: onnx.ModelProto, *, rounded: bool) -> onnx.ModelProto:
    copy = ir.from_proto(model)
    graph = copy.graph
    for value in list(graph.initializers.values()):
        if value.dtype == _HALF:
            _widen(value)
    for value in graph.inputs:
        if value.dtype == _HALF:
            value.type = ir.TensorType(_FLOAT)
            if rounded:
                _round(graph, value, before=next(iter(graph)), exact_name=None)
    for node in list(graph):
        halves = [value for value in node.outputs if value.dtype == _HALF]
        narrowed = halves if node.op_type == "Cast" else []
        if narrowed:
            node.attributes.add(ir.AttrInt64("to", int(_FLOAT)))
        if node.op_type == "Cast" and _changes_nothing(node):
            node.op_type = "Identity"
            node.attributes.clear()
        for value in halves:
            value.type = ir.TensorType(_FLOAT)
            if rounded and (node.op_type not in _EXACT or value in narrowed):
                _round(graph, value, behind=node, exact_name=f"{value.name}.exact")
    return ir.to_proto(copy)


def _changes_nothing(cast: ir.Node) -> bool:
    """Whether a Cast gives the type that its operand has by now."""
    value = cast.inputs[0]
    return value is not None and value.dtype == ir.DataType(cast.attributes["to"].as_int())


def _widen(value: ir.Value) -> None:
    assert value.const_value is not None
    array = value.const_value.numpy().astype("float32")
    value.const_value = ir.tensor(array, name=value.name)
    value.type = ir.TensorType(_FLOAT)


def _round(
    graph: ir.Graph,
    value: ir.Value,
    *,
    exact_name: str | None,
    behind: ir.Node | None = None,
    before: ir.Node | None = None,
) -> None:
    """Let all that reads ``value`` read it rounded; the rounded one takes the name, if it may."""
    name = str(value.name)
    narrow = ir.node("Cast", [value], {"to": int(_HALF)}, name=f"{name}/round")
    wide = ir.node("Cast", [narrow.outputs[0]], {"to": int(_FLOAT)}, name=f"{name}/rounded")
    result = wide.outputs[0]
    narrow.outputs[0].name = f"{name}.rounded"
    narrow.outputs[0].type, result.type = ir.TensorType(_HALF), ir.TensorType(_FLOAT)
    narrow.outputs[0].shape = result.shape = value.shape
    ir.convenience.replace_all_uses_with(value, result, replace_graph_outputs=True)
    narrow.replace_input_with(0, value)
    if exact_name is not None:
        value.name, result.name = exact_name, name
    else:
        result.name = f"{name}.wide"
    if behind is not None:
        graph.insert_after(behind, [narrow, wide])
    else:
        assert before is not None
        graph.insert_before(before, [narrow, wide])
