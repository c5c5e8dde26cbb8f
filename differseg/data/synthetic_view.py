"""The two cameras of a synthetic scene: ground geometry and the map between their views."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[Any]
Float = npt.NDArray[Any]


@dataclass(frozen=True)
class View:
    """The RGB camera above a flat ground, looking level along +Z.

    Convention:
        Ground coordinates in metres: X to the right, Z away from the camera.  Pixel (u, v) has
        its centre at integers; ``u = center_x + focal * X / Z`` and, on the ground,
        ``v = horizon + focal * height / Z``.  A thing at depth Z shows ``focal / Z`` pixels
        per metre.
    """

    width_px: int
    height_px: int
    focal_px: float
    horizon_px: float
    height_m: float

    @property
    def center_x_px(self) -> float:
        """Column of the optical axis."""
        return (self.width_px - 1) / 2

    @property
    def near_m(self) -> float:
        """Depth of the ground at the bottom edge of the picture."""
        return self.focal_px * self.height_m / (self.height_px - 1 - self.horizon_px)

    def foot(self, x_m: float, z_m: float) -> tuple[float, float]:
        """Project a ground point to pixels (u, v)."""
        scale = self.focal_px / z_m
        return self.center_x_px + scale * x_m, self.horizon_px + scale * self.height_m

    def ground(self, margin_px: int) -> tuple[Float, Float]:
        """Return X and Z (metres) of every pixel of the canvas, NaN-free.

        The canvas is the picture with ``margin_px`` more on each side; rows at or above the
        horizon get the depth of the row half a pixel under it.
        """
        rows = np.arange(-margin_px, self.height_px + margin_px, dtype=np.float64)
        columns = np.arange(-margin_px, self.width_px + margin_px, dtype=np.float64)
        below = np.maximum(rows - self.horizon_px, 0.5)
        z = (self.focal_px * self.height_m / below)[:, None]
        x = (columns - self.center_x_px)[None, :] * z / self.focal_px
        return x.astype(np.float32), np.broadcast_to(z, x.shape).astype(np.float32)


def make_view(rng: np.random.Generator, size_wh: tuple[int, int]) -> View:
    """Choose lens, mounting height and horizon of the RGB camera."""
    width, height = size_wh
    return View(
        width_px=width,
        height_px=height,
        focal_px=float(rng.uniform(0.88, 1.2) * width),
        horizon_px=float(rng.uniform(0.30, 0.46) * height),
        height_m=float(rng.choice([rng.uniform(1.5, 2.2), rng.uniform(2.2, 4.5)])),
    )


def make_homography(
    rng: np.random.Generator, size_wh: tuple[int, int], thermal_wh: tuple[int, int]
) -> Matrix:
    """Choose the map from thermal pixels to RGB pixels; the thermal view covers the RGB view.

    Convention:
        (3, 3) float64, last element 1, pixel centres at integers:
        ``rgb ~ matrix @ (x_thermal, y_thermal, 1)``.
    """
    width, height = size_wh
    wide, high = thermal_wh
    angle = np.deg2rad(rng.uniform(-2.0, 2.0))
    tilt = rng.uniform(-0.025, 0.025, 2) / np.array([wide, high])
    shift = rng.uniform(-0.015, 0.015, 2) * np.array([width, height])
    stretch = 1 + rng.uniform(-0.01, 0.01)
    scale = max(width / wide, height / high) * 1.02
    while True:
        to_middle = np.array([[1, 0, -(wide - 1) / 2], [0, 1, -(high - 1) / 2], [0, 0, 1.0]])
        turn = np.array(
            [
                [scale * np.cos(angle), -scale * np.sin(angle), 0],
                [scale * np.sin(angle) * stretch, scale * np.cos(angle) * stretch, 0],
                [tilt[0], tilt[1], 1.0],
            ]
        )
        to_view = np.array(
            [[1, 0, (width - 1) / 2 + shift[0]], [0, 1, (height - 1) / 2 + shift[1]], [0, 0, 1.0]]
        )
        matrix = to_view @ turn @ to_middle
        matrix /= matrix[2, 2]
        inner = map_points(np.linalg.inv(matrix), _corners(size_wh))
        if np.all(inner >= 0) and np.all(inner <= np.array([wide - 1, high - 1])):
            return matrix
        scale *= 1.01


def margin_for(matrix: Matrix, size_wh: tuple[int, int], thermal_wh: tuple[int, int]) -> int:
    """Return how far (whole pixels) the thermal view reaches beyond the RGB picture."""
    outer = map_points(matrix, _corners(thermal_wh))
    over = max(
        float(-outer.min()),
        float((outer - (np.array(size_wh) - 1)).max()),
        0.0,
    )
    return int(np.ceil(over)) + 3


def map_points(matrix: Matrix, points_xy: Matrix) -> Matrix:
    """Apply a homography to points (N, 2)."""
    mapped = np.column_stack([points_xy, np.ones(len(points_xy))]) @ matrix.T
    return mapped[:, :2] / mapped[:, 2:]


def _corners(size_wh: tuple[int, int]) -> Matrix:
    width, height = size_wh
    return np.array([[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]], float)
