"""Record both cameras without loss, beside a run and never in its way.

    capture threads -> queue of at most 256 MB -> this thread: PNG -> [sync] -> timestamps.csv

Frames are encoded and written by one thread.  Every two seconds a chunk is closed: the images are
brought to the disk first and named in the tables then, so that after a power cut the tables are
right up to the last chunk.  A disk that is too slow costs frames of the recording, which are
counted and said; a disk that is full ends the recording.  The run goes on in both cases.
"""

from __future__ import annotations

import errno
import os
import threading
import time
import zlib
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2

from differseg.errors import InputError
from differseg.runtime.disk import free_bytes, sync_filesystem, sync_path
from differseg.runtime.registration import Registration
from differseg.runtime.session_file import (
    README_FILE,
    REGISTRATION_FILE,
    TABLE_FILE,
    EndRecord,
    FrameRow,
    SessionRecord,
    save_record,
    table_text,
    write_safely,
)
from differseg.runtime.session_text import readme_text
from differseg.runtime.sources.base import Frame, Modality

CHUNK_S = 2.0
QUEUE_BYTES = 256 * 2**20
CLOSE_TIMEOUT_S = 30.0
"""How long ``close`` waits for a disk; the thread is then left as a daemon."""

_RESERVE_BYTES = 200 * 2**20
"""Left free for the run's own outputs and for the system."""

_PNG_FAST = [cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_HUFFMAN_ONLY]
"""Twice as fast as level 1, at the same size for what cameras give.  The level is left out on
purpose: with one given, OpenCV has libpng try all filters on each line."""


@dataclass(frozen=True)
class RecorderState:
    """How a recording goes.

    Attributes:
        folder: Where it is.
        frames: Frames written, by camera.
        dropped: Frames that found the queue full, by camera.
        bytes: Size of the images.
        ended: Why nothing is recorded any more; None while recording.
    """

    folder: str
    frames: dict[str, int]
    dropped: dict[str, int]
    bytes: int
    ended: str | None

    def text(self) -> str:
        """Return what the status line says, such as ``REC 1.2 GB``."""
        if self.ended is not None:
            return f"RECORDING ENDED: {self.ended}"
        lost = sum(self.dropped.values())
        return f"REC {self.bytes / 1e9:.1f} GB" + (f", {lost} NOT RECORDED" if lost else "")

    def summary(self) -> str:
        """Return one line for the end of a run, loud where frames are missing."""
        frames = " and ".join(f"{number} {name}" for name, number in self.frames.items())
        text = f"recorded {frames} frames ({self.bytes / 1e9:.2f} GB) in {self.folder}"
        lost = ", ".join(f"{number} {name}" for name, number in self.dropped.items() if number)
        text += f"; LOST: {lost}" if lost else ""
        return text + (f"; ENDED EARLY: {self.ended}" if self.ended is not None else "")


class Recorder:
    """Writes one session; ``add`` may be called from any thread.

    Args:
        folder: New or empty.  What ``%Y%m%d-%H%M%S`` and the like mean to ``strftime`` is filled
            in with the local time, so that a service can name a new folder at each start.
        record: What is recorded, without its end.
        registration: Of the run; None where it has none.
        limit_bytes: The recording ends before its images are larger; None for no limit.
        chunk_s: A power cut costs this much.
        queue_bytes: Frames that wait for the disk take at most this much memory.
        on_note: Called in the recorder's thread with what the user must know.

    Raises:
        InputError: The folder holds files, cannot be made, or its disk is full.
    """

    def __init__(
        self,
        folder: Path,
        record: SessionRecord,
        *,
        registration: Registration | None = None,
        limit_bytes: int | None = None,
        chunk_s: float = CHUNK_S,
        queue_bytes: int = QUEUE_BYTES,
        on_note: Callable[[str], None] = lambda text: None,
    ) -> None:
        text = str(folder)
        self.folder = Path(time.strftime(text) if "%" in text else text)
        self._record, self._limit_bytes, self._note = record, limit_bytes, on_note
        self._chunk_s, self._queue_bytes = chunk_s, queue_bytes
        self._queue: deque[tuple[Modality, Frame, float]] = deque()
        self._queued_bytes = 0
        self._condition = threading.Condition()
        self._closing = False
        self._reason = ""
        self._ended: str | None = None
        self._rows: dict[str, list[FrameRow]] = {name: [] for name in record.cameras}
        self._frames = Counter(dict.fromkeys(record.cameras, 0))
        self._dropped = Counter(dict.fromkeys(record.cameras, 0))
        self._bytes = 0
        self._said_drops = 0
        self._prepare(registration)
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    @property
    def state(self) -> RecorderState:
        """How it goes."""
        return RecorderState(
            str(self.folder), dict(self._frames), dict(self._dropped), self._bytes, self._ended
        )

    def add(self, modality: Modality, frame: Frame) -> None:
        """Take a frame, or count it as dropped; never waits for the disk.

        Args:
            modality: ``rgb`` or ``thermal``.
            frame: Its image must not change afterwards.
        """
        arrival_s = time.monotonic()
        with self._condition:
            if self._ended is not None or self._closing:
                return
            if self._queued_bytes + frame.image.nbytes > self._queue_bytes:
                self._dropped[modality] += 1
                return
            self._queue.append((modality, frame, arrival_s))
            self._queued_bytes += frame.image.nbytes
            self._condition.notify()

    def close(
        self, reason: str = "the run ended", thermal_offset_ms: float | None = None
    ) -> RecorderState:
        """Write what waits and finish the session; harmless when called twice.

        Args:
            reason: Why the run ended.
            thermal_offset_ms: Lateness of the thermal stamps where the run has measured it; None
                leaves what the record said at the start.
        """
        with self._condition:
            if not self._closing:
                self._reason, self._closing = reason, True
                if thermal_offset_ms is not None:
                    self._record = replace(self._record, thermal_offset_ms=thermal_offset_ms)
            self._condition.notify()
        self._thread.join(CLOSE_TIMEOUT_S)
        if self._thread.is_alive():
            self._ended = self._ended or (
                f"its disk did not answer within {CLOSE_TIMEOUT_S:g} s; the session reads up to "
                "the last chunk"
            )
        return self.state

    def _prepare(self, registration: Registration | None) -> None:
        """Make the folder with everything but frames."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if any(self.folder.iterdir()):
                raise InputError(
                    f"--record {self.folder}: holds files already; name a new folder, such as "
                    f"{self.folder}/%Y%m%d-%H%M%S (the time is filled in)"
                )
            if free_bytes(self.folder) < _RESERVE_BYTES:
                raise InputError(
                    f"--record {self.folder}: its disk is full ("
                    f"{free_bytes(self.folder) / 2**20:.0f} MB left); free some space"
                )
            for name in self._record.cameras:
                (self.folder / name).mkdir()
                write_safely(self.folder / name / TABLE_FILE, table_text([], header=True))
            if registration is not None:
                registration.save(self.folder / REGISTRATION_FILE)
            write_safely(self.folder / README_FILE, readme_text(self._record, registration))
            save_record(self.folder, self._record)
            sync_filesystem(self.folder)
        except OSError as error:
            raise InputError(
                f"--record {self.folder}: cannot be written ({error.strerror or error})"
            ) from None

    def _run(self) -> None:
        try:
            self._loop()
        except OSError as error:
            self._stop(f"{self.folder} cannot be written ({error.strerror or error})")
        except Exception as error:  # whatever it is, the run must go on
            self._stop(" ".join(str(error).split()) or type(error).__name__)
        self._finish()

    def _loop(self) -> None:
        due_s = time.monotonic() + self._chunk_s
        while self._ended is None:
            item = self._next(due_s)
            if item is not None:
                self._write(*item)
                del item  # or its buffer would stay in use until the next one comes
            elif self._closing:
                return
            if time.monotonic() >= due_s:
                self._close_chunk()
                due_s = time.monotonic() + self._chunk_s
            self._say_drops()

    def _next(self, due_s: float) -> tuple[Modality, Frame, float] | None:
        """Return the oldest frame; None at a stop, or when the chunk is due."""
        with self._condition:
            if not self._queue and not self._closing:
                self._condition.wait(max(0.0, due_s - time.monotonic()))
            if not self._queue:
                return None
            item = self._queue.popleft()
            self._queued_bytes -= item[1].image.nbytes
            return item

    def _write(self, modality: Modality, frame: Frame, arrival_s: float) -> None:
        """Write one image; it is named in its table when the chunk is closed."""
        png = cv2.imencode(".png", frame.image, _PNG_FAST)[1].data
        if free_bytes(self.folder) < _RESERVE_BYTES + png.nbytes:
            return self._stop(f"the disk of {self.folder} is full")
        if self._limit_bytes is not None and self._bytes + png.nbytes > self._limit_bytes:
            return self._stop(f"the limit of {self._limit_bytes / 1e9:g} GB is reached")
        name = f"{self._frames[modality]:06d}"
        path = self.folder / modality / f"{name}.png"
        try:
            path.write_bytes(png)
        except OSError:
            path.unlink(missing_ok=True)
            raise
        self._rows[modality].append(
            FrameRow(
                name,
                frame.timestamp_s,
                arrival_s,
                frame.index,
                frame.name,
                png.nbytes,
                zlib.crc32(png),
            )
        )
        self._frames[modality] += 1
        self._bytes += png.nbytes
        return None

    def _close_chunk(self) -> None:
        """Bring the images to the disk, then name them in the tables."""
        if not any(self._rows.values()):
            return
        sync_filesystem(self.folder)
        for modality, rows in self._rows.items():
            if rows:
                _append(self.folder / modality / TABLE_FILE, table_text(rows))
                rows.clear()

    def _finish(self) -> None:
        """Close the last chunk and say in ``session.json`` how it ended."""
        reason = self._ended or self._reason
        try:
            self._close_chunk()
            end = EndRecord(reason, dict(self._frames), dict(self._dropped), self._bytes)
            save_record(self.folder, replace(self._record, end=end))
        except OSError as error:
            self._stop(f"{self.folder} cannot be finished ({error.strerror or error})")
        self._say_drops()

    def _stop(self, reason: str) -> None:
        """End the recording, once, and say so; the run goes on."""
        with self._condition:
            first, self._ended = self._ended is None, self._ended or reason
            self._reason = self._ended
            self._queue.clear()
            self._queued_bytes = 0
        if first:
            self._note(f"RECORDING ENDED: {reason}; the run goes on without it")

    def _say_drops(self) -> None:
        """Say that frames are lost: at the first one, and each time there are ten times as many."""
        lost = self._dropped.total()
        if lost >= max(1, 10 * self._said_drops):
            self._said_drops = lost
            self._note(
                f"RECORDING IS LOSING FRAMES: {lost} so far; the disk or the processor is too slow "
                f"for {self.folder}"
            )


def _append(path: Path, text: str) -> None:
    """Add lines to a table, all or none where the disk gets full, and have them on the disk."""
    data = text.encode()
    with path.open("r+b", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        try:
            if file.write(data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(file.fileno())
        except OSError:
            file.truncate(size)
            raise
    sync_path(path.parent)
