"""Which RGB frame belongs to which thermal frame: pure logic on time stamps, no threads.

Two free-running cameras never fire together, so a pair is two frames whose time stamps differ by
at most a tolerance, and the difference (the skew) travels with the pair.  What is decided here:

* A pair outside the tolerance does not exist; an RGB frame without a partner is handed back alone.
* RGB frames leave in the order they came, each once, with the thermal frame nearest in time.
* A thermal frame serves one RGB frame, or several where ``reuse_thermal`` says so (a 9 Hz camera
  beside a 30 Hz one), and each such pair says so.  Where it serves one, it goes to the nearest.
* Live: decide with the frames that are there, except where the next frame is expected to fit at
  least twice as well; it is then awaited, at most as long as it usually takes to come.
* Recorded: wait for every frame that could fit better.  Nothing depends on when the frames are
  read, so two runs give equal pairs.

Convention: skew = (thermal time - offset) - RGB time; positive when the thermal frame is later.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter, deque
from dataclasses import dataclass
from typing import Literal

from differseg.runtime.sources import Frame

CLOCK_STEP_S = 0.5
"""A time stamp further back than this is a new clock, not a frame out of order."""

_MAX_WAITING = 8
_MAX_THERMAL = 8
_RHYTHM_FRAMES = 9
_EPS_S = 1e-9


@dataclass(frozen=True, slots=True)
class Pair:
    """An RGB frame and its thermal frame.

    Attributes:
        rgb: The RGB frame.
        thermal: The thermal frame; None where none lies within the tolerance.
        skew_ms: Thermal minus RGB capture time after the known offset; None without thermal.
        thermal_reused: The thermal frame was part of an earlier pair too.
    """

    rgb: Frame
    thermal: Frame | None = None
    skew_ms: float | None = None
    thermal_reused: bool = False


@dataclass(slots=True)
class _Thermal:
    frame: Frame
    time_s: float
    used: bool = False


class _Rhythm:
    """The usual interval of one stream; a median, so that single drops do not matter."""

    def __init__(self) -> None:
        self.last_s: float | None = None
        self._intervals_s: deque[float] = deque(maxlen=_RHYTHM_FRAMES)

    def add(self, time_s: float) -> None:
        if self.last_s is not None:
            self._intervals_s.append(time_s - self.last_s)
        self.last_s = time_s

    def restart(self) -> None:
        self.last_s = None

    def distance_s(self, time_s: float) -> float:
        """Return how near to a time a coming frame is expected; infinite while unknown."""
        if self.last_s is None or not self._intervals_s:
            return math.inf
        interval_s = statistics.median(self._intervals_s)
        steps = max(1, round((time_s - self.last_s) / interval_s))
        return abs(self.last_s + steps * interval_s - time_s)


class Pairer:
    """Pairs two streams of frames; feed it with ``add_*``, then call ``next`` until None.

    Args:
        tolerance_ms: Largest absolute skew of a pair.
        offset_ms: Known lateness of the thermal stamps: a thermal frame stamped ``t`` shows the
            world at ``t - offset``.
        reuse_thermal: A thermal frame may serve more than one RGB frame.
        live: Decide soon, see the module's docstring; False for recordings.

    Attributes:
        counts: What became of the frames, by ``rgb`` or ``thermal`` and cause:
            ``out_of_order``, ``duplicate``, ``bad_timestamp``, ``unmatched`` (RGB handed back
            alone), ``unused`` (thermal that found no partner); and ``clock_steps``.
        nearest_ms: Skew of the thermal frame nearest to the RGB frame looked at last, also where
            it lies outside the tolerance; None where there was none.
    """

    def __init__(
        self,
        tolerance_ms: float,
        offset_ms: float = 0.0,
        *,
        reuse_thermal: bool = True,
        live: bool = True,
    ) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self.nearest_ms: float | None = None
        self._tolerance_s = tolerance_ms / 1000.0
        self._offset_s = offset_ms / 1000.0
        self._reuse = reuse_thermal
        self._live = live
        self._rgb: deque[Frame] = deque()
        self._thermal: deque[_Thermal] = deque()
        self._rgb_rhythm, self._thermal_rhythm = _Rhythm(), _Rhythm()
        self._lags_s: deque[float] = deque(maxlen=_RHYTHM_FRAMES)
        self._rgb_ended = self._thermal_ended = self._thermal_absent = False

    def add_rgb(self, frame: Frame) -> None:
        """Take the next RGB frame; one that is late, repeated or unstamped is counted."""
        verdict = self._judge("rgb", frame.timestamp_s, self._rgb_rhythm)
        if verdict != "refused":
            self._rgb_rhythm.add(frame.timestamp_s)
            self._rgb.append(frame)

    def add_thermal(self, frame: Frame) -> None:
        """Take the next thermal frame."""
        time_s = frame.timestamp_s - self._offset_s
        verdict = self._judge("thermal", time_s, self._thermal_rhythm)
        if verdict == "step":
            self._forget(len(self._thermal))
        if verdict != "refused":
            self._thermal_absent = False
            if self._rgb_rhythm.last_s is not None:
                self._lags_s.append(self._rgb_rhythm.last_s - time_s)
            self._thermal_rhythm.add(time_s)
            self._thermal.append(_Thermal(frame, time_s))
            self._forget(len(self._thermal) - _MAX_THERMAL)

    def end_rgb(self) -> None:
        """No RGB frame will follow."""
        self._rgb_ended = True

    def end_thermal(self) -> None:
        """No thermal frame will follow."""
        self._thermal_ended = True

    def expect_no_thermal(self) -> None:
        """Let RGB frames not wait for thermal frames until the next one comes (live)."""
        self._thermal_absent = self._live

    @property
    def thermal_ended(self) -> bool:
        """Whether the thermal stream has ended."""
        return self._thermal_ended

    @property
    def waiting(self) -> int:
        """RGB frames held back, at most 8."""
        return len(self._rgb)

    @property
    def wants_thermal(self) -> bool:
        """Whether ``next`` can only go on with another thermal frame (recordings)."""
        return bool(self._rgb) and not self._thermal_known(self._rgb[0])

    def next(self) -> Pair | None:
        """Return the next decided RGB frame, alone or paired; None while undecided."""
        if not self._rgb:
            return None
        rgb = self._rgb[0]
        partner = self._choose(rgb)
        if partner == "wait":
            return None
        oldest_s = self._rgb.popleft().timestamp_s - self._tolerance_s - _EPS_S
        self._forget(sum(t.time_s < oldest_s for t in self._thermal))
        if partner is None:
            self.counts["rgb", "unmatched"] += 1
            return Pair(rgb)
        reused, partner.used = partner.used, True
        return Pair(rgb, partner.frame, 1000.0 * (partner.time_s - rgb.timestamp_s), reused)

    def finish(self) -> None:
        """Count the thermal frames that are left over as unused."""
        self._forget(len(self._thermal))

    def _choose(self, rgb: Frame) -> _Thermal | Literal["wait"] | None:
        """Return the partner of the RGB frame that waits longest, None, or that it must wait."""
        time_s = rgb.timestamp_s
        near = sorted(self._thermal, key=lambda t: abs(t.time_s - time_s))
        self.nearest_ms = 1000.0 * (near[0].time_s - time_s) if near else None
        open_end = not self._thermal_known(rgb) and not self._overdue(rgb)
        for candidate in near:
            gap_s = abs(candidate.time_s - time_s)
            if gap_s > self._tolerance_s + _EPS_S:
                break
            if candidate.used and not self._reuse:
                continue
            if open_end and not (self._live and self._good_enough(time_s, gap_s)):
                return "wait"
            claim = "this" if self._reuse else self._claim(candidate, gap_s)
            if claim == "wait":
                return "wait"
            if claim == "this":
                return candidate
        return "wait" if open_end else None

    def _good_enough(self, time_s: float, gap_s: float) -> bool:
        """Say whether the next thermal frame is not expected to fit twice as well."""
        return self._thermal_rhythm.distance_s(time_s) >= gap_s / 2

    def _claim(self, thermal: _Thermal, gap_s: float) -> Literal["this", "other", "wait"]:
        """Say whether a thermal frame serves the first RGB frame or the one after it."""
        if len(self._rgb) > 1:
            other_s = abs(self._rgb[1].timestamp_s - thermal.time_s)
            return "other" if other_s < gap_s else "this"
        if self._rgb_ended or thermal.time_s <= self._rgb[0].timestamp_s:
            return "this"
        if self._live and self._rgb_rhythm.distance_s(thermal.time_s) >= gap_s / 2:
            return "this"
        return "wait"

    def _overdue(self, rgb: Frame) -> bool:
        """Whether a thermal frame that fits should have come by now, judged by newer RGB frames."""
        if not self._live:
            return False
        lag_s = statistics.median(self._lags_s) if self._lags_s else self._offset_s
        waited_s = (self._rgb_rhythm.last_s or 0.0) - rgb.timestamp_s
        return len(self._rgb) > _MAX_WAITING or waited_s > max(lag_s, 0.0) + self._tolerance_s

    def _thermal_known(self, rgb: Frame) -> bool:
        """Whether no thermal frame to come can be nearer than those that are here."""
        last_s = self._thermal_rhythm.last_s
        if self._thermal_ended or self._thermal_absent:
            return True
        return last_s is not None and last_s >= rgb.timestamp_s

    def _forget(self, number: int) -> None:
        for _ in range(number):
            if not self._thermal.popleft().used:
                self.counts["thermal", "unused"] += 1

    def _judge(
        self, stream: str, time_s: float, rhythm: _Rhythm
    ) -> Literal["ok", "step", "refused"]:
        """Say whether a stamp continues its stream; count it where it does not."""
        if not math.isfinite(time_s):
            self.counts[stream, "bad_timestamp"] += 1
            return "refused"
        if rhythm.last_s is None or time_s > rhythm.last_s:
            return "ok"
        if time_s < rhythm.last_s - CLOCK_STEP_S:
            self.counts[stream, "clock_steps"] += 1
            rhythm.restart()
            return "step"
        cause = "duplicate" if time_s == rhythm.last_s else "out_of_order"
        self.counts[stream, cause] += 1
        return "refused"
