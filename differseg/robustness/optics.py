"""A lens out of focus, and movement while the shutter is open.

Point spread functions sum to 1 and have their centroid at the centre; outside, images mirror.  RGB
is blurred in linear light, in which a lens works; thermal counts are linear in themselves.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from differseg.robustness.corruption import Chance, Sample
from differseg.robustness.light import to_linear, to_srgb

_FINER = 8


def disc(diameter_px: float) -> npt.NDArray[np.float32]:
    """Return the point spread of defocus: an evenly lit disc, edges by the share of each pixel.

    Args:
        diameter_px: Above 0.

    Returns:
        (K, K) float32, K odd.
    """
    reach = int(np.ceil(max(diameter_px / 2 - 0.5, 0)))
    side = 2 * reach + 1
    places = (np.arange(side * _FINER) + 0.5) / _FINER - side / 2
    inside = places[None, :] ** 2 + places[:, None] ** 2 <= (diameter_px / 2) ** 2
    kernel = inside.reshape(side, _FINER, side, _FINER).mean(axis=(1, 3))
    if kernel.sum() == 0:
        kernel[reach, reach] = 1
    return (kernel / kernel.sum()).astype(np.float32)


def streak(length_px: float, angle_rad: float) -> npt.NDArray[np.float32]:
    """Return the point spread of an even movement along a straight line.

    Args:
        length_px: From the first to the last place of a point.
        angle_rad: Direction; 0 is to the right.

    Returns:
        (K, K) float32, K odd.
    """
    reach = int(np.ceil(length_px / 2)) + 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1))
    count = max(2, round(length_px * _FINER))
    along = ((np.arange(count) + 0.5) / count - 0.5) * length_px
    for x, y in zip(*_places(along, angle_rad, reach), strict=True):
        left, top = int(np.floor(x)), int(np.floor(y))
        kernel[top : top + 2, left : left + 2] += np.outer(
            (top + 1 - y, y - top), (left + 1 - x, x - left)
        )
    return (kernel / kernel.sum()).astype(np.float32)


def _places(
    along_px: npt.NDArray[np.float64], angle_rad: float, centre_px: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return columns and rows of places along a line through the centre."""
    return centre_px + along_px * np.cos(angle_rad), centre_px + along_px * np.sin(angle_rad)


def focus_blur(sample: Sample, level: float, chance: Chance) -> Sample:
    """Blur RGB by a disc of ``level`` pixels diameter."""
    return {**sample, "rgb": _blurred(sample["rgb"], disc(level))}


def motion_blur(sample: Sample, level: float, chance: Chance) -> Sample:
    """Blur RGB along ``level`` pixels, each sample its own way."""
    angle = float(chance.frame().uniform(0, np.pi))
    return {**sample, "rgb": _blurred(sample["rgb"], streak(level, angle))}


def thermal_blur(sample: Sample, level: float, chance: Chance) -> Sample:
    """Blur thermal by a disc of ``level`` pixels diameter."""
    image = sample["thermal"]
    blurred = _filtered(image.astype(np.float32), disc(level))
    return {**sample, "thermal": np.round(blurred).astype(image.dtype)}


def _blurred(rgb: npt.NDArray[np.uint8], kernel: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    return to_srgb(_filtered(to_linear(rgb), kernel))


def _filtered(
    image: npt.NDArray[np.float32], kernel: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    # OpenCV correlates, and both kernels are symmetric about their centre
    return np.asarray(
        cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT_101), dtype=np.float32
    )
