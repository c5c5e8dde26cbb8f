"""What Python's one lock (the GIL) costs two capture threads: frames lost, and lateness.

python tests/runtime/sources/gil_cost.py [SECONDS [SWITCH_INTERVAL_MS]]

Two cameras of 640x480 at 60 Hz are read while nothing else runs, while another process computes,
and while a third thread of this process computes in plain Python: the first two differ by the load
of the machine, the last two by the lock.  "synthetic" draws its scene in the capture thread;
"driver" is what a V4L2 camera asks of it: waiting outside the lock, and one conversion from YUYV.
Like OpenCV's V4L2 reader it keeps four frames.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import threading
import time

import cv2
import numpy as np

from differseg.runtime.capture import Capture
from differseg.runtime.sources import Frame, PaceClock, Source, parse_source
from differseg.runtime.sources.pixels import RawPixels

FPS, SIZE_WH, KEPT = 60.0, (640, 480), 4


class DriverLike(Source):
    """Frames from a driver that keeps four and overwrites none: what comes later is lost."""

    clock = "driver"

    def __init__(self) -> None:
        super().__init__("rgb")
        rng = np.random.default_rng(0)
        self._raw = rng.integers(0, 256, (1, SIZE_WH[0] * SIZE_WH[1] * 2), dtype=np.uint8)
        self._pixels = RawPixels("YUYV", "rgb", "driver")
        self._start_s, self._index = 0.0, 0

    def open(self) -> None:
        self._start_s, self._index = time.monotonic(), 0

    def read(self) -> Frame:
        now_index = int((time.monotonic() - self._start_s) * FPS)
        self._index = max(self._index, now_index - KEPT)
        due_s = self._start_s + self._index / FPS
        time.sleep(max(0.0, due_s - time.monotonic()))
        frame = Frame(self._pixels.image(self._raw.copy(), SIZE_WH), due_s, self._index)
        self._index += 1
        return frame

    def close(self) -> None:
        pass


def compute(stop: threading.Event) -> None:
    """Hold the lock as much as Python lets one."""
    number = 0
    while not stop.is_set():
        number = (number * 1103515245 + 12345) % 2**31


def measure(kind: str, busy: str, seconds: float) -> str:
    """Return a row of the table; ``busy`` is none, process or thread."""
    if kind == "driver":
        sources: list[Source] = [DriverLike(), DriverLike()]
    else:
        clock = PaceClock()
        sources = [parse_source("synthetic:fps=60", m, clock=clock) for m in ("rgb", "thermal")]
    stop, late_ms = threading.Event(), []

    def deliver(frame: Frame) -> None:
        late_ms.append((time.monotonic() - frame.timestamp_s) * 1e3)

    for source in sources:
        source.open()
    captures = [Capture(source, deliver, lambda: None) for source in sources]
    worker = threading.Thread(target=compute, args=(stop,))
    other = None
    if busy == "thread":
        worker.start()
    elif busy == "process":
        other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    for capture in captures:
        capture.start()
    time.sleep(seconds)
    for capture in captures:
        capture.close()
    stop.set()
    if other is not None:
        other.kill()
        other.wait()
    if busy == "thread":
        worker.join()
    got, missed = sum(c.captured for c in captures), sum(c.missed for c in captures)
    p50, p99 = statistics.median(late_ms), float(np.percentile(late_ms, 99))
    return (
        f"{kind:10} busy: {busy:8} frames {got:5}  lost {missed:4} "
        f"({100 * missed / (got + missed):4.1f} %)  late p50 {p50:5.1f} ms, p99 {p99:5.1f} ms"
    )


if __name__ == "__main__":
    cv2.setNumThreads(1)
    length_s = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    if len(sys.argv) > 2:
        sys.setswitchinterval(float(sys.argv[2]) / 1000)
    print(
        f"Python {sys.version.split()[0]}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, "
        f"switch interval {1000 * sys.getswitchinterval():g} ms"
    )
    for kind in ("driver", "synthetic"):
        for busy in ("none", "process", "thread"):
            print(measure(kind, busy, length_s), flush=True)
