"""The folder of a recorded session: names, tables and the record beside them.

    DIR/session.json          what was recorded, with what (:class:`SessionRecord`)
    DIR/registration.json     homography of the run, where it had one
    DIR/rgb/000000.png ...    frames of the colour camera, 8-bit BGR, lossless
    DIR/rgb/timestamps.csv    one line a frame, see :class:`FrameRow`
    DIR/thermal/...           the same of the thermal camera, 8 or 16 bits as it gave them

A table names frames whose files are on the disk already, so after a power cut it is right up to
its last whole line.  Image folders with ``timestamps.csv`` are what ``differseg run``, ``audit``
and ``quantize`` take anyway.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from differseg.errors import ManifestError, SourceError
from differseg.runtime.disk import sync_path
from differseg.schema import from_plain, parse_json, to_plain

SESSION_FILE = "session.json"
REGISTRATION_FILE = "registration.json"
README_FILE = "README.txt"
TABLE_FILE = "timestamps.csv"
COLUMNS = ("name", "timestamp_s", "arrival_s", "index", "source_name", "bytes", "crc32")


@dataclass(frozen=True)
class CameraRecord:
    """One camera of a session.

    Attributes:
        description: What the source was, without passwords.
        clock: Who stamped the frames: ``driver``, ``arrival`` or ``media``.
        live: Whether it was a camera; False for a recording that was recorded again.
        fps: Nominal rate in Hz.
        notes: Automatic choices made while opening it.
    """

    description: str
    clock: str
    live: bool
    fps: float | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class EndRecord:
    """How a recording ended; a session without one was cut off.

    Attributes:
        reason: In words.
        frames: Frames on the disk, by camera.
        dropped: Frames that came and are not on the disk, by camera.
        bytes: Size of the images.
    """

    reason: str
    frames: dict[str, int]
    dropped: dict[str, int]
    bytes: int


@dataclass(frozen=True)
class SessionRecord:
    """What ``session.json`` says.

    Attributes:
        started: UTC, ISO 8601.
        cameras: ``rgb`` and, where there was one, ``thermal``.
        thermal_offset_ms: Lateness of the thermal stamps that the run reckoned with.
        options: Options of the run, without passwords.
        model: The model's manifest; None where there was none.
        versions: Of differseg, Python, NumPy, OpenCV and the system.
        end: None while recording, and for ever where it was cut off.
        schema: Version of the layout.
    """

    started: str
    cameras: dict[str, CameraRecord]
    thermal_offset_ms: float = 0.0
    options: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] | None = None
    versions: dict[str, str] = field(default_factory=dict)
    end: EndRecord | None = None
    schema: Literal[1] = 1


@dataclass(frozen=True, slots=True)
class FrameRow:
    """One line of ``timestamps.csv``.

    Attributes:
        name: File without suffix.
        timestamp_s: Capture time in seconds, bit for bit as the source stamped it.
        arrival_s: When the frame reached this program, on the monotonic clock.
        index: Number of the frame at its source; a jump is frames that were lost or dropped.
        source_name: Stem of its file, where an image folder was recorded.
        bytes: Size of the file.
        crc32: Of the file.
    """

    name: str
    timestamp_s: float
    arrival_s: float
    index: int
    source_name: str | None
    bytes: int
    crc32: int


def is_recording(folder: Path) -> bool:
    """Say whether a folder holds a recorded session."""
    return (folder / SESSION_FILE).is_file()


def load_record(folder: Path) -> SessionRecord:
    """Read ``session.json``.

    Raises:
        SourceError: There is none, or it is damaged.
    """
    path = folder / SESSION_FILE
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SourceError(
            f"{path}: cannot be read ({error.strerror}); name the folder that --record wrote"
        ) from None
    except ValueError:
        raise SourceError(f"{path}: is not text; the file is damaged") from None
    try:
        return from_plain(SessionRecord, parse_json(text, str(path)))
    except ManifestError as error:
        raise SourceError(f"{path}: {error}") from None


def save_record(folder: Path, record: SessionRecord) -> None:
    """Write ``session.json``; whenever the power goes, it holds the old or the new text."""
    write_safely(folder / SESSION_FILE, json.dumps(to_plain(record), indent=2) + "\n")


def write_safely(path: Path, text: str) -> None:
    """Replace a file by one that is on the disk, in one step."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
    sync_path(path.parent)


def table_text(rows: Iterable[FrameRow], *, header: bool = False) -> str:
    """Return the lines of frames, or of the header and frames."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if header:
        writer.writerow(COLUMNS)
    for row in rows:
        # repr gives the digits that make the same float again.
        times = (repr(float(row.timestamp_s)), repr(float(row.arrival_s)))
        name = " ".join((row.source_name or "").splitlines())
        writer.writerow((row.name, *times, row.index, name, row.bytes, row.crc32))
    return text.getvalue()


def read_table(path: Path) -> tuple[list[FrameRow], int]:
    """Read ``timestamps.csv`` up to where the power went.

    Returns:
        The frames in the order they came, and the number of lines at the end that were left out
        because they are not whole.

    Raises:
        SourceError: No table, no header, or a damaged line before a whole one.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror})") from None
    lines = text.split("\n")
    if lines[0] != ",".join(COLUMNS):
        raise SourceError(f"{path}: is not the table of a recorded session (another first line)")
    unfinished = lines.pop()  # what stands behind the last line end
    rows = [_row(line) for line in lines[1:]]
    whole = len(rows)
    while whole and rows[whole - 1] is None:
        whole -= 1
    good = [row for row in rows[:whole] if row is not None]
    if len(good) < whole:
        raise SourceError(
            f"{path}:{rows.index(None) + 2}: the line is damaged, and whole ones follow; has the "
            "table been edited?"
        )
    return good, len(rows) - whole + bool(unfinished)


def _row(line: str) -> FrameRow | None:
    """Return the frame of one line; None where the line is not whole."""
    try:
        name, stamp, arrival, index, source, size, crc = next(csv.reader([line], strict=True))
        return FrameRow(
            name, float(stamp), float(arrival), int(index), source or None, int(size), int(crc)
        )
    except (ValueError, StopIteration, csv.Error):
        return None
