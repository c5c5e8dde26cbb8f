"""Figures of merit of class maps (more than two classes), streamed image by image.

:class:`ClassMetrics` takes one image at a time and holds only the confusion matrix.

Convention: a class counts in a mean where a label or a found pixel shows it; a class that neither
shows has no IoU (None).  Where no class counts, all being ignored, a figure is 1.  Pixels
labelled 255 are ignored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from differseg.data.labels import IGNORE
from differseg.errors import InputError
from differseg.metrics import BOUNDARY_TOLERANCE_PX, boundary_f

ClassMap = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class ClassScores:
    """The figures of one image, all in 0..1."""

    mean_iou: float
    pixel_accuracy: float


class ClassMetrics:
    """Streaming figures of a segmentation into K classes.

    Example:
        >>> metrics = ClassMetrics(["road", "car", "person"])
        >>> label = np.array([[0, 0], [1, 255]], np.uint8)
        >>> metrics.update(np.array([[0, 1], [1, 2]], np.uint8), label).pixel_accuracy
        0.6666666666666666
        >>> metrics.compute()["class_iou"]
        {'road': 0.5, 'car': 0.5, 'person': None}

    Args:
        names: Names of the classes, in the order of their places in the maps.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._confusion = np.zeros((len(names), len(names)), np.int64)  # label, found
        self._images = 0

    def update(self, found: ClassMap, label: ClassMap) -> ClassScores:
        """Add one image and return its own figures.

        Args:
            found: (H, W) uint8, place of the class at every pixel, 0..K-1.
            label: (H, W) uint8 likewise, and 255 for ignored pixels.

        Raises:
            InputError: The shapes differ, or a value is no class.
        """
        count = len(self.names)
        if found.shape != label.shape or label.ndim != 2:
            raise InputError(
                f"metrics: expected two class maps of one shape (H, W), got {found.shape} and "
                f"{label.shape}; decide the classes at the label's size"
            )
        known = label != IGNORE
        here, there = found[known].astype(np.int64), label[known].astype(np.int64)
        if here.size and max(here.max(), there.max()) >= count:
            raise InputError(
                f"metrics: expected classes 0 to {count - 1}, got {max(here.max(), there.max())}; "
                "map labels to the network's classes first"
            )
        pairs = np.bincount(count * there + here, minlength=count * count)
        confusion = pairs.reshape(count, count)
        self._confusion += confusion
        self._images += 1
        return ClassScores(_mean_iou(confusion), _accuracy(confusion))

    def compute(self) -> dict[str, Any]:
        """Return the figures over all images so far.

        Returns:
            ``mean_iou`` (over the classes present), ``pixel_accuracy``, ``mean_accuracy`` (mean
            over the labels' classes of the share of their pixels that is found), ``class_iou``
            (class name to IoU, None where the class is absent) and ``images``.

        Raises:
            InputError: No image was added.
        """
        if not self._images:
            raise InputError("metrics: no image was added, so there is nothing to compute")
        ious = _ious(self._confusion)
        return {
            "mean_iou": _mean_iou(self._confusion),
            "pixel_accuracy": _accuracy(self._confusion),
            "mean_accuracy": _mean_accuracy(self._confusion),
            "class_iou": {
                name: None if np.isnan(iou) else float(iou)
                for name, iou in zip(self.names, ious, strict=True)
            },
            "images": self._images,
        }


def _ious(confusion: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """IoU of every class; NaN where neither label nor found pixels show it."""
    both = np.diag(confusion).astype(np.float64)
    either = confusion.sum(axis=0) + confusion.sum(axis=1) - both
    ious = np.full(len(both), np.nan)
    np.divide(both, either, out=ious, where=either > 0)
    return ious


def _mean_iou(confusion: npt.NDArray[np.int64]) -> float:
    ious = _ious(confusion)
    present = ious[~np.isnan(ious)]
    return float(present.mean()) if present.size else 1.0


def _accuracy(confusion: npt.NDArray[np.int64]) -> float:
    total = confusion.sum()
    return float(np.trace(confusion) / total) if total else 1.0


def _mean_accuracy(confusion: npt.NDArray[np.int64]) -> float:
    wanted = confusion.sum(axis=1)
    present = wanted > 0
    return float((np.diag(confusion)[present] / wanted[present]).mean()) if present.any() else 1.0


def class_boundary_f(
    a: ClassMap, b: ClassMap, tolerance_px: float = BOUNDARY_TOLERANCE_PX
) -> float:
    """Mean of :func:`differseg.metrics.boundary_f` over the classes that one of two maps shows.

    Args:
        a: (H, W) uint8, place of the class at every pixel; 255 is ignored.
        b: (H, W) uint8 likewise.
        tolerance_px: Largest distance between pixel centres, in pixels.

    Returns:
        0..1; 1 where all is ignored.
    """
    valid = (a != IGNORE) & (b != IGNORE)
    present = np.union1d(a[valid], b[valid])
    scores = [boundary_f(a == place, b == place, tolerance_px, valid) for place in present]
    return float(np.mean(scores)) if scores else 1.0
