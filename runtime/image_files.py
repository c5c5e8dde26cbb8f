"""Image files on disk: find them, match them by name, and read them without losing bits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from differseg.errors import InputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
"""Endings that count as images, in any case."""

_PNG = b"\x89PNG\r\n\x1a\n"
_INDEXED, _FOUR_CHANNELS = 3, 6  # colour types of a PNG


def list_images(folder: str | Path) -> dict[str, Path]:
    """Return stem -> path of a folder's images, in the order of the stems.

    Hidden files are left out: macOS puts a ``._a.png`` beside each ``a.png`` on foreign disks.

    Raises:
        InputError: No such folder, no images in it, or two images of one stem.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in SUFFIXES or path.name.startswith("."):
            continue
        if path.stem in found:
            raise InputError(
                f"{folder}: '{found[path.stem].name}' and '{path.name}' have the same stem; "
                "keep one"
            )
        found[path.stem] = path
    if not found:
        raise InputError(f"{folder}: holds no images ({', '.join(SUFFIXES)})")
    return dict(sorted(found.items()))


def match_images(places: Mapping[str, str | Path]) -> list[tuple[str, dict[str, Path]]]:
    """Match the files of several modalities: folders by equal stem, single files as given.

    Args:
        places: Modality -> folder or file; all of one kind.

    Returns:
        One ``(stem, {modality: path})`` per sample, in the order of the stems.

    Raises:
        InputError: Folders and files mixed, nothing there, or stems without a partner.
    """
    paths = {modality: Path(place) for modality, place in places.items()}
    for modality, path in paths.items():
        if not path.exists():
            raise InputError(f"--{modality} {path}: there is no such file or folder")
    folders = [modality for modality, path in paths.items() if path.is_dir()]
    if not folders:
        first = next(iter(paths.values()))
        return [(first.stem, paths)]
    if len(folders) < len(paths):
        files = [modality for modality in paths if modality not in folders]
        raise InputError(
            f"--{folders[0]} is a folder but --{files[0]} is a file; give folders or files"
        )
    listed = {modality: list_images(path) for modality, path in paths.items()}
    stems = sorted(set().union(*listed.values()))
    for modality, images in listed.items():
        lacking = [stem for stem in stems if stem not in images]
        if lacking:
            raise InputError(
                f"--{modality} {paths[modality]}: {len(lacking)} of {len(stems)} stems have no "
                f"file here (first: {lacking[0]}); files of one sample need the same stem"
            )
    return [(stem, {name: images[stem] for name, images in listed.items()}) for stem in stems]


def read_image(path: str | Path, modality: str) -> npt.NDArray[Any]:
    """Read one image as the camera of its modality would give it; 16 bit stays 16 bit.

    Args:
        path: An image file.
        modality: ``rgb`` or ``flow`` (colour), ``thermal``, ``depth`` or ``label`` (one channel).

    Returns:
        (H, W, 3) uint8 in BGR order for colour, else (H, W) uint8, uint16 or float32.

    Raises:
        InputError: Not readable as an image, or not of the modality's channels and depth.
    """
    # Honours a photograph's orientation tag and drops an alpha channel, but keeps depth and grey.
    image = cv2.imread(str(path), cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH)
    if image is None:
        raise InputError(f"{modality} image {path}: cannot be read as an image; replace the file")
    if modality in ("rgb", "flow"):
        if image.ndim != 3 or image.dtype != np.uint8:
            raise InputError(
                f"{modality} image {path}: expected 8-bit colour, got {_kind(image)}; "
                "are two folders swapped?"
            )
        return image
    if modality == "label" and _png_color_type(path) == _INDEXED:
        # OpenCV gives the palette's colours, which may even look like one channel of other ids.
        raise InputError(
            f"label image {path}: is an indexed (palette) PNG, whose ids OpenCV cannot read; save "
            "it as greyscale: from PIL import Image; import numpy; "
            "Image.fromarray(numpy.array(Image.open(FILE))).save(FILE)"
        )
    if image.ndim == 3:
        # Some tools store one channel three times.
        if not ((image[..., 0] == image[..., 1]) & (image[..., 1] == image[..., 2])).all():
            got = _instead_of_one(path, modality, image)
            raise InputError(f"{modality} image {path}: expected one channel, got {got}")
        image = np.ascontiguousarray(image[..., 0])
    return image


def _png_color_type(path: str | Path) -> int | None:
    """Return the colour type that a PNG's header states; None of another file.

    Source: PNG specification, chunk IHDR.
    """
    with Path(path).open("rb") as file:
        head = file.read(26)
    return head[25] if head.startswith(_PNG) and len(head) == 26 else None


def _instead_of_one(path: str | Path, modality: str, image: npt.NDArray[Any]) -> str:
    """Say what a file with more than one channel holds, and what to do."""
    if modality != "label" and _png_color_type(path) == _FOUR_CHANNELS:
        return (
            "a PNG of four channels; where the fourth is thermal, as in MFNet's release, split the "
            "files into rgb/ and thermal/ (docs/training.md has the lines)"
        )
    return f"{_kind(image)}; give raw values, not a colour-mapped picture"


def _kind(image: npt.NDArray[Any]) -> str:
    channels = image.shape[2] if image.ndim == 3 else 1
    return f"{channels} channel{'s' if channels > 1 else ''} of {image.dtype}"
