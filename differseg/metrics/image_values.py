"""What one image adds to the means over images, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from differseg.metrics.boundaries import boundary_f
from differseg.metrics.enhanced_alignment import e_adaptive, e_curve
from differseg.metrics.f_curve import Curve, f_adaptive, f_curve, precision_curve, recall_curve
from differseg.metrics.human_correction_effort import hce
from differseg.metrics.overlap import Overlap
from differseg.metrics.pair import Pair
from differseg.metrics.structure import s_measure
from differseg.metrics.weighted_f import f_weighted

Value = float | Curve


@dataclass(frozen=True)
class Image:
    """One image, decided at a threshold.

    Attributes:
        pair: Prediction and label.
        found: (H, W) bool, foreground of the prediction; False where ignored.
        overlap: Counts of right and wrong pixels.
        tolerance_px: Of the boundary F-measure.
    """

    pair: Pair
    found: npt.NDArray[np.bool_]
    overlap: Overlap
    tolerance_px: float


VALUES: dict[str, Callable[[Image], Value]] = {
    "image_iou": lambda image: image.overlap.iou,
    "ber": lambda image: image.overlap.ber,
    "mae": lambda image: image.pair.absolute_error / image.pair.pixels,
    "boundary_f": lambda image: boundary_f(
        image.found, image.pair.label, image.tolerance_px, image.pair.valid
    ),
    "s_measure": lambda image: s_measure(image.pair),
    "e_curve": lambda image: e_curve(image.pair),
    "e_adaptive": lambda image: e_adaptive(image.pair),
    "precision_curve": lambda image: precision_curve(image.pair),
    "recall_curve": lambda image: recall_curve(image.pair),
    "f_curve": lambda image: f_curve(image.pair),
    "f_adaptive": lambda image: f_adaptive(image.pair),
    "f_weighted": lambda image: f_weighted(image.pair),
    "hce": lambda image: float(hce(image.found, image.pair.label, image.pair.valid)),
}
"""How an image with at least one pixel that counts has each value."""

_CURVES = {
    "e_max": ("e_curve",),
    "e_mean": ("e_curve",),
    "f_max": ("f_curve", "precision_curve", "recall_curve"),
    "f_mean": ("f_curve", "precision_curve", "recall_curve"),
}


def needed(figure: str) -> tuple[str, ...]:
    """Return the names of the values that a figure needs; none where counts are enough."""
    return _CURVES.get(figure, (figure,) if figure in VALUES else ())


def agreement(name: str) -> Value:
    """Return the value of an image of which nothing is known: no error, full agreement."""
    if name.endswith("_curve"):
        return np.ones(256)
    return 0.0 if name in ("ber", "mae", "hce") else 1.0
