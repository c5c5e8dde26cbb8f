"""From images or points to a registration: what each method of the command does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from differseg.errors import InputError
from differseg.runtime.lens import Lens, SizeWh
from differseg.runtime.register.automatic import SURE, register_scenes
from differseg.runtime.register.board import Board, Kind, parse_pattern, sight
from differseg.runtime.register.document import FitRecord, Method
from differseg.runtime.register.fitting import (
    PointPairs,
    fit_homography,
    residuals_px,
    shot_records,
    summary,
)
from differseg.runtime.register.lens_fit import LensChoice, choose_lenses, load_lens
from differseg.runtime.register.points import PickedPoints, check_inside, load_points
from differseg.runtime.register.shots import Shot, read_session, read_shots
from differseg.runtime.registration import Registration

if TYPE_CHECKING:
    from differseg.runtime.register.command import RegisterOptions

MOST_SCENES = 12
"""Pairs that the automatic method takes; more take longer and say little more."""

MOST_OF_SESSION = 40
"""Pairs of a recorded session that the other methods take."""

_WORST_MEDIAN = 0.02  # of the RGB image's longer side
_BAD_SHOT = 4.0  # times the median of all shots


@dataclass(frozen=True)
class Found:
    """A registration, and what to say about it.

    Attributes:
        registration: With the record of the fit.
        shots: The images; empty where there were none.
        notes: One line each.
        refusal: Why it must not be used, and what to do; None where it may.
    """

    registration: Registration
    shots: list[Shot]
    notes: list[str]
    refusal: str | None = None


def from_board(options: RegisterOptions, kind: Kind) -> Found:
    """Register from shots of a board.

    Raises:
        InputError: The board is in no shot, or the images cannot be used.
    """
    assert options.pattern is not None
    shots = read_given(options)
    board = Board(kind, *parse_pattern(options.pattern))
    sightings = sight(shots, board)
    thermal_wh, rgb_wh = shots[0].sizes_wh
    given = given_lenses(options)
    if options.lenses:
        choice = choose_lenses(sightings.pairs, board, thermal_wh, rgb_wh, given)
    else:
        choice = LensChoice(*given, "lenses are not fitted: --no-lenses")
    found = fit_points(sightings.pairs, kind, (thermal_wh, rgb_wh), choice, shots=shots)
    notes = [f"shot left out: {line}" for line in sightings.missed]
    if len(sightings.pairs) == 1:
        notes.append(
            "one shot with the board: which way up it is, is assumed, and away from the board the "
            "registration is a guess; take several shots over the whole view"
        )
    return Found(found.registration, shots, notes + found.notes, found.refusal)


def from_points(options: RegisterOptions) -> Found:
    """Register from a file of point pairs.

    Raises:
        InputError: The file cannot be used, or no image says how large the views are.
    """
    assert options.points is not None
    picked = load_points(options.points)
    shots = read_given(options) if options.rgb is not None or options.session else []
    sizes = _sizes(picked, shots, f"points {options.points}")
    choice = LensChoice(*given_lenses(options), "")
    return fit_points(picked.pairs(), "points", sizes, choice, shots=shots)


def fit_points(
    pairs: list[PointPairs],
    method: Method,
    sizes_wh: tuple[SizeWh, SizeWh],
    choice: LensChoice,
    shots: list[Shot],
) -> Found:
    """Register from points that are known.

    Args:
        pairs: Points of each shot, as the cameras show them.
        method: Where they are from.
        sizes_wh: Width and height of the thermal and of the RGB images.
        choice: The lenses.
        shots: Images for the picture.

    Raises:
        InputError: The points do not determine a registration.
    """
    thermal_wh, rgb_wh = sizes_wh
    ideal = [pair.ideal(choice.thermal, choice.rgb) for pair in pairs]
    matrix = fit_homography(ideal, rgb_wh)
    off_px = np.concatenate([residuals_px(pair, matrix) for pair in ideal])
    per_shot = shot_records(ideal, matrix)
    record = FitRecord(
        method=method,
        shots=len(pairs),
        points=len(off_px),
        residual=summary(off_px),
        per_shot=per_shot,
        reason=choice.reason or None,
    )
    registration = Registration(
        matrix,
        thermal_wh,
        rgb_wh,
        moving_lens=choice.thermal,
        fixed_lens=choice.rgb,
        fit=record,
    )
    notes = []
    limit_px = max(0.005 * max(rgb_wh), _BAD_SHOT * record.residual.median_px)
    for shot in per_shot:
        if shot.residual.median_px > limit_px:
            notes.append(
                f"shot '{shot.name}' fits badly (median {shot.residual.median_px:.1f} px): did "
                "something move between its two images, or is it much nearer than the others?"
            )
    if len(off_px) == 4:
        notes.append("four points always fit exactly: pick more, so that residuals say something")
    refusal = None
    if record.residual.median_px > _WORST_MEDIAN * max(rgb_wh):
        refusal = (
            f"the points do not agree on one registration (median residual "
            f"{record.residual.median_px:.1f} px); look for swapped points, and keep the target "
            "at the distance at which the cameras will be used"
        )
    note = registration.coverage_note()
    return Found(registration, shots, notes + ([note] if note else []), refusal)


def from_scenes(options: RegisterOptions) -> Found:
    """Register from what both cameras see, without a target.

    Raises:
        InputError: The images cannot be used.
    """
    shots = read_given(options, MOST_SCENES)
    thermal_wh, rgb_wh = shots[0].sizes_wh
    thermal_lens, rgb_lens = given_lenses(options)
    start = None
    if options.start is not None:
        start = Registration.load(options.start).scaled_matrix(thermal_wh, rgb_wh)
    fit = register_scenes(
        [_ideal(shot.rgb, rgb_lens, cv2.BORDER_REPLICATE) for shot in shots],
        [_ideal(shot.thermal, thermal_lens, cv2.BORDER_CONSTANT) for shot in shots],
        start,
    )
    record = FitRecord(
        method="automatic",
        shots=len(shots),
        points=len(fit.residual_px),
        residual=summary(fit.residual_px),
        confidence=round(fit.confidence, 3),
        model=fit.model,
        reason=fit.reason,
    )
    registration = Registration(
        fit.matrix,
        thermal_wh,
        rgb_wh,
        moving_lens=thermal_lens,
        fixed_lens=rgb_lens,
        fit=record,
    )
    if fit.confidence < SURE:
        return Found(
            registration,
            shots,
            [],
            f"the scenes do not give a sure one (confidence {fit.confidence:.2f}, {SURE:g} "
            f"needed): {fit.doubts(max(rgb_wh))}; add pairs with far, edge-rich things over the "
            "whole view, by daylight and with the cameras at rest, or use: differseg register "
            "pick",
        )
    notes = []
    if len(shots) < 3:
        notes.append(
            f"only {len(shots)} pair(s) of images: near things pull the fit towards their own "
            "distance; five or more pairs of different scenes are better"
        )
    note = registration.coverage_note()
    return Found(registration, shots, notes + ([note] if note else []))


def given_lenses(options: RegisterOptions) -> tuple[Lens | None, Lens | None]:
    """Return the lenses of the options, thermal and RGB."""
    return (
        None if options.thermal_lens is None else load_lens(options.thermal_lens, "--thermal-lens"),
        None if options.rgb_lens is None else load_lens(options.rgb_lens, "--rgb-lens"),
    )


def read_given(options: RegisterOptions, most: int | None = None) -> list[Shot]:
    """Return the images that the options name.

    Args:
        options: Of the command.
        most: Read at most so many, evenly spread; None takes all of two folders.

    Raises:
        InputError, SourceError: They cannot be read, or do not go together.
    """
    if options.session is not None:
        return read_session(options.session, most or MOST_OF_SESSION)
    assert options.rgb is not None
    assert options.thermal is not None
    return read_shots(options.rgb, options.thermal, most)


def _sizes(picked: PickedPoints, shots: list[Shot], what: str) -> tuple[SizeWh, SizeWh]:
    """Return the sizes of the thermal and RGB images, from the images or else from the file."""
    if shots:
        sizes = shots[0].sizes_wh
        for name, stated, size in (
            ("thermal", picked.thermal_size_wh, sizes[0]),
            ("rgb", picked.rgb_size_wh, sizes[1]),
        ):
            if stated is not None and stated != size:
                raise InputError(
                    f"{what}: is for {name} images of {stated[0]}x{stated[1]}, but --{name} has "
                    f"{size[0]}x{size[1]}"
                )
            check_inside(picked, name, size, what)
        return sizes
    if picked.thermal_size_wh is None or picked.rgb_size_wh is None:
        raise InputError(
            f"{what}: does not say how large the images are; add --rgb and --thermal (or "
            "thermal_size_wh and rgb_size_wh to a JSON file)"
        )
    return picked.thermal_size_wh, picked.rgb_size_wh


def _ideal(image: npt.NDArray[Any], lens: Lens | None, border: int) -> npt.NDArray[Any]:
    """Return a picture as a camera without distortion would give it."""
    if lens is None:
        return image
    height, width = image.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))
    seen = np.nan_to_num(lens.distort(np.stack([x.ravel(), y.ravel()], axis=1)), nan=-1e6)
    maps = seen.clip(-2, max(width, height) + 1).astype(np.float32).reshape(height, width, 2)
    return cv2.remap(image, maps[..., 0], maps[..., 1], cv2.INTER_LINEAR, borderMode=border)
