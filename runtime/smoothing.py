"""Masks made steady over time: each pixel takes the class that it had most often lately.

A majority over N frames removes what flickers for fewer than half of them, and shows what has
changed N // 2 frames late: at 15 Hz, N = 5 costs 0.13 s.  A change of the whole scene is therefore
not smoothed: the history begins anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from differseg.errors import InputError
from differseg.manifest import ClassSpec

LONGEST_FRAMES = 60
SCENE_CHANGE = 0.3
"""Part of the pixels whose class differs from the frame before, from which it is another scene."""
LONGEST_GAP_S = 0.5
_FEW_CLASSES = 12
"""Up to this many classes are counted by comparisons, more by a histogram."""


class MaskSmoother:
    """Gives the majority of the last masks, class by class.

    Where classes tie, the pixel keeps the class that it was given last, else it takes the lowest
    id.  The history is forgotten when the frames are further apart than 0.5 s, the clock steps
    back, the size changes, or three pixels in ten change their class at once.

    Args:
        frames: Length of the history, 2..60.
        classes: Ids are below this number.

    Attributes:
        resets: How often the history was forgotten.

    Raises:
        InputError: Another number of frames.
    """

    def __init__(self, frames: int, classes: int) -> None:
        if not 2 <= frames <= LONGEST_FRAMES:
            raise InputError(f"--smooth: expected 2 to {LONGEST_FRAMES} frames, got {frames}")
        self.resets = 0
        self._frames, self._classes = frames, classes
        self._history = np.empty((0, 0, 0), np.uint8)  # (frames, H, W), a ring
        self._present = np.zeros((frames, classes), np.bool_)
        self._counts = np.empty((0, 0, 0), np.uint8)  # (classes, H, W)
        self._last = self._equal = self._key = self._best = np.empty((0, 0), np.uint8)
        self._seen = 0
        self._time_s: float | None = None

    @classmethod
    def of(cls, frames: int, classes: Sequence[ClassSpec]) -> MaskSmoother:
        """Return the smoother of a model's masks."""
        return cls(frames, max(spec.id for spec in classes) + 1)

    def smooth(
        self, mask: npt.NDArray[np.uint8], time_s: float, out: npt.NDArray[np.uint8]
    ) -> npt.NDArray[np.uint8]:
        """Take the mask of the next frame and write the smoothed one.

        Args:
            mask: (H, W) uint8 class ids.
            time_s: Capture time of the frame.
            out: (H, W) uint8; not ``mask``.

        Returns:
            ``out``.
        """
        if self._begins_anew(mask, time_s):
            self._clear(mask.shape)
        self._time_s = time_s
        if self._classes == 2:
            self._smooth_two(mask, out)
        else:
            self._smooth_many(mask, out)
        self._seen += 1
        np.copyto(self._last, out)
        return out

    def _smooth_two(self, mask: npt.NDArray[np.uint8], out: npt.NDArray[np.uint8]) -> None:
        """Count class 1 alone: it has the majority, or a tie and was given last."""
        old, count = self._history[self._seen % self._frames], self._counts[1]
        if self._seen == 0:
            self._last.fill(0)  # a tie goes to the lowest id
        if self._seen >= self._frames:
            np.subtract(count, old, out=count)
        np.add(count, mask, out=count)
        np.copyto(old, mask)
        np.add(count, count, out=self._key)
        np.add(self._key, self._last, out=self._key)
        np.greater(self._key, min(self._seen + 1, self._frames), out=out.view(np.bool_))

    def _smooth_many(self, mask: npt.NDArray[np.uint8], out: npt.NDArray[np.uint8]) -> None:
        place = self._seen % self._frames
        old = self._history[place]  # with no class present while the history is short
        for number in np.flatnonzero(self._present[place]).tolist():
            np.subtract(self._counts[number], self._is(old, number), out=self._counts[number])
        present = class_counts(mask, self._classes) > 0
        for number in np.flatnonzero(present).tolist():
            np.add(self._counts[number], self._is(mask, number), out=self._counts[number])
        np.copyto(self._history[place], mask)
        self._present[place] = present
        self._elect(out)

    def _begins_anew(self, mask: npt.NDArray[np.uint8], time_s: float) -> bool:
        """Say whether this frame does not go on from the one before."""
        if self._time_s is None or mask.shape != self._last.shape:
            return True
        if not 0 <= time_s - self._time_s <= LONGEST_GAP_S:
            return True
        before = self._history[(self._seen - 1) % self._frames]
        differing = mask.size - cv2.countNonZero(cv2.compare(mask, before, cv2.CMP_EQ, self._equal))
        return differing >= SCENE_CHANGE * mask.size

    def _clear(self, shape: tuple[int, ...]) -> None:
        if self._time_s is not None:
            self.resets += 1
        if self._last.shape != shape:
            self._history = np.empty((self._frames, *shape), np.uint8)
            self._counts = np.empty((self._classes, *shape), np.uint8)
            self._last, self._equal, self._key, self._best = np.empty((4, *shape), np.uint8)
        self._counts.fill(0)
        self._last.fill(255)  # no class
        self._present.fill(False)
        self._seen = 0

    def _is(self, mask: npt.NDArray[np.uint8], number: int) -> npt.NDArray[np.uint8]:
        """Return (H, W) uint8, 1 where the mask has a class; valid until the next call.

        Args:
            mask: (H, W) uint8.
            number: An int of Python's: with one of numpy's, NumPy 2 compares in 64 bits.
        """
        np.equal(mask, number, out=self._equal.view(np.bool_))
        return self._equal

    def _elect(self, out: npt.NDArray[np.uint8]) -> None:
        """Write the class with the most frames; half a frame more for the one given last."""
        first, *others = np.flatnonzero(self._present.any(axis=0)).tolist()
        out.fill(first)
        if not others:
            return
        self._weigh(first, self._best)
        for number in others:
            self._weigh(number, self._key)
            # Where it has more: its id and its weight.
            np.greater(self._key, self._best, out=self._equal.view(np.bool_))
            np.maximum(self._key, self._best, out=self._best)
            self._key.fill(number)
            cv2.copyTo(self._key, self._equal, out)

    def _weigh(self, number: int, out: npt.NDArray[np.uint8]) -> None:
        np.add(self._counts[number], self._counts[number], out=out)
        np.add(out, self._is(self._last, number), out=out)


def class_counts(mask: npt.NDArray[np.uint8], classes: int) -> npt.NDArray[np.int64]:
    """Return the number of pixels of each class, (classes,) int64.

    Args:
        mask: (H, W) uint8 class ids, fewer than 2**24 pixels.
        classes: Ids are below this number.
    """
    if classes > _FEW_CLASSES:
        counts = cv2.calcHist([mask], [0], None, [256], [0, 256]).ravel()
        return counts[:classes].astype(np.int64)
    # A comparison is 16 times as fast as OpenCV's histogram; its type stubs do not know numbers.
    numbers: Sequence[Any] = range(classes)
    found = [cv2.countNonZero(cv2.compare(mask, k, cv2.CMP_EQ)) for k in numbers]
    return np.array(found, np.int64)
