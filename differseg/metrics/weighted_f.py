"""Weighted F-measure, which spares errors beside an edge and counts those far from the object.

Margolin et al., "How to Evaluate Foreground Maps?", CVPR 2014, with beta = 1.

Convention: of PySODMetrics.  An image whose label has no foreground has 0, whatever was found.
Among several nearest foreground pixels the one of the smallest column counts, and of one column
the smallest row (as of SciPy's distance transform): which one it is changes the figure.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from differseg.metrics.pair import Pair

_EPS = float(np.spacing(1))
_RADIUS = 3
"""Of the smoothing, 7x7 pixels."""
_SIGMA_PX = 5.0
_HALF_PX = 5.0
"""Distance from the object at which half of the further weight is reached."""
_FAR_PX = 256
"""Distance from which the further weight is full, to 16 digits."""
_REACH = 4
"""Rows and columns to the nearest foreground pixel, of a pixel with one in its 7x7."""

_STEPS = np.arange(-_RADIUS, _RADIUS + 1)
_GAUSSIAN = np.exp(-_STEPS * _STEPS / (2 * _SIGMA_PX**2))
_GAUSSIAN /= _GAUSSIAN.sum()
_SQUARE = np.ones((2 * _RADIUS + 1, 2 * _RADIUS + 1), np.uint8)

_WEIGHTS = 2 - 0.5 ** (np.sqrt(np.arange(_FAR_PX**2 + 1)) / _HALF_PX)
"""Of a pixel, by the square of its distance from the object, which is a whole number."""
_WEIGHTS[0] = 0  # the object itself

_OFFSETS = sorted(
    (
        (dy, dx)
        for dy in range(-_REACH, _REACH + 1)
        for dx in range(-_REACH, _REACH + 1)
        if 0 < dy * dy + dx * dx <= 2 * _RADIUS * _RADIUS
    ),
    key=lambda step: (step[0] ** 2 + step[1] ** 2, step[1], step[0]),
)
"""Where to look for the nearest foreground pixel, nearest first."""

Map = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


def f_weighted(pair: Pair) -> float:
    """Return the weighted F-measure of one image, 0..1."""
    if not pair.foreground:
        return 0.0
    prediction = pair.prediction.astype(np.float64, copy=False)
    missed = _missed(prediction, pair)
    false = _false(prediction, pair)
    hits = pair.foreground - missed
    recall = 1 - missed / pair.foreground
    precision = hits / (hits + false + _EPS)
    return 2 * recall * precision / (recall + precision + _EPS)


def _missed(prediction: Map, pair: Pair) -> float:
    """Sum of the errors of the foreground, each smoothed over its neighbours where that is less.

    Only pixels within the smoothing of foreground matter, so the frame is cut to them.
    """
    x, y, width, height = cv2.boundingRect(pair.label.view(np.uint8))
    rows = slice(max(0, y - _RADIUS), y + height + _RADIUS)
    columns = slice(max(0, x - _RADIUS), x + width + _RADIUS)
    label = np.pad(pair.label[rows, columns], _REACH)
    spread = np.empty(label.shape, np.float32)  # the smaller, the fewer pages of fresh memory
    spread.fill(0)
    inside = spread[_REACH:-_REACH, _REACH:-_REACH]
    np.subtract(1, prediction[rows, columns], out=inside, where=pair.label[rows, columns])
    near = (cv2.dilate(label.view(np.uint8), _SQUARE) > 0) & ~label
    near[:_REACH] = near[-_REACH:] = near[:, :_REACH] = near[:, -_REACH:] = False
    if pair.valid is not None:
        near[_REACH:-_REACH, _REACH:-_REACH] &= pair.valid[rows, columns]
    _spread(spread.ravel(), label.ravel(), np.flatnonzero(near), label.shape[1])
    smooth = cv2.sepFilter2D(
        spread, cv2.CV_32F, _GAUSSIAN, _GAUSSIAN, borderType=cv2.BORDER_CONSTANT
    )
    np.minimum(smooth, spread, out=smooth)
    return pair.foreground * float(cv2.mean(smooth, mask=label.view(np.uint8))[0])


def _spread(
    errors: npt.NDArray[np.float32], label: Mask, places: npt.NDArray[np.intp], width: int
) -> None:
    """Write the error of the nearest foreground pixel to each of some background pixels.

    Args:
        errors: (N,) errors of the foreground, row by row; written to.
        label: (N,) foreground, with ``_REACH`` background rows and columns around.
        places: Where to write; with foreground in their 7x7.
        width: Columns.
    """
    for dy, dx in _OFFSETS:
        if not places.size:
            return
        neighbours = places + (dy * width + dx)
        hit = label[neighbours]
        errors[places[hit]] = errors[neighbours[hit]]
        places = places[~hit]


def _false(prediction: Map, pair: Pair) -> float:
    """Sum of the errors of the background, with weights from 1 at the object to 2 far from it."""
    if pair.foreground == pair.pixels:
        return 0.0
    distance_px = cv2.distanceTransform(
        (~pair.label).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE
    )
    # Whole squares, since the last bit of OpenCV's roots is not the same in every call.
    squares = np.minimum(distance_px, _FAR_PX, out=distance_px)
    np.rint(np.multiply(squares, squares, out=squares), out=squares)
    errors = np.bincount(
        squares.ravel().astype(np.intp), prediction.ravel(), minlength=len(_WEIGHTS)
    )
    return float((errors * _WEIGHTS).sum())
