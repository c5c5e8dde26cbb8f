"""Find sums in float16 that overflow although every single number is small.

The mean of a map, times the number of its points, is the first bin of an un-normalised Fourier
transform: 96 x 128 points of mean 10 sum to 122880, and float16 ends at 65504.  A product with a
constant matrix multiplies a constant input by the sum of the matrix' rows, its gain; chains of
products, as a transform in stages is, multiply their gains.  With norm "ortho" the gain is the
square root of the number of points, and harmless.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import onnx

from differseg.export.graph_view import GraphView, NodeView

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


def _passing(view: GraphView) -> Iterator[tuple[int, float]]:
    gains: dict[str, float] = {}
    limit = LARGEST_FLOAT16 / SAFE_MEAN
    for index, proto in enumerate(view.nodes):
        node = NodeView(proto, view)
        if not _is_float16(node):
            continue
        before = _carried(node, gains)
        gain = before * _own_gain(node)
        for name in proto.output:
            gains[name] = gain
        if before <= limit < gain:
            yield index, gain


def _carried(node: NodeView, gains: dict[str, float]) -> float:
    """Return the gain of what goes into a node, 1 where the chain of linear nodes is broken."""
    found = [gains[name] for name in node.proto.input if name in gains]
    if node.proto.op_type in _SUMS:
        return sum(found) if len(found) > 1 and max(found) > 1 else max(found, default=1.0)
    if node.proto.op_type in _SAME_NUMBERS or _matrix(node) is not None:
        return max(found, default=1.0)
    return 1.0


def _own_gain(node: NodeView) -> float:
    """Return by how much a node multiplies a constant input, 1 where it does not matter."""
    matrix = _matrix(node)
    if matrix is not None:
        axis = -1 if node.is_constant(0) else -2
        return max(1.0, float(np.abs(matrix.astype(np.float64).sum(axis)).max(initial=0.0)))
    shape = node.shape(0)
    if _UNSCALED.get(node.proto.op_type) == node.attribute("norm", "") and shape is not None:
        axes = [-2, -1] if node.proto.op_type.endswith("2") else [int(node.attribute("axis", -1))]
        extents = [shape[axis] for axis in axes]
        return math.prod(extent for extent in extents if isinstance(extent, int))
    return 1.0


def _matrix(node: NodeView) -> npt.NDArray[np.generic] | None:
    """Return the constant operand of a product of matrices."""
    if node.proto.op_type != "MatMul" or node.is_constant(0) == node.is_constant(1):
        return None
    matrix = node.constant(0 if node.is_constant(0) else 1)
    return matrix if matrix is not None and matrix.ndim >= 2 else None


def _is_float16(node: NodeView) -> bool:
    return any(node.dtype(index) == _FLOAT16 for index in range(len(node.proto.input)))
