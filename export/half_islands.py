"""Which nodes of a float32 graph stay in float32 when the others become float16, and why.

Rules first that follow from what a node does, then what was measured on images.  Every rule names
its nodes and says a reason for each; the first reason stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import onnx_ir as ir

from differseg.export.half_graph import has_half_form
from differseg.export.tensor_ranges import HALF_MAX, TensorRange

HEADROOM = 4.0
"""How much larger than on the measured images numbers may become on others."""
MAX_HALF_ERROR = 1e-2
"""Share of a tensor's rms that rounding may take; 2.8e-4 where float16 has its full precision."""
LONG_SUM = 1024
"""Terms from which on a sum stays in float32: how a GPU adds float16 numbers is its own choice."""

Islands = dict[str, str]
"""Node name -> why it stays in float32."""

_SUMS = frozenset(
    "ReduceMean ReduceSum ReduceL1 ReduceL2 ReduceSumSquare ReduceLogSumExp GlobalAveragePool "
    "InstanceNormalization Softmax LogSoftmax".split()
)
_POSITION_ARITHMETIC = frozenset(
    "Add Sub Mul Div Neg Clip Min Max Concat Transpose Reshape Unsqueeze Squeeze Slice Split "
    "Gather Identity".split()
)
"""Through these a position is followed back to where it was computed from something else."""
_POINTWISE = _POSITION_ARITHMETIC | {"Sqrt", "Reciprocal", "Pow", "Relu", "Sigmoid", "Cast"}


def find_islands(model: ir.Model, ranges: Mapping[str, TensorRange]) -> Islands:
    """Return the nodes that stay in float32.

    Args:
        model: A finished float32 graph.
        ranges: What its tensors hold on images, by name.
    """
    islands: Islands = {}
    opset = model.opset_imports[""]
    for found in (
        _without_half_form(model.graph, opset),
        _out_of_range(model.graph, ranges),
        _constants(model.graph),
        _positions(model.graph),
        _long_sums(model.graph),
        _between(model.graph, islands),
    ):
        for node, reason in found:
            islands.setdefault(str(node.name), reason)
    return islands


Found = Iterator[tuple[ir.Node, str]]


def _without_half_form(graph: ir.Graph, opset: int) -> Found:
    for node in graph:
        if not has_half_form(node, opset):
            yield node, f"{node.op_type} has no float16 form"


def _out_of_range(graph: ir.Graph, ranges: Mapping[str, TensorRange]) -> Found:
    """Yield both sides of every tensor that float16 does not hold."""
    for node in graph:
        for value in node.outputs:
            found = ranges.get(str(value.name))
            reason = None if found is None else range_reason(found)
            if reason is not None:
                yield node, reason
                for user in _users(value):
                    yield user, reason


def range_reason(found: TensorRange) -> str | None:
    """Return why a tensor cannot be float16, None where it can."""
    if found.largest * HEADROOM > HALF_MAX:
        return (
            f"'{found.name}' reaches {found.largest:.3g}; times {HEADROOM:g} for other images that "
            f"is beyond float16, which ends at {HALF_MAX:.0f}"
        )
    if found.half_error > MAX_HALF_ERROR:
        flushed = 100 * found.flushed / max(1, found.sampled)
        return (
            f"'{found.name}' loses {100 * found.half_error:.2g} % in float16 (numbers as small as "
            f"its rms of {found.rms:.2g}; {flushed:.2g} % of them become 0)"
        )
    return None


def _constants(graph: ir.Graph) -> Found:
    """Yield nodes with a constant that float16 does not hold, such as a small epsilon."""
    for node in graph:
        for value in node.inputs:
            if value is None or value.const_value is None or value.dtype != ir.DataType.FLOAT:
                continue
            array = value.const_value.numpy()
            found = TensorRange(str(value.name))
            found.add(array)
            if found.largest > HALF_MAX or found.half_error > MAX_HALF_ERROR:
                shown = f"{array.ravel()[0]:.3g}" if array.size == 1 else f"'{value.name}'"
                yield node, f"its constant {shown} is none in float16"


def _positions(graph: ir.Graph) -> Found:
    """Yield what computes places to read at: float16 has steps of a pixel in them."""
    for sampler in graph:
        if sampler.op_type != "GridSample":
            continue
        yield sampler, "reads at positions, which stay in float32"
        todo = [sampler.inputs[1]]
        while todo:
            value = todo.pop()
            node = None if value is None else value.producer()
            if node is None or node.op_type not in _POSITION_ARITHMETIC:
                continue
            yield node, f"computes positions for '{sampler.name}', to a part of a pixel"
            todo.extend(node.inputs)


def _long_sums(graph: ir.Graph) -> Found:
    """Yield long sums, the squares that enter one, and the roots and quotients made of it."""
    for node in graph:
        terms = _terms(node)
        if node.op_type not in _SUMS or terms < LONG_SUM:
            continue
        reason = f"a sum of {terms} numbers"
        yield node, reason
        maker = node.inputs[0].producer() if node.inputs[0] is not None else None
        if maker is not None and _squares(maker):
            yield maker, f"squares for {reason}"
        if node.op_type.startswith("Reduce"):
            yield from ((user, f"made of {reason}") for user in _roots(node.outputs[0]))


def _terms(node: ir.Node) -> int:
    """Return how many numbers make one result of a sum."""
    value, result = node.inputs[0] if node.inputs else None, node.outputs[0]
    if value is None or value.shape is None or result.shape is None:
        return 0
    sizes = [extent for extent in value.shape if isinstance(extent, int)]
    made = [extent for extent in result.shape if isinstance(extent, int)]
    if len(sizes) != len(value.shape) or len(made) != len(result.shape):
        return 0
    if "Softmax" in node.op_type:
        axis = node.attributes["axis"].as_int() if "axis" in node.attributes else -1
        return sizes[axis]
    if node.op_type == "InstanceNormalization":
        return int(np.prod(sizes[2:]))
    return int(np.prod(sizes) // max(1, np.prod(made)))


def _squares(node: ir.Node) -> bool:
    twice = node.op_type == "Mul" and node.inputs[0] is node.inputs[1]
    return twice or node.op_type in ("Pow", "Exp")


def _roots(value: ir.Value) -> Iterator[ir.Node]:
    """Yield the arithmetic on a sum up to its root, reciprocal or quotient."""
    for user in _users(value):
        guarded = user.op_type in ("Add", "Max", "Clip") and any(
            operand is not None and operand.const_value is not None for operand in user.inputs[1:]
        )
        if not guarded and user.op_type not in ("Sqrt", "Reciprocal", "Div"):
            continue
        yield user
        if user.op_type != "Div":
            yield from _roots(user.outputs[0])


def _between(graph: ir.Graph, islands: Islands) -> Found:
    """Yield pointwise nodes that only kept nodes feed and read: a Cast on each side costs more."""
    changed = True
    kept = set(islands)
    while changed:
        changed = False
        for node in graph:
            if node.name in kept or node.op_type not in _POINTWISE:
                continue
            makers = [v.producer() for v in node.inputs if v is not None and v.const_value is None]
            users = [user for value in node.outputs for user in _users(value)]
            around = [*makers, *users]
            if makers and users and all(n is not None and n.name in kept for n in around):
                kept.add(str(node.name))
                changed = True
                yield node, "between nodes in float32"


def _users(value: ir.Value) -> list[ir.Node]:
    return [use.node for use in value.uses()]
