"""Cameras and a network whose behaviour a test writes down."""

from __future__ import annotations

import threading
import time

import numpy as np
from tiny_network import tiny_manifest

from differseg.errors import CheckFailedError, SourceError
from differseg.runtime.segmenter import Result
from differseg.runtime.sources import Frame, Source

SIZE_HW = (48, 64)


class FakeSource(Source):
    """Frames at a rate, live or recorded, that end, fail or fall silent where told.

    Every image holds its own number, so that a test can tell frames apart.
    """

    def __init__(
        self,
        modality="rgb",
        *,
        fps=100.0,
        count=None,
        live=True,
        shift_s=0.0,
        fail_at=None,
        silent_from=None,
        repeat_image_from=None,
    ):
        super().__init__(modality)
        self.live, self.fps, self.clock = live, fps, "driver" if live else "media"
        self.description = f"fake {modality}"
        self.reads = 0
        self.is_open = False
        self._count, self._shift_s = count, shift_s
        self._fail_at, self._silent_from = fail_at, silent_from
        self._repeat_from = repeat_image_from
        self._interrupted = threading.Event()

    def open(self):
        self.is_open = True
        self.reads = 0
        self._interrupted.clear()
        return self

    def read(self):
        k = self.reads
        if self._count is not None and k >= self._count:
            return None
        if self._fail_at is not None and k >= self._fail_at:
            raise SourceError(f"{self.description}: pulled out")
        if self._silent_from is not None and k >= self._silent_from:
            self._interrupted.wait(30)
            return None
        time_s = k / self.fps + self._shift_s
        if self.live:
            if k == 0:
                self._start_s = time.monotonic()
            time_s += self._start_s
            if self._interrupted.wait(max(0.0, time_s - self._shift_s - time.monotonic())):
                return None
        self.reads += 1
        return Frame(self._image(k), time_s, k)

    def _image(self, k):
        k = min(k, self._repeat_from) if self._repeat_from is not None else k
        if self.modality == "rgb":
            return np.full((*SIZE_HW, 3), 60 + k % 180, np.uint8)
        return np.full((24, 32), 29500 + k % 1000, np.uint16)

    def interrupt(self):
        self._interrupted.set()

    def close(self):
        self.is_open = False


class FakeSegmenter:
    """Marks the left half; sleeps as long as told; gives NaN for the calls listed."""

    modalities = ("rgb", "thermal")
    slots = 1

    def __init__(self, seconds=0.0, nan_calls=()):
        self.manifest = tiny_manifest()
        self.calls = []
        self._seconds, self._nan_calls = seconds, set(nan_calls)
        self._mask = np.zeros(SIZE_HW, np.uint8)

    def begin(self, *, timestamp_s=None, **frames):
        return timestamp_s, {k: v.copy() for k, v in frames.items()}

    def end(self, begun):
        number = len(self.calls)
        self.calls.append(begun)
        time.sleep(self._seconds)
        if number in self._nan_calls or "all" in self._nan_calls:
            raise CheckFailedError("the network's output holds NaN")
        self._mask[:] = 0
        self._mask[:, : SIZE_HW[1] // 2] = 1
        return Result(
            mask=self._mask,
            probability=np.zeros((2, 2), np.float32),
            timings_ms={"prepare": 0.1, "infer": 1000 * self._seconds, "post": 0.1},
            classes=self.manifest.classes,
            coverage=0.5,
            class_coverage={"background": 0.5, "object": 0.5},
        )


class ListSink:
    """Keeps every result."""

    def __init__(self, wants_picture=False, seconds=0.0, fail_at=None):
        self.wants_picture = wants_picture
        self.files = []
        self.results = []
        self.closed = 0
        self._seconds, self._fail_at = seconds, fail_at

    def write(self, result):
        if self._fail_at is not None and len(self.results) >= self._fail_at:
            raise SourceError("the disk is full")
        time.sleep(self._seconds)
        self.results.append(result)

    def close(self):
        self.closed += 1
