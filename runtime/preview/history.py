"""How long the stages took over the last minutes, in a fixed amount of memory."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

BIN_S = 2.0
BINS = 120
"""Four minutes."""

_MOST_VALUES = 512
"""Of one stage in one bin: results come slower than 256 a second."""


class StageHistory:
    """Median and 95th percentile of every stage, for every two seconds.

    Args:
        clock: Seconds, steady.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._values: dict[str, list[float]] = {}
        self._bin = self._bin_now()
        self._done: deque[tuple[int, dict[str, tuple[float, float]]]] = deque(maxlen=BINS)

    def add(self, stage_ms: Mapping[str, float]) -> None:
        """Take the stages of one result, in milliseconds."""
        with self._lock:
            self._advance()
            for stage, value_ms in stage_ms.items():
                values = self._values.setdefault(stage, [])
                if len(values) < _MOST_VALUES and math.isfinite(value_ms):
                    values.append(value_ms)

    def document(self) -> dict[str, Any]:
        """Return ``bin_s`` and, by stage, ``p50`` and ``p95``: lists in ms, oldest bin first.

        The last entry is the last full bin; None stands where there was no result.
        """
        with self._lock:
            self._advance()
            done, now = dict(self._done), self._bin
        first = min(done, default=now)
        first = max(first, now - BINS)
        stages: dict[str, None] = {}
        for figures in done.values():
            stages.update(dict.fromkeys(figures))
        empty = (None, None)
        series: dict[str, dict[str, list[float | None]]] = {}
        for stage in stages:
            pairs = [done.get(number, {}).get(stage, empty) for number in range(first, now)]
            series[stage] = {"p50": [p[0] for p in pairs], "p95": [p[1] for p in pairs]}
        return {"bin_s": BIN_S, "stages": series}

    def _bin_now(self) -> int:
        return math.floor(self._clock() / BIN_S)

    def _advance(self) -> None:
        """Close the bin where its time is over."""
        now = self._bin_now()
        if now == self._bin:
            return
        figures = {
            stage: (_percentile(values, 50), _percentile(values, 95))
            for stage, values in self._values.items()
            if values
        }
        if figures:
            self._done.append((self._bin, figures))
        self._values, self._bin = {}, now


def _percentile(values: list[float], percent: float) -> float:
    """Return the nearest-rank percentile, rounded to a microsecond."""
    ordered = sorted(values)
    return round(ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)], 3)
