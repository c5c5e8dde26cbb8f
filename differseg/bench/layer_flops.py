"""Floating-point operations of one ONNX node, and what kind of work it is.

Convention: a product with an addition counts 2; every other pointwise function counts 1 an element,
transcendental ones too, because what decides their time is the memory they pass over; moving data
counts 0.  Integer operations of INT8 layers are counted as if they were floating-point ones.
"""

from __future__ import annotations

import math
from typing import Literal

from differseg.export.graph_view import NodeView, Shape

Kind = Literal[
    "convolution", "depthwise convolution", "product", "pointwise", "normalisation", "reduction",
    "pooling", "sampling", "movement", "unknown",
]  # fmt: skip

VIEWS = frozenset("Reshape Squeeze Unsqueeze Flatten Identity".split())
"""Operators that only say otherwise where the same numbers lie."""

POINTWISE = frozenset(
    "Abs Add And Cast Ceil Celu Clip Cos Div Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual "
    "HardSigmoid HardSwish LeakyRelu Less LessOrEqual Log Max Min Mish Mod Mul Neg Not Or PRelu "
    "Pow QuantizeLinear Reciprocal Relu Round Selu Sigmoid Sign Sin Softplus Softsign Sqrt Sub Sum "
    "Tanh ThresholdedRelu Where".split()
)
"""Operators that compute every number of the output from the numbers at its place."""

PARTIAL_READS = frozenset("Slice Split Gather GatherElements GatherND".split())
"""Operators that read only as much as they write."""

_MOVEMENT = PARTIAL_READS | frozenset(
    "Concat DepthToSpace Expand Pad SpaceToDepth Tile Transpose".split()
)
_NORMALISATIONS = {
    "BatchNormalization": 2,
    "GroupNormalization": 8,
    "InstanceNormalization": 8,
    "LayerNormalization": 8,
    "LogSoftmax": 5,
    "Softmax": 5,
}
_REDUCTIONS = frozenset(
    "ArgMax ArgMin CumSum GlobalAveragePool GlobalMaxPool ReduceL1 ReduceL2 ReduceLogSumExp "
    "ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare TopK".split()
)
_POOLING = frozenset("AveragePool MaxPool LpPool".split())
_RESIZE_FLOPS = {"nearest": 0, "linear": 8, "cubic": 35}
_SAMPLE_FLOPS = {"nearest": 2, "linear": 10, "bilinear": 10, "cubic": 40, "bicubic": 40}

_FEW_CHANNELS = 4
"""With fewer channels in a group than this, a convolution has nothing for matrix units to do."""


def numel(shape: Shape | None) -> int:
    """Return the number of elements; 0 where a size is not known."""
    if shape is None or not all(isinstance(size, int) for size in shape):
        return 0
    return math.prod(int(size) for size in shape)


def kind_of(node: NodeView) -> Kind:
    """Return what kind of work a node is."""
    op = node.proto.op_type
    if op in ("Conv", "ConvTranspose"):
        weight = node.shape(1)
        if weight is None or len(weight) < 2:
            return "unknown"
        groups = int(node.attribute("group", 1))
        per_group = (int(weight[1]), int(weight[0]) // groups)
        return "depthwise convolution" if min(per_group) < _FEW_CHANNELS < groups else "convolution"
    if op in ("MatMul", "Gemm"):
        return "product"
    kinds: tuple[tuple[frozenset[str], Kind], ...] = (
        (POINTWISE, "pointwise"),
        (frozenset(_NORMALISATIONS), "normalisation"),
        (_REDUCTIONS, "reduction"),
        (_POOLING, "pooling"),
        (frozenset({"Resize", "GridSample"}), "sampling"),
        (_MOVEMENT, "movement"),
    )
    return next((kind for ops, kind in kinds if op in ops), "unknown")


def flops_of(node: NodeView, output: Shape | None) -> int:
    """Return the operations of a node.

    Args:
        node: The node.
        output: Shape of its first output.
    """
    op, made = node.proto.op_type, numel(output)
    if op in ("Conv", "ConvTranspose"):
        return _convolution(node, made)
    if op == "MatMul":
        return 2 * made * _inner(node, 0, -1)
    if op == "Gemm":
        inner = _inner(node, 0, 0 if node.attribute("transA", 0) else -1)
        return 2 * made * inner + (made if node.has_input(2) else 0)
    if op == "Cast":
        return 0
    if op in POINTWISE:
        return made
    if op in _NORMALISATIONS:
        return _NORMALISATIONS[op] * made
    if op in _REDUCTIONS:
        return numel(node.shape(0))
    if op in _POOLING:
        return made * math.prod(node.attribute("kernel_shape", [1]))
    if op == "Resize":
        return _RESIZE_FLOPS.get(node.attribute("mode", "nearest"), 8) * made
    if op == "GridSample":
        return _SAMPLE_FLOPS.get(node.attribute("mode", "linear"), 10) * made
    return 0


def _convolution(node: NodeView, made: int) -> int:
    """2 a multiplication with a weight; a transposed one spreads every number of its input."""
    weight = node.shape(1)
    if weight is None:
        return 0
    taps = numel(weight[1:])
    bias = made if node.has_input(2) else 0
    if node.proto.op_type == "Conv":
        return 2 * made * taps + bias
    return 2 * numel(node.shape(0)) * taps + bias


def _inner(node: NodeView, operand: int, axis: int) -> int:
    shape = node.shape(operand)
    return int(shape[axis]) if shape and isinstance(shape[axis], int) else 0
