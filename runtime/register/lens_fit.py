"""Lenses of the two cameras from the shots of a board, where the shots say enough about them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from differseg.errors import InputError, ManifestError
from differseg.runtime.lens import Lens
from differseg.runtime.register.board import Board
from differseg.runtime.register.fitting import (
    PointPairs,
    Points,
    SizeWh,
    fit_homography,
    residuals_px,
)
from differseg.schema import from_plain

LEAST_SHOTS = 8
"""Fewer views of a board do not tell focal length and distortion apart."""

_LEAST_SPAN = 0.6  # of width and height that the points of all shots must reach over
_WORST_RMS_PX = 1.0
_GAIN = 0.9  # the registration's residuals must fall to this part


@dataclass(frozen=True)
class LensChoice:
    """The lenses to use, and why.

    Attributes:
        thermal: None for an ideal lens.
        rgb: None for an ideal lens.
        reason: One line.
    """

    thermal: Lens | None
    rgb: Lens | None
    reason: str


def choose_lenses(
    shots: list[PointPairs],
    board: Board,
    thermal_wh: SizeWh,
    rgb_wh: SizeWh,
    given: tuple[Lens | None, Lens | None],
) -> LensChoice:
    """Return the lenses that make the registration better; given ones are always taken.

    Args:
        shots: Points in the board's order.
        board: The target.
        thermal_wh: Width and height of the thermal images.
        rgb_wh: Width and height of the RGB images.
        given: Known lenses, thermal and RGB; None where to find out.
    """
    if len(shots) < LEAST_SHOTS:
        return LensChoice(
            *given,
            f"lenses are not fitted: {len(shots)} shots with the board, {LEAST_SHOTS} needed",
        )
    lenses: list[Lens | None] = []
    for name, known, points, size in (
        ("thermal", given[0], [s.thermal for s in shots], thermal_wh),
        ("RGB", given[1], [s.rgb for s in shots], rgb_wh),
    ):
        if known is not None:
            lenses.append(known)
            continue
        lens, refusal = _fit(points, board, size)
        if lens is None:
            return LensChoice(*given, f"lenses are not fitted: the {name} shots {refusal}")
        lenses.append(lens)
    before, after = (_off_px(shots, *pair, rgb_wh) for pair in (given, (lenses[0], lenses[1])))
    change = f"the registration's median residual goes from {before:.2f} to {after:.2f} px"
    if after > _GAIN * before:
        return LensChoice(*given, f"fitted lenses are left out: {change}")
    return LensChoice(lenses[0], lenses[1], f"fitted lenses are used: {change}")


def _fit(points: list[Points], board: Board, size_wh: SizeWh) -> tuple[Lens | None, str]:
    """Return one camera's lens, or None and what the shots lack."""
    span = np.ptp(np.concatenate(points), axis=0) / size_wh
    if span.min() < _LEAST_SPAN:
        return None, f"reach over only {100 * span.min():.0f} % of the view; fill its corners too"
    plane = [board.plane()] * len(points)
    seen = [p.astype(np.float32).reshape(-1, 1, 2) for p in points]
    try:
        rms, matrix, distortion, *_ = cv2.calibrateCamera(plane, seen, size_wh, None, None)
    except cv2.error:
        return None, "do not determine a lens; tilt the board more, each shot another way"
    if not rms < _WORST_RMS_PX:
        return None, f"fit a lens only to {rms:.1f} px"
    places = (matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2])
    try:
        lens = Lens(*(float(value) for value in (*places, *np.ravel(distortion)[:5])))
    except ManifestError as error:
        return None, f"give no lens ({error}); tilt the board more, each shot another way"
    corners = np.array([[0, 0], [size_wh[0] - 1, 0], [0, size_wh[1] - 1]], np.float64)
    if not np.isfinite(lens.undistort(corners)).all():
        return None, "give a lens that folds the corners over; bring the board into them"
    return lens, ""


def _off_px(shots: list[PointPairs], thermal: Lens | None, rgb: Lens | None, wh: SizeWh) -> float:
    ideal = [shot.ideal(thermal, rgb) for shot in shots]
    matrix = fit_homography(ideal, wh)
    return float(np.median(np.concatenate([residuals_px(shot, matrix) for shot in ideal])))


def load_lens(path: Path, what: str) -> Lens:
    """Read a lens from JSON: ``fx fy cx cy`` and ``k1 k2 p1 p2 k3`` (0 where left out).

    Raises:
        InputError: The file cannot be read, or a field is wrong.
    """
    try:
        return from_plain(Lens, json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise InputError(f"{what} {path}: cannot be read ({error.strerror or error})") from None
    except ValueError as error:
        raise InputError(f"{what} {path}: not valid JSON ({error})") from None
    except ManifestError as error:
        raise InputError(f"{what} {path}: {error}") from None
