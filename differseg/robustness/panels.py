"""The pictures of an image that a corruption made worse: what the network got and found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from differseg.class_pictures import ClassComparison, class_overlay, error_overlay
from differseg.errors import InputError
from differseg.export.report_pictures import fit_width, input_picture
from differseg.manifest import ClassSpec
from differseg.pictures import Picture, agreement_overlay, as_picture
from differseg.scoring import Row

_WIDTH_PX, _QUALITY = 400, 74


def draw_panels(
    row: Row, threshold: float, classes: Sequence[ClassSpec]
) -> list[tuple[str, Picture]]:
    """Return captions and pictures: the inputs as the network got them, and its mask's errors.

    Args:
        row: Of the scorer.
        threshold: Probability from which a pixel is foreground, of two classes.
        classes: The network's.
    """
    rgb = as_picture(row.inputs["rgb"])
    shown = [(_caption(name), input_picture(name, image)) for name, image in row.inputs.items()]
    if isinstance(row, ClassComparison):
        shown.append(("classes found", class_overlay(rgb, row.found, classes)))
        shown.append(("wrong pixels", error_overlay(rgb, row.found, row.label)))
    else:
        overlay = agreement_overlay(rgb, row.probability, row.label, threshold)
        shown.append(("found green, false red, missed blue", overlay))
    return shown


def write_panels(
    folder: Path, prefix: str, panels: Sequence[tuple[str, Picture]]
) -> tuple[tuple[str, str], ...]:
    """Write pictures as JPEG into ``pictures/`` of a folder.

    Args:
        folder: Of the evaluation.
        prefix: Of the files' names.
        panels: Captions and pictures.

    Returns:
        Captions and names of files, relative to the folder.

    Raises:
        InputError: They cannot be written.
    """
    written = []
    for number, (caption, picture) in enumerate(panels):
        name = f"pictures/{prefix}-{number}.jpg"
        shown = np.ascontiguousarray(fit_width(picture, _WIDTH_PX)[:, :, ::-1])
        _, code = cv2.imencode(".jpg", shown, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        try:
            (folder / "pictures").mkdir(exist_ok=True)
            (folder / name).write_bytes(code.tobytes())
        except OSError as error:
            raise InputError(f"--out {folder}: cannot be written ({error.strerror})") from None
        written.append((caption, name))
    return tuple(written)


def _caption(name: str) -> str:
    return "RGB" if name == "rgb" else name
