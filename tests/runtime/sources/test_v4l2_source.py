"""V4L2 cameras, against a stand-in for OpenCV's capture that records what it is told."""

import time

import cv2
import numpy as np
import pytest

from differseg.errors import SourceError
from differseg.runtime.sources import cameras
from differseg.runtime.sources.cameras import V4l2Source

Y16 = cv2.VideoWriter.fourcc(*"Y16 ")


class FakeCapture:
    """A camera with given formats; ``log`` holds the settings in their order."""

    def __init__(self, formats, image, *, lag_s=0.02, fail_after=None):
        self.log = []
        self._values = {cv2.CAP_PROP_FPS: 9.0, cv2.CAP_PROP_FOURCC: formats[0]}
        self._formats, self._image, self._lag_s = formats, image, lag_s
        self._left = fail_after
        self.released = False

    def isOpened(self):
        return True

    def set(self, prop, value):
        self.log.append((prop, value))
        if prop == cv2.CAP_PROP_FOURCC and value not in self._formats:
            return False
        self._values[prop] = value
        return True

    def get(self, prop):
        if prop == cv2.CAP_PROP_FRAME_WIDTH:
            return float(self._image.shape[1])
        if prop == cv2.CAP_PROP_FRAME_HEIGHT:
            return float(self._image.shape[0])
        if prop == cv2.CAP_PROP_POS_MSEC:
            return 1000.0 * (time.monotonic() - self._lag_s)
        return self._values.get(prop, 0.0)

    def grab(self):
        if self._left is not None:
            self._left -= 1
        return self._left is None or self._left >= 0

    def retrieve(self, buffer=None):
        return True, self._image.copy()

    def release(self):
        self.released = True


@pytest.fixture
def plug(monkeypatch):
    def plug_in(capture):
        monkeypatch.setattr(cameras, "open_quietly", lambda *_: capture)
        monkeypatch.setattr(cameras.os.path, "exists", lambda _: True)
        return capture

    return plug_in


def test_thermal_asks_for_y16_first_and_then_for_raw_pixels(plug):
    image = np.full((24, 32), 30000, np.uint16)
    capture = plug(FakeCapture([0, Y16], image))
    source = V4l2Source(2, "thermal")
    source.open()
    assert capture.log == [(cv2.CAP_PROP_FOURCC, Y16), (cv2.CAP_PROP_CONVERT_RGB, 0)]
    frame = source.read()
    assert frame.image.dtype == np.uint16
    assert frame.image.shape == (24, 32)
    assert (frame.image == 30000).all()


@pytest.mark.parametrize("shape", [(24, 32, 2), (1, 24 * 64)])
def test_sixteen_bits_that_come_as_bytes_are_put_together(plug, shape):
    pixels = np.arange(24 * 32, dtype="<u2").reshape(24, 32) + 29000
    raw = pixels.view(np.uint8).reshape(shape)
    plug(FakeCapture([Y16], raw))
    source = V4l2Source(0, "thermal")
    source.open()
    source.size_wh = (32, 24)
    assert (source.read().image == pixels).all()


def test_without_y16_the_eight_bit_picture_is_used_and_said(plug):
    yuyv = cv2.VideoWriter.fourcc(*"YUYV")
    capture = plug(FakeCapture([yuyv], np.full((24, 32, 3), 99, np.uint8)))
    source = V4l2Source(0, "thermal")
    source.open()
    assert (cv2.CAP_PROP_CONVERT_RGB, 0) not in capture.log
    assert "8-bit" in source.notes[0]
    assert source.read().image.shape == (24, 32)


def test_a_format_that_was_asked_for_and_is_refused(plug):
    capture = plug(FakeCapture([0], np.zeros((4, 4, 3), np.uint8)))
    with pytest.raises(SourceError, match=r"does not offer format 'MJPG'.*v4l2-ctl"):
        V4l2Source(0, "rgb", fourcc="MJPG").open()
    assert capture.released


def test_another_size_than_asked_for_is_said(plug):
    plug(FakeCapture([0], np.zeros((24, 32, 3), np.uint8)))
    source = V4l2Source(0, "rgb", size_wh=(640, 480), fps=9.0)
    source.open()
    assert source.notes == ["/dev/video0: asked for size (640, 480), the driver gave (32, 24)"]


@pytest.mark.parametrize(("lag_s", "clock"), [(0.02, "driver"), (1e6, "arrival"), (-5, "arrival")])
def test_the_drivers_stamp_is_used_where_it_is_on_our_clock(plug, lag_s, clock):
    plug(FakeCapture([0], np.zeros((24, 32, 3), np.uint8), lag_s=lag_s))
    source = V4l2Source(0, "rgb")
    source.open()
    before_s = time.monotonic()
    frame = source.read()
    assert source.clock == clock
    expected_s = before_s - lag_s if clock == "driver" else before_s
    assert frame.timestamp_s == pytest.approx(expected_s, abs=0.1)


def test_a_driver_whose_clock_is_known_keeps_its_stamps(plug):
    """A frame that waited in the driver for more than a second shows the past, and says so."""
    capture = plug(FakeCapture([0], np.zeros((24, 32, 3), np.uint8)))
    source = V4l2Source(0, "rgb")
    source.open()
    source.read()
    capture._lag_s = 1.3
    assert time.monotonic() - source.read().timestamp_s == pytest.approx(1.3, abs=0.1)
    assert source.clock == "driver"
    capture._lag_s = time.monotonic() + 0.01  # a stamp of about 0 is none
    assert time.monotonic() - source.read().timestamp_s == pytest.approx(0, abs=0.1)


def test_unplugging_is_a_failure_not_an_end(plug):
    plug(FakeCapture([0], np.zeros((24, 32, 3), np.uint8), fail_after=2))
    source = V4l2Source(0, "rgb")
    source.open()
    source.read()
    source.read()
    with pytest.raises(SourceError, match=r"/dev/video0.*unplugged"):
        source.read()


def test_wrong_pixels_for_the_modality(plug):
    plug(FakeCapture([0], np.zeros((24, 32), np.uint16)))
    source = V4l2Source(0, "rgb")
    source.open()
    with pytest.raises(SourceError, match="expected 8-bit colour, got uint16"):
        source.read()
