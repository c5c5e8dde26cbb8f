"""Percentiles of durations in a fixed amount of memory, for runs that last a week."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter

_LEAST_MS = 1e-3
_RATIO = 1.02
_BINS = 1 + math.ceil(math.log(1e6 / _LEAST_MS) / math.log(_RATIO))


@dataclass(frozen=True)
class Percentiles:
    """What is reported of many values, in milliseconds.

    Attributes:
        p50: Median.
        p95: 95th percentile.
        max: Largest value.
        count: Number of values.
    """

    p50: float
    p95: float
    max: float
    count: int


class Histogram:
    """Counts of non-negative values in bins that are 2 % wide, from 1 microsecond to 1000 s.

    A percentile is exact within 1 %, and never above the largest value seen.
    """

    def __init__(self) -> None:
        self.count = 0
        self.max_ms = 0.0
        self._bins = [0] * _BINS

    def add(self, value_ms: float) -> None:
        """Count one value in milliseconds; NaN is ignored."""
        if value_ms != value_ms:
            return
        value_ms = max(0.0, value_ms)
        self.count += 1
        self.max_ms = max(self.max_ms, value_ms)
        place = math.log(max(value_ms, _LEAST_MS) / _LEAST_MS) / math.log(_RATIO)
        self._bins[min(int(place), _BINS - 1)] += 1

    def percentile(self, percent: float) -> float:
        """Return a percentile in milliseconds; 0 where nothing was counted."""
        rank = percent / 100.0 * self.count
        seen = 0
        for place, number in enumerate(self._bins):
            seen += number
            if number and seen >= rank:
                return min(_LEAST_MS * _RATIO ** (place + 0.5), self.max_ms)
        return 0.0

    def summary(self) -> Percentiles:
        """Return the figures that are reported, rounded to a microsecond."""
        return Percentiles(
            p50=round(self.percentile(50), 3),
            p95=round(self.percentile(95), 3),
            max=round(self.max_ms, 3),
            count=self.count,
        )


class StageTimes:
    """A histogram for each stage of a pipeline, in the order in which the stages first came."""

    def __init__(self) -> None:
        self.stages: dict[str, Histogram] = {}

    def add(self, stage: str, duration_ms: float) -> None:
        """Count one duration of a stage."""
        if stage not in self.stages:
            self.stages[stage] = Histogram()
        self.stages[stage].add(duration_ms)

    @contextmanager
    def measure(self, stage: str, into: dict[str, float]) -> Iterator[None]:
        """Time a block, count it, and note the milliseconds under the stage in ``into``."""
        start_s = perf_counter()
        try:
            yield
        finally:
            into[stage] = (perf_counter() - start_s) * 1e3
            self.add(stage, into[stage])

    def summary(self) -> dict[str, Percentiles]:
        """Return the figures of every stage."""
        return {name: histogram.summary() for name, histogram in self.stages.items()}
