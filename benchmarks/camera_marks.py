"""A camera in real time, and when each of its frames passes the stages of a live run."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from differseg.runtime.feed import Feed
from differseg.runtime.pairing import Pair, Pairer
from differseg.runtime.sinks import FrameResult
from differseg.runtime.sources import Frame, Source
from differseg.runtime.sources.base import Modality
from differseg.runtime.sources.pixels import RawPixels
from differseg.runtime.zones import ZoneMonitor


class LiveCamera(Source):
    """Gives rendered frames in real time, as a V4L2 driver does.

    Args:
        modality: ``rgb`` or ``thermal``.
        raws: Pixels as the driver has them, (H, W, 2) uint8.
        size_wh: Width and height.
        fps: Frame rate in Hz.
        start_s: When the first frame is due, on the monotonic clock.
    """

    clock = "driver"

    def __init__(
        self,
        modality: Modality,
        raws: list[npt.NDArray[np.uint8]],
        size_wh: tuple[int, int],
        fps: float,
        start_s: float,
    ) -> None:
        super().__init__(modality)
        self.description = f"rendered {modality} camera"
        self.fps, self.size_wh = fps, size_wh
        self._raws, self._start_s, self._index = raws, start_s, 0
        fourcc = "YUYV" if modality == "rgb" else "Y16 "
        self._pixels = RawPixels(fourcc, modality, self.description)
        self._interrupted = threading.Event()

    def open(self) -> None:
        """Nothing to open."""

    def close(self) -> None:
        """Nothing to close."""

    def interrupt(self) -> None:
        """End the wait for the next frame."""
        self._interrupted.set()

    def read(self) -> Frame | None:
        """Wait for the next frame and convert it."""
        assert self.fps is not None
        index = self._index
        due_s = self._start_s + index / self.fps
        if self._interrupted.wait(max(0.0, due_s - time.monotonic())):
            return None
        self._index += 1
        raw = self._raws[index % len(self._raws)]
        return Frame(self._pixels.image(raw, self.size_wh), due_s, index)


@dataclass
class Marks:
    """When one frame passed where, on the monotonic clock in seconds."""

    captured_s: float = math.nan
    paired_s: float = math.nan
    taken_s: float = math.nan
    zones_ms: float = 0.0
    decided_s: float = math.nan


class Ledger:
    """Collects the marks of every frame, and is the sink that gets its mask.

    Attributes:
        rows: Stage -> milliseconds, ``infer`` and ``total`` too, of every frame that came out.
    """

    wants_picture = False

    def __init__(self) -> None:
        self.files: list[str] = []
        self.rows: list[dict[str, float]] = []
        self._marks: dict[int, Marks] = {}

    def of(self, index: int) -> Marks:
        """Return the marks of an RGB frame."""
        return self._marks.setdefault(index, Marks())

    def captured(self, frame: Frame) -> None:
        """Note that the capture thread has a frame."""
        self.of(frame.index).captured_s = time.monotonic()

    def write(self, result: FrameResult) -> None:
        """Note that the mask is out, and balance the frame's account."""
        now_s = time.monotonic()
        marks = self._marks.pop(result.index)
        row = {
            "capture": 1e3 * (marks.captured_s - result.rgb_time_s),
            "pair": 1e3 * (marks.paired_s - marks.captured_s),
            "take": 1e3 * (marks.taken_s - marks.paired_s),
            "hand over": 1e3 * (now_s - marks.decided_s),
            "zones": marks.zones_ms,
            **result.stage_ms,
        }
        total_ms = 1e3 * (now_s - result.rgb_time_s)
        row["rest"] = total_ms - sum(row.values())
        row["total"] = total_ms
        row["overhead"] = total_ms - row["infer"]
        self.rows.append(row)

    def close(self) -> None:
        """Nothing to close."""


class MarkedPairer(Pairer):
    """Notes when a pair was decided."""

    ledger: Ledger

    def next(self) -> Pair | None:
        """Return the next pair."""
        pair = super().next()
        if pair is not None:
            self.ledger.of(pair.rgb.index).paired_s = time.monotonic()
        return pair


class MarkedZones(ZoneMonitor):
    """Notes how long the zones take and when they are done, which is the run's last step."""

    ledger: Ledger

    def update(self, mask: npt.NDArray[np.uint8] | None, time_s: float, index: int) -> list[Any]:
        """Count a mask."""
        start_s = time.monotonic()
        events = super().update(mask, time_s, index)
        marks = self.ledger.of(index)
        marks.decided_s = time.monotonic()
        marks.zones_ms = 1e3 * (marks.decided_s - start_s)
        return events


def mark_takes(feed: Feed, ledger: Ledger) -> None:
    """Note when the run takes a delivery from its feed."""
    take = feed.take

    def marked(timeout_s: float) -> Any:
        delivery = take(timeout_s)
        if delivery is not None:
            ledger.of(delivery.pair.rgb.index).taken_s = time.monotonic()
        return delivery

    feed.take = marked  # type: ignore[method-assign]
