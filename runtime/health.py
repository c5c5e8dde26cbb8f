"""Whether a camera's pictures are plausible: black, frozen, or not finite.

A camera that hangs often goes on delivering the same buffer, and one whose lens cap is on
delivers black; both look like a working stream to everything that only counts frames.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Health = Literal["ok", "black", "frozen", "nan"]

FROZEN_AFTER_S = 1.0
"""Identical pictures for this long are a hang; a working sensor's noise never repeats."""

_STEP_PX = 16
_BLACK_U8 = 6
"""Brightest sampled 8-bit value of a black picture; sensor noise with the cap on stays below."""


class FrameHealth:
    """Watches the frames of one source by a sparse sample of their pixels.

    Attributes:
        state: What the last frame showed.
        counts: Frames seen in each state other than ``ok``.
    """

    def __init__(self) -> None:
        self.state: Health = "ok"
        self.counts: dict[str, int] = {}
        self._sample: npt.NDArray[Any] | None = None
        self._changed_s = 0.0

    def update(self, image: npt.NDArray[Any], timestamp_s: float) -> Health:
        """Look at one frame.

        Args:
            image: (H, W) or (H, W, 3), any dtype.
            timestamp_s: Capture time in seconds.
        """
        sample = image[_STEP_PX // 2 :: _STEP_PX, _STEP_PX // 2 :: _STEP_PX]
        if self._sample is None or not _same(sample, self._sample):
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

    @staticmethod
    def _is_black(sample: npt.NDArray[Any]) -> bool:
        # 16-bit thermal has an offset: only a picture of nothing but zeros is black there.
        return bool(sample.max() <= (_BLACK_U8 if sample.dtype == np.uint8 else 0))


def _same(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and np.array_equal(a, b)
