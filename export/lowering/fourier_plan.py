"""Which standard operators compute a Fourier transform: plans of matrix products and moves.

An axis of N points is transformed by one product with a matrix of N x N numbers ("whole"), or, for
``N = first x second``, by two much smaller products and a permutation of rows ("stages"), see
:mod:`differseg.export.lowering.fourier_matrices`.  Which is faster is estimated for each axis by
:mod:`differseg.export.lowering.fourier_cost`, for a batch of 1; a prime length has one way only.

Stages need their axis to be that of the rows, in front of the contiguous one.  The W axis gets
there by a transposition of every plane, and back by another: what comes back, ``(h, (part, k))``,
is exactly what a product from the right gives, so that the H axis follows in one way.

Measured in ONNX Runtime (``benchmarks/fourier.py``, ``benchmarks/fourier_model.py``): two 2-axis
transforms with a gate between take 1.3 to 1.6 times as long as ``torch.fft``, whole matrices 2 to 3
times, the DFT operator 50 times.  Slower than what is here: one Transpose of three axes (10 times
a transposition of planes and a gathering of rows), interleaving by Transpose with more than one
thread, slices with a step, gathering columns, and dilated or grouped convolutions as stages.

Convention: as :mod:`differseg.ops.fourier`; a plan takes and gives the operator's own shapes, with
any batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from differseg.export.lowering import fourier_matrices as matrices
from differseg.export.lowering.fourier_steps import (
    Indices,
    Plan,
    Product,
    Reshape,
    Shape,
    Steps,
    Take,
    Transpose,
    cost_ns,
)

_CACHED = 64
_POWERS = {
    -1: {"backward": 0.0, "ortho": 0.5, "forward": 1.0},
    +1: {"backward": 1.0, "ortho": 0.5, "forward": 0.0},
}
"""Sign of a transform to its norm to the exponent of 1/N."""


@dataclass(frozen=True)
class Axis:
    """An axis, and the ways to transform it.

    Attributes:
        name: "H" or "W".
        length: Its extent, of real numbers if one side is real.
        ways: The steps for a number of points of the first stage, None for one product.
        shape: Of the steps' operand, for a batch of 1.
    """

    name: str
    length: int
    ways: Callable[[int | None], Steps]
    shape: Shape

    def estimates_ns(self) -> dict[int | None, float]:
        """Return the estimated time of every way."""
        firsts = (n for n in range(2, self.length // 2 + 1) if self.length % n == 0)
        return {first: cost_ns(self.ways(first), self.shape) for first in (None, *firsts)}

    def label(self, first: int | None) -> str:
        """Return the name of a way: "whole" or "16 x 20"."""
        return "whole" if first is None else f"{first} x {self.length // first}"


Choose = Callable[[Axis], int | None]
"""Returns the way to transform an axis."""


def cheapest(axis: Axis) -> int | None:
    """Choose the way with the lowest estimate, the first of equal ones."""
    times_ns = axis.estimates_ns()
    return min(times_ns, key=lambda first: times_ns[first])


def _plan(axes: list[Axis], choose: Choose, end: Reshape | None = None) -> Plan:
    steps: Steps = ()
    choices = []
    for axis in axes:
        first = choose(axis)
        steps += axis.ways(first)
        choices.append(f"{axis.name} {axis.label(first)}")
    if end is not None:
        steps = (*steps, end)
    reason = f"estimated: {'; '.join(map(_estimates, axes))}"
    return Plan(steps, ", ".join(choices), reason)


def _estimates(axis: Axis) -> str:
    """Return the estimates of one product and of the best pair of stages, in words."""
    times_ns = axis.estimates_ns()
    words = [f"{axis.name} whole {times_ns.pop(None) / 1e6:.2f} ms"]
    if times_ns:
        first = min(times_ns, key=lambda first: times_ns[first])
        words.append(f"{axis.label(first)} {times_ns[first] / 1e6:.2f} ms")
    return ", ".join(words)


@lru_cache(_CACHED)
def rfft2_plan(
    channels: int, size_hw: tuple[int, int], norm: str, choose: Choose = cheapest
) -> Plan:
    """Plan ``(N, C, H, W)`` to ``(N, C, 2, H, W // 2 + 1)``: the real W axis first, then H."""
    height, width = size_hw
    bins, power = width // 2 + 1, _POWERS[-1][norm]

    def along_w(first: int | None) -> Steps:
        if first is None:
            return (Product(matrices.real_whole(width, power), left=False),)
        return (Transpose(), *_real_rows(width, first, height, power), Transpose())

    def along_h(first: int | None) -> Steps:
        if first is None:
            matrix = matrices.complex_whole(height, -1, power, columns_parts_last=True)
            return (Reshape((-1, 2 * height, bins)), Product(matrix))
        second = height // first
        before, after = matrices.complex_fast_first(height, first, -1, power)
        return (
            Take(_digits_swapped(first, second)),
            Reshape((-1, second, 2 * first, bins)),
            Product(before),
            Reshape((-1, 2 * second, first * bins)),
            Product(after),
        )

    w_axis = Axis("W", width, along_w, (channels, height, width))
    h_axis = Axis("H", height, along_h, (channels, height, 2 * bins))
    return _plan([w_axis, h_axis], choose, Reshape((-1, channels, 2, height, bins)))


@lru_cache(_CACHED)
def irfft2_plan(
    channels: int, size_hw: tuple[int, int], norm: str, choose: Choose = cheapest
) -> Plan:
    """Plan ``(N, C, 2, H, W // 2 + 1)`` to ``(N, C, H, W)``: the H axis first, then the real W."""
    height, width = size_hw
    bins, power = width // 2 + 1, _POWERS[+1][norm]

    def along_h(first: int | None) -> Steps:
        if first is None:
            matrix = matrices.complex_whole(height, +1, power, rows_parts_last=True)
            return (Reshape((-1, 2 * height, bins)), Product(matrix))
        second = height // first
        before, after = matrices.complex_slow_first(height, first, +1, power, rows_parts_last=True)
        return (
            Reshape((-1, 2 * first, second * bins)),
            Product(before),
            Reshape((-1, first, 2 * second, bins)),
            Product(after),
            Reshape((-1, height, 2 * bins)),
            Take(_digits_swapped(first, second)),
        )

    def along_w(first: int | None) -> Steps:
        if first is None:
            whole = Product(matrices.to_real_whole(width, power), left=False)
            return (Reshape((-1, channels, height, 2 * bins)), whole)
        return (
            Reshape((-1, height, 2 * bins)),
            Transpose(),
            *_rows_to_real(width, first, height, power),
            Reshape((-1, channels, width, height)),
            Transpose(),
        )

    h_axis = Axis("H", height, along_h, (channels, 2, height, bins))
    w_axis = Axis("W", width, along_w, (channels, height, 2 * bins))
    return _plan([h_axis, w_axis], choose)


@lru_cache(_CACHED)
def rfft_plan(
    channels: int, size_hw: tuple[int, int], axis: int, norm: str, choose: Choose = cheapest
) -> Plan:
    """Plan ``(N, C, H, W)`` to ``(N, C, 2, H, W // 2 + 1)``, or ``(N, C, 2, H // 2 + 1, W)``."""
    height, width = size_hw
    length, other = size_hw[axis], size_hw[-3 - axis]  # -1 and -2 add up to -3
    bins, power = length // 2 + 1, _POWERS[-1][norm]

    def rows(first: int | None) -> Steps:
        return _real_rows(length, first, other, power)

    def along_w(first: int | None) -> Steps:
        if first is None:
            parts = matrices.real_whole(width, power).reshape(width, 2, bins).swapaxes(0, 1)
            return (Reshape((-1, channels, 1, height, width)), Product(parts, left=False))
        back = Reshape((-1, channels, 2, bins, height))
        return (Transpose(), *rows(first), back, Transpose())

    shape = (channels, height, width)
    if axis == -2:
        return _plan(
            [Axis("H", height, rows, shape)], choose, Reshape((-1, channels, 2, bins, width))
        )
    return _plan([Axis("W", width, along_w, shape)], choose)


@lru_cache(_CACHED)
def irfft_plan(
    channels: int, size_hw: tuple[int, int], axis: int, norm: str, choose: Choose = cheapest
) -> Plan:
    """Plan the inverse of :func:`rfft_plan`; ``size_hw`` is the size of the real result."""
    height, width = size_hw
    length, other = size_hw[axis], size_hw[-3 - axis]  # -1 and -2 add up to -3
    bins, power = length // 2 + 1, _POWERS[+1][norm]

    def rows(first: int | None) -> Steps:
        return (Reshape((-1, 2 * bins, other)), *_rows_to_real(length, first, other, power))

    def along_w(first: int | None) -> Steps:
        if first is None:
            return (
                Reshape((-1, 2 * height, bins)),
                Take(_digits_swapped(2, height)),
                Reshape((-1, channels, height, 2 * bins)),
                Product(matrices.to_real_whole(width, power), left=False),
            )
        back = Reshape((-1, channels, width, height))
        return (Transpose(), *rows(first), back, Transpose())

    if axis == -2:
        h_axis = Axis("H", height, rows, (channels, 2, bins, width))
        return _plan([h_axis], choose, Reshape((-1, channels, height, width)))
    return _plan([Axis("W", width, along_w, (channels, 2, height, bins))], choose)


@lru_cache(_CACHED)
def fft_plan(
    channels: int,
    size_hw: tuple[int, int],
    axis: int,
    inverse: bool,
    norm: str,
    choose: Choose = cheapest,
) -> Plan:
    """Plan ``(N, C, 2, H, W)`` to the same shape: a complex transform along one axis."""
    height, width = size_hw
    length, other = size_hw[axis], size_hw[-3 - axis]  # -1 and -2 add up to -3
    sign = +1 if inverse else -1
    power = _POWERS[sign][norm]

    def rows(first: int | None) -> Steps:
        if first is None:
            matrix = matrices.complex_whole(length, sign, power)
            return (Reshape((-1, 2 * length, other)), Product(matrix))
        second = length // first
        before, after = matrices.complex_slow_first(length, first, sign, power)
        order = np.arange(2 * length).reshape(first, 2, second).transpose(1, 2, 0)
        return (
            Reshape((-1, 2 * first, second * other)),
            Product(before),
            Reshape((-1, first, 2 * second, other)),
            Product(after),
            Reshape((-1, 2 * length, other)),
            Take(order.reshape(-1)),
        )

    def along_w(first: int | None) -> Steps:
        return (Transpose(), *rows(first), Reshape((-1, channels, 2, width, height)), Transpose())

    shape = (channels, 2, height, width)
    if axis == -2:
        return _plan(
            [Axis("H", height, rows, shape)], choose, Reshape((-1, channels, 2, height, width))
        )
    return _plan([Axis("W", width, along_w, shape)], choose)


def _real_rows(length: int, first: int | None, columns: int, power: float) -> Steps:
    """Transform real rows ``(planes, N, columns)`` to ``(planes, (part, k), columns)``."""
    if first is None:
        return (Product(matrices.real_whole(length, power).T),)
    before, after, rows = matrices.real_to_bins(length, first, power)
    groups, height, width = after.shape
    return (
        Reshape((-1, first, length // first * columns)),
        Product(before),
        Reshape((-1, groups, width, columns)),
        Product(after),
        Reshape((-1, groups * height, columns)),
        Take(rows),
    )


def _rows_to_real(length: int, first: int | None, columns: int, power: float) -> Steps:
    """Transform ``(planes, (part, k), columns)`` to ``(planes, N, columns)``, or a view of it."""
    if first is None:
        return (Product(matrices.to_real_whole(length, power).T),)
    rows, before, after = matrices.bins_to_real(length, first, power)
    groups, height, width = before.shape
    return (
        Reshape((-1, 2 * (length // 2 + 1), columns)),
        Take(rows),
        Reshape((-1, groups, width, columns)),
        Product(before),
        Reshape((-1, 2 * groups, height // 2 * columns)),
        Product(after),
    )


def _digits_swapped(first: int, second: int) -> Indices:
    """Return the order in which a number's fast digit (of ``second``) becomes the slow one."""
    return np.arange(first * second).reshape(first, second).T.reshape(-1)
