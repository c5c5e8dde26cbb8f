"""Which frames are not worth computing any more: pure logic on durations, no clock."""

from __future__ import annotations

_WEIGHT = 0.2
_TRY_AGAIN_AFTER = 30
_FASTER = 0.5


class Deadline:
    """Judges frames by the age that their result would have.

    How long a frame takes is learnt from those before it.  Where every frame is expected to come
    too late, one of 30 is computed all the same, so that a network that has become faster (a
    cooled-down GPU) is noticed.

    Args:
        limit_ms: Largest age of a result, from capture to mask; None never refuses.

    Attributes:
        usual_ms: What a frame usually takes from here to its mask; None before the first.
    """

    def __init__(self, limit_ms: float | None) -> None:
        self.usual_ms: float | None = None
        self._limit_ms = limit_ms
        self._refused = 0

    def too_late(self, age_ms: float) -> bool:
        """Return whether a frame of this age is to be dropped before it is computed."""
        if self._limit_ms is None or age_ms + (self.usual_ms or 0.0) <= self._limit_ms:
            self._refused = 0
            return False
        self._refused += 1
        if self._refused > _TRY_AGAIN_AFTER:
            self._refused = 0
            return False
        return True

    def took(self, duration_ms: float) -> None:
        """Learn from a frame what one takes; less than half of the usual is believed at once."""
        old_ms = self.usual_ms
        if old_ms is None or duration_ms < _FASTER * old_ms:
            old_ms = duration_ms  # the first frame, or another model
        self.usual_ms = old_ms + _WEIGHT * (duration_ms - old_ms)

    def missed(self, age_ms: float) -> bool:
        """Return whether a result of this age came too late."""
        return self._limit_ms is not None and age_ms > self._limit_ms
