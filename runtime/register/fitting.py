"""One homography through the points of all shots, and how well each shot agrees with it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from differseg.errors import InputError
from differseg.runtime.lens import Lens
from differseg.runtime.register.document import Residuals, ShotRecord

Points = npt.NDArray[np.float64]
SizeWh = tuple[int, int]

LEAST_POINTS = 4
"""A homography has eight parameters, a point pair gives two equations."""

_INLIER = 0.005  # of the fixed image's longer side
_THIN = 0.01  # narrower than this beside its length, a cloud of points is a line


@dataclass(frozen=True)
class PointPairs:
    """Points of one shot that are the same in both images.

    Attributes:
        name: The shot.
        thermal: (N, 2) float64, pixels (x, y).
        rgb: (N, 2) float64, pixels (x, y), in the same order.
    """

    name: str
    thermal: Points
    rgb: Points

    def ideal(self, thermal_lens: Lens | None, rgb_lens: Lens | None) -> PointPairs:
        """Return the points as cameras without distortion would show them."""
        thermal = self.thermal if thermal_lens is None else thermal_lens.undistort(self.thermal)
        rgb = self.rgb if rgb_lens is None else rgb_lens.undistort(self.rgb)
        keep = np.isfinite(thermal).all(axis=1) & np.isfinite(rgb).all(axis=1)
        return PointPairs(self.name, thermal[keep], rgb[keep])


def fit_homography(shots: list[PointPairs], fixed_wh: SizeWh) -> npt.NDArray[np.float64]:
    """Return the (3, 3) homography, thermal to RGB pixels, that most points agree with.

    Robust: RANSAC with half a percent of the RGB image's width, then least squares over the points
    within it.  The same points give the same matrix.

    Raises:
        InputError: Fewer than four points, points on a line, or none that agree.
    """
    thermal = np.concatenate([shot.thermal for shot in shots])
    rgb = np.concatenate([shot.rgb for shot in shots])
    if len(thermal) < LEAST_POINTS:
        raise InputError(
            f"registration: {len(thermal)} point pairs, but a homography needs {LEAST_POINTS}; "
            "add points, well apart and not on a line"
        )
    for name, points in (("thermal", thermal), ("rgb", rgb)):
        spread = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
        if spread[1] < _THIN * spread[0]:
            raise InputError(
                f"registration: the {name} points lie on a line; add points well beside it"
            )
    limit_px = max(1.5, _INLIER * max(fixed_wh))
    matrix, _ = cv2.findHomography(
        thermal, rgb, cv2.RANSAC, limit_px, maxIters=5000, confidence=0.9999
    )
    if matrix is None:
        raise InputError(
            "registration: no four of the points agree with a fifth; are the pairs in order, or "
            "three of them on a line?"
        )
    return np.asarray(matrix, np.float64)


def residuals_px(shot: PointPairs, matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return (N,) float64: how far each thermal point, mapped, is from its partner, RGB pixels."""
    if len(shot.thermal) == 0:
        return np.zeros(0)
    mapped = cv2.perspectiveTransform(shot.thermal[None], matrix)[0]
    return np.hypot(*(mapped - shot.rgb).T)


def summary(residual_px: npt.NDArray[np.float64]) -> Residuals:
    """Return median, 95th percentile and largest, to a thousandth of a pixel."""
    values = residual_px if len(residual_px) else np.zeros(1)
    median, p95 = np.percentile(values, [50, 95])
    return Residuals(round(float(median), 3), round(float(p95), 3), round(float(values.max()), 3))


def shot_records(
    shots: list[PointPairs], matrix: npt.NDArray[np.float64]
) -> tuple[ShotRecord, ...]:
    """Return what each shot has to say of a fit."""
    found = ((shot, residuals_px(shot, matrix)) for shot in shots)
    return tuple(ShotRecord(shot.name, len(r), summary(r)) for shot, r in found)
