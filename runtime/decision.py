"""Probabilities at the model's size to a mask of class ids at the frame's size.

Every probability map is resized to the frame (bilinear when it grows, area average when it
shrinks) before anything is decided, which gives smoother outlines than resizing a mask.  Buffers
are kept from frame to frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from differseg.runtime.buffers import fitting_buffer
from differseg.runtime.preprocess import resize

_PEAK_SHARE = 0.9
"""Part of 1/K that a class must reach somewhere to be looked at; below 1 because of rounding."""


class Decision(Protocol):
    """Makes the mask of one stream."""

    def fill(
        self, probability: npt.NDArray[np.float32], mask: npt.NDArray[np.uint8]
    ) -> list[float]:
        """Fill the mask; return each class's part of its pixels, 0..1, in the classes' order.

        Args:
            probability: (Hm, Wm) or (K, Hm, Wm) float32 in 0..1, finite.
            mask: (H, W) uint8, filled with class ids.
        """


class ThresholdDecision:
    """Foreground where the probability reaches a threshold; for two classes.

    Args:
        ids: Class ids of background and foreground.
        threshold: Probability from which a pixel is foreground.
    """

    def __init__(self, ids: Sequence[int], threshold: float) -> None:
        self._background, self._foreground = ids
        self._threshold = np.float32(threshold)
        self._full = np.empty((0, 0), np.float32)

    def fill(
        self, probability: npt.NDArray[np.float32], mask: npt.NDArray[np.uint8]
    ) -> list[float]:
        """Fill the mask from (Hm, Wm); see :class:`Decision`."""
        full = probability
        if full.shape != mask.shape:
            self._full = fitting_buffer(self._full, mask.shape, np.float32)
            full = resize(full, mask.shape, out=self._full)
        np.greater_equal(full, self._threshold, out=mask.view(np.bool_))
        foreground = np.count_nonzero(mask) / mask.size
        if (self._background, self._foreground) != (0, 1):
            step = self._foreground - self._background
            np.multiply(mask, step % 256, out=mask)
            np.add(mask, self._background, out=mask)
        return [1.0 - foreground, foreground]


class ArgmaxDecision:
    """The most probable of K classes at every pixel; the first of equals.

    Classes are taken one at a time, so memory does not grow with K.  A class that is likely
    nowhere is left out: the K probabilities of a pixel sum to 1, before and after a resize, so
    the largest of them is at least 1/K.

    Args:
        ids: Class id of each probability map, 0..254.
    """

    def __init__(self, ids: Sequence[int]) -> None:
        self._ids = np.zeros(256, np.uint8)
        self._ids[: len(ids)] = ids
        self._renames = list(ids) != list(range(len(ids)))
        self._count = len(ids)
        self._histogram = np.empty((256, 1), np.float32)
        self._best = np.empty((0, 0), np.float32)
        self._plane = np.empty((0, 0), np.float32)
        self._wins = np.empty((0, 0), np.uint8)

    def fill(
        self, probability: npt.NDArray[np.float32], mask: npt.NDArray[np.uint8]
    ) -> list[float]:
        """Fill the mask from (K, Hm, Wm); see :class:`Decision`."""
        self._best = fitting_buffer(self._best, mask.shape, np.float32)
        self._plane = fitting_buffer(self._plane, mask.shape, np.float32)
        self._wins = fitting_buffer(self._wins, mask.shape, np.uint8)
        mask.fill(0)
        np.copyto(self._best, self._at_size(probability[0], mask.shape))
        for index in range(1, self._count):
            if probability[index].max() >= _PEAK_SHARE / self._count:
                self._take(index, self._at_size(probability[index], mask.shape), mask)
        # Float32 counts whole numbers exactly up to 16.7 million pixels.
        cv2.calcHist([mask], [0], None, [256], [0, 256], hist=self._histogram)
        coverage = [float(part) for part in self._histogram[: self._count, 0] / mask.size]
        if self._renames:
            cv2.LUT(mask, self._ids, dst=mask)
        return coverage

    def _take(
        self, index: int, plane: npt.NDArray[np.float32], mask: npt.NDArray[np.uint8]
    ) -> None:
        """Give the class the pixels where it is more probable than all classes before it."""
        cv2.compare(plane, self._best, cv2.CMP_GT, dst=self._wins)
        # Indices grow, so the larger one is the later winner; 6 times as fast as a masked copy.
        np.bitwise_and(self._wins, np.uint8(index), out=self._wins)
        np.maximum(mask, self._wins, out=mask)
        np.maximum(self._best, plane, out=self._best)

    def _at_size(
        self, plane: npt.NDArray[np.float32], size_hw: tuple[int, ...]
    ) -> npt.NDArray[np.float32]:
        if plane.shape == size_hw:
            return plane
        return resize(plane, (size_hw[0], size_hw[1]), out=self._plane)


def most_probable(
    probability: npt.NDArray[np.float32], size_hw: tuple[int, int] | None = None
) -> npt.NDArray[np.uint8]:
    """Return the index of the most probable class at every pixel, as the device decides it.

    Args:
        probability: (K, Hm, Wm) float32 in 0..1, finite, summing to 1 over K.
        size_hw: Height and width of the result in pixels; the probability's own when None.

    Returns:
        (H, W) uint8 in 0..K-1.
    """
    mask = np.empty(size_hw or probability.shape[1:], np.uint8)
    ArgmaxDecision(range(len(probability))).fill(probability, mask)
    return mask
