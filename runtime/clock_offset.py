"""By how much the thermal camera's stamps are late, found while the cameras run.

Two things make them late, and each is seen by other means:

* The stamps are on another clock, which drifts.  The arrival of the frames shows it: see
  :mod:`differseg.runtime.arrival_envelope`.  Equal least transport of both cameras is assumed.
* The sensor or its driver stamps pictures that are old already, by a constant.  Only the pictures
  show it: see :mod:`differseg.runtime.motion_lag`.  Without motion that both cameras see there is
  no answer, and none is made up.

Convention: offset = thermal stamp minus RGB stamp of the same moment.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from dataclasses import dataclass
from typing import Any, Literal

import numpy.typing as npt

from differseg.runtime.arrival_envelope import ArrivalEnvelope
from differseg.runtime.motion_lag import ChangeSignal, MotionLag, motion_lag

MOTION_AFTER_S = 15.0
"""Length of both signals before the motion is looked at."""

MOTION_EVERY_S = 5.0
"""Time between two looks."""

_LOOKS = 5


@dataclass(frozen=True, slots=True)
class OffsetEstimate:
    """What is known of the lateness of the thermal stamps.

    Attributes:
        offset_ms: Lateness; None while unknown.
        uncertainty_ms: Standard deviation; None while unknown.  Without motion, a constant
            lateness of the sensor is not in it.
        drift_ppm: By how much the thermal clock runs faster than the RGB camera's.
        settled: Whether clocks and motion are both known.
        reason: Where the figure comes from, or why there is none.
    """

    offset_ms: float | None
    uncertainty_ms: float | None
    drift_ppm: float
    settled: bool
    reason: str

    def text(self) -> str:
        """Return the estimate in words, such as ``+35.2 ms (+-1.1): by the motion ...``."""
        if self.offset_ms is None:
            return self.reason
        spread = "" if self.uncertainty_ms is None else f" (+-{self.uncertainty_ms:.1f})"
        return f"{self.offset_ms:+.1f} ms{spread}: {self.reason}"


class ClockOffset:
    """Estimates the lateness of the thermal stamps; for :class:`~differseg.runtime.pairing.Pairer`.

    Args:
        on_host_clock: Both cameras are stamped by this machine's monotonic clock (all sources of
            ``differseg run`` are), or are recordings of one clock; arrivals then say nothing new.
        use_motion: Look at the pictures as well.
        assumed_ms: Used while nothing is known.

    Attributes:
        on_host_clock: As given.
    """

    def __init__(
        self, *, on_host_clock: bool = True, use_motion: bool = True, assumed_ms: float = 0.0
    ) -> None:
        self.on_host_clock = on_host_clock
        self._use_motion = use_motion
        self._assumed_s = assumed_ms / 1000.0
        self._envelopes = {"rgb": ArrivalEnvelope(), "thermal": ArrivalEnvelope()}
        self._signals = {"rgb": ChangeSignal(), "thermal": ChangeSignal()}
        self._arrival_s = 0.0
        self._looked_s = -math.inf
        self._look: MotionLag | None = None
        self._looks: deque[MotionLag] = deque(maxlen=_LOOKS)
        self._offset_s = self._assumed_s

    def update(
        self,
        stream: Literal["rgb", "thermal"],
        timestamp_s: float,
        arrival_s: float | None = None,
        image: npt.NDArray[Any] | None = None,
    ) -> None:
        """Take one frame of one camera, in the order in which its stream came.

        Args:
            stream: ``rgb`` or ``thermal``.
            timestamp_s: Stamp by the camera's clock.
            arrival_s: When it came, on this machine's monotonic clock; needed unless both are on
                the host's clock.
            image: (H, W) or (H, W, 3), uint8 or uint16; None leaves the motion out.
        """
        if not self.on_host_clock and arrival_s is not None:
            self._envelopes[stream].add(timestamp_s, arrival_s)
            self._arrival_s = arrival_s
        if self._use_motion and image is not None:
            self._signals[stream].add(timestamp_s, image)
            if stream == "thermal" and self.comparable:
                self._look_at_motion(timestamp_s)
        self._offset_s = self._current_s()

    def restart(self, stream: Literal["rgb", "thermal"]) -> None:
        """Forget what one stream's clock showed: it has stepped.  A sensor's lateness stays."""
        self._envelopes[stream].restart()
        self._signals[stream].restart()
        self._looked_s = -math.inf

    @property
    def comparable(self) -> bool:
        """Whether the stamps of both cameras can be compared."""
        return self.on_host_clock or self._clock_s(self._arrival_s) is not None

    @property
    def offset_s(self) -> float:
        """Best figure for now; the assumed one while nothing is known."""
        return self._offset_s

    @property
    def estimate(self) -> OffsetEstimate:
        """What is known now, and why."""
        lag, clock_s = self._lag(), self._clock_s(self._arrival_s)
        drift_ppm = 1e6 * (self._envelopes["rgb"].drift - self._envelopes["thermal"].drift)
        clock_u_s = 0.0
        if not self.on_host_clock:
            clock_u_s = math.hypot(*(e.uncertainty_s for e in self._envelopes.values()))
        if clock_s is None:
            missing_s = max(e.missing_s for e in self._envelopes.values())
            reason = (
                "the cameras have clocks of their own, and their arrivals are watched for about "
                f"{missing_s:.0f} s more before pairs are made"
            )
            return OffsetEstimate(None, None, 0.0, False, reason)
        clock = "" if self.on_host_clock else f"arrival times ({drift_ppm:+.0f} ppm)"
        if lag is None:
            why = self._why_no_motion()
            if self.on_host_clock:
                reason = f"no estimate: {why}; {1000 * self._assumed_s:g} ms is used meanwhile"
                return OffsetEstimate(None, None, 0.0, False, reason)
            reason = f"{clock}; a constant lateness of a sensor is not in it: {why}"
            return OffsetEstimate(
                1000 * self._offset_s, 1000 * clock_u_s, drift_ppm, not self._use_motion, reason
            )
        reason = f"{clock} and {lag.reason}" if clock else lag.reason
        uncertainty_s = math.hypot(clock_u_s, lag.uncertainty_s)
        return OffsetEstimate(1000 * self._offset_s, 1000 * uncertainty_s, drift_ppm, True, reason)

    def _current_s(self) -> float:
        clock_s, lag = self._clock_s(self._arrival_s), self._lag()
        if clock_s is None:
            return self._assumed_s
        if lag is not None and lag.lag_s is not None:
            return clock_s + lag.lag_s
        return clock_s + (self._assumed_s if self.on_host_clock else 0.0)

    def _clock_s(self, arrival_s: float) -> float | None:
        """Return how much the thermal clock is ahead of the RGB camera's."""
        if self.on_host_clock:
            return 0.0
        rgb_s = self._envelopes["rgb"].at(arrival_s)
        thermal_s = self._envelopes["thermal"].at(arrival_s)
        return None if rgb_s is None or thermal_s is None else rgb_s - thermal_s

    def _look_at_motion(self, thermal_s: float) -> None:
        spans_s = [signal.span_s for signal in self._signals.values()]
        if min(spans_s) < MOTION_AFTER_S or thermal_s - self._looked_s < MOTION_EVERY_S:
            return
        self._looked_s = thermal_s
        growth = self._envelopes["rgb"].drift - self._envelopes["thermal"].drift
        self._look = motion_lag(
            self._signals["rgb"],
            self._signals["thermal"],
            (self._clock_s(self._arrival_s) or 0.0, thermal_s, growth),
        )
        if self._look.lag_s is not None:
            self._looks.append(self._look)

    def _lag(self) -> MotionLag | None:
        """Return the middle one of the last looks that found a lag."""
        if not self._looks:
            return None
        middle = statistics.median_low([look.lag_s or 0.0 for look in self._looks])
        return next(look for look in self._looks if (look.lag_s or 0.0) == middle)

    def _why_no_motion(self) -> str:
        if not self._use_motion:
            return "the pictures are not looked at"
        if self._look is not None:
            return self._look.reason
        missing_s = MOTION_AFTER_S - min(signal.span_s for signal in self._signals.values())
        return f"the motion is watched for about {max(missing_s, 0):.0f} s more"
