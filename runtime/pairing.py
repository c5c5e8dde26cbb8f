"""Which RGB frame belongs to which thermal frame: pure logic on time stamps, no threads.

Two free-running cameras never fire together, so a pair is two frames whose time stamps differ by
at most a tolerance, and the difference (the skew) travels with the pair.  What is decided here:

* A pair outside the tolerance does not exist; an RGB frame without a partner is handed back alone.
* RGB frames leave in order of time, each once.  A thermal frame serves one RGB frame, or several
  where ``reuse_thermal`` says so (a 9 Hz camera beside a 30 Hz one), and each such pair says so.
* ``latest`` (live): decide at once with what is there, except where the next frame of the other
  camera is expected so soon that the gain in skew is more than the wait.
* not ``latest`` (recordings): wait for every frame that could fit better; nothing depends on
  when the frames come in, so two runs give equal pairs.

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

    @property
    def next_s(self) -> float:
        """When the next frame is expected; never, before two frames were seen."""
        if self.last_s is None or not self._intervals_s:
            return math.inf
        return self.last_s + statistics.median(self._intervals_s)


class Pairer:
    """Pairs two streams of frames; feed it with ``add_*``, then call ``next`` until None.

    Args:
        tolerance_ms: Largest absolute skew of a pair.
        offset_ms: Known lateness of the thermal stamps: a thermal frame stamped ``t`` shows the
            world at ``t - offset``.
        reuse_thermal: A thermal frame may serve more than one RGB frame.
        latest: Live policy; see the module's docstring.

    Attributes:
        counts: What became of the frames, by ``rgb`` or ``thermal`` and cause:
            ``out_of_order``, ``duplicate``, ``bad_timestamp``, ``unmatched`` (RGB handed back
            alone), ``unused`` (thermal that found no partner); and ``clock_steps``.
    """

    def __init__(
        self,
        tolerance_ms: float,
        offset_ms: float = 0.0,
        *,
        reuse_thermal: bool = True,
        latest: bool = True,
    ) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self._tolerance_s = tolerance_ms / 1000.0
        self._offset_s = offset_ms / 1000.0
        self._reuse = reuse_thermal
        self._latest = latest
        self._rgb: deque[Frame] = deque()
        self._thermal: deque[_Thermal] = deque()
        self._rgb_rhythm, self._thermal_rhythm = _Rhythm(), _Rhythm()
        self._rgb_ended = self._thermal_ended = False

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
            self._thermal_rhythm.add(time_s)
            self._thermal.append(_Thermal(frame, time_s))
            self._forget(len(self._thermal) - _MAX_THERMAL)

    def end_rgb(self) -> None:
        """No RGB frame will follow."""
        self._rgb_ended = True

    def end_thermal(self) -> None:
        """No thermal frame will follow."""
        self._thermal_ended = True

    @property
    def waiting(self) -> int:
        """RGB frames held back."""
        return len(self._rgb)

    @property
    def wants_rgb(self) -> bool:
        """Whether ``next`` can only go on with another RGB frame (recordings)."""
        return not self._rgb_ended and (self._latest or not self._rgb or not self.wants_thermal)

    @property
    def wants_thermal(self) -> bool:
        """Whether ``next`` can only go on with another thermal frame (recordings)."""
        if self._latest:
            return not self._thermal_ended
        return bool(self._rgb) and not self._thermal_known(self._rgb[0])

    def next(self) -> Pair | None:
        """Return the next decided RGB frame, alone or paired; None while undecided."""
        if not self._rgb:
            return None
        rgb = self._rgb[0]
        known = self._thermal_known(rgb)
        if not known and not self._latest:
            return None
        chosen = self._choose(rgb)
        if chosen == "wait":
            return None
        if chosen is None:
            # A later thermal frame may still fit, unless a newer RGB frame wants the place.
            if not known and len(self._rgb) == 1:
                return None
            self._drop_head()
            self.counts["rgb", "unmatched"] += 1
            return Pair(rgb)
        self._drop_head()
        reused, chosen.used = chosen.used, True
        return Pair(rgb, chosen.frame, 1000.0 * (chosen.time_s - rgb.timestamp_s), reused)

    def finish(self) -> None:
        """Count the thermal frames that are left over as unused."""
        self._forget(len(self._thermal))

    def _choose(self, rgb: Frame) -> _Thermal | Literal["wait"] | None:
        """Return the partner of the oldest RGB frame, None, or that it pays to wait."""
        time_s = rgb.timestamp_s
        fits = [
            t
            for t in self._thermal
            if (self._reuse or not t.used) and abs(t.time_s - time_s) <= self._tolerance_s + _EPS_S
        ]
        for candidate in sorted(fits, key=lambda t: abs(t.time_s - time_s)):
            gap_s = candidate.time_s - time_s
            if len(self._rgb) == 1 and self._worth_waiting(time_s, gap_s):
                return "wait"
            if not self._reuse and gap_s > 0 and len(self._rgb) > 1:
                # Each thermal frame serves the RGB frame that is nearest to it.
                if abs(self._rgb[1].timestamp_s - candidate.time_s) < gap_s:
                    continue
            return candidate
        return None

    def _worth_waiting(self, time_s: float, gap_s: float) -> bool:
        """Say whether the next frame of either stream should be awaited before deciding."""
        if not self._latest:
            return not self._reuse and gap_s > 0 and not self._rgb_ended
        if gap_s < 0 and not self._thermal_ended:
            wait_s = self._thermal_rhythm.next_s - time_s
            return 0 <= wait_s < -gap_s / 2
        if gap_s > 0 and not self._reuse and not self._rgb_ended:
            return abs(self._rgb_rhythm.next_s - (time_s + gap_s)) < gap_s / 2
        return False

    def _thermal_known(self, rgb: Frame) -> bool:
        """Whether no thermal frame to come can be nearer than those that are here."""
        last_s = self._thermal_rhythm.last_s
        return self._thermal_ended or (last_s is not None and last_s >= rgb.timestamp_s)

    def _drop_head(self) -> None:
        """Remove the oldest RGB frame and the thermal frames that none to come can use."""
        oldest_s = self._rgb.popleft().timestamp_s - self._tolerance_s - _EPS_S
        self._forget(sum(t.time_s < oldest_s for t in self._thermal))

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
