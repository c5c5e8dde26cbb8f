"""At which spatial frequencies two outputs differ.

A lost scale shows in the lowest band, a blurred boundary or the grid of a quantised upsampling in
the high ones, and the same mean error can be either.

Convention:
    The power of a map ``x`` (H, W) at a frequency is ``|F|^2 / (H W)^2`` with ``F`` the
    unnormalised two-dimensional DFT, so that the power of all frequencies is the mean of ``x^2``
    (Parseval).
    The DFT is one-sided along W; every column but 0 and, of an even W, the last counts twice.
    A frequency's radius is ``sqrt(fy^2 + fx^2)`` in cycles per pixel of the network's output,
    ``fy`` and ``fx`` in 0..0.5; bands are half-open, ``low <= radius < high``, and the last one up
    to 0.5 closed.  Radii above 0.5, up to 0.7071, occur in diagonal directions alone and have a row
    of their own.  The map is taken as periodic, without a window.  Of K classes the powers are
    added.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

BANDS = 10
"""Bands from 0 to 0.5 cycles per pixel."""

_DIAGONAL = math.sqrt(0.5)
_ON_THE_EDGE = 1e-9  # 24 / 480 * 20 must not fall below 1 by rounding

Maps = npt.NDArray[np.floating]


@dataclass(frozen=True)
class SpectrumBand:
    """One band of radii, cycles per pixel; powers are means over the images.

    Attributes:
        low, high: The radii.
        error_power: Of the difference of the two outputs.
        reference_power: Of the reference's output.
    """

    low: float
    high: float
    error_power: float
    reference_power: float

    @property
    def relative(self) -> float | None:
        """Error power over the reference's power in this band; None where both are 0."""
        if self.reference_power > 0:
            return self.error_power / self.reference_power
        return math.inf if self.error_power > 0 else None


@dataclass(frozen=True)
class ErrorSpectrum:
    """The bands from low to high; the last one holds the radii above 0.5.

    Attributes:
        bands: One more than there are bands up to 0.5.
        images: How many are in the mean; outputs with NaN or infinity have no spectrum.
    """

    bands: tuple[SpectrumBand, ...]
    images: int

    @property
    def error_power(self) -> float:
        """Mean square of the difference, summed over the classes."""
        return sum(band.error_power for band in self.bands)


@dataclass
class SpectrumSum:
    """Adds image after image.

    Args:
        bands: Bands from 0 to 0.5 cycles per pixel.
    """

    bands: int = BANDS
    _images: int = 0
    _powers: npt.NDArray[np.float64] = field(init=False)  # (2, bands + 1)
    _rings: dict[tuple[int, int], tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]] = field(
        default_factory=dict
    )

    def __post_init__(self) -> None:
        """Start from nothing."""
        self._powers = np.zeros((2, self.bands + 1))

    def add(self, reference: Maps, judged: Maps) -> None:
        """Add one image.

        Args:
            reference: (C, H, W) probability, C = 1 of two classes.
            judged: Likewise; an image where either is not finite is left out.
        """
        if not (np.isfinite(reference).all() and np.isfinite(judged).all()):
            return
        for one, other in zip(reference, judged, strict=True):
            plane = one.astype(np.float64)
            self._powers[0] += self._radial(other.astype(np.float64) - plane)
            self._powers[1] += self._radial(plane)
        self._images += 1

    def result(self) -> ErrorSpectrum | None:
        """Return the means over the images; None where no image had a spectrum."""
        if not self._images:
            return None
        edges = [*(0.5 * i / self.bands for i in range(self.bands + 1)), _DIAGONAL]
        error, reference = self._powers / self._images
        return ErrorSpectrum(
            tuple(
                SpectrumBand(edges[i], edges[i + 1], float(error[i]), float(reference[i]))
                for i in range(self.bands + 1)
            ),
            self._images,
        )

    def _radial(self, plane: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the power of a plane (H, W) in every band, (bands + 1,)."""
        height, width = plane.shape
        if (height, width) not in self._rings:
            self._rings[height, width] = _rings(height, width, self.bands)
        ring, times = self._rings[height, width]
        power = np.abs(np.fft.rfft2(plane)) ** 2 * times  # (H, W // 2 + 1)
        found = np.bincount(ring.ravel(), power.ravel(), self.bands + 1)
        return np.asarray(found / plane.size**2)


def _rings(
    height: int, width: int, bands: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """Return each bin's band, and how often a bin of the one-sided DFT counts."""
    fx = np.fft.rfftfreq(width)
    radius = np.hypot(np.fft.fftfreq(height)[:, None], fx)
    ring = np.floor(radius * 2 * bands + _ON_THE_EDGE).astype(np.intp)
    ring[ring >= bands] = bands
    ring[np.abs(radius - 0.5) <= _ON_THE_EDGE] = bands - 1
    alone = (fx == 0) | (fx == 0.5)
    return ring, np.broadcast_to(np.where(alone, 1.0, 2.0), radius.shape)
