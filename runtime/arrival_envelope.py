"""A camera's clock against this machine's, from when its frames arrive.

A frame arrives after it was stamped, by a transport delay that has a least value and no largest
one.  So arrival minus stamp is never below a line: its slope is the drift between the two clocks,
its height their offset plus the least delay.  The line is the lower bound of all points that is
closest to them in sum, which is the edge of their lower convex hull over the mean time (Moon,
Skelly and Towsley, "Estimation and removal of clock skew from network delay measurements", 1999;
Zhang, Liu and Xia, "Clock synchronization algorithms for network measurements", 2002).
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections import deque

BLOCK_S = 1.0
"""Of each block of this length, the frame that was least late counts."""

BLOCKS = 60
"""Blocks that are remembered."""

MIN_BLOCKS = 8
"""Blocks before the line is given."""

MAX_DRIFT = 5e-4
"""Steepest line, 500 ppm: quartz is within 100 ppm, poor oscillators within some hundreds."""

STEP_S = 0.1
"""A frame this much earlier than the line, or blocks this much later, are another clock."""

_LATE_BLOCKS = 3

Point = tuple[float, float]


class ArrivalEnvelope:
    """The lower envelope of one stream's lateness (arrival minus stamp), over the last minute."""

    def __init__(self) -> None:
        self._blocks: deque[Point] = deque(maxlen=BLOCKS)
        self._current: Point | None = None
        self._block_ends_s = 0.0
        self._line: tuple[float, float, float] | None = None
        self._spread_s = 0.0

    def add(self, stamp_s: float, arrival_s: float) -> None:
        """Take one frame.

        Args:
            stamp_s: On the camera's clock.
            arrival_s: On this machine's monotonic clock.
        """
        lateness_s = arrival_s - stamp_s
        line = self.at(arrival_s)
        if line is not None and lateness_s < line - STEP_S:
            self.restart()
        if self._current is None:
            self._block_ends_s = arrival_s + BLOCK_S
            self._current = (arrival_s, lateness_s)
        elif arrival_s >= self._block_ends_s or arrival_s < self._current[0]:
            self._close_block()
            self._block_ends_s = arrival_s + BLOCK_S
            self._current = (arrival_s, lateness_s)
        elif lateness_s < self._current[1]:
            self._current = (arrival_s, lateness_s)

    def restart(self) -> None:
        """Forget all: the clock is another one."""
        self._blocks.clear()
        self._current = self._line = None

    @property
    def drift(self) -> float:
        """Growth of the lateness, seconds per second; 0 while unknown."""
        return self._line[2] if self._line else 0.0

    @property
    def uncertainty_s(self) -> float:
        """How far the least lateness of a block usually lies above the line; infinite at first."""
        return self._spread_s if self._line else math.inf

    @property
    def missing_s(self) -> float:
        """How much longer it must be watched before there is a line."""
        return 0.0 if self._line else BLOCK_S * max(1, MIN_BLOCKS - len(self._blocks))

    def at(self, arrival_s: float) -> float | None:
        """Return the least lateness in seconds at a time of arrival; None while unknown."""
        if self._line is None:
            return None
        time_s, height_s, slope = self._line
        return height_s + slope * (arrival_s - time_s)

    def _close_block(self) -> None:
        assert self._current is not None
        self._blocks.append(self._current)
        late = list(self._blocks)[-_LATE_BLOCKS:]
        if self._line is not None and all(y > (self.at(x) or 0.0) + STEP_S for x, y in late):
            self._blocks.clear()
            self._blocks.extend(late)
            self._line = None
        if len(self._blocks) >= MIN_BLOCKS:
            self._line = lower_line(list(self._blocks))
            self._spread_s = statistics.median(y - (self.at(x) or 0.0) for x, y in self._blocks)


def lower_line(points: list[Point]) -> tuple[float, float, float]:
    """Return the line below all points that is closest to them in sum.

    Args:
        points: (x, y) in rising order of x, at least one.

    Returns:
        x0, height at x0, and slope, which is at most ``MAX_DRIFT`` steep.
    """
    middle = statistics.fmean(x for x, _ in points)
    hull: list[Point] = []
    for point in points:
        while len(hull) > 1 and _turns_up(hull[-2], hull[-1], point):
            hull.pop()
        hull.append(point)
    slope = 0.0
    for left, right in itertools.pairwise(hull):
        if left[0] <= middle <= right[0] and right[0] > left[0]:
            slope = (right[1] - left[1]) / (right[0] - left[0])
            break
    slope = min(max(slope, -MAX_DRIFT), MAX_DRIFT)
    return middle, min(y - slope * (x - middle) for x, y in points), slope


def _turns_up(a: Point, b: Point, c: Point) -> bool:
    """Whether b lies on or above the line from a to c, and so is no corner of the lower hull."""
    return (b[1] - a[1]) * (c[0] - a[0]) >= (c[1] - a[1]) * (b[0] - a[0])
