"""Compare the masks of two runs of the same cameras, by the limits of ``differseg parity``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from differseg.errors import CheckFailedError, InputError
from differseg.export.parity_result import Thresholds
from differseg.metrics import boundary_f, mask_iou
from differseg.options import option, parse, run_main

Mask = npt.NDArray[np.uint8]

LIMITS = Thresholds()
"""Those of ``differseg parity``: no flipped pixel among them."""


@dataclass(frozen=True)
class CompareOptions:
    """Compare two folders of masks, as differseg run --masks writes them."""

    reference: Path = option(positional=True, metavar="DIR")
    """Masks of the first run."""
    other: Path = option(positional=True, metavar="DIR")
    """Masks of the second run."""
    expect: int | None = option(None, metavar="N")
    """How many masks there must be; by default any number from 1 on."""


@dataclass(frozen=True)
class MaskFigures:
    """Agreement of two masks: ``foreground_part`` and ``flipped_part`` are parts of the pixels."""

    name: str
    pixels: int
    foreground_part: float
    flipped_pixels: int
    iou: float
    boundary_f: float


def read_masks(folder: Path) -> dict[str, Mask]:
    """Read a folder's PNG files: name -> (H, W) uint8, 0 is background.

    Raises:
        InputError: There are none, or one cannot be read.
    """
    masks = {}
    for path in sorted(folder.rglob("*.png")):
        mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if mask is None or mask.ndim != 2 or mask.dtype != np.uint8:
            raise InputError(f"{path}: is no 8-bit mask of one channel; run the cameras again")
        masks[str(path.relative_to(folder))] = mask
    if not masks:
        raise InputError(f"{folder}: there is no mask in it; run differseg run --masks {folder}")
    return masks


def compare(reference: dict[str, Mask], other: dict[str, Mask]) -> list[MaskFigures]:
    """Compare mask by mask.

    Raises:
        InputError: The two runs have different masks, or none of them shows anything.
    """
    if reference.keys() != other.keys():
        alone = sorted(reference.keys() ^ other.keys())
        raise InputError(f"{alone[0]}: only one of the two runs has this mask, of {len(alone)}")
    rows = []
    for name, a in reference.items():
        b = other[name]
        if a.shape != b.shape:
            raise InputError(f"{name}: {a.shape} against {b.shape} pixels")
        rows.append(
            MaskFigures(
                name=name,
                pixels=a.size,
                foreground_part=float(np.mean(a != 0)),
                flipped_pixels=int(np.count_nonzero(a != b)),
                iou=mask_iou(a != 0, b != 0),
                boundary_f=boundary_f(a != 0, b != 0),
            )
        )
    if not any(row.foreground_part for row in rows):
        raise InputError("no mask shows anything, which proves nothing; choose another scene")
    return rows


def faults(rows: Sequence[MaskFigures], limits: Thresholds) -> list[str]:
    """Return what breaks the limits, one line each."""
    flipped = sum(row.flipped_pixels for row in rows)
    found = []
    if flipped > limits.flipped_pixels:
        found.append(f"{flipped} flipped pixels, limit {limits.flipped_pixels}")
    for row in rows:
        if row.iou < limits.min_mask_iou:
            found.append(f"{row.name}: IoU {row.iou:.5f}, limit {limits.min_mask_iou}")
        if row.boundary_f < limits.min_boundary_f:
            found.append(
                f"{row.name}: boundary F {row.boundary_f:.5f}, limit {limits.min_boundary_f}"
            )
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table and the verdict."""
    options = parse(CompareOptions, argv, "compare_masks.py")
    rows = compare(read_masks(options.reference), read_masks(options.other))
    if options.expect is not None and len(rows) != options.expect:
        raise InputError(f"{len(rows)} masks, expected {options.expect}")
    print("mask                     foreground  flipped  per mille  IoU      boundary F")
    for row in rows:
        print(
            f"{row.name:<24} {row.foreground_part:>9.1%}  {row.flipped_pixels:>7}"
            f"  {1000 * row.flipped_pixels / row.pixels:>9.4f}  {row.iou:.5f}  {row.boundary_f:.5f}"
        )
    found = faults(rows, LIMITS)
    if found:
        raise CheckFailedError("the masks differ: " + "; ".join(found))
    pixels = sum(row.pixels for row in rows)
    print(f"the masks agree: no pixel of {pixels} flipped, within the limits of differseg parity")
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
