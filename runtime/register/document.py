"""The registration file's layouts, and the record of how a registration was found.

Schema 1 is a homography alone.  Schema 2 adds the cameras' lenses and the record; a reader of
schema 1 would get a wrong picture from a file with lenses, so the number says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from differseg.errors import ManifestError
from differseg.runtime.lens import Lens
from differseg.schema import from_plain

SCHEMAS = (1, 2)
"""Layouts that are read."""

Method = Literal["checkerboard", "circles", "asymmetric-circles", "points", "automatic"]


@dataclass(frozen=True)
class Residuals:
    """Distances in pixels of the fixed camera."""

    median_px: float
    """Half of them are smaller."""
    p95_px: float
    """95 % of them are smaller."""
    max_px: float
    """The largest."""


@dataclass(frozen=True)
class ShotRecord:
    """How one pair of images agrees with the fit."""

    name: str
    """Stem of the files."""
    points: int
    """Points or image blocks of the pair."""
    residual: Residuals
    """Of these points."""


@dataclass(frozen=True)
class FitRecord:
    """How a registration was found; the same input gives the same record."""

    method: Method
    """What the points are."""
    shots: int
    """Pairs of images that were used."""
    points: int
    """Points or image blocks in all of them."""
    residual: Residuals
    """Of all points, those that the robust fit left out too."""
    per_shot: tuple[ShotRecord, ...] = ()
    """Each pair's own; empty where all pairs were matched together."""
    confidence: float | None = None
    """0..1, of the automatic method."""
    model: str = "homography"
    """What was fitted: a homography, or a similarity (four parameters)."""
    reason: str | None = None
    """Why this model, or why with or without lenses."""


@dataclass(frozen=True)
class Schema1:
    """The first layout."""

    matrix: tuple[tuple[float, ...], ...]
    moving_size_wh: tuple[int, int]
    fixed_size_wh: tuple[int, int]
    moving: str = "thermal"
    fixed: str = "rgb"
    kind: Literal["homography"] = "homography"
    schema: Literal[1] = 1


@dataclass(frozen=True)
class Schema2:
    """The second layout: the matrix maps ideal pixels where a camera has a lens."""

    matrix: tuple[tuple[float, ...], ...]
    moving_size_wh: tuple[int, int]
    fixed_size_wh: tuple[int, int]
    moving_lens: Lens | None
    fixed_lens: Lens | None
    fit: FitRecord | None
    moving: str = "thermal"
    fixed: str = "rgb"
    kind: Literal["homography"] = "homography"
    schema: Literal[2] = 2


def read_document(document: Any) -> Schema2:
    """Check a parsed file of either layout and return it as the newest.

    Raises:
        ManifestError: Names the field that is wrong.
    """
    number = document.get("schema", 1) if isinstance(document, dict) else 1
    if isinstance(number, bool) or number not in SCHEMAS:
        raise ManifestError(
            f"schema: expected 1 or 2, got {number!r}; the file is of another version of differseg"
        )
    if number == 2:
        try:
            return from_plain(Schema2, document)
        except ManifestError as error:
            raise ManifestError(f"schema 2: {error}") from None
    old = from_plain(Schema1, document)
    return Schema2(
        old.matrix,
        old.moving_size_wh,
        old.fixed_size_wh,
        moving_lens=None,
        fixed_lens=None,
        fit=None,
        moving=old.moving,
        fixed=old.fixed,
    )
