"""Picture grids: inputs, label, probability and where the two disagree, one image a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from differseg.data.labels import IGNORE
from differseg.errors import InputError

Picture = npt.NDArray[np.uint8]

FOUND_RGB = (64, 200, 96)
"""Overlay colour of foreground that was found."""
FALSE_RGB = (255, 72, 48)
"""Overlay colour of background that was taken for foreground."""
MISSED_RGB = (64, 128, 255)
"""Overlay colour of foreground that was missed."""

_PAPER_RGB, _INK_RGB, _SOFT_INK_RGB = (24, 24, 28), (236, 236, 236), (168, 168, 176)
_GAP_PX, _STRIP_PX, _SWATCH_PX = 4, 22, 12
_FONT, _SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.45
_JPEG_QUALITY = 88


@dataclass(frozen=True)
class Comparison:
    """One row of a grid.

    Attributes:
        caption: One line above the row.
        inputs: Name of each modality to its image: (H, W, 3) uint8 RGB, or (H, W) float in 0..1.
        probability: (H, W) float in 0..1.
        label: (H, W) uint8: 0, 1, and 255 for ignored pixels.
    """

    caption: str
    inputs: dict[str, npt.NDArray[np.generic]]
    probability: npt.NDArray[np.floating]
    label: npt.NDArray[np.uint8]


def agreement_overlay(
    rgb: Picture,
    probability: npt.NDArray[np.floating],
    label: npt.NDArray[np.uint8],
    threshold: float,
) -> Picture:
    """Tint an image: found foreground green, false alarms red, missed foreground blue.

    Args:
        rgb: (H, W, 3) uint8 RGB.
        probability: (H, W) float in 0..1.
        label: (H, W) uint8: 0, 1, 255 ignored.
        threshold: Probability from which a pixel is foreground.
    """
    picture = grey_picture(rgb)
    found, known = probability >= threshold, label != IGNORE
    for where, color in (
        (found & (label == 1), FOUND_RGB),
        (found & (label == 0), FALSE_RGB),
        (~found & (label == 1), MISSED_RGB),
    ):
        picture[where] = 0.45 * picture[where] + 0.55 * np.array(color, np.float32)
    picture[~known] *= 0.4
    return picture.astype(np.uint8)


def comparison_grid(
    rows: Sequence[Comparison], *, threshold: float, panel_width_px: int = 320
) -> Picture:
    """Draw one row per image: every input, label, probability, overlay.

    Args:
        rows: At least one, all with the same inputs.
        threshold: Probability from which a pixel is foreground.
        panel_width_px: Width of one panel; its height follows the image.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        InputError: No row.
    """
    if not rows:
        raise InputError("picture grid: no image to show")
    titles = [*rows[0].inputs, "label", "probability", ""]
    picture = stacked(
        titles, [(row.caption, _panels(row, threshold)) for row in rows], panel_width_px
    )
    _write_legend(picture[:_STRIP_PX], _column_px(len(titles) - 1, panel_width_px))
    return picture


def stacked(
    titles: Sequence[str],
    rows: Sequence[tuple[str, Sequence[Picture]]],
    panel_width_px: int,
    legend: Sequence[tuple[str, tuple[int, int, int]]] = (),
) -> Picture:
    """Put rows of panels below each other, under titles.

    Args:
        titles: One for each column.
        rows: Caption and panels, (H, W, 3) uint8 RGB, of each row; the last panel has the aspect
            of the row.
        panel_width_px: Width of one panel.
        legend: Names and colours to explain below the titles.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    width = len(titles) * (panel_width_px + _GAP_PX) + _GAP_PX
    head = _strip(width)
    for column, title in enumerate(titles):
        _write(head, title, _column_px(column, panel_width_px), _INK_RGB)
    parts = [head, *_legend_strips(legend, width)]
    for caption, panels in rows:
        strip = _strip(width)
        _write(strip, caption, _GAP_PX, _SOFT_INK_RGB)
        parts += [strip, _side_by_side(panels, panel_width_px, width)]
    parts.append(_blank(_GAP_PX, width))
    return np.concatenate(parts)


def write_picture(path: Path, picture: Picture) -> None:
    """Write an RGB picture; the kind follows the suffix.

    Raises:
        InputError: The folder cannot be written.
    """
    jpeg = path.suffix.lower() in (".jpg", ".jpeg")
    quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if jpeg else []
    if not cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), quality):
        raise InputError(f"{path}: the picture could not be written; is the folder writable?")


def _panels(row: Comparison, threshold: float) -> list[Picture]:
    label_picture = np.where(row.label == IGNORE, 96, (row.label == 1) * 255).astype(np.uint8)
    rgb = as_picture(row.inputs["rgb"])
    return [
        *(as_picture(image) for image in row.inputs.values()),
        np.asarray(cv2.cvtColor(label_picture, cv2.COLOR_GRAY2RGB), dtype=np.uint8),
        as_picture(row.probability),
        agreement_overlay(rgb, row.probability, row.label, threshold),
    ]


def _side_by_side(panels: Sequence[Picture], panel_width_px: int, width: int) -> Picture:
    last_h, last_w = panels[-1].shape[:2]
    height = round(panel_width_px * last_h / last_w)
    canvas = _blank(height + _GAP_PX, width)
    for column, image in enumerate(panels):
        shrinks = panel_width_px <= image.shape[1]
        method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        left = _column_px(column, panel_width_px)
        canvas[:height, left : left + panel_width_px] = cv2.resize(
            image, (panel_width_px, height), interpolation=method
        )
    return canvas


def grey_picture(rgb: Picture) -> npt.NDArray[np.float32]:
    """Return an image without its colours, a little darker, to be tinted: (H, W, 3) float32."""
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), dtype=np.float32) * np.float32(0.8)


def _legend_strips(legend: Sequence[tuple[str, tuple[int, int, int]]], width: int) -> list[Picture]:
    """Return strips with a swatch and a name for each entry, as many as they need."""
    strips: list[Picture] = []
    left = width
    for text, color in legend:
        needs = _SWATCH_PX + _text_px(text) + 24
        if left + needs > width:
            strips.append(_strip(width))
            left = _GAP_PX
        box = (left, _STRIP_PX - 6 - _SWATCH_PX), (left + _SWATCH_PX, _STRIP_PX - 6)
        cv2.rectangle(strips[-1], *box, color, cv2.FILLED)
        cv2.rectangle(strips[-1], *box, _SOFT_INK_RGB, 1)
        _write(strips[-1], text, left + _SWATCH_PX + 6, _INK_RGB)
        left += needs
    return strips


def as_picture(image: npt.NDArray[np.generic]) -> Picture:
    """Return (H, W, 3) uint8 of a colour image or of a (H, W) image in 0..1."""
    if image.ndim == 3:
        return image.astype(np.uint8)
    grey = np.round(np.clip(image.astype(np.float32), 0, 1) * 255).astype(np.uint8)
    return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), dtype=np.uint8)


def _column_px(column: int, panel_width_px: int) -> int:
    return _GAP_PX + column * (panel_width_px + _GAP_PX)


def _blank(height_px: int, width_px: int) -> Picture:
    return np.full((height_px, width_px, 3), _PAPER_RGB, np.uint8)


def _strip(width_px: int) -> Picture:
    return _blank(_STRIP_PX, width_px)


def _write(strip: Picture, text: str, left_px: int, color: tuple[int, int, int]) -> int:
    """Write text into a strip; returns the column after it."""
    cv2.putText(strip, text, (left_px, _STRIP_PX - 7), _FONT, _SCALE, color, 1, cv2.LINE_AA)
    return left_px + _text_px(text)


def _text_px(text: str) -> int:
    return int(cv2.getTextSize(text, _FONT, _SCALE, 1)[0][0])


def _write_legend(strip: Picture, left_px: int) -> None:
    for text, color in (("found", FOUND_RGB), ("false", FALSE_RGB), ("missed", MISSED_RGB)):
        left_px = _write(strip, text, left_px, color) + 12
