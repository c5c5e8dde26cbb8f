"""The rows of an evaluation: a model, a corruption, a level; kept on disk as they are done."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from differseg.errors import InputError

_SCHEMA = 1


@dataclass(frozen=True)
class Picture:
    """One image that a corruption made worse, as files in the folder of the evaluation.

    Attributes:
        stem: Of the sample.
        clean: Its figure without corruption, 0..1.
        figure: Its figure.
        panels: Caption and name of each file, in the order to show them.
    """

    stem: str
    clean: float
    figure: float
    panels: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Row:
    """What one model does at one level of one corruption.

    Attributes:
        model: SHA-256 of the model's file.
        corruption: Name; ``clean`` where nothing is changed.
        level: In the corruption's unit.
        images: How many were judged.
        figures: Over all of them, as the scorer gives them.
        of_images: The headline figure of each.
        pictures: The worst images; where wanted, of the greatest level.
    """

    model: str
    corruption: str
    level: float
    images: int
    figures: dict[str, Any]
    of_images: tuple[float, ...]
    pictures: tuple[Picture, ...] = ()


def key_of(facts: Mapping[str, Any]) -> str:
    """Return what a row is known by: 32 hex digits of everything that decides its figures."""
    text = json.dumps(facts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class RowStore:
    """Rows in ``rows.json`` of a folder, written whole after each one.

    Args:
        folder: Made where it does not exist.

    Raises:
        InputError: The folder cannot be made, or holds a file of that name that is none of ours.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self._path = folder, folder / "rows.json"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            data = self._path.read_bytes() if self._path.exists() else None
        except OSError as error:
            raise InputError(f"--out {folder}: cannot be used ({error.strerror})") from None
        self._rows = {} if data is None else self._read(data)

    def get(self, key: str) -> Row | None:
        """Return a row that is there, with its pictures; else None."""
        row = self._rows.get(key)
        if row is None:
            return None
        files = [self.folder / name for picture in row.pictures for _, name in picture.panels]
        # after a power cut, a file may be there and empty
        return row if all(file.is_file() and file.stat().st_size for file in files) else None

    def put(self, key: str, row: Row) -> None:
        """Keep a row.

        Raises:
            InputError: The folder cannot be written.
        """
        self._rows[key] = row
        rows = {name: dataclasses.asdict(kept) for name, kept in self._rows.items()}
        partial = self._path.with_suffix(f".{os.getpid()}.partial")
        try:
            partial.write_text(json.dumps({"schema": _SCHEMA, "rows": rows}), encoding="utf-8")
            os.replace(partial, self._path)
        except OSError as error:
            raise InputError(f"--out {self.folder}: cannot be written ({error.strerror})") from None

    def _read(self, data: bytes) -> dict[str, Row]:
        try:
            document = json.loads(data)
            if document["schema"] != _SCHEMA:
                raise ValueError
            return {key: _row(plain) for key, plain in document["rows"].items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            raise InputError(
                f"--out {self.folder}: rows.json is not one that this differseg wrote; give "
                "another folder, or delete the file to judge everything anew"
            ) from None


def _row(plain: dict[str, Any]) -> Row:
    pictures = tuple(
        Picture(
            picture["stem"],
            picture["clean"],
            picture["figure"],
            tuple((caption, name) for caption, name in picture["panels"]),
        )
        for picture in plain["pictures"]
    )
    return Row(**{**plain, "of_images": tuple(plain["of_images"]), "pictures": pictures})
