"""Thumbnails of a calibration set in order of luminance, with the flagged ones framed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from differseg.calibration.audit_measure import THUMB_WH
from differseg.calibration.audit_report import LEVELS, Finding, Level
from differseg.calibration.audit_source import Item
from differseg.errors import InputError
from differseg.pictures import write_picture

MOST = 120
"""Samples that are shown; of more, the flagged ones first, the others spread evenly."""

_FRAMES_RGB: dict[Level, tuple[int, int, int]] = {
    "error": (235, 64, 52),
    "warning": (240, 176, 48),
    "note": (120, 160, 220),
}
_PAPER_RGB, _INK_RGB = (24, 24, 28), (226, 226, 230)
_FRAME_PX, _GAP_PX, _STRIP_PX, _EDGE_PX = 4, 10, 34, 14
_WIDTH_PX = 1900
_FONT, _SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.42

Picture = npt.NDArray[np.uint8]


def write_pictures(path: Path, items: Sequence[Item], findings: Sequence[Finding]) -> None:
    """Write the thumbnails of a set.

    Args:
        path: An image file; the kind follows the suffix.
        items: The samples.
        findings: What was found; a sample is framed in the colour of the worst that names it.

    Raises:
        InputError: It cannot be written.
    """
    flags = _flags(items, findings)
    shown = _chosen(items, flags)
    shown.sort(key=_luminance)
    modalities = list(dict.fromkeys(name for item in shown for name in item.views)) or ["rgb"]
    tile_w = len(modalities) * THUMB_WH[0] + 2 * _FRAME_PX + _GAP_PX
    columns = max(1, min((_WIDTH_PX - 2 * _EDGE_PX) // tile_w, max(len(shown), 3)))
    tiles = [_tile(item, modalities, flags.get(item.name)) for item in shown]
    blank = np.full((_tile_height(), tile_w, 3), _PAPER_RGB, np.uint8)
    tiles += [blank] * (-len(tiles) % columns)
    rows = [np.hstack(tiles[k : k + columns]) for k in range(0, len(tiles), columns)]
    head = _head(len(shown), len(items), columns * tile_w)
    sheet = np.vstack([head, *rows])
    write_picture(path, _bordered(sheet, (_EDGE_PX, _EDGE_PX), _PAPER_RGB))


def check_picture_path(path: Path) -> None:
    """Refuse, before any work, a place where no picture can be written.

    Raises:
        InputError: Not the name of a picture, or in no folder.
    """
    if not path.parent.is_dir() or not cv2.haveImageWriter(str(path)):
        raise InputError(
            f"audit: pictures: {path} cannot be written; name a .png or .jpg in a folder that "
            "exists"
        )


def _flags(items: Sequence[Item], findings: Sequence[Finding]) -> dict[str, tuple[Level, str]]:
    """Return sample -> worst level and the checks that name it."""
    named: dict[str, str] = {}
    for item in items:
        named[item.name] = item.name
        named.update({view.place: item.name for view in item.views.values()})
    flags: dict[str, tuple[Level, list[str]]] = {}
    for found in findings:  # errors first
        for place in found.where:
            # A repetition says which of which.
            name = named.get(place) or named.get(place.split(" ")[0])
            if name is not None and LEVELS.index(found.level) < 2:
                checks = flags.setdefault(name, (found.level, []))[1]
                if found.check not in checks:
                    checks.append(found.check)
    return {name: (level, ", ".join(checks)) for name, (level, checks) in flags.items()}


def _chosen(items: Sequence[Item], flags: dict[str, tuple[Level, str]]) -> list[Item]:
    flagged = [item for item in items if item.name in flags][:MOST]
    others = [item for item in items if item.name not in flags]
    room = MOST - len(flagged)
    step = max(1, math.ceil(len(others) / room)) if room else len(others) + 1
    return [*flagged, *others[::step]]


def _luminance(item: Item) -> float:
    """Return the mean of the first input, RGB where there is one."""
    return next(iter(item.views.values())).luminance


def _tile_height() -> int:
    return THUMB_WH[1] + 2 * _FRAME_PX + _STRIP_PX + _GAP_PX


def _tile(item: Item, modalities: Sequence[str], flag: tuple[Level, str] | None) -> Picture:
    thumbs = [_thumb(item, name) for name in modalities]
    frame = _FRAMES_RGB[flag[0]] if flag else _PAPER_RGB
    framed = _bordered(np.hstack(thumbs), (_FRAME_PX, _FRAME_PX), frame)
    strip = np.full((_STRIP_PX, framed.shape[1], 3), _PAPER_RGB, np.uint8)
    width = framed.shape[1]
    _write(strip, _fitting(f"{item.name}  {_luminance(item):.2f}", width), 13, _INK_RGB)
    if flag:
        _write(strip, _fitting(flag[1], width), 28, frame)
    tile = np.vstack([framed, strip])
    return _bordered(tile, (0, _GAP_PX), _PAPER_RGB)


def _bordered(
    picture: npt.NDArray[Any], sides_px: tuple[int, int], color: tuple[int, int, int]
) -> Picture:
    """Add a border: above and left the first width, below and right the second."""
    near, far = sides_px
    full = cv2.copyMakeBorder(picture, near, far, near, far, cv2.BORDER_CONSTANT, value=color)
    return np.asarray(full, np.uint8)


def _thumb(item: Item, modality: str) -> Picture:
    if modality not in item.views:
        empty = np.full((THUMB_WH[1], THUMB_WH[0], 3), 48, np.uint8)
        _write(empty, "none", THUMB_WH[1] // 2, _INK_RGB)
        return empty
    thumb = item.views[modality].thumb
    return thumb if thumb.ndim == 3 else np.repeat(thumb[:, :, None], 3, axis=2)


def _head(shown: int, total: int, width: int) -> Picture:
    strip = np.full((_STRIP_PX, width, 3), _PAPER_RGB, np.uint8)
    count = f"{shown} of {total} samples" if shown < total else f"{total} samples"
    left = _write(strip, f"{count}, darkest first (mean luminance)", 16, _INK_RGB)
    for level in ("error", "warning"):
        left = _write(strip, level, 16, _FRAMES_RGB[level], left + 24)
    return strip


def _write(
    picture: Picture, text: str, base_px: int, color: tuple[int, int, int], left_px: int = 4
) -> int:
    """Write a line; returns the column after it."""
    cv2.putText(picture, text, (left_px, base_px), _FONT, _SCALE, color, 1, cv2.LINE_AA)
    return left_px + int(cv2.getTextSize(text, _FONT, _SCALE, 1)[0][0])


def _fitting(text: str, width_px: int) -> str:
    """Shorten the middle of a text until it fits."""
    keep = len(text)
    while keep > 8 and cv2.getTextSize(text, _FONT, _SCALE, 1)[0][0] > width_px - 8:
        keep -= 1
        text = f"{text[: keep // 2]}..{text[-(keep - keep // 2 - 2) :]}"
    return text
