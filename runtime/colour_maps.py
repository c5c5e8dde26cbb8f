"""Colours for looking at thermal images; never an input of a network.

``ironbow`` follows the formulae that gnuplot's default palette uses for heat (rgbformulae 7, 5,
15: square root, cube and sine), with the blue raised at the end so that it ends in white.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Literal, get_args

import cv2
import numpy as np
import numpy.typing as npt

from differseg.errors import InputError

ColourMap = Literal["white-hot", "black-hot", "ironbow", "inferno"]

COLOUR_MAPS: tuple[str, ...] = get_args(ColourMap)


@cache
def colour_table(name: str) -> npt.NDArray[np.uint8]:
    """Return the 256 colours of a map, (256, 1, 3) uint8 BGR, cold first; not to be written to.

    Raises:
        InputError: There is no such map.
    """
    grey = np.arange(256, dtype=np.uint8)
    if name == "white-hot":
        table = np.repeat(grey[:, None, None], 3, axis=2)
    elif name == "black-hot":
        table = np.repeat(grey[::-1, None, None], 3, axis=2).copy()
    elif name == "ironbow":
        x = np.linspace(0.0, 1.0, 256)
        blue = np.maximum(np.sin(2 * np.pi * x), 0.0) + np.maximum(4 * x - 3, 0.0)
        colours = np.stack([blue, x**3, np.sqrt(x)], axis=1)
        table = np.rint(255 * np.clip(colours, 0, 1)).astype(np.uint8)[:, None, :]
    elif name == "inferno":
        table = np.asarray(cv2.applyColorMap(grey[:, None], cv2.COLORMAP_INFERNO), np.uint8)
    else:
        raise InputError(f"colour map: expected one of {', '.join(COLOUR_MAPS)}, got {name!r}")
    table.flags.writeable = False
    return table


def colourise(
    image: npt.NDArray[Any], name: str = "ironbow", out: npt.NDArray[np.uint8] | None = None
) -> npt.NDArray[np.uint8]:
    """Paint a mapped thermal image in colours.

    Args:
        image: (H, W) uint8, or float32 in 0..1 as :class:`ThermalMapper` gives.
        name: ``white-hot``, ``black-hot``, ``ironbow`` or ``inferno``.
        out: (H, W, 3) uint8 buffer; a new array when None.

    Returns:
        (H, W, 3) uint8 BGR.

    Raises:
        InputError: Another dtype or shape, such as 16-bit counts, or no such map.
    """
    if image.ndim != 2 or image.dtype not in (np.uint8, np.float32):
        raise InputError(
            "colour map: expected an image (H, W) uint8, or float32 in 0..1, got "
            f"{image.dtype} {image.shape}; map 16-bit images with ThermalMapper first"
        )
    if image.dtype == np.float32:
        image = cv2.convertScaleAbs(image, alpha=255.0)
    return np.asarray(cv2.applyColorMap(image, colour_table(name), dst=out), np.uint8)
