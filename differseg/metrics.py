"""Figures of merit of binary masks, streamed image by image; numpy and OpenCV only.

:class:`SegmentationMetrics` takes one image at a time and holds only counts, so a data set of any
size fits.  IoU, precision, recall and F-measure are computed from pixel counts over the whole
set; the boundary F-measure is a mean over images and the MAE a mean over pixels.

Convention: a ratio of nothing to nothing is 1 (two empty masks agree), a ratio with nothing on one
side only is 0.  Pixels labelled 255 are ignored.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from differseg.data.labels import IGNORE
from differseg.errors import InputError

F_BETA_SQUARED = 0.3
"""Weight of recall in the F-measure: the salient-object convention, which favours precision."""

BOUNDARY_TOLERANCE_PX = 2.0
"""How far a boundary may lie from the label's and still count as found."""

_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


def _ratio(part: float, whole: float, other: float = 0.0) -> float:
    """Return part / whole; for an empty whole 1.0, or 0.0 where the other side is not empty."""
    if whole:
        return float(part / whole)
    return 0.0 if other else 1.0


def f_measure(precision: float, recall: float, beta_squared: float = 1.0) -> float:
    """Return ``(1 + b2) * P * R / (b2 * P + R)``, 0 where both are 0."""
    denominator = beta_squared * precision + recall
    return (1 + beta_squared) * precision * recall / denominator if denominator else 0.0


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
    first, second = _as_bool(a, b)
    both, either = np.count_nonzero(first & second), np.count_nonzero(first | second)
    return _ratio(float(both), float(either))


def boundary(
    mask: npt.NDArray[np.bool_], valid: npt.NDArray[np.bool_] | None = None
) -> npt.NDArray[np.bool_]:
    """Return the foreground pixels with a background pixel above, below, left or right.

    Convention: the frame's edge is no boundary (nothing is known beyond it), and neither is the
    edge of an ignored area.

    Args:
        mask: (H, W) bool, foreground.
        valid: (H, W) bool, False where ignored; None for all valid.

    Returns:
        (H, W) bool.
    """
    known = np.ones_like(mask) if valid is None else valid
    background = (~mask & known).astype(np.uint8)
    return mask & known & (cv2.dilate(background, _CROSS) > 0)


def boundary_f(
    a: npt.NDArray[np.generic],
    b: npt.NDArray[np.generic],
    tolerance_px: float = BOUNDARY_TOLERANCE_PX,
    valid: npt.NDArray[np.bool_] | None = None,
) -> float:
    """F-measure (beta 1) of two masks' boundaries within a Euclidean tolerance.

    Precision is the share of ``a``'s boundary pixels with a boundary pixel of ``b`` no farther
    away than the tolerance; recall is the same the other way round, so the figure is symmetric.

    Args:
        a: (H, W) bool or number, foreground where not 0.
        b: (H, W) likewise.
        tolerance_px: Largest distance between pixel centres, in pixels; 0 asks for equality.
        valid: (H, W) bool, False where ignored; None for all valid.

    Returns:
        0..1; 1 where neither mask has a boundary, 0 where only one has.

    Raises:
        InputError: The shapes differ.
    """
    first, second = _as_bool(a, b)
    edge_a, edge_b = boundary(first, valid), boundary(second, valid)
    count_a, count_b = np.count_nonzero(edge_a), np.count_nonzero(edge_b)
    if not count_a or not count_b:
        return 1.0 if count_a == count_b else 0.0
    precision = np.count_nonzero(_distance_px(edge_b)[edge_a] <= tolerance_px) / count_a
    recall = np.count_nonzero(_distance_px(edge_a)[edge_b] <= tolerance_px) / count_b
    return float(f_measure(precision, recall))


def _distance_px(edge: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Exact Euclidean distance of every pixel to the nearest edge pixel (there is one)."""
    return np.asarray(
        cv2.distanceTransform((~edge).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE),
        dtype=np.float32,
    )


def _as_bool(
    a: npt.NDArray[np.generic], b: npt.NDArray[np.generic]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    if a.shape != b.shape or a.ndim != 2:
        raise InputError(
            f"masks: expected two (H, W) arrays of one shape, got {a.shape}, {b.shape}"
        )
    return a != 0, b != 0


@dataclass(frozen=True)
class ImageScores:
    """The figures of one image, all in 0..1; ``mae`` is the only one where less is better."""

    iou: float
    precision: float
    recall: float
    f_measure: float
    mae: float
    boundary_f: float


@dataclass
class _Counts:
    """Sums over pixels (and ``boundary_f`` over images)."""

    true_positive: float = 0
    false_positive: float = 0
    false_negative: float = 0
    true_negative: float = 0
    absolute_error: float = 0.0
    boundary_f: float = 0.0
    images: int = 0

    def add(self, other: _Counts) -> None:
        """Add another image's or set's sums to these."""
        for field in dataclasses.fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))

    def scores(self) -> ImageScores:
        """Turn the sums into figures."""
        found = self.true_positive + self.false_positive
        wanted = self.true_positive + self.false_negative
        precision = _ratio(self.true_positive, found, other=wanted)
        recall = _ratio(self.true_positive, wanted, other=found)
        return ImageScores(
            iou=_ratio(self.true_positive, found + self.false_negative),
            precision=precision,
            recall=recall,
            f_measure=f_measure(precision, recall, F_BETA_SQUARED),
            mae=self.absolute_error / max(1.0, found + self.false_negative + self.true_negative),
            boundary_f=self.boundary_f / max(1, self.images),
        )

    def background_iou(self) -> float:
        """IoU of the background class."""
        union = self.true_negative + self.false_positive + self.false_negative
        return _ratio(self.true_negative, union)


class SegmentationMetrics:
    """Streaming figures of a binary segmentation.

    Example:
        >>> metrics = SegmentationMetrics()
        >>> label = np.eye(4, dtype=np.uint8)
        >>> metrics.update(label.astype(np.float32), label).iou
        1.0
        >>> metrics.compute()["iou"]
        1.0

    Args:
        threshold: Probability from which a pixel is foreground.
        tolerance_px: Tolerance of the boundary F-measure, in pixels.
    """

    def __init__(self, threshold: float = 0.5, tolerance_px: float = BOUNDARY_TOLERANCE_PX) -> None:
        self.threshold = threshold
        self.tolerance_px = tolerance_px
        self._counts = _Counts()

    def update(
        self,
        probability: npt.NDArray[np.floating],
        mask: npt.NDArray[np.generic],
        valid: npt.NDArray[np.bool_] | None = None,
    ) -> ImageScores:
        """Add one image and return its own figures.

        Args:
            probability: (H, W) float, foreground probability in 0..1.
            mask: (H, W) uint8 or bool label: 0, 1, and 255 for ignored pixels.
            valid: (H, W) bool, False for further ignored pixels.

        Raises:
            InputError: The shapes differ, or a probability is NaN or outside 0..1.
        """
        probability, mask = np.asarray(probability), np.asarray(mask)
        if probability.shape != mask.shape or mask.ndim != 2:
            raise InputError(
                f"metrics: expected probability and mask of one shape (H, W), got "
                f"{probability.shape} and {mask.shape}; resize the probability to the label's size"
            )
        if not (probability.min() >= 0 and probability.max() <= 1):  # also false for NaN
            raise InputError(
                f"metrics: expected probabilities in 0..1, got {probability.min():g} to "
                f"{probability.max():g}; apply the sigmoid to logits first"
            )
        known = mask != IGNORE if valid is None else (mask != IGNORE) & valid
        counts = self._count(probability, (mask != 0) & known, known)
        self._counts.add(counts)
        return counts.scores()

    def _count(
        self,
        probability: npt.NDArray[np.floating],
        label: npt.NDArray[np.bool_],
        known: npt.NDArray[np.bool_],
    ) -> _Counts:
        found = (probability >= self.threshold) & known
        true_positive = int(np.count_nonzero(found & label))
        false_positive = int(np.count_nonzero(found)) - true_positive
        false_negative = int(np.count_nonzero(label)) - true_positive
        pixels = int(np.count_nonzero(known))
        error = np.abs(probability.astype(np.float64) - label)
        return _Counts(
            true_positive=true_positive,
            false_positive=false_positive,
            false_negative=false_negative,
            true_negative=pixels - true_positive - false_positive - false_negative,
            absolute_error=float(error[known].sum()),
            boundary_f=boundary_f(found, label, self.tolerance_px, known),
            images=1,
        )

    def compute(self) -> dict[str, float]:
        """Return the figures over all images so far.

        Returns:
            ``iou`` (foreground), ``mean_iou`` (of foreground and background), ``precision``,
            ``recall``, ``f_measure`` (beta^2 = 0.3), ``mae``, ``boundary_f`` and ``images``.

        Raises:
            InputError: No image was added.
        """
        if not self._counts.images:
            raise InputError("metrics: no image was added, so there is nothing to compute")
        scores = self._counts.scores()
        return {
            "iou": scores.iou,
            "mean_iou": (scores.iou + self._counts.background_iou()) / 2,
            "precision": scores.precision,
            "recall": scores.recall,
            "f_measure": scores.f_measure,
            "mae": scores.mae,
            "boundary_f": scores.boundary_f,
            "images": self._counts.images,
        }
