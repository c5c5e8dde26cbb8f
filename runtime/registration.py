"""Bring the thermal camera's frames into the RGB camera's view, by a homography from a file.

Convention: the 3x3 matrix maps moving (thermal) pixel coordinates ``(x, y, 1)`` to fixed (RGB)
pixel coordinates, up to scale; x to the right, y down, pixel centres at integers (the upper-left
pixel's centre is (0, 0), its corner (-0.5, -0.5)).  Where the file has a camera's lens, the matrix
is about that camera's ideal pixels; the RGB picture itself is never changed, the thermal picture
is bent to lie on it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from differseg.errors import InputError, ManifestError
from differseg.runtime.buffers import fitting_buffer
from differseg.runtime.lens import Lens
from differseg.runtime.register.document import FitRecord, Schema1, Schema2, read_document
from differseg.schema import to_plain

_COVERAGE_GRID_PX = 512
"""Longer side of the grid on which the coverage is counted."""

_OUTSIDE_PX = -1e6
"""A place outside every image."""

SizeWh = tuple[int, int]


class Registration:
    """A homography between two cameras, with their lenses, and the warp that it asks for.

    Frames of another size than the file's are taken when the aspect is the same (the same
    sensor, scaled); the matrix is then scaled with them.

    Args:
        matrix: (3, 3) float64, moving to fixed pixel coordinates.
        moving_size_wh: Width and height of the moving camera's frames in pixels.
        fixed_size_wh: Width and height of the fixed camera's frames in pixels.
        moving: Name of the moving camera.
        fixed: Name of the fixed camera.
        moving_lens: Lens of the moving camera, for its size above; None for an ideal one.
        fixed_lens: Lens of the fixed camera, for its size above; None for an ideal one.
        fit: How the registration was found.

    Raises:
        InputError: The matrix is not 3x3, not finite, singular, or sends a part of the image
            through infinity; or a size is not positive.
    """

    def __init__(
        self,
        matrix: npt.ArrayLike,
        moving_size_wh: SizeWh,
        fixed_size_wh: SizeWh,
        *,
        moving: str = "thermal",
        fixed: str = "rgb",
        moving_lens: Lens | None = None,
        fixed_lens: Lens | None = None,
        fit: FitRecord | None = None,
    ) -> None:
        self.matrix = _checked_matrix(matrix, moving_size_wh, fixed_size_wh)
        self.matrix.flags.writeable = False
        self.moving_size_wh = moving_size_wh
        self.fixed_size_wh = fixed_size_wh
        self.moving = moving
        self.fixed = fixed
        self.moving_lens = moving_lens
        self.fixed_lens = fixed_lens
        self.fit = fit
        self._maps_for: tuple[SizeWh, SizeWh] | None = None
        self._maps: tuple[npt.NDArray[Any], npt.NDArray[Any]] | None = None
        self._above_base = np.empty((0, 0), np.uint16)

    def __repr__(self) -> str:
        width, height = self.moving_size_wh
        return f"Registration({self.moving} {width}x{height} -> {self.fixed} {self.fixed_size_wh})"

    @classmethod
    def identity(cls, moving_size_wh: SizeWh, fixed_size_wh: SizeWh | None = None) -> Registration:
        """Return the registration of two cameras with the same view, stretched to one size."""
        fixed_size_wh = fixed_size_wh or moving_size_wh
        return cls(_scaling(moving_size_wh, fixed_size_wh), moving_size_wh, fixed_size_wh)

    @classmethod
    def load(cls, path: str | Path) -> Registration:
        """Read a registration file.

        Raises:
            InputError: The file is missing, not JSON, of another schema, or has a wrong field.
        """
        path = Path(path)
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(
                f"registration {path}: cannot be read ({error.strerror or error})"
            ) from None
        except ValueError as error:
            raise InputError(f"registration {path}: not valid JSON ({error})") from None
        try:
            parsed = read_document(document)
            return cls(
                parsed.matrix,
                parsed.moving_size_wh,
                parsed.fixed_size_wh,
                moving=parsed.moving,
                fixed=parsed.fixed,
                moving_lens=parsed.moving_lens,
                fixed_lens=parsed.fixed_lens,
                fit=parsed.fit,
            )
        except (ManifestError, InputError) as error:
            raise InputError(f"registration {path}: {error}") from None

    def save(self, path: str | Path) -> None:
        """Write the file that :meth:`load` reads; the same registration gives the same text.

        A homography alone is written as schema 1, which every version reads.
        """
        rows = tuple(tuple(float(value) for value in row) for row in self.matrix)
        sizes = (self.moving_size_wh, self.fixed_size_wh)
        document: Schema1 | Schema2
        if self.moving_lens is None and self.fixed_lens is None and self.fit is None:
            document = Schema1(rows, *sizes, moving=self.moving, fixed=self.fixed)
        else:
            lenses = (self.moving_lens, self.fixed_lens)
            document = Schema2(
                rows, *sizes, *lenses, self.fit, moving=self.moving, fixed=self.fixed
            )
        text = json.dumps(to_plain(document), indent=2, allow_nan=False)
        Path(path).write_text(text + "\n", encoding="utf-8")

    def scaled_matrix(
        self, moving_size_wh: SizeWh, fixed_size_wh: SizeWh
    ) -> npt.NDArray[np.float64]:
        """Return the (3, 3) matrix for frames of these sizes.

        Convention: as the module; sizes scale about the image's corner, so a pixel centre ``x``
        goes to ``(x + 0.5) * s - 0.5``.

        Raises:
            InputError: A size has another aspect than the file's.
        """
        _check_aspect(self.moving, self.moving_size_wh, moving_size_wh)
        _check_aspect(self.fixed, self.fixed_size_wh, fixed_size_wh)
        to_fixed = _scaling(self.fixed_size_wh, fixed_size_wh)
        from_moving = _scaling(moving_size_wh, self.moving_size_wh)
        return to_fixed @ self.matrix @ from_moving

    def warp(
        self,
        image: npt.NDArray[Any],
        fixed_size_wh: SizeWh | None = None,
        out: npt.NDArray[Any] | None = None,
    ) -> npt.NDArray[Any]:
        """Show a moving camera's frame in the fixed camera's view, bilinearly.

        A 16-bit frame that spans less than 16384 counts is the same on every machine with the same
        OpenCV.  One object serves one thread: a buffer is kept between frames.

        Where the moving camera does not reach, the nearest edge value is repeated: a constant
        would be a false cold object with a sharp edge, which the network would outline, and would
        pull the percentiles of the thermal policy.  :meth:`valid` says which pixels are measured.

        Args:
            image: (H, W) or (H, W, C), uint8, uint16 or float32; 16 bit stays 16 bit.
            fixed_size_wh: Width and height of the fixed camera's frames; the file's when None.
            out: Array of the result's shape and dtype to write into; a new one when None.

        Returns:
            (Hf, Wf) or (Hf, Wf, C), dtype of ``image``.

        Raises:
            InputError: The frame's aspect is not the file's.
        """
        fixed_size_wh = fixed_size_wh or self.fixed_size_wh
        x_px, y_px = self._prepare((image.shape[1], image.shape[0]), fixed_size_wh)
        base = None
        if image.dtype == np.uint16:
            base = _even_base(image)
            self._above_base = fitting_buffer(self._above_base, image.shape, np.uint16)
            image = np.subtract(image, base, out=self._above_base)
        warped = cv2.remap(
            image, x_px, y_px, cv2.INTER_LINEAR, dst=out, borderMode=cv2.BORDER_REPLICATE
        )
        return warped if base is None else np.add(warped, base, out=warped)

    def valid(
        self, moving_size_wh: SizeWh | None = None, fixed_size_wh: SizeWh | None = None
    ) -> npt.NDArray[np.bool_]:
        """Return (Hf, Wf) bool: True where the moving camera sees the fixed camera's pixel."""
        moving_size_wh = moving_size_wh or self.moving_size_wh
        fixed_size_wh = fixed_size_wh or self.fixed_size_wh
        self.scaled_matrix(moving_size_wh, fixed_size_wh)  # refuses another aspect
        return self._seen(moving_size_wh, fixed_size_wh)

    @property
    def coverage(self) -> float:
        """Part of the fixed view that the moving camera sees, 0..1, to about half a percent."""
        width, height = self.fixed_size_wh
        shrink = max(1.0, max(width, height) / _COVERAGE_GRID_PX)
        grid_wh = (max(1, round(width / shrink)), max(1, round(height / shrink)))
        return float(self._seen(self.moving_size_wh, grid_wh).mean())

    def coverage_note(self) -> str | None:
        """Return what to say when the two views hardly overlap; None where they do.

        Raises:
            InputError: They do not overlap, so that every warped pixel would be an edge repeated.
        """
        coverage = self.coverage
        advice = f"is the matrix the wrong way round? it maps {self.moving} to {self.fixed}"
        if coverage == 0:
            raise InputError(
                f"registration: nothing of the {self.fixed} view is covered by the {self.moving} "
                f"camera; {advice}"
            )
        if coverage < 0.5:
            return (
                f"registration: only {100 * coverage:.2g} % of the {self.fixed} view is covered by "
                f"the {self.moving} camera; {advice}"
            )
        return None

    def _prepare(
        self, moving_size_wh: SizeWh, fixed_size_wh: SizeWh
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return x and y of every fixed pixel in the moving image, computed once for the sizes."""
        key = (moving_size_wh, fixed_size_wh)
        if self._maps is None or self._maps_for != key:
            self.scaled_matrix(*key)  # refuses another aspect
            x_px, y_px = self._moving_xy(*key)
            width, height = moving_size_wh
            # Float maps: for 16-bit images fixed-point ones are no faster (OpenCV 4.10), or take
            # more than twice as long (5.0).  Beyond the edge all coordinates mean the edge.
            self._maps = (
                np.clip(x_px, -1, width).astype(np.float32),
                np.clip(y_px, -1, height).astype(np.float32),
            )
            self._maps_for = key
        return self._maps

    def _moving_xy(
        self, moving_wh: SizeWh, fixed_wh: SizeWh
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return x and y, (Hf, Wf) each, of every fixed pixel in the moving image.

        A pixel that has no place there is sent far outside.
        """
        matrix = _scaling(self.fixed_size_wh, fixed_wh) @ self.matrix
        inverse = np.linalg.inv(matrix @ _scaling(moving_wh, self.moving_size_wh))
        width, height = fixed_wh
        x, y = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))
        if self.fixed_lens is not None:
            lens = self.fixed_lens.scaled(self.fixed_size_wh, fixed_wh)
            x, y = _through(lens.undistort, x, y)
        x, y = _project(inverse, x, y)
        if self.moving_lens is not None:
            lens = self.moving_lens.scaled(self.moving_size_wh, moving_wh)
            x, y = _through(lens.distort, x, y)
        return np.nan_to_num(x, nan=_OUTSIDE_PX), np.nan_to_num(y, nan=_OUTSIDE_PX)

    def _seen(self, moving_wh: SizeWh, fixed_wh: SizeWh) -> npt.NDArray[np.bool_]:
        """Return (Hf, Wf) bool: True where a fixed pixel lies in the moving image."""
        x_px, y_px = self._moving_xy(moving_wh, fixed_wh)
        width, height = moving_wh
        return (x_px > -0.5) & (x_px < width - 0.5) & (y_px > -0.5) & (y_px < height - 0.5)


def _even_base(image: npt.NDArray[np.uint16]) -> np.uint16:
    """Return the even number at or below the smallest value.

    OpenCV 4 sums four values of 16 bit with weights of 10 bit in float32, which has 24: what is
    lost depends on the processor's instructions, and one pixel in 28 000 of a frame in
    centikelvin came out one count apart on x86-64 and aarch64.  Above such a base the sums are
    exact; an even one leaves halves rounded as they were.
    """
    return np.uint16(image.min() & np.uint16(0xFFFE))


def _scaling(from_wh: SizeWh, to_wh: SizeWh) -> npt.NDArray[np.float64]:
    """Return the matrix that stretches pixel coordinates from one size to another.

    Convention: pixel centres at integers, so ``x -> (x + 0.5) * s - 0.5``.
    """
    sx, sy = to_wh[0] / from_wh[0], to_wh[1] / from_wh[1]
    return np.array([[sx, 0, 0.5 * sx - 0.5], [0, sy, 0.5 * sy - 0.5], [0, 0, 1]], np.float64)


def _project(
    matrix: npt.NDArray[Any], x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return x and y sent through ``matrix``.

    Convention: ``matrix`` is the inverse, unscaled, of one under which ``w > 0`` on the image.
    """
    w = matrix[2, 0] * x + matrix[2, 1] * y + matrix[2, 2]
    # A pixel on or behind the horizon has no place in the moving image: send it outside.
    behind = w < 1e-9
    w = np.where(behind, 1.0, w)
    x_px = (matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2]) / w
    y_px = (matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2]) / w
    return np.where(behind, _OUTSIDE_PX, x_px), np.where(behind, _OUTSIDE_PX, y_px)


def _through(
    lens: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]],
    x: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return x and y, (H, W) each, sent through a lens; NaN where it shows nothing."""
    points = lens(np.stack([x.ravel(), y.ravel()], axis=1))
    return points[:, 0].reshape(x.shape), points[:, 1].reshape(x.shape)


def _check_aspect(camera: str, stated_wh: SizeWh, actual_wh: SizeWh) -> None:
    """Refuse a frame that is not the stated one scaled (one pixel of rounding allowed)."""
    scale = max(actual_wh[0] / stated_wh[0], actual_wh[1] / stated_wh[1])
    off_px = max(abs(stated_wh[i] * scale - actual_wh[i]) for i in (0, 1))
    if off_px > 1.0:
        raise InputError(
            f"registration: {camera} frames are {actual_wh[0]}x{actual_wh[1]}, but the file is for "
            f"{stated_wh[0]}x{stated_wh[1]}, another aspect; register the cameras again"
        )


def _checked_matrix(
    matrix: npt.ArrayLike, moving_size_wh: SizeWh, fixed_size_wh: SizeWh
) -> npt.NDArray[np.float64]:
    """Return the matrix scaled to ``[2, 2] = 1``, or say why it is no view of a camera."""
    for name, size in (("moving_size_wh", moving_size_wh), ("fixed_size_wh", fixed_size_wh)):
        if not (len(size) == 2 and all(1 <= side <= 32000 for side in size)):
            raise InputError(f"{name}: expected width and height in 1..32000, got {list(size)}")
    try:
        result = np.array(matrix, np.float64)
    except (TypeError, ValueError):
        result = np.empty(0)
    if result.shape != (3, 3):
        raise InputError(f"matrix: expected 3x3 numbers, got {np.shape(result)}")
    if not np.isfinite(result).all():
        raise InputError("matrix: expected finite numbers, got NaN or infinity")
    # Beside the largest element, so that nothing below can overflow.
    if abs(result[2, 2]) <= 1e-12 * abs(result).max():
        raise InputError(
            f"matrix: the last element, {result[2, 2]:g}, is 0 or as good as 0 beside the others: "
            "the image's origin goes to infinity"
        )
    result = result / result[2, 2]
    width, height = moving_size_wh
    corners = np.array([[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]])
    w = corners @ result[2, :2] + 1.0
    # Judged in units of the images, so that a matrix between sizes far apart is not "singular".
    unit = np.diag([1 / fixed_size_wh[0], 1 / fixed_size_wh[1], 1.0])
    determinant = float(np.linalg.det(unit @ result @ np.diag([width, height, 1.0])))
    if not math.isfinite(determinant) or abs(determinant) < 1e-6:
        raise InputError(f"matrix: singular (determinant {determinant:.1e} in image units)")
    if (w <= 0).any():
        raise InputError("matrix: a corner of the moving image goes through infinity")
    return result
