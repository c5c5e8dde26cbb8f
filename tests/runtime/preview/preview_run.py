"""Results and images that a test decides on, and a run that publishes them."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np

from differseg.manifest import ClassSpec
from differseg.runtime.sinks import FrameResult

CLASSES = [ClassSpec(0, "background", (0, 0, 0)), ClassSpec(1, "person", (230, 40, 40))]


def result(index=0, status="ok", **changes):
    fields = {
        "area_fraction": {"person": 0.25},
        "thermal_index": index,
        "skew_ms": 4.0,
        "age_ms": 30.0,
        "stage_ms": {"prepare": 2.0, "infer": 15.0},
    }
    return FrameResult(index, None, index / 30, status, **(fields | changes))


def images(size_hw=(96, 128), level=90):
    """A grey RGB frame, a thermal ramp, and a mask of class 1 in the left half."""
    height, width = size_hw
    rgb = np.full((height, width, 3), level, np.uint8)
    thermal = np.tile(np.linspace(29000, 31000, width), (height, 1)).astype(np.uint16)
    mask = np.zeros(size_hw, np.uint8)
    mask[:, : width // 2] = 1
    return rgb, thermal, mask


@contextmanager
def publishing(server, fps=30.0, size_hw=(96, 128), noise=False):
    """Publish from a thread of its own for as long as the block lasts; counts and times it."""
    stop, told = threading.Event(), SimpleNamespace(count=0, longest_s=0.0)
    rgb, thermal, mask = images(size_hw)
    if noise:
        rgb = np.random.default_rng(0).integers(0, 255, rgb.shape, np.uint8)

    def run():
        while not stop.wait(1 / fps):
            start_s = time.perf_counter()
            server.publish(result(told.count), rgb, thermal, mask)
            told.longest_s = max(told.longest_s, time.perf_counter() - start_s)
            told.count += 1

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield told
    finally:
        stop.set()
        thread.join(5)


def until(true, timeout_s=15.0):
    """Wait until a call returns something true, and return it."""
    end_s = time.monotonic() + timeout_s
    while time.monotonic() < end_s:
        if found := true():
            return found
        time.sleep(0.01)
    raise AssertionError("it never came true")
