"""Counts of right and wrong pixels at one threshold: IoU, precision, recall, F-measure, BER."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from differseg.errors import InputError
from differseg.metrics.pair import Pair

F_BETA_SQUARED = 0.3
"""Weight of recall in the F-measure: the salient-object convention, which favours precision."""


def ratio(part: float, whole: float, other: float = 0.0) -> float:
    """Return part / whole; for an empty whole 1.0, or 0.0 where the other side is not empty."""
    if whole:
        return float(part / whole)
    return 0.0 if other else 1.0


def f_measure(precision: float, recall: float, beta_squared: float = 1.0) -> float:
    """Return ``(1 + b2) * P * R / (b2 * P + R)``, 0 where both are 0."""
    denominator = beta_squared * precision + recall
    return (1 + beta_squared) * precision * recall / denominator if denominator else 0.0


def as_bool(
    a: npt.NDArray[np.generic], b: npt.NDArray[np.generic]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return two masks, True where not 0.

    Raises:
        InputError: The shapes differ.
    """
    if a.shape != b.shape or a.ndim != 2:
        raise InputError(
            f"masks: expected two (H, W) arrays of one shape, got {a.shape}, {b.shape}"
        )
    return a.astype(np.bool_, copy=False), b.astype(np.bool_, copy=False)


def mask_iou(a: npt.NDArray[np.generic], b: npt.NDArray[np.generic]) -> float:
    """Intersection over union of two masks.

    Args:
        a: (H, W) bool or number, foreground where not 0.
        b: (H, W) likewise.

    Returns:
        0..1; 1 where both are empty.

    Raises:
        InputError: The shapes differ.
    """
    first, second = as_bool(a, b)
    both, either = np.count_nonzero(first & second), np.count_nonzero(first | second)
    return ratio(float(both), float(either))


@dataclass(frozen=True)
class Overlap:
    """Pixels of one image or of a set, by what was found and what the label says.

    Convention: a ratio of nothing to nothing is 1 (two empty masks agree), a ratio with nothing on
    one side only is 0.  The balanced error rate alone follows its field, see :meth:`ber`.
    """

    true_positive: int = 0
    false_positive: int = 0
    false_negative: int = 0
    true_negative: int = 0

    @classmethod
    def of(cls, found: npt.NDArray[np.bool_], pair: Pair) -> Overlap:
        """Count one image.

        Args:
            found: (H, W) what was found; False where ignored.
            pair: Prediction and label.
        """
        positive = int(np.count_nonzero(found))
        true_positive = int(np.count_nonzero(found & pair.label))
        return cls(
            true_positive,
            positive - true_positive,
            pair.foreground - true_positive,
            pair.pixels - positive - pair.foreground + true_positive,
        )

    def __add__(self, other: Overlap) -> Overlap:
        return Overlap(
            self.true_positive + other.true_positive,
            self.false_positive + other.false_positive,
            self.false_negative + other.false_negative,
            self.true_negative + other.true_negative,
        )

    @property
    def found(self) -> int:
        """Pixels found as foreground."""
        return self.true_positive + self.false_positive

    @property
    def wanted(self) -> int:
        """Foreground pixels of the label."""
        return self.true_positive + self.false_negative

    @property
    def pixels(self) -> int:
        """All pixels."""
        return self.found + self.false_negative + self.true_negative

    @property
    def iou(self) -> float:
        """IoU of the foreground."""
        return ratio(self.true_positive, self.found + self.false_negative)

    @property
    def background_iou(self) -> float:
        """IoU of the background."""
        return ratio(
            self.true_negative, self.true_negative + self.false_positive + self.false_negative
        )

    @property
    def precision(self) -> float:
        """Share of what was found that is right."""
        return ratio(self.true_positive, self.found, other=self.wanted)

    @property
    def recall(self) -> float:
        """Share of the label's foreground that was found."""
        return ratio(self.true_positive, self.wanted, other=self.found)

    @property
    def f_measure(self) -> float:
        """F-measure of precision and recall, beta^2 = 0.3."""
        return f_measure(self.precision, self.recall, F_BETA_SQUARED)

    @property
    def ber(self) -> float:
        """Balanced error rate: ``1 - (TP / (TP + FN) + TN / (TN + FP)) / 2``, 0..1.

        Convention: of PySODMetrics.  A class that the label does not show counts as all wrong, so
        that an image without foreground has at least 0.5.
        """
        background = self.true_negative + self.false_positive
        of_foreground = self.true_positive / self.wanted if self.wanted else 0.0
        of_background = self.true_negative / background if background else 0.0
        return 1 - 0.5 * (of_foreground + of_background)
