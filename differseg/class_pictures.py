"""Picture grids of more than two classes: inputs, label, classes found, and what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from differseg.data.labels import IGNORE
from differseg.errors import InputError
from differseg.manifest import ClassSpec, background_of
from differseg.pictures import FALSE_RGB, Picture, as_picture, grey_picture, stacked

_TINT = 0.65


@dataclass(frozen=True)
class ClassComparison:
    """One row of a grid.

    Attributes:
        caption: One line above the row.
        inputs: Name of each modality to its image: (H, W, 3) uint8 RGB, or (H, W) float in 0..1.
        found: (H, W) uint8, place of the class at every pixel.
        label: (H, W) uint8 likewise, and 255 for ignored pixels.
    """

    caption: str
    inputs: dict[str, npt.NDArray[np.generic]]
    found: npt.NDArray[np.uint8]
    label: npt.NDArray[np.uint8]


def class_overlay(
    rgb: Picture, places: npt.NDArray[np.uint8], classes: Sequence[ClassSpec]
) -> Picture:
    """Tint an image, in grey, with the colours of classes.

    Args:
        rgb: (H, W, 3) uint8 RGB.
        places: (H, W) uint8, place of the class at every pixel; 255 is darkened.
        classes: Whose colours; the background stays grey.
    """
    colors, tint = np.zeros((256, 3), np.float32), np.zeros((256, 1), np.float32)
    background = background_of(classes)
    for place, spec in enumerate(classes):
        colors[place], tint[place] = spec.color_rgb, 0 if spec is background else _TINT
    tint[IGNORE] = _TINT
    part = tint[places]
    return np.asarray(grey_picture(rgb) * (1 - part) + colors[places] * part).astype(np.uint8)


def error_overlay(
    rgb: Picture, found: npt.NDArray[np.uint8], label: npt.NDArray[np.uint8]
) -> Picture:
    """Tint the wrong pixels of an image red; ignored ones are darkened.

    Args:
        rgb: (H, W, 3) uint8 RGB.
        found: (H, W) uint8, place of the class at every pixel.
        label: (H, W) uint8 likewise, and 255 for ignored pixels.
    """
    picture = grey_picture(rgb)
    wrong = (found != label) & (label != IGNORE)
    picture[wrong] = 0.45 * picture[wrong] + 0.55 * np.array(FALSE_RGB, np.float32)
    picture[label == IGNORE] *= 0.4
    return picture.astype(np.uint8)


def class_grid(
    rows: Sequence[ClassComparison], classes: Sequence[ClassSpec], *, panel_width_px: int = 320
) -> Picture:
    """Draw one row per image: every input, the label, the classes found, and where they differ.

    Args:
        rows: At least one, all with the same inputs.
        classes: In the order of the places; a legend names those that the rows show.
        panel_width_px: Width of one panel; its height follows the image.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        InputError: No row.
    """
    if not rows:
        raise InputError("picture grid: no image to show")
    titles = [*rows[0].inputs, "label", "found", "wrong"]
    background = background_of(classes)
    maps = [part for row in rows for part in (row.found, row.label)]
    shown = {int(place) for part in maps for place in np.unique(part)}
    legend = [
        (spec.name, spec.color_rgb)
        for place, spec in enumerate(classes)
        if place in shown and spec is not background
    ]
    panels = [(row.caption, _panels(row, classes)) for row in rows]
    return stacked(titles, panels, panel_width_px, legend)


def _panels(row: ClassComparison, classes: Sequence[ClassSpec]) -> list[Picture]:
    rgb = as_picture(row.inputs["rgb"])
    return [
        *(as_picture(image) for image in row.inputs.values()),
        class_overlay(rgb, row.label, classes),
        class_overlay(rgb, row.found, classes),
        error_overlay(rgb, row.found, row.label),
    ]
