"""Real matrices of discrete Fourier transforms, whole and in two stages; NumPy, float64.

Convention:
    A complex vector of N numbers is 2 N real rows, "parts first" (all real parts, then all
    imaginary ones) or "parts last" (real and imaginary part of each number in turn).
    ``sign`` -1 is the forward transform ``X[k] = sum_n x[n] exp(-2 pi i k n / N)``, +1 the inverse.
    ``power`` is the exponent of the norm: every matrix of a stage of N points is scaled by
    ``N ** -power``, so a transform has 0 (no scale), 0.5 ("ortho") or 1 in all, and no stage of an
    "ortho" transform brings a constant map closer to the limit of float16 than the result is.

Two stages (Cooley, Tukey 1965) with ``N = first * second``, ``n = second * n1 + n2`` and
``k = k1 + first * k2``::

    X[k] = sum_n2 exp(s n2 k2 / second) (exp(s n2 k1 / N) sum_n1 exp(s n1 k1 / first) x[n])

The twiddle in the middle is part of a matrix of its own for every k1 (or n2), so it costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
_NOISE = 1e-12
"""Below every sine of a whole turn divided by a length, above their rounding."""


def angles(products: npt.ArrayLike, length: int) -> Array:
    """Return ``2 pi products / length``, reduced to one turn while they are whole numbers."""
    return 2.0 * np.pi * (np.asarray(products, np.int64) % length) / length


def _cosines(turns: Array) -> Array:
    """Return cosines that are 0 where they should be.

    Bins that are their own conjugates then have an imaginary part of exactly 0 and a phase of
    exactly 0 or pi, as in PyTorch; one of 1e-7 would make pi and -pi of it, at random.
    """
    waves = np.cos(turns)
    return np.where(np.abs(waves) < _NOISE, 0.0, waves)


def _sines(turns: Array) -> Array:
    """Return sines that are 0 where they should be, see :func:`_cosines`."""
    waves = np.sin(turns)
    return np.where(np.abs(waves) < _NOISE, 0.0, waves)


def _outer(rows: npt.ArrayLike, columns: npt.ArrayLike) -> Indices:
    return np.multiply.outer(np.asarray(rows, np.int64), np.asarray(columns, np.int64))


def _waves(products: Indices, length: int, sign: int) -> Array:
    """Return ``exp(sign 2 pi i products / length)`` as real blocks ``(2, K, 2, N)``."""
    turns = angles(products, length)
    real, imaginary = _cosines(turns), sign * _sines(turns)
    return np.stack([np.stack([real, -imaginary], 1), np.stack([imaginary, real], 1)])


def _flat(blocks: Array, rows_parts_last: bool, columns_parts_last: bool) -> Array:
    """Return blocks ``(2, K, 2, N)`` as a matrix ``(2 K, 2 N)``."""
    if rows_parts_last:
        blocks = blocks.swapaxes(0, 1)
    if columns_parts_last:
        blocks = blocks.swapaxes(-2, -1)
    kept, taken = blocks.shape[0] * blocks.shape[1], blocks.shape[2] * blocks.shape[3]
    return np.ascontiguousarray(blocks.reshape(kept, taken))


@lru_cache(maxsize=16)
def complex_whole(
    length: int,
    sign: int,
    power: float,
    *,
    rows_parts_last: bool = False,
    columns_parts_last: bool = False,
) -> Array:
    """Return the transform of a complex vector in one stage, ``(2 N, 2 N)``."""
    index = np.arange(length)
    blocks = _waves(_outer(index, index), length, sign) * float(length) ** -power
    return _flat(blocks, rows_parts_last, columns_parts_last)


@lru_cache(maxsize=16)
def complex_slow_first(
    length: int, first: int, sign: int, power: float, *, rows_parts_last: bool = False
) -> tuple[Array, Array]:
    """Return two stages for a vector in its own order; the result comes in the order (k1, k2).

    Returns:
        ``(2 first, 2 first)`` from (part, n1) to (k1, part), then ``(first, 2 second, 2 second)``,
        a matrix for each k1, from (part, n2) to (part, k2), or to (k2, part) with parts last.
    """
    second = length // first
    n1, n2 = np.arange(first), np.arange(second)
    before = _flat(_waves(_outer(n1, n1), first, sign), True, False)
    after = [
        _flat(_waves(_outer(k1 + first * n2, n2), length, sign), rows_parts_last, False)
        for k1 in n1
    ]
    return before * float(first) ** -power, np.stack(after) * float(second) ** -power


@lru_cache(maxsize=16)
def complex_fast_first(length: int, first: int, sign: int, power: float) -> tuple[Array, Array]:
    """Return two stages for a vector in the order (n2, n1), parts last; the result is in order.

    Returns:
        ``(second, 2 first, 2 first)``, a matrix for each n2, from (n1, part) to (part, k1), then
        ``(2 second, 2 second)`` from (n2, part) to (part, k2), k1 being the faster digit of k.
    """
    second = length // first
    n1, n2 = np.arange(first), np.arange(second)
    before = [
        _flat(_waves(_outer(n1, second * n1 + offset), length, sign), False, True) for offset in n2
    ]
    after = _flat(_waves(_outer(n2, n2), second, sign), False, True)
    return np.stack(before) * float(first) ** -power, after * float(second) ** -power


@lru_cache(maxsize=16)
def real_whole(length: int, power: float) -> Array:
    """Return the one-sided forward transform of a real vector, ``(N, 2 (N // 2 + 1))``.

    Rows are n, columns (part, k): the vector is multiplied from the left.
    """
    turns = angles(_outer(np.arange(length), np.arange(length // 2 + 1)), length)
    return np.concatenate([_cosines(turns), -_sines(turns)], 1) * float(length) ** -power


@lru_cache(maxsize=16)
def to_real_whole(length: int, power: float) -> Array:
    """Return the inverse of a one-sided spectrum, ``(2 (N // 2 + 1), N)``.

    Rows are (part, k), columns n.  The imaginary parts of bins 0 and N / 2 have weight 0.
    """
    bins = np.arange(length // 2 + 1)
    turns = angles(_outer(bins, np.arange(length)), length)
    weights = _bin_weights(bins, length)[:, None] * float(length) ** -power
    imaginary = -_sines(turns) * weights
    imaginary[_alone(bins, length)] = 0.0
    return np.concatenate([_cosines(turns) * weights, imaginary], 0)


def _alone(bins: Indices, length: int) -> npt.NDArray[np.bool_]:
    """Whether a bin is its own conjugate."""
    return (bins == 0) | (2 * bins == length)


def _bin_weights(bins: Indices, length: int) -> Array:
    """Return how often a one-sided bin occurs in the whole spectrum."""
    return np.where(_alone(bins, length), 1.0, 2.0)


@dataclass(frozen=True)
class RealStages:
    """Two stages of a real vector's transform that compute every one-sided bin once.

    A real vector's n1 sums for k1 and ``first - k1`` are conjugates, so only half of them are
    computed; the second stage finds the bins beyond N / 2 as conjugates of those that are wanted.
    The sums for k1 = 0 and k1 = first / 2 are real and share one group as if they were the parts of
    one complex number.

    Attributes:
        before: ``(2 groups, first)`` from n1 to (group, part).
        after: ``(groups, rows, 2 second)``, a matrix for each group, from (part, n2) to the rows
            of ``part`` and ``bins``.
        part: ``(groups, rows)`` whether a row is a real (0) or an imaginary (1) part; -1 for a row
            that is always 0.
        bins: ``(groups, rows)`` the one-sided bin of each row.
    """

    before: Array
    after: Array
    part: Indices
    bins: Indices


@lru_cache(maxsize=16)
def real_stages(length: int, first: int) -> RealStages:
    """Return the two stages without their norm; see :class:`RealStages`."""
    second, groups = length // first, (first + 1) // 2
    before = _waves(_outer(np.arange(groups), np.arange(first)), first, -1)[:, :, 0]
    before = before.swapaxes(0, 1).copy()  # (groups, 2, first)
    before[0, 1] = 0.0 if first % 2 else _cosines(angles(np.arange(first) * (first // 2), first))
    after = np.zeros((groups, 2 * second, 2, second))
    part = np.full((groups, 2 * second), -1, np.int64)
    bins = np.zeros_like(part)
    for group in range(groups):
        rows = _shared_rows(length, first) if group == 0 else _complex_rows(length, first, group)
        for row, (which, bin_, weights) in enumerate(rows):
            part[group, row], bins[group, row], after[group, row] = which, bin_, weights
    shape = (groups, 2 * second, 2 * second)
    return RealStages(before.reshape(2 * groups, first), after.reshape(shape), part, bins)


_Rows = list[tuple[int, int, Array]]
"""Part, bin and weights ``(2, second)`` of each row of a group."""


def _complex_rows(length: int, first: int, k1: int) -> _Rows:
    """Return the rows of a group whose two parts are those of a complex number."""
    rows: _Rows = []
    for k in range(k1, length, first):
        turns = angles(np.arange(length // first) * k, length)
        cosines, sines = _cosines(turns), _sines(turns)
        beyond = 2 * k > length
        imaginary = np.stack([sines, -cosines] if beyond else [-sines, cosines])
        rows.append((0, min(k, length - k), np.stack([cosines, sines])))
        rows.append((1, min(k, length - k), imaginary))
    return rows


def _shared_rows(length: int, first: int) -> _Rows:
    """Return the rows of the group of k1 = 0 and, for even ``first``, of k1 = first / 2."""
    rows: _Rows = []
    second = length // first
    starts = (0,) if first % 2 else (0, first // 2)
    for vector, start in enumerate(starts):
        for k in range(start, length // 2 + 1, first):
            turns = angles(np.arange(second) * k, length)
            for which, wave in ((0, _cosines(turns)), (1, -_sines(turns))):
                if which == 0 or 0 < 2 * k < length:
                    weights = np.zeros((2, second))
                    weights[vector] = wave
                    rows.append((which, k, weights))
    return rows


@lru_cache(maxsize=16)
def real_to_bins(length: int, first: int, power: float) -> tuple[Array, Array, Indices]:
    """Return the stages of a real vector's one-sided transform.

    Returns:
        ``(2 groups, first)`` from n1 to (group, part); ``(groups, rows, 2 second)`` from (part, n2)
        to rows, the last of which is 0; and which of the ``groups * rows`` rows are (part, k).
    """
    stages = real_stages(length, first)
    second, groups = length // first, len(stages.after)
    after = np.concatenate([stages.after, np.zeros((groups, 1, 2 * second))], 1)
    rows = np.full((2, length // 2 + 1), 2 * second, np.int64)  # the imaginary parts that are 0
    group, row = np.nonzero(stages.part >= 0)
    rows[stages.part[group, row], stages.bins[group, row]] = group * after.shape[1] + row
    scaled = stages.before * float(first) ** -power, after * float(second) ** -power
    return *scaled, rows.reshape(-1)


@lru_cache(maxsize=16)
def bins_to_real(length: int, first: int, power: float) -> tuple[Indices, Array, Array]:
    """Return the stages of a one-sided spectrum's inverse, which mirror :func:`real_to_bins`.

    Returns:
        Which row of (part, k) each of ``groups * rows`` rows is; ``(groups, 2 second, rows)`` from
        rows to (part, n2); ``(first, 2 groups)`` from (group, part) to n1.
    """
    stages = real_stages(length, first)
    second, bins = length // first, length // 2 + 1
    rows = np.maximum(stages.part, 0) * bins + stages.bins
    weights = _bin_weights(stages.bins, length)[:, :, None] * float(second) ** -power
    after = np.ascontiguousarray((stages.after * weights).swapaxes(1, 2))
    before = np.ascontiguousarray(stages.before.T) * float(first) ** -power
    return rows.reshape(-1), after, before
