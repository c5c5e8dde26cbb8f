"""Pairs of images of the two cameras, from folders or a recorded session."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from differseg.errors import InputError
from differseg.runtime.image_files import match_images, read_image
from differseg.runtime.sources.session import SessionSource

_APART_S = 0.06
"""Frames of a session that are further apart are no shot; half a period of a 9 Hz camera."""


@dataclass(frozen=True)
class Shot:
    """One pair of images.

    Attributes:
        name: Stem of the files.
        rgb: (H, W, 3) uint8, BGR.
        thermal: (Ht, Wt) uint8 or uint16.
    """

    name: str
    rgb: npt.NDArray[Any]
    thermal: npt.NDArray[Any]

    @property
    def sizes_wh(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Width and height of the thermal and of the RGB image."""
        (th, tw), (rh, rw) = self.thermal.shape[:2], self.rgb.shape[:2]
        return (tw, th), (rw, rh)


def read_shots(rgb: Path, thermal: Path, most: int | None = None) -> list[Shot]:
    """Read the pairs of two folders, matched by stem, or of two files.

    Args:
        rgb: Folder or file.
        thermal: Folder or file.
        most: Read at most so many, evenly spread; all when None.

    Raises:
        InputError: An image cannot be read or has no partner, or sizes differ between pairs.
    """
    samples = match_images({"rgb": rgb, "thermal": thermal})
    if most is not None and len(samples) > most:
        samples = [samples[round(i * (len(samples) - 1) / (most - 1))] for i in range(most)]
    shots = [
        Shot(stem, read_image(paths["rgb"], "rgb"), read_image(paths["thermal"], "thermal"))
        for stem, paths in samples
    ]
    _check_sizes(shots)
    return shots


def read_session(folder: Path, most: int) -> list[Shot]:
    """Read pairs of a session that ``differseg run --record`` wrote.

    Args:
        folder: The session's.
        most: Read at most so many, evenly spread; of those near one another, the pair whose two
            frames are nearest in time.

    Raises:
        SourceError: No session, a damaged one, or one of a single camera.
        InputError: No two of its frames are of one moment, or sizes differ between pairs.
    """
    rgb, thermal = SessionSource(folder, "rgb"), SessionSource(folder, "thermal")
    rgb.open()
    thermal.open()
    late_s = thermal.thermal_offset_ms / 1000.0
    rgb_s = np.array([row.timestamp_s for row in rgb.rows])
    pairs = []
    for row in thermal.rows:
        nearest = int(np.abs(rgb_s - (row.timestamp_s - late_s)).argmin())
        apart_s = abs(float(rgb_s[nearest]) - (row.timestamp_s - late_s))
        if apart_s <= _APART_S:
            pairs.append((apart_s, rgb.rows[nearest], row))
    if not pairs:
        raise InputError(
            f"--session {folder}: no two frames are within {1000 * _APART_S:.0f} ms of each other"
        )
    parts = np.array_split(np.arange(len(pairs)), min(most, len(pairs)))
    chosen = [min((pairs[i] for i in part), key=lambda pair: pair[0]) for part in parts]
    shots = [Shot(a.name, rgb.load(a).image, thermal.load(b).image) for _, a, b in chosen]
    _check_sizes(shots)
    return shots


def _check_sizes(shots: list[Shot]) -> None:
    """Refuse images of one camera that differ in size.

    Raises:
        InputError: Names the two.
    """
    for shot in shots[1:]:
        names = ("thermal", "rgb")
        for name, size, first in zip(names, shot.sizes_wh, shots[0].sizes_wh, strict=True):
            if size != first:
                raise InputError(
                    f"--{name}: '{shot.name}' is {size[0]}x{size[1]}, but '{shots[0].name}' is "
                    f"{first[0]}x{first[1]}; all images of one camera need one size"
                )
