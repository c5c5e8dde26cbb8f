"""Files of picked points: JSON as the page writes it, or CSV."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from differseg.errors import InputError, ManifestError
from differseg.runtime.register.fitting import PointPairs, SizeWh
from differseg.schema import from_plain, to_plain

COLUMNS = ("thermal_x", "thermal_y", "rgb_x", "rgb_y")
"""Columns of the CSV; a column ``shot`` may stand beside them."""


@dataclass(frozen=True)
class PickedPair:
    """One point, seen by both cameras."""

    thermal: tuple[float, float]
    """x and y in the thermal image, pixels."""
    rgb: tuple[float, float]
    """x and y in the RGB image, pixels."""
    shot: str = ""
    """Stem of the images."""


@dataclass(frozen=True)
class PickedPoints:
    """The JSON file."""

    points: tuple[PickedPair, ...]
    """In the order of picking."""
    thermal_size_wh: tuple[int, int] | None = None
    """Width and height of the thermal images; None where the file does not say."""
    rgb_size_wh: tuple[int, int] | None = None
    """Width and height of the RGB images; None where the file does not say."""
    schema: Literal[1] = 1
    """Version of the layout."""

    def pairs(self) -> list[PointPairs]:
        """Return the points shot by shot."""
        names = sorted({point.shot for point in self.points})
        result = []
        for name in names:
            of_shot = [p for p in self.points if p.shot == name]
            thermal = np.array([p.thermal for p in of_shot], np.float64)
            rgb = np.array([p.rgb for p in of_shot], np.float64)
            result.append(PointPairs(name or "points", thermal, rgb))
        return result

    def text(self) -> str:
        """Return the file's text; the same points give the same text."""
        return json.dumps(to_plain(self), indent=1, allow_nan=False) + "\n"


def parse_points(document: Any, what: str) -> PickedPoints:
    """Check parsed JSON.

    Raises:
        InputError: Names the field that is wrong.
    """
    try:
        picked = from_plain(PickedPoints, document)
    except ManifestError as error:
        raise InputError(f"{what}: {error}") from None
    _check_inside(picked, what)
    return picked


def load_points(path: Path) -> PickedPoints:
    """Read a .json or .csv file of point pairs.

    Raises:
        InputError: The file cannot be read, is of another kind, or has a wrong field.
    """
    what = f"points {path}"
    if path.suffix.lower() not in (".json", ".csv"):
        raise InputError(f"{what}: expected a .json or .csv file")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{what}: cannot be read ({error.strerror or error})") from None
    except UnicodeDecodeError:
        raise InputError(f"{what}: is not a text file") from None
    if path.suffix.lower() == ".csv":
        return _from_csv(text, what)
    try:
        return parse_points(json.loads(text), what)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{what}: not valid JSON ({error})") from None


def _from_csv(text: str, what: str) -> PickedPoints:
    table = csv.DictReader(io.StringIO(text), skipinitialspace=True)
    names = table.fieldnames or ()
    lacking = [column for column in COLUMNS if column not in names]
    if lacking:
        raise InputError(
            f"{what}: the first line must name the columns {','.join(COLUMNS)} (and shot, where "
            f"there are several); '{lacking[0]}' is missing"
        )
    points = []
    for row in table:
        try:
            tx, ty, rx, ry = (float(row[column]) for column in COLUMNS)
        except (TypeError, ValueError):
            raise InputError(
                f"{what}: line {table.line_num}: expected four numbers under {','.join(COLUMNS)}"
            ) from None
        if not all(math.isfinite(value) for value in (tx, ty, rx, ry)):
            raise InputError(f"{what}: line {table.line_num}: a number is not finite")
        points.append(PickedPair((tx, ty), (rx, ry), (row.get("shot") or "").strip()))
    return PickedPoints(tuple(points))


def _check_inside(picked: PickedPoints, what: str) -> None:
    for name, size in (("thermal", picked.thermal_size_wh), ("rgb", picked.rgb_size_wh)):
        if size is not None:
            check_inside(picked, name, size, what)


def check_inside(picked: PickedPoints, camera: str, size_wh: SizeWh, what: str) -> None:
    """Refuse points outside their image: of another image size, or with columns swapped.

    Raises:
        InputError: Names the first.
    """
    for number, point in enumerate(picked.points):
        x, y = point.thermal if camera == "thermal" else point.rgb
        if not (-0.5 <= x <= size_wh[0] - 0.5 and -0.5 <= y <= size_wh[1] - 0.5):
            raise InputError(
                f"{what}: points[{number}].{camera} ({x:g}, {y:g}) lies outside the image of "
                f"{size_wh[0]}x{size_wh[1]}; were the points picked at another size?"
            )
