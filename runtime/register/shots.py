"""Pairs of images of the two cameras, from folders."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from differseg.errors import InputError
from differseg.runtime.image_files import match_images, read_image


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
    for shot in shots[1:]:
        names = ("thermal", "rgb")
        for name, size, first in zip(names, shot.sizes_wh, shots[0].sizes_wh, strict=True):
            if size != first:
                raise InputError(
                    f"--{name}: '{shot.name}' is {size[0]}x{size[1]}, but '{shots[0].name}' is "
                    f"{first[0]}x{first[1]}; all images of one camera need one size"
                )
    return shots
