"""One model's outputs against labels: figures and pictures, with two classes and with more.

What evaluation and validation share, so that neither asks how many classes there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from differseg.class_metrics import ClassMetrics, ClassScores
from differseg.class_pictures import ClassComparison, class_grid
from differseg.manifest import ClassSpec
from differseg.metrics import (
    BOUNDARY_TOLERANCE_PX,
    IMAGE_MEASURES,
    QUICK_MEASURES,
    ImageScores,
    Normalize,
    SegmentationMetrics,
)
from differseg.pictures import Comparison, Picture, comparison_grid
from differseg.runtime.decision import most_probable
from differseg.runtime.preprocess import resize

Row = Comparison | ClassComparison
Inputs = dict[str, npt.NDArray[np.generic]]


@dataclass(frozen=True)
class Scored:
    """One image.

    Attributes:
        scores: Its figures.
        headline: The figure that ranks images and epochs, 0..1: IoU of the foreground, or mean
            IoU of the classes.
        shown: (H, W) at the label's size: the probability (float32), or the classes (uint8).
        label: (H, W) uint8.
    """

    scores: ImageScores | ClassScores
    headline: float
    shown: npt.NDArray[Any]
    label: npt.NDArray[np.uint8]


class Scorer(Protocol):
    """Scores image after image.

    Attributes:
        headline: Name of the figure that ranks images and epochs.
        columns: Names of the figures of an image.
    """

    headline: str
    columns: tuple[str, ...]

    def score(self, probability: npt.NDArray[np.float32], label: npt.NDArray[np.uint8]) -> Scored:
        """Add one image, resized to its label as the runtime resizes it to the frame.

        Args:
            probability: (Hm, Wm) of two classes, else (K, Hm, Wm); float32 in 0..1.
            label: (H, W) uint8, places of classes, 255 ignored.
        """

    def compute(self) -> dict[str, Any]:
        """Return the figures over all images so far, as JSON values."""

    def row(self, scored: Scored, stem: str, inputs: Inputs) -> Row:
        """Return one row of a picture grid; ``inputs`` is what is shown of each modality."""

    def grid(self, rows: Sequence[Any]) -> Picture:
        """Draw a picture grid."""


class BinaryScorer:
    """Scores the probability of a foreground.

    Args:
        threshold: Probability from which a pixel is foreground.
        tolerance_px: Tolerance of the boundary F-measure in pixels.
        measures: Figures to give, the headline among them.
        normalize: See :class:`SegmentationMetrics`.
    """

    headline = "iou"

    def __init__(
        self,
        threshold: float,
        tolerance_px: float = BOUNDARY_TOLERANCE_PX,
        measures: Sequence[str] = QUICK_MEASURES,
        normalize: Normalize | None = None,
    ) -> None:
        self._threshold = threshold
        self._metrics = SegmentationMetrics(
            threshold, tolerance_px, measures=measures, normalize=normalize
        )
        self.columns = tuple(name for name in IMAGE_MEASURES if name in measures)

    def score(self, probability: npt.NDArray[np.float32], label: npt.NDArray[np.uint8]) -> Scored:
        """Add one image; see :class:`Scorer`."""
        shown = resize(probability, (label.shape[0], label.shape[1]))
        scores = self._metrics.update(shown, label)
        return Scored(scores, scores.iou, shown, label)

    def compute(self) -> dict[str, Any]:
        """Return the figures of :meth:`SegmentationMetrics.compute`."""
        return self._metrics.compute()

    def row(self, scored: Scored, stem: str, inputs: Inputs) -> Comparison:
        """Return one row of a picture grid."""
        caption = f"{stem}   iou {scored.headline:.3f}"
        return Comparison(caption, inputs, scored.shown, scored.label)

    def grid(self, rows: Sequence[Any]) -> Picture:
        """Draw inputs, label, probability, and what was found, false and missed."""
        return comparison_grid(rows, threshold=self._threshold)


class ClassScorer:
    """Scores the most probable of K > 2 classes.

    Args:
        classes: In the order of the probability maps.
    """

    headline = "mean_iou"
    columns: tuple[str, ...] = tuple(field.name for field in fields(ClassScores))

    def __init__(self, classes: Sequence[ClassSpec]) -> None:
        self._classes = tuple(classes)
        self._metrics = ClassMetrics([spec.name for spec in classes])

    def score(self, probability: npt.NDArray[np.float32], label: npt.NDArray[np.uint8]) -> Scored:
        """Add one image; see :class:`Scorer`."""
        found = most_probable(probability, (label.shape[0], label.shape[1]))
        scores = self._metrics.update(found, label)
        return Scored(scores, scores.mean_iou, found, label)

    def compute(self) -> dict[str, Any]:
        """Return the figures of :meth:`ClassMetrics.compute`."""
        return self._metrics.compute()

    def row(self, scored: Scored, stem: str, inputs: Inputs) -> ClassComparison:
        """Return one row of a picture grid."""
        caption = f"{stem}   mean iou {scored.headline:.3f}"
        return ClassComparison(caption, inputs, scored.shown, scored.label)

    def grid(self, rows: Sequence[Any]) -> Picture:
        """Draw inputs, label, classes, and where they differ."""
        return class_grid(rows, self._classes)


def open_scorer(
    classes: Sequence[ClassSpec],
    threshold: float,
    tolerance_px: float = BOUNDARY_TOLERANCE_PX,
    measures: Sequence[str] = QUICK_MEASURES,
    normalize: Normalize | None = None,
) -> Scorer:
    """Return what scores a network with these classes.

    Args:
        classes: In the network's order.
        threshold: Probability from which a pixel is foreground, of two classes.
        tolerance_px: Tolerance of the boundary F-measure in pixels, of two classes.
        measures: Figures of two classes, of :data:`differseg.metrics.MEASURES`; ``iou``, which
            ranks images and epochs, must be among them.
        normalize: Of two classes, see :class:`differseg.metrics.SegmentationMetrics`.
    """
    if len(classes) > 2:
        return ClassScorer(classes)
    return BinaryScorer(threshold, tolerance_px, measures, normalize)


def in_short(figures: Mapping[str, Any], separator: str = ", ") -> str:
    """Return the figures that stand in one line, the headline first.

    Args:
        figures: What :meth:`Scorer.compute` returned; ``lost``, where it is there, has the same
            without a camera, by the camera's name.
        separator: Between two of them.
    """
    names: tuple[str, ...] = ("iou", "boundary_f", "mae")
    if "class_iou" in figures:
        names = ("mean_iou", "pixel_accuracy")
    parts = [f"{name} {figures[name]:.4f}" for name in names]
    lost = figures.get("lost", {})
    parts += [f"{names[0]} without {camera} {lost[camera][names[0]]:.4f}" for camera in lost]
    return separator.join(parts)
