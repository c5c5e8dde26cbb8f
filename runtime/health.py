"""Whether a camera's pictures are plausible: black, frozen, or not finite.

A camera that hangs often goes on delivering the same buffer, and one whose lens cap is on
delivers black; both look like a working stream to everything that only counts frames.

A thermal camera closes a shutter every few minutes to correct its pixels (flat field correction,
FFC).  Meanwhile it repeats its last picture, or gives none, for up to a second; that is no fault.
"""

from __future__ import annotations

import statistics
from collections import deque
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Health = Literal["ok", "black", "frozen", "nan"]

FROZEN_AFTER_S = 1.0
"""Identical pictures for this long are a hang; a working sensor's noise never repeats."""

PAUSE_S = (0.1, 1.0)
"""Shortest and longest shutter pause."""

_PAUSE_PERIODS = 2.5
"""A pause is longer than two periods and a half: one frame that was lost is none."""
_RHYTHM_PICTURES, _RHYTHM_LEAST = 9, 4
_STEP_PX = 16
_BLACK_U8 = 6
"""Brightest sampled 8-bit value of a black picture; sensor noise with the cap on stays below."""


class FrameHealth:
    """Watches the frames of one source by a sparse sample of their pixels.

    Args:
        shutter: Whether the camera may have a shutter, so that pauses are looked for.

    Attributes:
        state: What the last frame showed.
        counts: Frames seen in each state other than ``ok``.
        pause_s: Length in seconds of the shutter pause that the last frame ended; None where it
            ended none.
    """

    def __init__(self, *, shutter: bool = False) -> None:
        self.state: Health = "ok"
        self.counts: dict[str, int] = {}
        self.pause_s: float | None = None
        self._shutter = shutter
        self._sample: npt.NDArray[Any] | None = None
        self._changed_s = 0.0
        self._intervals_s: deque[float] = deque(maxlen=_RHYTHM_PICTURES)

    def restart(self) -> None:
        """Forget the pictures, not the counts: the camera was opened again."""
        self.state, self.pause_s, self._sample = "ok", None, None
        self._intervals_s.clear()

    def update(self, image: npt.NDArray[Any], timestamp_s: float) -> Health:
        """Look at one frame.

        Args:
            image: (H, W) or (H, W, 3), any dtype.
            timestamp_s: Capture time in seconds.
        """
        sample = image[_STEP_PX // 2 :: _STEP_PX, _STEP_PX // 2 :: _STEP_PX]
        self.pause_s = None
        if self._sample is None or not _same(sample, self._sample):
            if self._sample is not None:
                self.pause_s = self._pause_s(timestamp_s - self._changed_s)
            self._sample = sample.copy()
            self._changed_s = timestamp_s
        if sample.dtype.kind == "f" and not np.isfinite(sample).all():
            self.state = "nan"
        elif sample.size and self._is_black(sample):
            self.state = "black"
        elif timestamp_s - self._changed_s >= FROZEN_AFTER_S:
            self.state = "frozen"
        else:
            self.state = "ok"
        if self.state != "ok":
            self.counts[self.state] = self.counts.get(self.state, 0) + 1
        return self.state

    def _pause_s(self, interval_s: float) -> float | None:
        """Return the time between two different pictures where it was a shutter pause."""
        usual_s = None
        if len(self._intervals_s) >= _RHYTHM_LEAST:
            usual_s = statistics.median(self._intervals_s)
        self._intervals_s.append(interval_s)
        if not self._shutter or usual_s is None:
            return None
        shortest_s, longest_s = PAUSE_S
        least_s = max(shortest_s, _PAUSE_PERIODS * usual_s)
        return interval_s if least_s - 1e-6 <= interval_s <= longest_s + 1e-6 else None

    @staticmethod
    def _is_black(sample: npt.NDArray[Any]) -> bool:
        # 16-bit thermal has an offset: only a picture of nothing but zeros is black there.
        return bool(sample.max() <= (_BLACK_U8 if sample.dtype == np.uint8 else 0))


def _same(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and np.array_equal(a, b)
