"""What viewers of the web page cost a run: results per second with and without them.

python benchmarks/preview_viewers.py --bursts 12

A recorded pair (rendered before, 640x480) is captured, paired, warped and worked on as fast as it
goes, so that whatever the page takes shows as results lost; a real run that waits for its cameras
loses less.  The work stands for a network on the CPU: OpenCV filters on one thread that take about
10 ms and leave Python's lock alone.  Viewers live in a process of their own.  Every burst with
viewers stands between two without, and is held against their mean; the cost is the median over the
turns, beside the quartiles, and ``cores`` is the processor time of all threads but the run's own,
above that without viewers.
"""

from __future__ import annotations

import json
import multiprocessing
import socket
import statistics
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from differseg.bench.machine import cpu_name
from differseg.data.synthetic import SyntheticScene
from differseg.errors import InputError
from differseg.manifest import ClassSpec
from differseg.options import option, parse, run_main
from differseg.runtime.buffers import BufferPool
from differseg.runtime.feed import ThermalWatch, open_feed
from differseg.runtime.metrics import RunMetrics
from differseg.runtime.pairing import Pairer
from differseg.runtime.preview import PreviewServer
from differseg.runtime.registration import Registration
from differseg.runtime.sinks import FrameResult
from differseg.runtime.sources import Frame, Source

CLASSES = [ClassSpec(0, "background", (0, 0, 0)), ClassSpec(1, "person", (230, 60, 60))]
RENDERED = 16
SLOW_BYTES_S = 32_000
NOBODY = "nobody"
KINDS = ("20 slow", "1 quick", "20 quick")


class RenderedSource(Source):
    """Endless copies of rendered images, 30 to the second of media time."""

    live = False
    clock = "media"
    fps = 30.0

    def __init__(self, modality: Any, images: list[npt.NDArray[Any]]) -> None:
        super().__init__(modality)
        self.description = f"rendered {modality}"
        self._images, self._pool, self._index = images, BufferPool(), 0

    def open(self) -> None:
        """Nothing to open."""

    def close(self) -> None:
        """Nothing to close."""

    def read(self) -> Frame:
        """Copy one image, as a driver does."""
        image = self._images[self._index % RENDERED]
        out = self._pool.take(image.shape, image.dtype)
        np.copyto(out, image)
        self._index += 1
        return Frame(out, (self._index - 1) / 30, self._index - 1)


def slow_viewer(port: int, reads: bool, gone: threading.Event) -> None:
    """Read a little at a time, or nothing at all."""
    with socket.create_connection(("127.0.0.1", port)) as viewer:
        viewer.sendall(b"GET /stream.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while not gone.wait(0.25):
            if reads:
                viewer.recv(SLOW_BYTES_S // 4)


def quick_viewer(port: int, gone: threading.Event) -> None:
    """Take every picture as a page does, without showing it."""
    from websockets.sync.client import connect

    url = f"ws://127.0.0.1:{port}/live"
    with connect(url, compression=None, proxy=None, max_size=None) as page:
        for _ in range(2):
            page.send("next rgb mask")
        while not gone.is_set():
            with suppress(TimeoutError):  # the run pauses between two bursts
                page.recv(timeout=0.2)
                page.send("next rgb mask")


def look(port: int, orders: Connection) -> None:
    """Be the viewers of the kinds that are ordered; runs in a process of its own."""
    threads: list[threading.Thread] = []
    gone = threading.Event()
    while (kind := orders.recv()) is not None:
        gone.set()
        for thread in threads:
            thread.join()
        threads, gone = [], threading.Event()
        number, pace = (0, "") if kind == NOBODY else kind.split()
        for k in range(int(number)):
            call, more = (slow_viewer, (bool(k % 2),)) if pace == "slow" else (quick_viewer, ())
            threads.append(threading.Thread(target=call, args=(port, *more, gone), daemon=True))
            threads[-1].start()
        orders.send("here")


class Run:
    """The run that is measured, in bursts."""

    def __init__(self) -> None:
        scene = SyntheticScene(3, size_wh=(640, 480))
        times_s = [k / 30 for k in range(RENDERED)]
        rgb = [np.ascontiguousarray(scene.rgb(t)[:, :, ::-1]) for t in times_s]
        thermal = [np.ascontiguousarray(scene.thermal(t)) for t in times_s]
        self._masks = [np.ascontiguousarray(scene.mask(t), np.uint8) for t in times_s]
        self._registration = Registration(
            scene.thermal_to_rgb, scene.thermal_size_wh, scene.size_wh
        )
        self._feed = open_feed(
            RenderedSource("rgb", rgb),
            RenderedSource("thermal", thermal),
            Pairer(30, live=False),
            ThermalWatch(10),
        )
        self._warps = BufferPool()
        self.server = PreviewServer(":0", CLASSES, RunMetrics(self._feed))
        self.server.start()
        self._feed.start()
        self.publish_us: list[float] = []

    def burst(self, seconds: float) -> tuple[float, float]:
        """Return results per second, and processor seconds of all other threads per second."""
        count, start_s = 0, time.perf_counter()
        other_s = time.process_time() - time.thread_time()
        while time.perf_counter() - start_s < seconds:
            count += self._one()
        taken_s = time.perf_counter() - start_s
        other_s = time.process_time() - time.thread_time() - other_s
        return count / taken_s, other_s / taken_s

    def _one(self) -> bool:
        delivery = self._feed.take(0.1)
        if delivery is None or delivery.pair.thermal is None:
            return False
        pair = delivery.pair
        began_s = time.perf_counter()
        out = self._warps.take((480, 640), np.uint16)
        warped = self._registration.warp(pair.thermal.image, (640, 480), out=out)
        for _ in range(3):
            cv2.GaussianBlur(pair.rgb.image, (31, 31), 0)
        mask = self._masks[pair.rgb.index % RENDERED]
        work_ms = (time.perf_counter() - began_s) * 1e3
        result = FrameResult(
            pair.rgb.index,
            None,
            pair.rgb.timestamp_s,
            "ok",
            area_fraction={"person": 0.1},
            skew_ms=pair.skew_ms,
            stage_ms={"register": 1.0, "infer": work_ms},
        )
        start_s = time.perf_counter()
        self.server.publish(result, pair.rgb.image, warped, mask)
        self.publish_us.append((time.perf_counter() - start_s) * 1e6)
        return True

    def close(self) -> None:
        """End everything."""
        self.server.close()
        self._feed.close()


@dataclass(frozen=True)
class ViewersOptions:
    """Measure what viewers of the web page cost a run."""

    bursts: int = option(20, metavar="N")
    """Turns of every kind of viewer."""
    seconds: float = option(1.5, metavar="S")
    """Length of one burst."""

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.bursts < 2 or not self.seconds > 0:
            raise InputError("--bursts: expected 2 or more, and --seconds: more than 0")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print a table, and one JSON document on the last line."""
    options = parse(ViewersOptions, argv, "preview_viewers")
    cv2.setNumThreads(1)
    run = Run()
    context = multiprocessing.get_context("spawn")
    orders, theirs = context.Pipe()
    viewers = context.Process(target=look, args=(run.server.address.port, theirs), daemon=True)
    viewers.start()

    def burst(kind: str) -> tuple[float, float]:
        orders.send(kind)
        orders.recv()
        # Until all have come, and the buffers of the slow ones are full; or all have gone.
        run.burst(0.3 if kind == NOBODY else 1.0)
        return run.burst(options.seconds)

    burst(NOBODY)
    alone = [burst(NOBODY)]
    costs: dict[str, list[float]] = {kind: [] for kind in KINDS}
    cores: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for _ in range(options.bursts):
        for kind in KINDS:
            rate, other = burst(kind)
            alone.append(burst(NOBODY))
            costs[kind].append(1 - 2 * rate / (alone[-2][0] + alone[-1][0]))
            cores[kind].append(other - (alone[-2][1] + alone[-1][1]) / 2)
    orders.send(None)
    run.close()
    hz = statistics.median(rate for rate, _ in alone)
    print(f"{NOBODY}: {hz:.1f} results per second")
    report: dict[str, dict[str, float]] = {}
    for kind in KINDS:
        low, middle, high = (100 * q for q in statistics.quantiles(costs[kind], n=4))
        report[kind] = {
            "cost_percent": round(middle, 1),
            "quartile_low": round(low, 1),
            "quartile_high": round(high, 1),
            "cores": round(statistics.median(cores[kind]), 3),
        }
        print(f"{kind}: {report[kind]}")
    publish = [round(float(value), 1) for value in np.percentile(run.publish_us, [50, 95])]
    print(f"publish: p50 {publish[0]} us, p95 {publish[1]} us; {cpu_name()}")
    print(
        json.dumps(
            {"cpu": cpu_name(), "alone_hz": round(hz, 1), "publish_us": publish, "viewers": report}
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
