"""Boundaries of masks, and how well two of them agree within a tolerance."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from differseg.metrics.overlap import as_bool, f_measure

BOUNDARY_TOLERANCE_PX = 2.0
"""How far a boundary may lie from the label's and still count as found."""

_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))

_DISC_UP_TO_PX = 6.0
"""Tolerance up to which growing by a disc is quicker than a distance transform."""


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
    background = ~mask if valid is None else ~mask & valid
    edge = mask & (cv2.dilate(background.view(np.uint8), _CROSS) > 0)
    return edge if valid is None else edge & valid


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
    first, second = as_bool(a, b)
    edge_a, edge_b = boundary(first, valid), boundary(second, valid)
    count_a, count_b = np.count_nonzero(edge_a), np.count_nonzero(edge_b)
    if not count_a or not count_b:
        return 1.0 if count_a == count_b else 0.0
    precision = np.count_nonzero(edge_a & _around(edge_b, tolerance_px)) / count_a
    recall = np.count_nonzero(edge_b & _around(edge_a, tolerance_px)) / count_b
    return float(f_measure(precision, recall))


def _around(edge: npt.NDArray[np.bool_], tolerance_px: float) -> npt.NDArray[np.bool_]:
    """Return where an edge pixel is no farther away than the tolerance (there is one)."""
    if tolerance_px > _DISC_UP_TO_PX:
        distance_px = cv2.distanceTransform(
            (~edge).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE
        )
        return np.asarray(distance_px <= tolerance_px)
    radius = int(tolerance_px)
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    disc = (x * x + y * y <= tolerance_px * tolerance_px).astype(np.uint8)
    return np.asarray(cv2.dilate(edge.view(np.uint8), disc) > 0)
