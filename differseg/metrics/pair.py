"""A prediction and its label, checked, with what several measures need of them."""

from __future__ import annotations

from functools import cached_property
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from differseg.data.labels import IGNORE
from differseg.errors import InputError

LEVELS = 256
"""Thresholds of a curve: t / 255 for t from 0 to 255."""

_EXACT = 1 << 24
"""Up to which whole numbers float32 counts."""

Normalize = Literal["minmax"]
Counts = npt.NDArray[np.int64]


class Pair:
    """One image's prediction and label, as every measure takes them.

    Convention: a pixel labelled 255, or outside ``valid``, counts as if it lay outside the image:
    nothing is known of it, no figure depends on what is predicted there, and its edge is no
    boundary.  Sums and means run over the other pixels.

    Args:
        prediction: (H, W) float, foreground probability in 0..1; uint8 in 0..255, which is divided
            by 255; or bool.
        label: (H, W) bool, or a number: 0 background, 255 ignored, all else foreground.
        valid: (H, W) bool, False for further ignored pixels; None for none.
        normalize: None takes the prediction as it is; ``"minmax"`` stretches it to 0..1 over the
            pixels that count, as papers on salient and camouflaged objects do.  A constant
            prediction is not stretched.

    Attributes:
        prediction: (H, W) float in 0..1, 0 where ignored.
        label: (H, W) bool, False where ignored.
        valid: (H, W) bool; None where all pixels count.

    Raises:
        InputError: The shapes differ, or a probability is NaN or outside 0..1.
    """

    def __init__(
        self,
        prediction: npt.NDArray[np.generic],
        label: npt.NDArray[np.generic],
        valid: npt.NDArray[np.bool_] | None = None,
        normalize: Normalize | None = None,
    ) -> None:
        prediction, label = np.ascontiguousarray(prediction), np.ascontiguousarray(label)
        if normalize not in (None, "minmax"):
            raise InputError(f"metrics: normalize={normalize!r}: expected None or 'minmax'")
        if prediction.shape != label.shape or label.ndim != 2 or not label.size:
            raise InputError(
                f"metrics: expected probability and mask of one shape (H, W), got "
                f"{prediction.shape} and {label.shape}; resize the probability to the label's size"
            )
        if valid is not None and valid.shape != label.shape:
            raise InputError(
                f"metrics: expected valid of the label's shape {label.shape}, got {valid.shape}"
            )
        self.valid = _known(label, valid)
        self.label: npt.NDArray[np.bool_] = label.astype(np.bool_, copy=False)
        if self.valid is not None:
            self.label = self.label & self.valid
        stretch = normalize == "minmax"
        if prediction.dtype == np.uint8:
            stored = np.asarray(prediction, dtype=np.uint8)
            table = _table(stored if self.valid is None else stored[self.valid], stretch)
            values: npt.NDArray[np.floating] = np.asarray(cv2.LUT(stored, table), np.float64)
            levels = cv2.LUT(stored, (table * 255).astype(np.uint8))
            self._levels: npt.NDArray[np.uint8] | None = np.asarray(levels, np.uint8)
        else:
            values = _in_unit_range(prediction)
            values = _stretched(values, self.valid) if stretch else values
            self._levels = None
        if self.valid is not None:
            values = np.where(self.valid, values, values.dtype.type(0))
        self.prediction = values

    @cached_property
    def flat_prediction(self) -> npt.NDArray[np.floating]:
        """(N,) The prediction at the pixels that count, row by row."""
        return self.prediction.ravel() if self.valid is None else self.prediction[self.valid]

    @cached_property
    def flat_label(self) -> npt.NDArray[np.bool_]:
        """(N,) The label at the pixels that count."""
        return self.label.ravel() if self.valid is None else self.label[self.valid]

    @property
    def pixels(self) -> int:
        """Pixels that count."""
        return self.flat_label.size

    @cached_property
    def foreground(self) -> int:
        """Foreground pixels of the label."""
        return int(np.count_nonzero(self.label))

    @cached_property
    def absolute_error(self) -> float:
        """Sum of ``abs(prediction - label)``."""
        missed = self.foreground * cv2.mean(self.prediction, mask=self.label.view(np.uint8))[0]
        return float(cv2.sumElems(self.prediction)[0] - 2 * missed + self.foreground)

    @cached_property
    def adaptive_counts(self) -> tuple[int, int]:
        """Foreground and background pixels from twice the mean prediction (at most 1) on."""
        found = self.flat_prediction >= min(2 * self.flat_prediction.mean(), 1)
        hits = int(np.count_nonzero(found & self.flat_label))
        return hits, int(np.count_nonzero(found)) - hits

    @cached_property
    def threshold_counts(self) -> tuple[Counts, Counts]:
        """(256,) each: foreground and background pixels with ``floor(255 p) >= t`` at place t."""
        levels = self._levels
        if levels is None:
            levels = (self.prediction * 255).astype(np.uint8)
        wanted = _histogram(levels, self.label)
        other = _histogram(levels, self.valid) - wanted
        return wanted[::-1].cumsum()[::-1], other[::-1].cumsum()[::-1]


def _histogram(levels: npt.NDArray[np.uint8], mask: npt.NDArray[np.bool_] | None) -> Counts:
    """(256,) Count the levels under a mask, in strips: OpenCV's counts are float32."""
    counts = np.zeros(LEVELS, np.int64)
    rows = max(1, _EXACT // levels.shape[1])
    for y in range(0, len(levels), rows):
        strip = None if mask is None else mask[y : y + rows].view(np.uint8)
        found = cv2.calcHist([levels[y : y + rows]], [0], strip, [LEVELS], [0, LEVELS])
        counts += found.ravel().astype(np.int64)
    return counts


def _known(
    label: npt.NDArray[np.generic], valid: npt.NDArray[np.bool_] | None
) -> npt.NDArray[np.bool_] | None:
    """Return which pixels count; None where all do."""
    if label.dtype != np.bool_:
        known: npt.NDArray[np.bool_] = np.not_equal(label, IGNORE)
        valid = known if valid is None else known & valid
    return None if valid is None or valid.all() else valid


def _table(counted: npt.NDArray[np.uint8], stretch: bool) -> npt.NDArray[np.float64]:
    """(256,) the value in 0..1 of every byte; those that do not occur are cut to it."""
    table = np.arange(LEVELS) / 255
    if stretch and counted.size and counted.min() != counted.max():
        low, high = table[counted.min()], table[counted.max()]
        table = np.clip((table - low) / (high - low), 0, 1)
    return table


def _in_unit_range(prediction: npt.NDArray[np.generic]) -> npt.NDArray[np.floating]:
    """Return float32 or float64 in 0..1."""
    exact = prediction.dtype in (np.float32, np.float16, np.bool_)
    values: npt.NDArray[np.floating] = prediction.astype(
        np.float32 if exact else np.float64, copy=False
    )
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= 1):  # also true for NaN
        raise InputError(
            f"metrics: expected probabilities in 0..1, got {low:g} to {high:g}; apply the sigmoid "
            "to logits first"
        )
    return values


def _stretched(
    values: npt.NDArray[np.floating], valid: npt.NDArray[np.bool_] | None
) -> npt.NDArray[np.floating]:
    """Return the values that count, stretched to 0..1 unless all are the same."""
    counted = values if valid is None else values[valid]
    if not counted.size or counted.max() == counted.min():
        return values
    return (values - counted.min()) / (counted.max() - counted.min())
