"""Frames that waited since a stream was opened are let go, not passed off as new."""

import threading
import time

import cv2
import numpy as np
import pytest

from differseg.errors import SourceError
from differseg.runtime.sources import cameras
from differseg.runtime.sources.cameras import GstreamerSource

PERIOD_S = 0.02


class QueueingStream:
    """A stream that keeps each frame until it is grabbed; a frame's level is its number."""

    def __init__(self, count=None, blocks_from=None):
        self.start_s = time.monotonic()
        self.released = False
        self.unblock = threading.Event()
        self._next, self._count, self._blocks_from = 0, count, blocks_from

    def isOpened(self):
        return True

    def get(self, _):
        return 0.0

    def grab(self):
        if self._blocks_from is not None and self._next >= self._blocks_from:
            self.unblock.wait(30)
        if self._count is not None and self._next >= self._count:
            return False
        time.sleep(max(0.0, self.start_s + self._next * PERIOD_S - time.monotonic()))
        self._next += 1
        return True

    def retrieve(self, _buffer=None):
        return True, np.full((4, 4, 3), self._next - 1, np.uint8)

    def release(self):
        self.released = True


@pytest.fixture
def plug(monkeypatch):
    def plug_in(stream):
        monkeypatch.setattr(cameras, "open_quietly", lambda *_: stream)
        monkeypatch.setattr(cameras, "has_gstreamer", lambda: True)
        monkeypatch.setattr(cameras, "missing_elements", lambda _: [])
        return GstreamerSource("somesrc ! appsink", "rgb")

    return plug_in


def test_the_first_frame_is_a_new_one(plug):
    stream = QueueingStream()
    with plug(stream) as source:
        time.sleep(0.6)
        frames = [source.read() for _ in range(3)]
    assert [frame.index for frame in frames] == [0, 1, 2]
    for frame in frames:
        true_s = stream.start_s + int(frame.image[0, 0, 0]) * PERIOD_S
        assert frame.timestamp_s == pytest.approx(true_s, abs=0.15)
    assert stream.released


def test_a_stream_that_is_lost_before_the_first_read_is_a_failure(plug):
    with plug(QueueingStream(count=3)) as source:
        time.sleep(0.2)
        with pytest.raises(SourceError, match="the pipeline ended or failed"):
            source.read()


def test_a_driver_that_raises_is_a_failure_too(plug):
    def fail():
        raise cv2.error("broken")

    stream = QueueingStream()
    stream.grab = fail
    with plug(stream) as source, pytest.raises(SourceError, match="ended or failed"):
        source.read()


def test_closing_does_not_release_a_driver_that_blocks(plug, monkeypatch):
    monkeypatch.setattr(cameras, "_CLOSE_TIMEOUT_S", 0.1)
    stream = QueueingStream(blocks_from=0)
    source = plug(stream)
    source.open()
    source.close()
    assert not stream.released
    stream.unblock.set()
    (thread,) = (t for t in threading.enumerate() if t.name == "drain")
    thread.join(5)


def test_no_thread_is_left(plug):
    before = set(threading.enumerate())
    for read in (False, True):
        with plug(QueueingStream()) as source:
            source.open()
            if read:
                source.read()
    assert set(threading.enumerate()) == before
