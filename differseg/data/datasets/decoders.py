"""Files of published data sets to arrays, each file read once.

Convention:
    Colour is RGB.  The orientation tag of a photograph is not followed: masks carry none, and the
    loaders that published figures were made with (Pillow's ``Image.open``) do not follow it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from differseg.data.folder import Planes
from differseg.errors import InputError
from differseg.runtime.image_files import read_image

_INDEXED = b"\x03"
_PNG_HEAD, _COLOR_TYPE = b"\x89PNG\r\n\x1a\n", slice(25, 26)


def decode_plain(path: Path, wanted: Sequence[str]) -> Planes:
    """Read one image as what it is; thermal, depth and labels hold one channel.

    Raises:
        InputError: It cannot be read, or has other channels; names the file.
    """
    return {name: _plain(path, name) for name in wanted}


def decode_salient(path: Path, wanted: Sequence[str]) -> Planes:
    """Read one image of a salient or camouflaged object set, whose files are less uniform.

    Thermal, depth and masks stored in colour become grey by luma, as their loaders have it
    (``convert('L')`` in taozh2017/SPNet, GewelsJI/SINet-V2, DengPingFan/PraNet).  Masks of 0 and 1
    become 0 and 255.  Of an indexed PNG with greys for colours these are the mask; with colours
    for objects (DAVIS), every index above 0 is object.

    Raises:
        InputError: It cannot be read; names the file.
    """
    return {
        name: _plain(path, name) if name in ("rgb", "flow") else _grey(path, name)
        for name in wanted
    }


def decode_rgb_thermal(path: Path, wanted: Sequence[str]) -> Planes:
    """Read an image of MFNet's release: one PNG, of which thermal is the fourth channel.

    Raises:
        InputError: It cannot be read, or has not four channels of 8 bits; names the file.
    """
    if tuple(wanted) == ("labels",):
        return decode_plain(path, wanted)
    image = _read(path, "image", cv2.IMREAD_UNCHANGED)
    if image.ndim != 3 or image.shape[2] != 4 or image.dtype != np.uint8:
        channels = image.shape[2] if image.ndim == 3 else 1
        raise InputError(
            f"image {path}: expected 8-bit red, green, blue and thermal in one PNG, got {channels} "
            f"channel{'s' if channels > 1 else ''} of {image.dtype}; the release has four"
        )
    planes = {"rgb": image[:, :, 2::-1], "thermal": image[:, :, 3]}
    return {name: np.ascontiguousarray(planes[name]) for name in wanted}


def _plain(path: Path, name: str) -> npt.NDArray[Any]:
    if name == "rgb":  # some sets hold a few grey photographs
        image = _read(path, name, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        return np.ascontiguousarray(image[:, :, ::-1])
    if name == "flow":
        return np.ascontiguousarray(read_image(path, name)[:, :, ::-1])
    if name != "labels":
        return read_image(path, name)
    indexed = _indexed(path)
    return read_image(path, "label") if indexed is None else indexed[0]


def _grey(path: Path, name: str) -> npt.NDArray[Any]:
    indexed = _indexed(path) if name == "labels" else None
    if indexed is None:
        flags = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
        image = _read(path, name, flags)
    else:
        image = _mask_of(*indexed)
    if name != "labels":
        return image
    if image.dtype != np.uint8:
        raise InputError(
            f"mask {path}: expected 8 bits, got {image.dtype}; save it as 0 and 255 in 8 bits"
        )
    return image * np.uint8(255) if image.max() == 1 else image


def _mask_of(
    indexes: npt.NDArray[np.uint8], palette: npt.NDArray[np.uint8]
) -> npt.NDArray[np.uint8]:
    """Return the greys of an indexed mask; where it has colours, 255 above index 0."""
    greys = palette[:, 0]
    if (palette == greys[:, None])[np.unique(indexes)].all():
        return greys[indexes]
    return np.where(indexes > 0, np.uint8(255), np.uint8(0))


def _indexed(path: Path) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]] | None:
    """Return the ids of an indexed PNG, which OpenCV cannot give, and its palette (256, 3) RGB.

    None of another file, and of one that cannot be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(26)
        indexed = head.startswith(_PNG_HEAD) and head[_COLOR_TYPE] == _INDEXED
        if not indexed or importlib.util.find_spec("PIL") is None:  # read_image says what to do
            return None
        from PIL import Image

        with Image.open(path) as image:
            given = np.array(image.getpalette(), np.uint8).reshape(-1, 3)
            palette = np.zeros((256, 3), np.uint8)
            palette[: len(given)] = given
            return np.array(image, np.uint8), palette
    except OSError:
        return None


def _read(path: Path, name: str, flags: int) -> npt.NDArray[Any]:
    image: npt.NDArray[Any] | None = cv2.imread(str(path), flags)
    if image is None:
        raise InputError(f"{name} image {path}: cannot be read as an image; replace the file")
    return image
