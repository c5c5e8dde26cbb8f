"""Human correction effort: about how many clicks would turn a mask into its label.

Qin et al., "Highly Accurate Dichotomous Image Segmentation", ECCV 2022 (DIS5K), with relaxation 5
and epsilon 2.  False and missing pixels that opening the union of both masks leaves, and missing
parts of the label's skeleton, are the faults.  A fault's outline, where it borders on what is
right, costs its polygon's corners; a fault that borders on nothing right costs one.

Convention: of PySODMetrics.  Not of 0..1 but a count, less is better; it grows with resolution.
The skeleton is scikit-image's, as in the authors' code: its table of patterns is not that of the
paper it names (Zhang and Suen, 1984), and another skeleton gives another count.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from differseg.errors import MissingComponentError

RELAXATION_PX = 5
"""Faults up to about twice as wide are forgiven."""
EPSILON_PX = 2.0
"""How far a fault's polygon may lie from its outline."""

_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))

Mask = npt.NDArray[np.bool_]
Points = npt.NDArray[np.int32]


def hce(found: Mask, label: Mask, valid: Mask | None = None) -> int:
    """Return the human correction effort of one image.

    Args:
        found: (H, W) bool.
        label: (H, W) bool.
        valid: (H, W) bool, False where ignored; None for all valid.

    Raises:
        MissingComponentError: scikit-image is not installed.
    """
    outside = np.zeros_like(label) if valid is None else ~valid
    found, label = found & ~outside, label & ~outside
    right = found & label
    false, missing = found & ~label, label & ~found
    core = _eroded(found | label | outside)
    false &= _grown(false & core, ~label)
    missing &= _grown(missing & core, ~found)
    missing |= _skeleton(label) & ~right
    return _effort(false, right | missing) + _effort(missing, ~(right | false | missing | outside))


def _skeleton(mask: Mask) -> Mask:
    try:
        from skimage.morphology import skeletonize
    except ImportError:
        raise MissingComponentError(
            "metrics: hce needs the package 'skimage', which is not installed; install it with: "
            "pip install 'differseg[train]'"
        ) from None
    return np.asarray(skeletonize(mask), dtype=bool)


def _eroded(mask: Mask) -> Mask:
    return cv2.erode(mask.view(np.uint8), _CROSS, iterations=RELAXATION_PX) > 0


def _grown(mask: Mask, within: Mask) -> Mask:
    """Grow a mask by the relaxation, within another."""
    for _ in range(RELAXATION_PX):
        mask = (cv2.dilate(mask.view(np.uint8), _CROSS) > 0) & within
    return mask


def _effort(fault: Mask, beside: Mask) -> int:
    """Corners of the outlines that lie beside something, and faults that lie beside nothing."""
    count, regions = cv2.connectedComponents(fault.view(np.uint8), connectivity=8)
    touches = cv2.dilate(beside.view(np.uint8), _CROSS) > 0
    outlines, _ = cv2.findContours(fault.view(np.uint8), cv2.RETR_TREE, cv2.CHAIN_APPROX_NONE)
    seen = np.zeros(fault.shape, bool)
    bordered = np.zeros(count, bool)
    corners = 0
    for outline in outlines:
        points = np.asarray(outline[:, 0], dtype=np.int32)
        kept = _kept(points, touches, seen)
        bordered[regions[points[kept, 1], points[kept, 0]]] = True
        for line in _lines(points, kept):
            corners += len(cv2.approxPolyDP(line[:, None], EPSILON_PX, False))
    return corners + count - 1 - int(np.count_nonzero(bordered))


def _kept(points: Points, touches: Mask, seen: Mask) -> Mask:
    """Return which points of an outline count: beside something, and each pixel only once."""
    x, y = points.T
    kept: Mask = touches[y, x] & ~seen[y, x]
    places = np.flatnonzero(kept)
    _, first = np.unique(y[places].astype(np.int64) * seen.shape[1] + x[places], return_index=True)
    kept[:] = False
    kept[places[first]] = True
    seen[y[kept], x[kept]] = True
    return kept


def _lines(points: Points, kept: Mask) -> list[Points]:
    """Return the unbroken lines of kept points; one that runs over the outline's start is whole."""
    edges = np.diff(kept.astype(np.int8), prepend=0, append=0)
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    lines = [points[start:end] for start, end in zip(starts, ends, strict=True)]
    if len(lines) > 1 and np.abs(lines[0][0] - lines[-1][-1]).max() == 1:
        lines[-1] = np.concatenate([lines[-1], lines[0][::-1]])  # reversed, as in the authors' code
        del lines[0]
    return lines
