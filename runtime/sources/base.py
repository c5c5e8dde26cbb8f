"""What every source promises, the clock that paced ones share, and how pixels become frames."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from differseg.errors import SourceError
from differseg.runtime.buffers import BufferPool

Modality = Literal["rgb", "thermal"]
Clock = Literal["driver", "arrival", "media"]

_COLOUR_SPREAD = 12.0
"""Mean difference between colour channels above which a thermal picture is false-coloured."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One image of one camera.

    Attributes:
        image: rgb: (H, W, 3) uint8, BGR order as OpenCV captures.  thermal: (H, W) uint8 or
            uint16 counts, or centikelvin where the camera is radiometric.  Not to be written to.
        timestamp_s: Capture time in seconds: on the monotonic clock for live sources, media
            time for files.
        index: Number of the frame, from 0.  Synthetic cameras number what they show, so that a
            jump is frames lost before they were read; OpenCV gives no numbers of real cameras,
            whose frames are counted as they are read.
        name: File stem, for image folders.
    """

    image: npt.NDArray[Any]
    timestamp_s: float
    index: int
    name: str | None = None


class Source(ABC):
    """One stream of frames; ``open`` may be called again after ``close``.

    ``read`` blocks until the next frame.  All calls come from one thread at a time, except
    ``interrupt``.

    Attributes:
        live: Frames come in real time, whether anybody reads or not; older ones may be dropped.
        clock: ``driver`` or ``arrival`` (monotonic clock, stamped by the driver or on arrival
            here), or ``media`` (a recording's own times; played live, laid onto the monotonic
            clock).
        reopens: It may be opened again after it has failed, and then goes on; a recording would
            begin anew.
        fps: Nominal frame rate in Hz, None where unknown; valid after ``open``.
        size_wh: Width and height in pixels, None where not known before the first frame.
        description: What it is, for logs; never holds a password.
        notes: Automatic choices made while opening, one line each.
    """

    live: bool = True
    clock: Clock = "arrival"
    reopens: bool = False
    fps: float | None = None
    size_wh: tuple[int, int] | None = None
    description: str = ""

    def __init__(self, modality: Modality) -> None:
        self.modality: Modality = modality
        self.notes: list[str] = []

    @abstractmethod
    def open(self) -> None:
        """Start the stream.

        Raises:
            SourceError: It cannot be opened; says what was tried.
        """

    @abstractmethod
    def read(self) -> Frame | None:
        """Return the next frame, or None at the end of the stream.

        Raises:
            SourceError: The source failed, which is not the same as having ended.
        """

    @abstractmethod
    def close(self) -> None:
        """Free the device or file; harmless when not open."""

    def interrupt(self) -> None:  # noqa: B027 - most drivers cannot be interrupted
        """Make a ``read`` that waits in another thread return None soon, where possible."""

    def presence(self) -> Hashable | None:
        """Say, in 0.3 s at most and without opening it, whether what is read from is there.

        Returns:
            None where it is known to be absent.  Else a value that changes when it goes and comes
            back; where nothing can be known, always the same.
        """
        return "unknown"

    def __enter__(self) -> Source:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class PaceClock:
    """One relation between media time and the monotonic clock for all paced sources of a run.

    The first frame that any of them asks about is due at that moment.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._start_s: float | None = None

    def due_s(self, media_s: float) -> float:
        """Return the monotonic time in seconds at which a media time happens."""
        with self._lock:
            if self._start_s is None:
                self._start_s = time.monotonic() - media_s
            return self._start_s + media_s


def to_modality(
    raw: npt.NDArray[Any], modality: Modality, pool: BufferPool, where: str
) -> npt.NDArray[Any]:
    """Turn what OpenCV decoded into the image of a :class:`Frame`.

    Args:
        raw: (H, W), (H, W, 1), (H, W, 2) packed 16 bit, or (H, W, 3 or 4) BGR; uint8 or uint16.
        modality: ``rgb`` wants three 8-bit colours, ``thermal`` one channel of 8 or 16 bit.
        pool: Where memory comes from when the pixels must change; else ``raw`` is returned.
        where: Name of the source or file, for messages.

    Raises:
        SourceError: Another pixel format, or a false-coloured thermal picture.
    """
    if raw.ndim == 3 and raw.shape[2] == 1:
        raw = raw[:, :, 0]
    channels = 1 if raw.ndim == 2 else raw.shape[2]
    if modality == "rgb":
        if raw.dtype != np.uint8 or channels not in (1, 3, 4):
            raise SourceError(f"{where}: expected 8-bit colour, got {raw.dtype} {raw.shape}")
        if channels == 3:
            return raw
        out = pool.take((*raw.shape[:2], 3), np.uint8)
        code = cv2.COLOR_GRAY2BGR if channels == 1 else cv2.COLOR_BGRA2BGR
        return cv2.cvtColor(raw, code, dst=out)
    if channels == 2 and raw.dtype == np.uint8:
        # Some OpenCV builds hand Y16 over as two bytes a pixel.
        raw, channels = np.ascontiguousarray(raw).view(np.uint16)[:, :, 0], 1
    if raw.dtype not in (np.uint8, np.uint16) or channels not in (1, 3, 4):
        raise SourceError(f"{where}: expected 8- or 16-bit grey, got {raw.dtype} {raw.shape}")
    if channels == 1:
        return raw
    check_grey(raw, where)
    out = pool.take(raw.shape[:2], raw.dtype)
    np.copyto(out, raw[:, :, 0])
    return out


def check_grey(image: npt.NDArray[Any], where: str) -> None:
    """Refuse a thermal picture painted in colours: its brightness no longer orders temperature.

    Args:
        image: (H, W, 3 or 4) uint8 or uint16.
        where: Name of the source or file, for messages.

    Raises:
        SourceError: The colour channels differ.
    """
    sample = image[::8, ::8, :3].astype(np.float32)
    spread = float(np.mean(sample.max(axis=2) - sample.min(axis=2)))
    if spread > _COLOUR_SPREAD * (1 if image.dtype == np.uint8 else 257):
        raise _false_coloured(where, f"channels differ by {spread:.0f} on average")


def check_chroma(chroma: npt.NDArray[np.uint8], where: str) -> None:
    """Refuse a thermal picture painted in colours, by its chroma.

    Args:
        chroma: (H, W) uint8, U and V in any order, 128 where there is no colour; may be empty.
        where: Name of the source, for messages.

    Raises:
        SourceError: It has colours.
    """
    sample = chroma[::8, ::7].astype(np.float32)
    spread = float(np.mean(np.abs(sample - 128.0))) if sample.size else 0.0
    if spread > _COLOUR_SPREAD:
        raise _false_coloured(where, f"its chroma is {spread:.0f} on average")


def _false_coloured(where: str, measured: str) -> SourceError:
    return SourceError(
        f"{where}: the thermal picture is false-coloured ({measured}), and colours do not give "
        "temperatures back; record it in white-hot grey or 16 bit"
    )
