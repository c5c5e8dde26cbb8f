"""PNG masks and one JSON line per frame."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from differseg.errors import InputError
from differseg.runtime.sinks.base import FrameResult, make_folder

RESULTS_FILE = "results.jsonl"


class MaskSink:
    """Writes ``NAME.png`` (uint8 class ids) per mask and ``results.jsonl`` for all frames.

    NAME is the stem of the RGB file for image folders, else the frame's number.  A frame without
    a mask of its own (``hold``, ``no_result``, ``nan_output``) has a line and no file.

    Args:
        folder: Where the masks go; files of the same name are replaced.
        results: Where the lines go; ``folder/results.jsonl`` by default.
    """

    wants_picture = False

    def __init__(self, folder: Path, results: Path | None = None) -> None:
        make_folder(folder)
        self._folder = folder
        results = results or folder / RESULTS_FILE
        try:
            # Line buffered: after a power cut, every frame but the last has its line.
            self._lines = results.open("w", buffering=1, encoding="utf-8")
        except OSError as error:
            raise InputError(f"{results}: cannot be written ({error.strerror})") from None
        self.files = [str(folder), str(results)]

    def write(self, result: FrameResult) -> None:
        """Write the mask and its line."""
        document = result.document()
        document["mask"] = None
        if result.mask is not None:
            name = f"{result.name or f'{result.index:06d}'}.png"
            write_png(self._folder / name, result.mask)
            document["mask"] = name
        try:
            self._lines.write(json.dumps(document, allow_nan=False) + "\n")
        except OSError as error:
            raise InputError(f"{self._lines.name}: cannot be written ({error.strerror})") from None

    def close(self) -> None:
        """Close the lines."""
        self._lines.close()


def write_png(path: Path, image: npt.NDArray[np.uint8]) -> None:
    """Write (H, W) or (H, W, 3) BGR uint8 as PNG.

    Raises:
        InputError: It cannot be written; nothing is left there then.
    """
    # Level 1 is three times as fast as the default and masks compress well anyway.
    encoded = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1]
    try:
        # Not cv2.imwrite: on a full disk it leaves an empty file and reports success.
        path.write_bytes(encoded.data)
    except OSError as error:
        with suppress(OSError):
            path.unlink()
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None
