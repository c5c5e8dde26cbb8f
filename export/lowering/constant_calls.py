"""Calls of our operators on constants alone: computed by the operator itself, before it is lowered.

The standard operators of a lowering cannot all be folded afterwards: ONNX's reference evaluator
does not read GridSample as ONNX Runtime does.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import torch

from differseg.export.lowering.framework import DOMAIN, Call
from differseg.export.lowering.nodes import evaluate
from differseg.export.lowering.registry import LOWERINGS

_COMPUTED = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE)


def fold_calls(graph: ir.Graph) -> int:
    """Turn every call on constants into a constant, in place; returns how many there were.

    Args:
        graph: A traced graph; its nodes are in order, so that a call on a call's result counts.
    """
    count = 0
    for node in list(graph):
        if node.domain != DOMAIN or node.op_type not in LOWERINGS:
            continue
        operands = [ir.convenience.get_const_tensor(value) for value in Call(node).inputs]
        if not all(operand is not None and operand.dtype in _COMPUTED for operand in operands):
            continue
        arrays = [operand.numpy() for operand in operands if operand is not None]
        _fold(graph, node, [torch.from_numpy(np.array(array)) for array in arrays])
        count += 1
    return count


def _fold(graph: ir.Graph, node: ir.Node, operands: list[torch.Tensor]) -> None:
    """Put the result of the node's operator in its place."""
    with torch.no_grad():
        array = evaluate(node, operands).numpy()
    result = node.outputs[0]
    name = f"{result.name}.constant"
    value = ir.Value(name=name, const_value=ir.tensor(np.ascontiguousarray(array), name=name))
    value.shape, value.type = ir.Shape(array.shape), result.type
    graph.register_initializer(value)
    ir.convenience.replace_all_uses_with(result, value, replace_graph_outputs=True)
    graph.remove(node, safe=True)
