"""What a comparison asks of masks: with two classes, and with more.

Both kinds make masks as the device does, tell flips from ties, and score masks against each other
and against labels.  Maps are (C, H, W) float32, C = 1 of two classes; masks hold places of classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from differseg.class_metrics import ClassMetrics, class_boundary_f
from differseg.export.parity_result import TIE, ClassAgreement, Side
from differseg.manifest import ClassSpec, background_of
from differseg.metrics import SegmentationMetrics, boundary_f, mask_iou
from differseg.runtime.decision import most_probable
from differseg.runtime.preprocess import resize

Maps = npt.NDArray[np.float32]
Mask = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class MaskScores:
    """How two masks, or a mask and a label, agree: both in 0..1."""

    iou: float
    boundary_f: float


class MaskJudge(Protocol):
    """Judges the masks of two forms of a network, image by image."""

    channels: int

    def masks(self, maps_a: Maps, maps_b: Maps) -> tuple[Mask, Mask]:
        """Return both masks (H, W) uint8."""

    def tied(self, maps_a: Maps, maps_b: Maps, masks: tuple[Mask, Mask]) -> int:
        """Return how many of the pixels that differ are ties, which rounding decides."""

    def agreement(self, mask_a: Mask, mask_b: Mask) -> MaskScores:
        """Score the two masks against each other."""

    def foreground(self, mask: Mask) -> float:
        """Return the part of the pixels that show something, 0..1."""

    def against_label(self, maps_a: Maps, maps_b: Maps, label: Mask) -> tuple[MaskScores, ...]:
        """Score both maps, free of NaN, against a label of any size."""

    def pooled_labels(self) -> tuple[MaskScores, ...]:
        """Return both sides' scores over all labels so far."""

    def classes(self) -> tuple[ClassAgreement, ...]:
        """Return the figures of every class over all images; none of two classes."""


class BinaryJudge:
    """Foreground from a threshold on, each side by its own."""

    channels = 1

    def __init__(self, a: Side, b: Side) -> None:
        self._thresholds = (a.threshold, b.threshold)
        self._labels = tuple(
            SegmentationMetrics(threshold, measures=("iou", "boundary_f"))
            for threshold in self._thresholds
        )

    def masks(self, maps_a: Maps, maps_b: Maps) -> tuple[Mask, Mask]:
        """Return both masks: foreground from the threshold on, NaN is not."""
        a, b = (
            (maps[0] >= np.float32(threshold)).astype(np.uint8)
            for maps, threshold in zip((maps_a, maps_b), self._thresholds, strict=True)
        )
        return a, b

    def tied(self, maps_a: Maps, maps_b: Maps, masks: tuple[Mask, Mask]) -> int:
        """Count the pixels whose two probabilities both lie at their thresholds."""
        differs = masks[0] != masks[1]
        # NaN is near nothing, so a pixel that is NaN on one side counts as flipped.
        near = [
            np.abs(maps[0][differs] - threshold) <= TIE
            for maps, threshold in zip((maps_a, maps_b), self._thresholds, strict=True)
        ]
        return int(np.count_nonzero(near[0] & near[1]))

    def agreement(self, mask_a: Mask, mask_b: Mask) -> MaskScores:
        """Score the two foregrounds."""
        return MaskScores(mask_iou(mask_a, mask_b), boundary_f(mask_a, mask_b))

    def foreground(self, mask: Mask) -> float:
        """Return the part of the pixels that are foreground."""
        return float(mask.mean())

    def against_label(self, maps_a: Maps, maps_b: Maps, label: Mask) -> tuple[MaskScores, ...]:
        """Resize the probabilities to the label, as the device does to the frame, and score."""
        scores = [
            metrics.update(resize(np.clip(maps[0], 0.0, 1.0), label.shape), label)
            for metrics, maps in zip(self._labels, (maps_a, maps_b), strict=True)
        ]
        return tuple(MaskScores(score.iou, score.boundary_f) for score in scores)

    def pooled_labels(self) -> tuple[MaskScores, ...]:
        """Return both sides' scores over all labels so far."""
        pooled = [metrics.compute() for metrics in self._labels]
        return tuple(MaskScores(found["iou"], found["boundary_f"]) for found in pooled)

    def classes(self) -> tuple[ClassAgreement, ...]:
        """Two classes say no more than the figures of the foreground."""
        return ()


class ClassJudge:
    """The most probable of K classes.

    IoU and boundary F are means over the classes that one of the two masks (or the label) shows.

    Args:
        classes: In the order of the maps.
    """

    def __init__(self, classes: Sequence[ClassSpec]) -> None:
        self.names = [spec.name for spec in classes]
        self.channels = len(classes)
        background = background_of(classes)
        self._background = None if background is None else classes.index(background)
        self._boundaries: tuple[list[float], list[float]] = ([], [])
        self._agreement = ClassMetrics(self.names)
        self._labels = (ClassMetrics(self.names), ClassMetrics(self.names))

    def masks(self, maps_a: Maps, maps_b: Maps) -> tuple[Mask, Mask]:
        """Return both masks; NaN is the least probable."""
        a, b = (most_probable(np.nan_to_num(maps, nan=0.0)) for maps in (maps_a, maps_b))
        return a, b

    def tied(self, maps_a: Maps, maps_b: Maps, masks: tuple[Mask, Mask]) -> int:
        """Count the pixels where each side finds both winners equally probable."""
        differs = masks[0] != masks[1]
        in_a, in_b = (mask[differs].astype(np.intp)[None] for mask in masks)
        near = []
        for maps, winner, other in ((maps_a, in_a, in_b), (maps_b, in_b, in_a)):
            found = maps[:, differs]  # (K, pixels)
            margin = np.take_along_axis(found, winner, 0) - np.take_along_axis(found, other, 0)
            near.append(margin <= TIE)  # false for NaN
        return int(np.count_nonzero(near[0] & near[1]))

    def agreement(self, mask_a: Mask, mask_b: Mask) -> MaskScores:
        """Score the two masks class by class."""
        iou = self._agreement.update(mask_b, mask_a).mean_iou
        return MaskScores(iou, class_boundary_f(mask_a, mask_b))

    def foreground(self, mask: Mask) -> float:
        """Return the part of the pixels that are not background."""
        return 1.0 if self._background is None else float((mask != self._background).mean())

    def against_label(self, maps_a: Maps, maps_b: Maps, label: Mask) -> tuple[MaskScores, ...]:
        """Decide the classes at the label's size, as the device does at the frame's, and score."""
        scores = []
        size_hw = (label.shape[0], label.shape[1])
        for metrics, boundaries, maps in zip(
            self._labels, self._boundaries, (maps_a, maps_b), strict=True
        ):
            found = most_probable(maps, size_hw)
            boundaries.append(class_boundary_f(label, found))
            scores.append(MaskScores(metrics.update(found, label).mean_iou, boundaries[-1]))
        return tuple(scores)

    def pooled_labels(self) -> tuple[MaskScores, ...]:
        """Return both sides' scores over all labels so far; boundary F is a mean over images."""
        return tuple(
            MaskScores(metrics.compute()["mean_iou"], float(np.mean(boundaries)))
            for metrics, boundaries in zip(self._labels, self._boundaries, strict=True)
        )

    def classes(self) -> tuple[ClassAgreement, ...]:
        """Return the figures of every class over all images."""
        agreement = self._agreement.compute()["class_iou"]
        nothing: dict[str, float | None] = dict.fromkeys(self.names)
        on_a, on_b = (
            metrics.compute()["class_iou"] if boundaries else nothing
            for metrics, boundaries in zip(self._labels, self._boundaries, strict=True)
        )
        return tuple(
            ClassAgreement(name, agreement[name], on_a[name], on_b[name]) for name in self.names
        )
