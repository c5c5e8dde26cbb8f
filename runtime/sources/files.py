"""Recorded frames: video files and image folders, read in order, or paced as if live."""

from __future__ import annotations

import csv
import math
import re
import threading
import time
from pathlib import Path

import cv2

from differseg.errors import InputError, SourceError
from differseg.runtime.image_files import list_images, read_image
from differseg.runtime.sources.base import Frame, Modality, PaceClock, Source
from differseg.runtime.sources.decoding import Decoder, keep_sixteen_bits, open_quietly

TIMESTAMP_FILE = "timestamps.csv"
DEFAULT_FOLDER_FPS = 30.0

_EXACT_COUNT_SUFFIXES = (".mp4", ".mov", ".m4v", ".avi")
"""Containers whose index holds the true number of frames; others only estimate it."""


class VideoSource(Source):
    """A video file; time stamps are media times from its first frame.

    Args:
        path: The file.
        modality: ``rgb`` or ``thermal``; a thermal video must be grey, and 16 bits stay 16 bits.
    """

    live = False
    clock = "media"

    def __init__(self, path: Path, modality: Modality) -> None:
        super().__init__(modality)
        self._path = path
        self._capture: cv2.VideoCapture | None = None
        self._decoder = Decoder(modality)
        self._index = 0
        self._first_ms: float | None = None
        self._last_s = -math.inf
        self._declared = 0
        self.description = f"video {path}"

    def open(self) -> None:
        """Open the file and make sure that it holds a frame."""
        self.close()
        self.notes = []
        if not self._path.is_file():
            raise SourceError(f"{self._path}: no such file")
        if self._path.stat().st_size == 0:
            raise SourceError(f"{self._path}: the video is empty (0 bytes)")
        capture = open_quietly(str(self._path), cv2.CAP_FFMPEG, [])
        if not capture.isOpened():
            raise SourceError(
                f"{self._path}: not a video that OpenCV's FFmpeg reader can open (truncated, or "
                f"another kind of file); look at it with: ffprobe {self._path}"
            )
        if self.modality == "thermal":
            self.notes += keep_sixteen_bits(capture, self.description)
        if not capture.grab():
            capture.release()
            raise SourceError(f"{self._path}: the video holds no frames")
        rate = capture.get(cv2.CAP_PROP_FPS)
        self.fps = float(rate) if 0.1 <= rate <= 1000 else None
        self.size_wh = (int(capture.get(3)), int(capture.get(4)))
        self._declared = max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        self._capture, self._index, self._first_ms, self._last_s = capture, 0, None, -math.inf

    def read(self) -> Frame | None:
        """Return the next frame; None at the end, ``SourceError`` where the file breaks off."""
        if self._capture is None:
            raise SourceError(f"{self.description}: read before open")
        # open() has grabbed the first frame already.
        if self._index > 0 and not self._capture.grab():
            self._check_complete()
            return None
        image = self._decoder.image(self._capture, f"{self.description}: frame {self._index}")
        frame = Frame(image, self._media_time_s(), self._index)
        self._index += 1
        return frame

    def _media_time_s(self) -> float:
        """Return the frame's time from the first frame; by the rate where the file has none."""
        assert self._capture is not None
        position_ms = self._capture.get(cv2.CAP_PROP_POS_MSEC)
        if self._first_ms is None:
            # Some builds count from the end of the first frame; relative times agree in all.
            self._first_ms = position_ms
        time_s = (position_ms - self._first_ms) / 1000.0
        if self._index > 0 and not time_s > self._last_s:
            time_s = self._last_s + 1.0 / (self.fps or DEFAULT_FOLDER_FPS)
        self._last_s = time_s
        return time_s

    def _check_complete(self) -> None:
        exact = self._path.suffix.lower() in _EXACT_COUNT_SUFFIXES
        if exact and self._index < 0.95 * self._declared - 2:
            raise SourceError(
                f"{self._path}: breaks off after {self._index} of {self._declared} frames; the "
                "file is truncated or damaged"
            )

    def close(self) -> None:
        """Release the file."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None


class FolderSource(Source):
    """The images of a folder in natural order (``img2`` before ``img10``).

    Times come from ``timestamps.csv`` in the folder (columns ``name,timestamp_s``; the name with
    or without suffix), which then also decides which images are read; else from ``fps``.  The
    times of two cameras must be on one clock, whatever its zero.

    Args:
        path: The folder.
        modality: ``rgb`` or ``thermal``; 16-bit thermal images stay 16 bit.
        fps: Rate in Hz where there is no ``timestamps.csv``; 30 when None.

    Attributes:
        asked_fps: The rate that was asked for.
    """

    live = False
    clock = "media"

    def __init__(self, path: Path, modality: Modality, fps: float | None = None) -> None:
        super().__init__(modality)
        self._path = path
        self.asked_fps = fps
        self._entries: list[tuple[Path, float]] = []
        self._next: int | None = None
        self.description = f"folder {path}"

    @property
    def stems(self) -> list[str]:
        """Names of the images in order, without suffix; valid after ``open``."""
        return [path.stem for path, _ in self._entries]

    @property
    def timed(self) -> bool:
        """Whether the folder brings its own time stamps."""
        return (self._path / TIMESTAMP_FILE).is_file()

    def open(self) -> None:
        """List the folder and read its time stamps."""
        try:
            images = sorted(list_images(self._path).values(), key=natural_key)
        except InputError as error:
            raise SourceError(str(error)) from None
        if self.timed:
            self._entries = read_timestamps(self._path / TIMESTAMP_FILE, images)
            span_s = self._entries[-1][1] - self._entries[0][1]
            steps = len(self._entries) - 1
            self.fps = steps / span_s if steps and span_s > 0 else None
        else:
            self._entries = [(path, 0.0) for path in images]
            self.set_rate(self.asked_fps or DEFAULT_FOLDER_FPS)
        self._next, self.size_wh = 0, None

    def set_rate(self, fps: float) -> None:
        """Space the images of a folder without time stamps evenly; before the first ``read``."""
        self.fps = fps
        self._entries = [(path, i / fps) for i, (path, _) in enumerate(self._entries)]

    def read(self) -> Frame | None:
        """Return the next image."""
        if self._next is None:
            raise SourceError(f"{self.description}: read before open")
        if self._next >= len(self._entries):
            return None
        index = self._next
        path, time_s = self._entries[index]
        image = read_image(path, self.modality)
        size_wh = (image.shape[1], image.shape[0])
        if self.size_wh not in (None, size_wh):
            assert self.size_wh is not None
            raise SourceError(
                f"{path}: is {size_wh[0]}x{size_wh[1]} pixels, but the images before it are "
                f"{self.size_wh[0]}x{self.size_wh[1]}; one stream has one size"
            )
        self.size_wh, self._next = size_wh, index + 1
        return Frame(image, time_s, index, path.stem)

    def close(self) -> None:
        """Forget the list."""
        self._next = None


class PacedSource(Source):
    """A recorded source given out in real time, as a camera would.

    Frames are stamped with the monotonic time at which their media time falls.

    Args:
        inner: A source with media times.
        clock: Common start of this run's paced sources.

    Attributes:
        inner: The source.
    """

    live = True
    clock = "media"

    def __init__(self, inner: Source, clock: PaceClock) -> None:
        super().__init__(inner.modality)
        self.inner = inner
        self._clock = clock
        self._interrupted = threading.Event()
        self.description = f"{inner.description} (paced)"

    def open(self) -> None:
        """Open the recording."""
        self._interrupted.clear()
        self.inner.open()
        self.fps, self.size_wh, self.notes = self.inner.fps, self.inner.size_wh, self.inner.notes

    def read(self) -> Frame | None:
        """Return the next frame when its time has come."""
        frame = self.inner.read()
        if frame is None:
            return None
        self.size_wh = self.inner.size_wh
        due_s = self._clock.due_s(frame.timestamp_s)
        if self._interrupted.wait(max(0.0, due_s - time.monotonic())):
            return None
        return Frame(frame.image, due_s, frame.index, frame.name)

    def interrupt(self) -> None:
        """End the wait for the next frame."""
        self._interrupted.set()

    def close(self) -> None:
        """Close the recording."""
        self.inner.close()


def natural_key(path: Path) -> list[tuple[int, int, str]]:
    """Return a sort key that orders numbers in stems by value."""
    parts = re.split(r"(\d+)", path.stem)
    return [(0, int(p), "") if p.isdigit() else (1, 0, p.lower()) for p in parts if p]


def read_timestamps(table: Path, images: list[Path]) -> list[tuple[Path, float]]:
    """Read ``name,timestamp_s`` rows.

    Raises:
        SourceError: Missing columns, a time that is not a number, or an image that is not there.
    """
    by_name = {p.name: p for p in images} | {p.stem: p for p in images}
    entries: list[tuple[Path, float]] = []
    with table.open(newline="", encoding="utf-8-sig") as stream:
        rows = csv.DictReader(stream)
        if not {"name", "timestamp_s"} <= set(rows.fieldnames or ()):
            got = ",".join(rows.fieldnames or ()) or "nothing"
            raise SourceError(f"{table}: expected the columns name,timestamp_s, got {got}")
        for row in rows:
            name, text = row["name"] or "", row["timestamp_s"] or ""
            if name not in by_name:
                raise SourceError(f"{table}:{rows.line_num}: there is no image '{name}'")
            try:
                time_s = float(text)
            except ValueError:
                time_s = math.nan
            if not math.isfinite(time_s):
                raise SourceError(
                    f"{table}:{rows.line_num}: timestamp_s of '{name}': expected seconds, "
                    f"got '{text}'"
                )
            entries.append((by_name[name], time_s))
    if not entries:
        raise SourceError(f"{table}: the table has no rows")
    return entries


def match_folders(rgb: Source, thermal: Source) -> None:
    """Have two open folders without time stamps paired by name: equal stems, one rate.

    Without times the n-th image is paired with the n-th, whatever they show.  A rate that one
    folder asks for holds for both.

    Raises:
        SourceError: Names the first stem that only one of them has.
        InputError: Two rates are asked for.
    """
    pair = (rgb, thermal)
    a, b = (source.inner if isinstance(source, PacedSource) else source for source in pair)
    if not isinstance(a, FolderSource) or not isinstance(b, FolderSource) or a.timed or b.timed:
        return
    lone = sorted(set(a.stems) ^ set(b.stems))
    if lone:
        where = a.description if lone[0] in a.stems else b.description
        raise SourceError(
            f"{a.description} and {b.description}: {len(lone)} images have no partner of "
            f"the same name (first: '{lone[0]}', only in {where}); rename them, or give both "
            f"folders a {TIMESTAMP_FILE}"
        )
    rate = a.asked_fps or b.asked_fps or DEFAULT_FOLDER_FPS
    if rate != (b.asked_fps or rate):
        raise InputError(
            f"{a.description} is given fps={a.asked_fps:g} and {b.description} "
            f"fps={b.asked_fps:g}, but images of one name are one moment; give one rate, or give "
            f"both folders a {TIMESTAMP_FILE}"
        )
    for source, folder in zip(pair, (a, b), strict=True):
        folder.set_rate(rate)
        source.fps = folder.fps
