"""Whether two outputs differ at the outlines of objects or elsewhere.

Rounding and quantisation move boundaries first: an error that stands mostly within two pixels of an
outline shifts edges, one of the same mean far from every outline makes or loses objects.

Convention:
    The outline of a mask is the set of edges between neighbouring pixels (left and right, above and
    below) of different classes; the border of the image is no outline.  A pixel's distance is that
    of its centre from the nearest such edge, taken as the Euclidean distance to the nearest pixel
    centre beside an outline, plus 0.5: the pixels on both sides of an edge have 0.5 px and form the
    band "within 1 px".
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

DISTANCES_PX = (1, 2, 4, 8)
"""Half widths of the bands around the outline."""


@dataclass(frozen=True)
class BoundaryBand:
    """Errors within a distance of the reference mask's outline, and in the rest, over all images.

    Errors are differences of probability, 0..1 (of several classes a pixel's largest), infinite
    where an output is NaN or infinite; None where no pixel is meant.
    """

    distance_px: int
    pixels: int
    mean_error: float | None
    max_error: float | None
    rest_pixels: int
    rest_mean_error: float | None
    rest_max_error: float | None

    @property
    def ratio(self) -> float | None:
        """Mean error in the band over that in the rest; None where it has no value."""
        if not self.mean_error or not self.rest_mean_error:
            return None
        return self.mean_error / self.rest_mean_error


@dataclass
class _Part:
    """Errors of one set of pixels."""

    pixels: int = 0
    total: float = 0.0
    largest: float = 0.0

    def add(self, errors: npt.NDArray[np.floating]) -> None:
        if errors.size:
            self.pixels += errors.size
            self.total += float(errors.sum(dtype=np.float64))
            self.largest = max(self.largest, float(errors.max()))

    @property
    def mean(self) -> float | None:
        return self.total / self.pixels if self.pixels else None

    @property
    def highest(self) -> float | None:
        return self.largest if self.pixels else None


def _parts() -> dict[int, tuple[_Part, _Part]]:
    return {distance: (_Part(), _Part()) for distance in DISTANCES_PX}


@dataclass
class BoundarySum:
    """Adds image after image."""

    _bands: dict[int, tuple[_Part, _Part]] = field(default_factory=_parts)

    def add(self, mask: npt.NDArray[np.uint8], error: npt.NDArray[np.floating]) -> None:
        """Add one image.

        Args:
            mask: (H, W) uint8, the reference's class at every pixel.
            error: (H, W) difference of the two outputs.
        """
        distance_px = outline_distance(mask)
        for limit_px, (inside, rest) in self._bands.items():
            near = distance_px <= limit_px
            inside.add(error[near])
            rest.add(error[~near])

    def result(self) -> tuple[BoundaryBand, ...]:
        """Return the bands; none where no mask had an outline."""
        found = tuple(
            BoundaryBand(
                distance_px,
                inside.pixels,
                inside.mean,
                inside.highest,
                rest.pixels,
                rest.mean,
                rest.highest,
            )
            for distance_px, (inside, rest) in self._bands.items()
        )
        return found if any(band.pixels for band in found) else ()


def outline_distance(mask: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return each pixel's distance from the outlines of a mask (H, W), pixels, see Convention.

    Returns:
        (H, W) float32 from 0.5 on; infinity everywhere where the mask is of one class.
    """
    beside = np.zeros(mask.shape, np.bool_)
    for axis in (0, 1):
        one, other = (slice(None, -1), slice(1, None))
        first, second = (one, other) if axis == 0 else ((slice(None), one), (slice(None), other))
        differs = mask[first] != mask[second]
        beside[first] |= differs
        beside[second] |= differs
    if not beside.any():
        return np.full(mask.shape, np.inf, np.float32)
    elsewhere = (~beside).astype(np.uint8)
    distance = cv2.distanceTransform(elsewhere, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(distance + np.float32(0.5), dtype=np.float32)
