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
* A camera whose clock steps makes no pairs until the clocks are as they were, or until an
  estimator (:mod:`differseg.runtime.clock_offset`) has measured them anew: stamps that agree by
  chance are no pair.

Convention: skew = (thermal time - offset) - RGB time; positive when the thermal frame is later.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from differseg.runtime.clock_steps import SteppingClock, apart_s
from differseg.runtime.sources import Frame

if TYPE_CHECKING:
    from differseg.runtime.clock_offset import ClockOffset, OffsetEstimate

Stream = Literal["rgb", "thermal"]

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
    used: bool = False


class _Rhythm:
    """The usual interval of one stream; a median, so that single drops do not matter."""

    def __init__(self) -> None:
        self.last_s: float | None = None
        self.clock = SteppingClock()
        self._intervals_s: deque[float] = deque(maxlen=_RHYTHM_FRAMES)

    def add(self, time_s: float) -> None:
        if self.last_s is not None:
            self._intervals_s.append(time_s - self.last_s)
        self.last_s = time_s

    def restart(self) -> None:
        self.last_s = None

    @property
    def interval_s(self) -> float:
        """Usual time between two frames; 0 while unknown."""
        return statistics.median(self._intervals_s) if self._intervals_s else 0.0

    def distance_s(self, time_s: float) -> float:
        """Return how near to a time a coming frame is expected; infinite while unknown."""
        interval_s = self.interval_s
        if self.last_s is None or not interval_s:
            return math.inf
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
        clock: Estimates the offset from what the pairer is fed; None keeps ``offset_ms``.

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
        clock: ClockOffset | None = None,
    ) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self.nearest_ms: float | None = None
        self._tolerance_s = tolerance_ms / 1000.0
        self._fixed_offset_s = offset_ms / 1000.0
        self._clock = clock
        self._reuse = reuse_thermal
        self._live = live
        self._rgb: deque[Frame] = deque()
        self._thermal: deque[_Thermal] = deque()
        self._rgb_rhythm, self._thermal_rhythm = _Rhythm(), _Rhythm()
        self._lags_s: deque[float] = deque(maxlen=_RHYTHM_FRAMES)
        self._alone = 0
        self._rgb_ended = self._thermal_ended = self._thermal_absent = False

    def add_rgb(self, frame: Frame, arrival_s: float | None = None) -> None:
        """Take the next RGB frame; one that is late, repeated or unstamped is counted.

        Args:
            frame: Stamped by its camera's clock.
            arrival_s: When it came, on this machine's monotonic clock; None for recordings.
        """
        if self._accept("rgb", frame, self._rgb_rhythm, arrival_s):
            self._rgb.append(frame)

    def add_thermal(self, frame: Frame, arrival_s: float | None = None) -> None:
        """Take the next thermal frame; the arguments are those of :meth:`add_rgb`."""
        if self._accept("thermal", frame, self._thermal_rhythm, arrival_s):
            self._thermal_absent = False
            if self._rgb_rhythm.last_s is not None:
                self._lags_s.append(self._rgb_rhythm.last_s - self._seen_s(frame.timestamp_s))
            self._thermal.append(_Thermal(frame))
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
    def offset_ms(self) -> float:
        """Lateness of the thermal stamps that is used now."""
        return 1000.0 * self._offset_s

    @property
    def estimate(self) -> OffsetEstimate | None:
        """What is known of the lateness of the thermal stamps; None where it is given."""
        return None if self._clock is None else self._clock.estimate

    @property
    def distrust(self) -> str | None:
        """Why no pairs are made at present, whatever the stamps say; None where they are."""
        if self._clock is not None and not self._clock.on_host_clock:
            return None if self._clock.comparable else self._clock.estimate.reason
        apart = apart_s(self._thermal_rhythm.clock, self._rgb_rhythm.clock)
        if apart is None:
            return None
        return (
            f"the thermal camera's clock has stepped by {apart:+.2f} s against the RGB camera's; "
            "pairs come again when it steps back, or start again"
        )

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
        if self._alone:
            self._alone -= 1
        else:
            self._forget(sum(self._time_s(t) < oldest_s for t in self._thermal))
        if partner is None:
            self.counts["rgb", "unmatched"] += 1
            return Pair(rgb)
        reused, partner.used = partner.used, True
        return Pair(rgb, partner.frame, 1000.0 * (self._time_s(partner) - rgb.timestamp_s), reused)

    def finish(self) -> None:
        """Count the thermal frames that are left over as unused."""
        self._forget(len(self._thermal))

    def _choose(self, rgb: Frame) -> _Thermal | Literal["wait"] | None:
        """Return the partner of the RGB frame that waits longest, None, or that it must wait."""
        if self._alone:
            return None
        time_s = rgb.timestamp_s
        near = sorted(self._thermal, key=lambda t: abs(self._time_s(t) - time_s))
        self.nearest_ms = 1000.0 * (self._time_s(near[0]) - time_s) if near else None
        open_end = not self._thermal_known(rgb) and not self._overdue(rgb)
        if self.distrust is not None:
            # A recording's thermal frames are read all the same, for the step back may be there.
            return "wait" if open_end and not self._live else None
        for candidate in near:
            gap_s = abs(self._time_s(candidate) - time_s)
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
        return self._thermal_rhythm.distance_s(time_s + self._offset_s) >= gap_s / 2

    def _claim(self, thermal: _Thermal, gap_s: float) -> Literal["this", "other", "wait"]:
        """Say whether a thermal frame serves the first RGB frame or the one after it."""
        time_s = self._time_s(thermal)
        if len(self._rgb) > 1:
            other_s = abs(self._rgb[1].timestamp_s - time_s)
            return "other" if other_s < gap_s else "this"
        if self._rgb_ended or time_s <= self._rgb[0].timestamp_s:
            return "this"
        if self._live and self._rgb_rhythm.distance_s(time_s) >= gap_s / 2:
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
        return last_s is not None and self._seen_s(last_s) >= rgb.timestamp_s

    @property
    def _offset_s(self) -> float:
        return self._fixed_offset_s if self._clock is None else self._clock.offset_s

    def _seen_s(self, stamp_s: float) -> float:
        """Return the time of the RGB clock at which a thermal frame saw the world."""
        return stamp_s - self._offset_s

    def _time_s(self, thermal: _Thermal) -> float:
        return self._seen_s(thermal.frame.timestamp_s)

    def _forget(self, number: int) -> None:
        for _ in range(number):
            if not self._thermal.popleft().used:
                self.counts["thermal", "unused"] += 1

    def _accept(
        self, stream: Stream, frame: Frame, rhythm: _Rhythm, arrival_s: float | None
    ) -> bool:
        """Say whether a frame continues its stream; count it where it does not."""
        time_s = frame.timestamp_s
        if not math.isfinite(time_s):
            self.counts[stream, "bad_timestamp"] += 1
            return False
        back = rhythm.last_s is not None and time_s <= rhythm.last_s
        if back and not rhythm.clock.steps_back(time_s, arrival_s):
            cause = "duplicate" if time_s == rhythm.last_s else "out_of_order"
            self.counts[stream, cause] += 1
            return False
        stepped = rhythm.clock.add(time_s, arrival_s, rhythm.interval_s)
        if stepped:
            # Without arrivals, a jump forward may have been a pause: only steps known are counted.
            self.counts[stream, "clock_steps"] += back or arrival_s is not None
            self._start_over(stream, rhythm)
        rhythm.add(time_s)
        if self._clock is not None:
            self._clock.update(stream, time_s, arrival_s, frame.image)
        return True

    def _start_over(self, stream: Stream, rhythm: _Rhythm) -> None:
        """Give up all that waits: it was stamped before a clock stepped."""
        rhythm.restart()
        self._lags_s.clear()
        self._alone = len(self._rgb)
        self._forget(len(self._thermal))
        if self._clock is not None:
            self._clock.restart(stream)
