"""S-measure: structural similarity of the object and of four regions around its centroid.

Fan et al., "Structure-measure: A New Way to Evaluate Foreground Maps", ICCV 2017, with alpha = 0.5.

Convention: of PySODMetrics.  The centroid is rounded half to even, and its row and column belong to
the upper and the left regions.  A region without pixels has no weight; PySODMetrics gives NaN for
such an image (an object in the last row or column).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from differseg.metrics.pair import Pair

_EPS = float(np.spacing(1))

Values = npt.NDArray[np.floating]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class _Moments:
    """Count and mean of some values, and the sum of their squares about it."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    @classmethod
    def of(cls, values: Values, mask: Mask) -> _Moments:
        """Take the values under a mask."""
        count = int(np.count_nonzero(mask))
        if not count:
            return cls()
        chosen = mask.view(np.uint8)
        means, deviations = cv2.meanStdDev(values, mask=chosen)
        mean, squares = float(means[0, 0]), count * float(deviations[0, 0]) ** 2
        if squares < 1e-6 * count * mean * mean:  # rounded away in a difference of sums
            squares = cv2.norm(values - mean, cv2.NORM_L2SQR, mask=chosen)
        return cls(count, mean, squares)

    def __add__(self, other: _Moments) -> _Moments:
        if not self.count or not other.count:
            return self if self.count else other
        count, step = self.count + other.count, other.mean - self.mean
        share = other.count / count
        between = self.count * share * step * step
        return _Moments(count, self.mean + share * step, self.squares + other.squares + between)

    @property
    def deviation(self) -> float:
        """Standard deviation of a sample; 0 of a single value."""
        return math.sqrt(self.squares / (self.count - 1)) if self.count > 1 else 0.0


def s_measure(pair: Pair) -> float:
    """Return the S-measure of one image with at least one pixel that counts, 0..1."""
    if not pair.foreground:
        return 1 - float(pair.flat_prediction.mean())
    if pair.foreground == pair.pixels:
        return float(pair.flat_prediction.mean())
    inside, outside, of_regions = _Moments(), _Moments(), 0.0
    prediction = pair.prediction.astype(np.float64, copy=False)
    for region in _regions(pair.label):
        values, label = prediction[region], pair.label[region]
        other = ~label if pair.valid is None else ~label & pair.valid[region]
        here, there = _Moments.of(values, label), _Moments.of(values, other)
        pixels = here.count + there.count
        if here.count and there.count:
            of_regions += pixels * _similarity(here, there)
        elif pixels:
            known = label if here.count else other
            of_regions += pixels * _similarity_to_constant(pair.prediction[region], known)
        inside, outside = inside + here, outside + there
    share = pair.foreground / pair.pixels
    of_object = share * _closeness(inside.mean, inside.deviation)
    of_object += (1 - share) * _closeness(1 - outside.mean, outside.deviation)
    return max(0.0, 0.5 * of_object + 0.5 * of_regions / pair.pixels)


def _regions(label: Mask) -> Iterator[tuple[slice, slice]]:
    """Yield the four regions that have pixels, around the mean foreground pixel."""
    counts = [np.count_nonzero(label, axis=axis) for axis in (1, 0)]
    y, x = (int(np.round((np.arange(len(n)) * n).sum() / n.sum())) + 1 for n in counts)
    for rows in (slice(0, y), slice(y, None)):
        for columns in (slice(0, x), slice(x, None)):
            if label[rows, columns].size:
                yield rows, columns


def _closeness(mean: float, deviation: float) -> float:
    """How near values are to 1 all over: 0..1."""
    return 2 * mean / (mean * mean + 1 + deviation + _EPS)


def _similarity(inside: _Moments, outside: _Moments) -> float:
    """SSIM of a region without the constants that steady it: ``4 x y s_xy / (x2 + y2)(sx + sy)``.

    With x the prediction, y the label, whose variance and covariance follow from the counts.
    """
    both = inside + outside
    x, y = both.mean, inside.count / both.count
    between = inside.count * (1 - y)  # the label's squares
    numerator = 4 * x * y * between * (inside.mean - outside.mean)
    denominator = (x * x + y * y) * (both.squares + between)
    return numerator / (denominator + (both.count - 1) * _EPS)


def _similarity_to_constant(values: Values, known: Mask) -> float:
    """SSIM of a region that the label fills, or does not touch: 1 of constant values, else 0.

    The squares are summed as PySODMetrics sums them: a constant whose mean is rounded is constant
    to neither.
    """
    if not known.all():
        values = values[known]
    return float(np.sum((values - values.mean()) ** 2) == 0)
