"""Steps of a camera's clock: how far its stamps have jumped against the time that passed.

A jump of the stamps alone does not tell a clock that was set from a camera that paused.  The time
of arrival does: after a pause the frames come as late as before, after a step they come early or
late by the step.  Where arrivals are unknown, a jump back is a step and a jump forward a pause,
unless one undoes the other.
"""

from __future__ import annotations

CLOCK_STEP_S = 0.5
"""A jump of the stamps by more than this may be a step of the clock."""

HOST_CLOCK_S = 5.0
"""Stamps that are at most this old when they arrive are taken for this machine's own clock."""

SAME_CLOCK_S = 0.05
"""Two clocks that were measured to have stepped alike are as they were, to this much."""

_FLOOR_LEAK = 1e-3
_FLOOR_FRAMES = 9
_SETTLE_S = 2.0


class SteppingClock:
    """The clock of one stream of frames.

    Lateness is arrival minus stamp; its floor, the least lately, belongs to frames that nothing
    held up.  The floor may rise by a thousandth, so that clocks that drift are followed.

    Attributes:
        shift_s: How far the clock has stepped since the first frame; positive is forward.
        measured: Whether every step was measured against arrivals.
    """

    def __init__(self) -> None:
        self.shift_s = 0.0
        self.measured = True
        self._last_s: float | None = None
        self._floor_s = 0.0
        self._floor_at_s: float | None = None
        self._floor_frames = 0
        self._home_s = 0.0
        self._settles_until_s: float | None = None
        self._pause_s = 0.0

    def steps_back(self, time_s: float, arrival_s: float | None) -> bool:
        """Say whether a stamp is of a clock set back; False of a frame out of order, or in it."""
        if self._last_s is None or time_s >= self._last_s:
            return False
        if time_s < self._last_s - CLOCK_STEP_S:
            return True
        # After dropped frames, a step back leads to shortly before the last stamp.
        if arrival_s is None or self._floor_at_s is None:
            return False
        return arrival_s - time_s > self._floor_s + CLOCK_STEP_S

    def add(self, time_s: float, arrival_s: float | None, interval_s: float) -> bool:
        """Take the stamp of the next frame, which is later or :meth:`steps_back`.

        Args:
            time_s: Stamp in seconds, on the camera's clock.
            arrival_s: When the frame came, on this machine's monotonic clock; None if unknown.
            interval_s: Usual time between two frames, 0 while unknown.

        Returns:
            Whether the clock has stepped since the frame before.
        """
        jump_s = 0.0 if self._last_s is None else time_s - self._last_s
        self._last_s = time_s
        unsteady = jump_s < 0 or jump_s > CLOCK_STEP_S
        if arrival_s is None or (self._floor_at_s is not None and arrival_s < self._floor_at_s):
            self._floor_at_s, self._floor_frames = None, 0
            return unsteady and self._guess(jump_s - interval_s)
        lateness_s = arrival_s - time_s
        if unsteady:
            if self._floor_at_s is None or self._floor_frames < _FLOOR_FRAMES:
                # The first frames may have waited in a queue, so their lateness says nothing.
                self._floor_at_s, self._floor_frames = None, 0
                stepped = self._guess(jump_s - interval_s)
            else:
                stepped = self._measure(lateness_s, arrival_s, backwards=jump_s < 0)
        else:
            stepped = False
        self._lower(lateness_s, arrival_s)
        return stepped

    @property
    def _is_host_clock(self) -> bool:
        return abs(self.shift_s) < CLOCK_STEP_S and 0 <= self._floor_s <= HOST_CLOCK_S

    def _measure(self, lateness_s: float, arrival_s: float, *, backwards: bool) -> bool:
        """Say whether a jump is a step, by the lateness; a stall makes no frame come early."""
        if not backwards and lateness_s > self._floor_s - CLOCK_STEP_S:
            return False
        if self._is_host_clock and not backwards and lateness_s >= 0:
            return False  # a machine that was slow and is quick again; a step leads to the future
        self._home_s = self._floor_s + self.shift_s
        self._settles_until_s = arrival_s + _SETTLE_S
        self._floor_at_s = None
        return True

    def _lower(self, lateness_s: float, arrival_s: float) -> None:
        if self._floor_at_s is None:
            self._floor_s = lateness_s
        else:
            leak_s = _FLOOR_LEAK * (arrival_s - self._floor_at_s)
            self._floor_s = min(lateness_s, self._floor_s + leak_s)
        self._floor_at_s = arrival_s
        self._floor_frames += 1
        if self._settles_until_s is not None:
            self.shift_s = self._home_s - self._floor_s
            if arrival_s > self._settles_until_s:
                self._settles_until_s = None

    def _guess(self, jump_s: float) -> bool:
        """Say whether a jump is a step, by the stamps alone."""
        if jump_s > 0:
            if self.shift_s < 0 and abs(self.shift_s + jump_s) < CLOCK_STEP_S:
                self.shift_s = 0.0
                return True
            self._pause_s = jump_s
            return False
        undone, self._pause_s = abs(self._pause_s + jump_s) < CLOCK_STEP_S, 0.0
        if not undone:
            self.shift_s += jump_s
            self.measured = False
        self._settles_until_s = None
        return True


def apart_s(a: SteppingClock, b: SteppingClock) -> float | None:
    """Return how far two clocks have stepped against each other; None where they have not."""
    apart = a.shift_s - b.shift_s
    limit_s = SAME_CLOCK_S if a.measured and b.measured else CLOCK_STEP_S
    return None if abs(apart) < limit_s else apart
