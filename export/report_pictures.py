"""The pictures of a parity report: inputs, masks over the image, and where two outputs differ.

All pictures are (H, W, 3) uint8 RGB until :func:`data_uri` encodes them.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from differseg.export.parity_result import Panel, Picture

Rgb = npt.NDArray[np.uint8]
Color = tuple[int, int, int]

_FLIP_RGB = (0, 229, 255)  # cyan does not occur in the error's colour map
_LABEL_RGB = (255, 255, 255)
_RING_AT_MOST_PX = 60  # a smaller flipped area is ringed, or nobody would find it
_OUTLINES_AT_MOST = 500  # a speckled mask would drown in its own outlines
_RINGS_AT_MOST = 20  # more flipped areas than this are seen without rings


@dataclass(frozen=True)
class DifferencePicture:
    """The error map of one image.

    Attributes:
        picture: Black where equal, through red and yellow to white at ``scale``; flipped pixels
            are cyan and small ones have a ring.
        scale: Error that the brightest colour stands for; 0 where both outputs are equal.
    """

    picture: Rgb
    scale: float


def input_picture(name: str, picture: Picture) -> Rgb:
    """Return a network input as RGB; one-channel inputs get a colour map.

    Args:
        name: Input name; depth has another colour map than thermal.
        picture: (H, W, 3) uint8 RGB or (H, W) float32 in 0..1.
    """
    if picture.ndim == 3:
        return np.ascontiguousarray(picture)
    return _color_mapped(picture, cv2.COLORMAP_VIRIDIS if name == "depth" else cv2.COLORMAP_INFERNO)


def _color_mapped(unit: npt.NDArray[Any], color_map: int) -> Rgb:
    codes = np.rint(np.clip(unit, 0, 1) * 255).astype(np.uint8)
    return np.asarray(cv2.applyColorMap(codes, color_map)[:, :, ::-1]).copy()


def mask_overlay(
    base: Rgb,
    mask: npt.NDArray[np.uint8],
    colors: Sequence[Color | None],
    label: npt.NDArray[np.uint8] | None = None,
) -> Rgb:
    """Tint the classes of a mask over an image and draw their outlines, the label's in white.

    Args:
        base: (H, W, 3) uint8 RGB.
        mask: (H, W) uint8, place of the class at every pixel.
        colors: Each class's colour, 0..255; None leaves a class (the background) as it is.
        label: (h, w) uint8, places of classes and 255, any size; resized nearest.
    """
    picture = base.astype(np.float32) * 0.8
    painted = [(place, color) for place, color in enumerate(colors) if color is not None]
    shown = [(mask == place, color) for place, color in painted]
    for where, color in shown:
        picture[where] = picture[where] * 0.5 + np.asarray(color, np.float32) * 0.5
    canvas = picture.astype(np.uint8)
    thickness_px = max(1, round(base.shape[1] / 320))
    for where, color in shown:
        _outline(canvas, where, color, thickness_px + 1)
    if label is not None:
        size_wh = (base.shape[1], base.shape[0])
        at_size = cv2.resize(label, size_wh, interpolation=cv2.INTER_NEAREST)
        for place, _ in painted:
            _outline(canvas, at_size == place, _LABEL_RGB, thickness_px)
    return canvas


def _outline(canvas: Rgb, mask: npt.NDArray[np.bool_], color_rgb: Color, thickness_px: int) -> None:
    if not mask.any():
        return
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    if len(contours) <= _OUTLINES_AT_MOST:
        cv2.drawContours(canvas, contours, -1, color_rgb, thickness_px, cv2.LINE_AA)


def difference_picture(panel: Panel, width_px: int) -> DifferencePicture:
    """Return the error map of one image, amplified to its own largest error.

    Shrinking takes the largest error of each block, so that a single wrong pixel stays visible.

    Args:
        panel: The image.
        width_px: Largest width of the picture.
    """
    finite = np.isfinite(panel.error)
    error = np.where(finite, panel.error, np.float32(0))
    scale = float(error.max())
    flipped = panel.mask_a != panel.mask_b
    error[~finite], flipped = scale or 1.0, flipped | ~finite
    canvas = _color_mapped(_shrink(error, width_px) / (scale or 1.0), cv2.COLORMAP_HOT)
    small = _shrink(flipped.astype(np.uint8), width_px) > 0
    # One pixel of the picture would not be seen at the size of a page.
    canvas[cv2.dilate(small.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0] = _FLIP_RGB
    _ring_small_areas(canvas, small)
    return DifferencePicture(canvas, scale)


def _shrink(image: npt.NDArray[Any], width_px: int) -> npt.NDArray[Any]:
    """Shrink to at most ``width_px`` by block maxima."""
    block = math.ceil(image.shape[1] / width_px)
    if block <= 1:
        return image
    # Anchor at the block's first pixel: the dilated value there is the maximum of its block.
    grown = cv2.dilate(image, np.ones((block, block), np.uint8), anchor=(0, 0))
    return np.asarray(grown[::block, ::block])


def _ring_small_areas(canvas: Rgb, flipped: npt.NDArray[np.bool_]) -> None:
    count, _, stats, centres = cv2.connectedComponentsWithStats(
        flipped.astype(np.uint8), connectivity=8
    )
    areas = stats[:, cv2.CC_STAT_AREA]
    small = [i for i in range(1, count) if areas[i] <= _RING_AT_MOST_PX]
    if len(small) > _RINGS_AT_MOST:
        return
    for i in small:
        centre = (round(float(centres[i][0])), round(float(centres[i][1])))
        cv2.circle(canvas, centre, 9, _FLIP_RGB, 1, cv2.LINE_AA)


def fit_width(picture: Rgb, width_px: int) -> Rgb:
    """Shrink a picture to a width, keeping its aspect; a narrower one stays as it is."""
    height, width = picture.shape[:2]
    if width <= width_px:
        return picture
    size_wh = (width_px, max(1, round(height * width_px / width)))
    return np.asarray(cv2.resize(picture, size_wh, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def data_uri(picture: Rgb, quality: int) -> str:
    """Encode as JPEG in a ``data:`` address, so that the page needs no other file.

    Colour keeps its full resolution: marks of a few pixels would fade away otherwise.

    Args:
        picture: (H, W, 3) uint8 RGB.
        quality: JPEG quality, 0..100.
    """
    full_color = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    settings = [cv2.IMWRITE_JPEG_QUALITY, quality, *full_color]
    _, encoded = cv2.imencode(".jpg", picture[:, :, ::-1], settings)
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode("ascii")
