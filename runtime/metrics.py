"""Figures of a run in progress, in a fixed amount of memory: what a monitor asks for.

One thread reports results, any other may ask.  The counts of the cameras are not kept twice: they
are read from the feed when somebody asks.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from differseg.runtime.feed import Feed
from differseg.runtime.sinks import FrameResult
from differseg.runtime.summary import camera_summaries

BOUNDS_MS = (0.5, 1, 2, 3, 5, 7.5, 10, 15, 20, 30, 50, 75, 100, 150, 200, 300, 500, 1000, 2500)
"""Upper bounds of the buckets of every histogram, in milliseconds; one more is open."""

SILENT_AFTER_S = 5.0
"""A run without a result for this long is not healthy."""

_RECENT = 30
_BAD_STATUS = {"hold": "shows an old result", "no_result": "has no result yet"}


@dataclass(frozen=True, slots=True)
class Buckets:
    """A histogram at one moment.

    Attributes:
        counts: Values in each bucket of :data:`BOUNDS_MS`, and above the last bound.
        total_ms: Sum of all values in milliseconds.
    """

    counts: tuple[int, ...]
    total_ms: float


@dataclass(frozen=True, slots=True)
class CameraReport:
    """One camera at one moment.

    Attributes:
        name: ``rgb`` or ``thermal``.
        source: What it is, without passwords.
        state: ``online``, ``stale``, ``offline`` or ``ended``; while frames come, what they look
            like where that is not ``ok``: ``black``, ``frozen``, ``nan``, ``ffc``.
        reason: Why it failed last; None where it works.
        fps: Measured frame rate in Hz.
        silent_s: Seconds since its last frame.
        captured: Frames that reached this process.
        missed: Frames lost before, where the source numbers them.
        attempts: Times that it was opened again.
        returns: Times that frames came again after a loss.
        drops: Frames dropped, by cause.
        faults: Frames that were black, frozen or NaN.
    """

    name: str
    source: str
    state: str
    reason: str | None
    fps: float | None
    silent_s: float
    captured: int
    missed: int
    attempts: int
    returns: int
    drops: Mapping[str, int]
    faults: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class RunReport:
    """A run at one moment.

    Attributes:
        running_s: Seconds since the start.
        restarts: Times that a supervisor started this run again.
        frames: Results so far.
        fps: Results per second over the last 30; None before the second, and when they stopped.
        silent_s: Seconds since the last result, or since the start.
        statuses: Results by status.
        stages: Histogram of every stage.
        age: Histogram of the time from capture to mask; None for recordings.
        skew: Histogram of the absolute skew of pairs; None without pairs.
        last: The last result without its arrays; None before the first.
        cameras: RGB first.
    """

    running_s: float
    restarts: int
    frames: int
    fps: float | None
    silent_s: float
    statuses: Mapping[str, int]
    stages: Mapping[str, Buckets]
    age: Buckets | None
    skew: Buckets | None
    last: FrameResult | None
    cameras: tuple[CameraReport, ...] = field(default_factory=tuple)

    def trouble(self) -> str | None:
        """Return why the run is not healthy, or None.

        It is while results keep coming and are of this moment; ``rgb_only`` is a mode that was
        chosen, and :meth:`degraded` tells of it.
        """
        for camera in self.cameras:
            if camera.name == "rgb" and camera.state in ("offline", "ended"):
                why = f" ({camera.reason})" if camera.reason else ""
                return f"the RGB camera is {camera.state}{why}"
        if self.silent_s > SILENT_AFTER_S:
            return f"no result for {self.silent_s:.0f} s"
        if self.last is None:
            return "no result yet"
        if self.last.status == "nan_output":
            return "the network gives NaN"
        if self.last.status in _BAD_STATUS:
            return f"the run {_BAD_STATUS[self.last.status]}: {self.last.note}"
        return None

    def degraded(self) -> str | None:
        """Return what is not as it should be in a healthy run, or None."""
        if self.last is not None and self.last.status == "rgb_only":
            return self.last.note
        odd = [f"{c.name} {c.state}" for c in self.cameras if c.state not in ("online", "ffc")]
        return ", ".join(odd) or None


class RunMetrics:
    """Counts results as they are made.

    Args:
        feed: Whose cameras are told of.
        restarts: Times that a supervisor started this run again.
    """

    def __init__(self, feed: Feed, *, restarts: int = 0) -> None:
        self._feed, self._restarts = feed, restarts
        self._lock = threading.Lock()
        self._start_s = self._result_s = time.monotonic()
        self._done_s: deque[float] = deque(maxlen=_RECENT)
        self._statuses: Counter[str] = Counter()
        self._stages: dict[str, _Histogram] = {}
        self._ages, self._skews = _Histogram(), _Histogram()
        self._last: FrameResult | None = None

    def observe(self, result: FrameResult) -> None:
        """Count one result; costs some microseconds and keeps no array."""
        bare = replace(result, mask=None, picture=None)  # or it would hold image buffers
        with self._lock:
            self._result_s = time.monotonic()
            self._done_s.append(self._result_s)
            self._statuses[result.status] += 1
            for stage, duration_ms in result.stage_ms.items():
                if stage not in self._stages:
                    self._stages[stage] = _Histogram()
                self._stages[stage].add(duration_ms)
            if result.age_ms is not None:
                self._ages.add(result.age_ms)
            if result.skew_ms is not None:
                self._skews.add(abs(result.skew_ms))
            self._last = bare

    @property
    def fps(self) -> float | None:
        """Results per second over the last 30; None before the second, and when they stopped."""
        with self._lock:
            return self._fps(time.monotonic())

    def report(self) -> RunReport:
        """Return the figures of this moment; from any thread."""
        cameras = camera_reports(self._feed)
        now_s = time.monotonic()
        with self._lock:
            return RunReport(
                running_s=now_s - self._start_s,
                restarts=self._restarts,
                frames=sum(self._statuses.values()),
                fps=self._fps(now_s),
                silent_s=now_s - self._result_s,
                statuses=dict(self._statuses),
                stages={name: stage.buckets() for name, stage in self._stages.items()},
                age=self._ages.buckets() if self._ages.any else None,
                skew=self._skews.buckets() if self._skews.any else None,
                last=self._last,
                cameras=cameras,
            )

    def _fps(self, now_s: float) -> float | None:
        span_s = self._done_s[-1] - self._done_s[0] if len(self._done_s) > 1 else 0.0
        if span_s <= 0 or now_s - self._done_s[-1] > SILENT_AFTER_S:
            return None
        return (len(self._done_s) - 1) / span_s


def camera_reports(feed: Feed) -> tuple[CameraReport, ...]:
    """Return what is to be said of every camera of a feed; from any thread."""
    summaries = camera_summaries(feed)
    reports = []
    for capture in feed.captures:
        name = capture.source.modality
        summary, counts = summaries[name], capture.supervisor.counts
        state = capture.condition()
        lost = state in ("stale", "offline", "ended")
        reports.append(
            CameraReport(
                name=name,
                source=summary.source,
                state=state,
                reason=str(capture.error) if lost and capture.error else None,
                fps=None if lost else summary.fps,
                silent_s=capture.silent_s,
                captured=summary.captured,
                missed=summary.missed,
                attempts=counts["attempts"],
                returns=counts["returns"],
                drops=summary.drops,
                faults=summary.faults,
            )
        )
    return tuple(reports)


class _Histogram:
    """Counts values in the buckets of ``BOUNDS_MS``."""

    def __init__(self) -> None:
        self.any = False
        self._counts = [0] * (len(BOUNDS_MS) + 1)
        self._total_ms = 0.0

    def add(self, value_ms: float) -> None:
        """Count one value; NaN is ignored."""
        if value_ms == value_ms:
            self.any = True
            self._counts[bisect_left(BOUNDS_MS, value_ms)] += 1
            self._total_ms += value_ms

    def buckets(self) -> Buckets:
        return Buckets(tuple(self._counts), self._total_ms)
