"""Local similarity as products of slices of the map, one for every two opposite neighbours.

What a pixel is to its right neighbour, that neighbour is to its left one: half the sums over the
channels do, each over the pixels that have the neighbour, and a Pad puts it in both places.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from differseg.export.lowering.framework import Builder, Call, Lowering
from differseg.ops.similarity import SMALLEST_NORM

_SMALLEST_NORMAL_HALF = 2.0**-14
"""The smallest float16 that no hardware rounds to zero."""

_SMALLEST_SCALED_NORM = 2.0**-10
"""Norm of the smallest float16 beside ``_SMALLEST_NORMAL_HALF``."""


class LowerLocalSimilarity(Lowering):
    """``(N, C, H, W)`` to the cosine with every neighbour, ``(N, k * k - 1, H, W)``."""

    op_type = "DiffersegLocalSimilarity"

    def rewrite(self, op: Builder, call: Call) -> ir.Value:
        """Append norms, a sum of products for half the neighbours, and their places."""
        x, size, dilation = call.inputs[0], call.number("kernel_size"), call.number("dilation")
        _, height, width = call.sizes()
        smallest = SMALLEST_NORM
        if call.dtype == np.float16:
            x, smallest = _scaled(op, x), _SMALLEST_SCALED_NORM
        axes = op.ints([1], "channels")
        # ReduceL2 over the channels is four times slower in ONNX Runtime than this.
        lengths = op.Sqrt(op.ReduceSum(op.Mul(x, x), axes, keepdims=1))
        norms = op.Max(lengths, op.constant(smallest, "smallest_norm", call.dtype))  # (N, 1, H, W)
        half = size * size // 2
        maps: list[ir.Value] = []
        opposite: list[ir.Value] = []
        for tap in range(half):
            row, column = divmod(tap, size)
            up, right = (size // 2 - row) * dilation, (column - size // 2) * dilation
            if up >= height or abs(right) >= width:
                nothing = op.Mul(norms, op.constant(0.0, "zero", call.dtype))
                maps.append(nothing)
                opposite.append(nothing)
                continue
            own, other = _overlap(up, right, height, width)
            pixels, neighbours = (_cut(op, x, spans) for spans in (own, other))
            dots = op.ReduceSum(op.Mul(pixels, neighbours), axes, keepdims=1)
            # One after the other: the product of two small norms is no float16.
            cosines = op.Div(op.Div(dots, _cut(op, norms, own)), _cut(op, norms, other))
            maps.append(_placed(op, cosines, own, (height, width)))
            opposite.append(_placed(op, cosines, other, (height, width)))
        result: ir.Value = op.Concat(*maps, *opposite[::-1], axis=1)
        return result


_Spans = tuple[tuple[int, int], tuple[int, int]]


def _scaled(op: Builder, x: ir.Value) -> ir.Value:
    """Divide every pixel by its largest value: squares and their sum stay far from overflow."""
    largest = op.ReduceMax(op.Abs(x), op.ints([1], "channels"), keepdims=1)
    smallest = op.constant(_SMALLEST_NORMAL_HALF, "smallest", np.float16)
    result: ir.Value = op.Div(x, op.Max(largest, smallest))
    return result


def _overlap(up: int, right: int, height: int, width: int) -> tuple[_Spans, _Spans]:
    """Return rows and columns of the pixels that have this neighbour, and of those neighbours."""
    own = (up, height), (max(0, -right), width - max(0, right))
    other = (0, height - up), (max(0, right), width + min(0, right))
    return own, other


def _cut(op: Builder, x: ir.Value, spans: _Spans) -> ir.Value:
    starts, ends = zip(*spans, strict=True)
    result: ir.Value = op.Slice(
        x, op.ints(starts, "starts"), op.ints(ends, "ends"), op.ints([2, 3], "axes")
    )
    return result


def _placed(op: Builder, cosines: ir.Value, spans: _Spans, size: tuple[int, int]) -> ir.Value:
    """Put zeros around what was cut out at ``spans``."""
    (top, bottom), (left, right) = spans
    pads = op.ints([0, 0, top, left, 0, 0, size[0] - bottom, size[1] - right], "pads")
    result: ir.Value = op.Pad(cosines, pads)
    return result
