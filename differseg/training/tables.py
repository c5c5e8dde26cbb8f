"""The tables of a run for spreadsheets: a line per epoch, and a line per step."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from differseg.training.snapshot import write_atomically

_STEP_FIELDS = ("step", "epoch", "loss", "learning_rate")


def epochs_table(history: list[dict[str, Any]]) -> str:
    """Return the lines of ``metrics.jsonl`` as CSV.

    A figure of a figure becomes a column with a dot, such as ``class_iou.car``; lists are left out.
    """
    rows = []
    for line in history:
        own = {name: value for name, value in line.items() if name != "validation"}
        rows.append(flattened({**own, **line.get("validation", {})}))
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def flattened(values: Mapping[str, Any], start: str = "") -> dict[str, Any]:
    """Return figures by names with dots: ``{"class_iou": {"car": 0.5}}`` has ``class_iou.car``.

    Args:
        values: Figures, some of them by further names; lists are left out.
        start: Put before each name.
    """
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat.update(flattened(value, f"{start}{name}."))
        elif not isinstance(value, (list, tuple)):
            flat[start + name] = value
    return flat


class StepTable:
    """``steps.csv``: a line per step, with the loss to its last digit.

    A run that goes on takes back the lines that came after its snapshot, so that a killed run has
    the same file as one that was never stopped.

    Args:
        path: The file.
        done: Steps that the run has behind it; later lines are removed.

    Raises:
        InputError: The file cannot be written.
    """

    def __init__(self, path: Path, done: int) -> None:
        kept = _lines_until(path, done) if path.exists() and done else []
        text = "".join([",".join(_STEP_FIELDS) + "\n", *kept])
        write_atomically(path, lambda file: file.write(text.encode()))
        self._file: IO[str] = path.open("a", encoding="utf-8")

    def add(self, step: int, epoch: int, loss: float, learning_rate: float) -> None:
        """Add a step; ``step`` and ``epoch`` count from 1."""
        self._file.write(f"{step},{epoch},{loss!r},{learning_rate!r}\n")

    def flush(self) -> None:
        """Bring the lines to the disk: a snapshot must not be ahead of them."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Write what is left."""
        self._file.close()


def _lines_until(path: Path, done: int) -> list[str]:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)[1:]
    kept = []
    for line in lines:
        number = line.partition(",")[0]
        if not line.endswith("\n") or not number.isdecimal() or int(number) > done:
            break
        kept.append(line)
    return kept
