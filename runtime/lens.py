"""What a camera's lens does to a picture: the camera matrix and the distortion of OpenCV's model.

Convention: x to the right, y down, pixel centres at integers.  "Ideal" pixels are those of a
pinhole camera with the same camera matrix.  The model is that of Brown (1971) as OpenCV writes it:
with ``r2 = x * x + y * y`` in units of the focal length, ``x * (1 + k1 r2 + k2 r2^2 + k3 r2^3) +
2 p1 x y + p2 (r2 + 2 x x)``, and the like for y.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from differseg.errors import ManifestError

SizeWh = tuple[int, int]
Points = npt.NDArray[np.float64]

_ROUNDS = 60
_CLOSE_PX = 1e-4


@dataclass(frozen=True)
class Lens:
    """Camera matrix and distortion of one camera, for frames of one size.

    Raises:
        ManifestError: A focal length is not positive, or a number is absurd.
    """

    fx: float
    """Focal length in pixels along x."""
    fy: float
    """Focal length in pixels along y."""
    cx: float
    """Principal point, x in pixels."""
    cy: float
    """Principal point, y in pixels."""
    k1: float = 0.0
    """Radial distortion, second order."""
    k2: float = 0.0
    """Radial distortion, fourth order."""
    p1: float = 0.0
    """Tangential distortion."""
    p2: float = 0.0
    """Tangential distortion."""
    k3: float = 0.0
    """Radial distortion, sixth order."""

    def __post_init__(self) -> None:
        """Refuse what is no lens."""
        for name in ("fx", "fy"):
            if not 1.0 <= getattr(self, name) <= 1e6:
                raise ManifestError(f"{name}: expected 1 to 1e6 pixels, got {getattr(self, name)}")
        for name in ("cx", "cy"):
            if not abs(getattr(self, name)) <= 1e5:
                raise ManifestError(
                    f"{name}: expected a place in pixels, got {getattr(self, name)}"
                )
        for name in ("k1", "k2", "p1", "p2", "k3"):
            if not abs(getattr(self, name)) <= 1e3:
                raise ManifestError(f"{name}: expected -1000 to 1000, got {getattr(self, name)}")

    @property
    def camera_matrix(self) -> npt.NDArray[np.float64]:
        """(3, 3) float64, OpenCV's camera matrix."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1]], np.float64)

    @property
    def distortion(self) -> npt.NDArray[np.float64]:
        """(5,) float64, in OpenCV's order: k1, k2, p1, p2, k3."""
        return np.array([self.k1, self.k2, self.p1, self.p2, self.k3], np.float64)

    def scaled(self, from_wh: SizeWh, to_wh: SizeWh) -> Lens:
        """Return the lens for frames that were stretched from one size to another."""
        sx, sy = to_wh[0] / from_wh[0], to_wh[1] / from_wh[1]
        return Lens(
            self.fx * sx,
            self.fy * sy,
            (self.cx + 0.5) * sx - 0.5,
            (self.cy + 0.5) * sy - 0.5,
            self.k1,
            self.k2,
            self.p1,
            self.p2,
            self.k3,
        )

    def distort(self, ideal_xy: Points) -> Points:
        """Return where the camera shows points of its ideal picture.

        Args:
            ideal_xy: (N, 2) float64, pixels.

        Returns:
            (N, 2) float64, pixels; NaN beyond the radius where the model folds back onto itself.
        """
        x, y = (ideal_xy[:, 0] - self.cx) / self.fx, (ideal_xy[:, 1] - self.cy) / self.fy
        r2 = x * x + y * y
        with np.errstate(over="ignore", invalid="ignore"):
            radial = 1 + r2 * (self.k1 + r2 * (self.k2 + r2 * self.k3))
            u = x * radial + 2 * self.p1 * x * y + self.p2 * (r2 + 2 * x * x)
            v = y * radial + self.p1 * (r2 + 2 * y * y) + 2 * self.p2 * x * y
        result = np.stack([u * self.fx + self.cx, v * self.fy + self.cy], axis=1)
        result[r2 > self._largest_r2()] = np.nan
        return result

    def undistort(self, seen_xy: Points) -> Points:
        """Return where points of the camera's picture are in its ideal picture.

        Args:
            seen_xy: (N, 2) float64, pixels.

        Returns:
            (N, 2) float64, pixels; NaN where no point of the ideal picture is shown there.
        """
        ideal = seen_xy.astype(np.float64)
        miss = np.zeros_like(ideal)
        for _ in range(_ROUNDS):
            miss = self.distort(ideal) - seen_xy
            if not (np.abs(miss) > _CLOSE_PX).any():
                break
            ideal = ideal - miss
        ideal[~(np.abs(miss).max(axis=1) < 0.05)] = np.nan
        return ideal

    def _largest_r2(self) -> float:
        """Return the squared radius up to which a larger angle is shown further out."""
        slopes = np.roots([7 * self.k3, 5 * self.k2, 3 * self.k1, 1.0])
        real = slopes.real[(np.abs(slopes.imag) < 1e-12) & (slopes.real > 0)]
        return float(real.min()) if real.size else np.inf
