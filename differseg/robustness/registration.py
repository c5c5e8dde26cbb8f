"""A second camera that does not lie on RGB as it should.

Convention: pixels of the sample's own size, centres at integers, x to the right and y down.  What
lies outside mirrors.  RGB and the mask stay.  Between pixels values are mixed (bilinear), but those
of depth: a mean of two distances, or of one and "no measurement", is a place where nothing is.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from differseg.robustness.corruption import Chance, Change, Sample


def shifting(name: str) -> Change:
    """Return the corruption that moves a modality by ``level`` pixels, each sample its own way."""

    def change(sample: Sample, level: float, chance: Chance) -> Sample:
        angle = chance.frame().uniform(0, 2 * np.pi)
        dx, dy = level * np.cos(angle), level * np.sin(angle)
        matrix = np.array([[1, 0, dx], [0, 1, dy], [0, 0, 1]])
        return {**sample, name: _warp(sample[name], matrix, name)}

    return change


def warping(name: str) -> Change:
    """Return the corruption that moves each corner by ``level`` pixels, each its own way.

    What lies between follows by the homography of the four corners.
    """

    def change(sample: Sample, level: float, chance: Chance) -> Sample:
        angles = chance.frame().uniform(0, 2 * np.pi, 4)
        height, width = sample[name].shape[:2]
        corners = corners_of(height, width)
        moved = corners + level * np.column_stack([np.cos(angles), np.sin(angles)])
        matrix = cv2.getPerspectiveTransform(corners.astype(np.float32), moved.astype(np.float32))
        return {**sample, name: _warp(sample[name], matrix, name)}

    return change


def corners_of(height_px: int, width_px: int) -> npt.NDArray[np.float64]:
    """Return the corners' pixel centres, (4, 2) as (x, y)."""
    right, low = width_px - 1.0, height_px - 1.0
    return np.array([[0.0, 0.0], [right, 0.0], [right, low], [0.0, low]])


def _warp(image: npt.NDArray[Any], matrix: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    size_wh = (image.shape[1], image.shape[0])
    method = cv2.INTER_NEAREST if name == "depth" else cv2.INTER_LINEAR
    return cv2.warpPerspective(
        image, matrix, size_wh, flags=method, borderMode=cv2.BORDER_REFLECT_101
    )
