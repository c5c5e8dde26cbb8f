"""PNG masks and one JSON line per frame."""

from __future__ import annotations

import json
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
            self._save(self._folder / name, result.mask)
            document["mask"] = name
        try:
            self._lines.write(json.dumps(document, allow_nan=False) + "\n")
        except OSError as error:
            raise InputError(f"{self._lines.name}: cannot be written ({error.strerror})") from None

    def _save(self, path: Path, mask: npt.NDArray[np.uint8]) -> None:
        # Level 1 is three times as fast as the default and masks compress well anyway.
        if not cv2.imwrite(str(path), mask, [cv2.IMWRITE_PNG_COMPRESSION, 1]):
            raise InputError(f"{path}: cannot be written; is the disk full?")

    def close(self) -> None:
        """Close the lines."""
        self._lines.close()
