"""Find sums in float16 that overflow although every single number is small.

The mean of a map, times the number of its points, is the first bin of an un-normalised Fourier
transform: 96 x 128 points of mean 10 sum to 122880, and float16 ends at 65504.  A product with a
constant matrix multiplies a constant input by the sum of the matrix' rows, its gain; chains of
products, as a transform in stages is, multiply their gains, and a constant factor scales them.
With norm "ortho" the gain is the square root of the number of points, and harmless.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import onnx

from differseg.export.graph_view import GraphView, NodeView, Shape

LARGEST_FLOAT16 = 65504.0
SAFE_MEAN = 32.0
"""Inputs of this mean shall not overflow; feature maps and images in 0 to 1 stay below it."""

_FLOAT16 = onnx.TensorProto.FLOAT16
_SAME_NUMBERS = frozenset(
    "Concat Flatten Gather Identity Neg Pad Reshape Slice Split Squeeze Transpose Unsqueeze".split()
)
_SUMS = ("Add", "Sub", "Sum")
_UNSCALED = {
    "DiffersegRfft2": "backward", "DiffersegRfft": "backward", "DiffersegIrfft2": "forward",
    "DiffersegIrfft": "forward",
}  # fmt: skip
"""Nodes of ours to the norm with which they are plain sums."""


def overflowing_sums(view: GraphView) -> dict[int, float]:
    """Return the gain of float16 sums at every node where it passes the safe limit.

    A chain is reported once, at the first node beyond the limit.  The numbers are positions in
    ``view.nodes``; they are kept with the view, because reading large constants takes time.
    """
    if view.sums is None:
        view.sums = dict(_passing(view))
    return view.sums


@dataclass(frozen=True)
class _Chain:
    """Linear nodes up to one tensor.

    Attributes:
        gain: By how much they multiply a constant input.
        side: Which operand the last matrix was.
        gated: Whether a constant factor came after that matrix.
    """

    gain: float = 1.0
    side: int | None = None
    gated: bool = False


def _passing(view: GraphView) -> Iterator[tuple[int, float]]:
    chains: dict[str, _Chain] = {}
    limit = LARGEST_FLOAT16 / SAFE_MEAN
    for index, proto in enumerate(view.nodes):
        node = NodeView(proto, view)
        if not _is_float16(node):
            continue
        before = _carried(node, chains)
        gain = before.gain * _own_gain(node)
        for name in proto.output:
            chains[name] = replace(before, gain=gain)
        if before.gain <= limit < gain:
            yield index, gain


def _carried(node: NodeView, chains: dict[str, _Chain]) -> _Chain:
    """Return the chain that goes into a node, a new one where the linear nodes are broken."""
    op = node.proto.op_type
    found = [chains[name] for name in node.proto.input if name in chains]
    largest = max(found, key=lambda chain: chain.gain, default=_Chain())
    if op in _SUMS:
        total = sum(chain.gain for chain in found)
        return replace(largest, gain=total) if len(found) > 1 and largest.gain > 1 else largest
    if (op == "Mul" and node.is_fixed(0)) or (op in ("Mul", "Div") and node.is_fixed(1)):
        return replace(largest, gated=True)
    product = _product(node)
    if product is not None:
        # From the same side after a factor it is the way back of a transform, not its other axis.
        way_back = largest.gated and largest.side == product.side
        return _Chain(1.0 if way_back else largest.gain, product.side)
    linear = op in _SAME_NUMBERS or op in _UNSCALED or op in ("DFT", "ReduceSum")
    return largest if linear else _Chain()


def _own_gain(node: NodeView) -> float:
    """Return by how much a node multiplies a constant input, 1 where it does not matter."""
    op = node.proto.op_type
    if op in ("Mul", "Div"):
        return _factor(node)
    product = _product(node)
    if product is not None:
        sums = product.matrix.astype(np.float64).sum(product.axes)
        return max(1.0, float(np.abs(sums).max(initial=0.0)))
    shape = node.shape(0)
    if shape is None:
        return 1.0
    if op == "DFT":
        points = _extents(shape, [_transformed_axis(node)])
        length = node.constant(1)
        points = points if length is None else int(length.flat[0])
        return 1.0 / max(points, 1) if node.attribute("inverse", 0) else points
    if op == "ReduceSum":
        return _extents(shape, _summed_axes(node, len(shape)))
    if _UNSCALED.get(op) == node.attribute("norm", ""):
        return _extents(shape, [-2, -1] if op.endswith("2") else [node.attribute("axis", -1)])
    return 1.0


def _factor(node: NodeView) -> float:
    """Return the largest number by which a product or quotient with a constant scales."""
    divides = node.proto.op_type == "Div"
    values = node.constant(0 if node.is_fixed(0) and not divides else 1)
    if values is None or not values.size or values.dtype.kind != "f":
        return 1.0
    sizes = np.abs(values.astype(np.float64))
    if not divides:
        return float(sizes.max())
    return 1.0 / float(sizes.min()) if sizes.min() > 0 else 1.0


def _extents(shape: Shape, axes: Sequence[int]) -> int:
    """Return the number of points along these axes, as far as it is known."""
    extents = [shape[axis] for axis in axes if -len(shape) <= axis < len(shape)]
    return math.prod(extent for extent in extents if isinstance(extent, int))


def _transformed_axis(node: NodeView) -> int:
    if node.opset < 20:
        return int(node.attribute("axis", 1))
    axis = node.constant(2)
    return -2 if axis is None else int(axis.flat[0])


def _summed_axes(node: NodeView, rank: int) -> list[int]:
    axes = node.constant(1) if node.has_input(1) else np.asarray(node.attribute("axes", []))
    if axes is None:
        return []
    if not axes.size and not node.attribute("noop_with_empty_axes", 0):
        return list(range(rank))
    return [int(axis) for axis in axes]


@dataclass(frozen=True)
class _Product:
    """The constant factor of a product of two tensors: which operand, and the summed axes."""

    matrix: npt.NDArray[np.generic]
    side: int
    axes: tuple[int, ...]


def _product(node: NodeView) -> _Product | None:
    op = node.proto.op_type
    if op not in ("MatMul", "Gemm", "Einsum") or node.is_fixed(0) == node.is_fixed(1):
        return None
    side = 0 if node.is_fixed(0) else 1
    matrix = node.constant(side)
    if matrix is None or (op != "Einsum" and matrix.ndim < 2):
        return None
    if op == "MatMul":
        return _Product(matrix, side, (-1 if side == 0 else -2,))
    if op == "Gemm":
        turned = bool(node.attribute("transA" if side == 0 else "transB", 0))
        return _Product(matrix, side, (int((side == 0) != turned),))
    axes = _contracted(str(node.attribute("equation", "")), side, matrix.ndim)
    return None if axes is None else _Product(matrix, side, axes)


def _contracted(equation: str, operand: int, rank: int) -> tuple[int, ...] | None:
    """Return the axes of one operand that an Einsum of two sums over; None where it is not one."""
    terms, arrow, result = equation.replace(" ", "").partition("->")
    operands = terms.split(",")
    if len(operands) != 2 or "." in terms or len(operands[operand]) != rank:
        return None
    kept = result if arrow else {label for label in terms if terms.count(label) == 1}
    return tuple(axis for axis, label in enumerate(operands[operand]) if label not in kept)


def _is_float16(node: NodeView) -> bool:
    return any(node.dtype(index) == _FLOAT16 for index in range(len(node.proto.input)))
