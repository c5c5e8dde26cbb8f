"""Pixel formats of V4L2 drivers, as OpenCV hands them over, and FLIR's telemetry rows."""

import cv2
import numpy as np
import pytest

from differseg.errors import SourceError
from differseg.runtime.sources import cameras
from differseg.runtime.sources.cameras import V4l2Source
from differseg.runtime.sources.flir import find_telemetry
from differseg.runtime.sources.pixels import RawPixels

SIZE_WH = (64, 48)


class Driver:
    """OpenCV's capture of a driver with one format, as its source code describes it.

    Args:
        fourcc: What the driver gives.
        stored: (H, B) uint8, the bytes of a frame.
        bgr: What OpenCV makes of it while its conversion is on.
        shape: Shape in which the bytes are handed over; one row when None.
    """

    def __init__(self, fourcc, stored, bgr=None, *, size_wh=SIZE_WH, shape=None):
        self.converts, self.grabs = True, 0
        self._code = cv2.VideoWriter.fourcc(*fourcc)
        self._stored, self._bgr, self._size_wh = stored, bgr, size_wh
        self._shape = shape or (1, stored.size)

    def isOpened(self):
        return True

    def set(self, prop, value):
        if prop == cv2.CAP_PROP_CONVERT_RGB:
            self.converts = bool(value)
        return prop != cv2.CAP_PROP_FOURCC or value == self._code

    def get(self, prop):
        return float({
            cv2.CAP_PROP_FOURCC: self._code,
            cv2.CAP_PROP_FRAME_WIDTH: self._size_wh[0],
            cv2.CAP_PROP_FRAME_HEIGHT: self._size_wh[1],
            cv2.CAP_PROP_FPS: 30,
        }.get(prop, 0))  # fmt: skip

    def grab(self):
        self.grabs += 1
        return True

    def retrieve(self, buffer=None):
        image = self._bgr if self.converts else self._stored.reshape(self._shape)
        if buffer is not None and buffer.shape == image.shape and buffer.dtype == image.dtype:
            np.copyto(buffer, image)
            return True, buffer
        return True, image.copy()

    def release(self):
        pass


@pytest.fixture
def plug(monkeypatch):
    def plug_in(driver, modality="rgb", **options):
        monkeypatch.setattr(cameras, "open_quietly", lambda *_: driver)
        monkeypatch.setattr(cameras.os.path, "exists", lambda _: True)
        source = V4l2Source(0, modality, **options)
        source.open()
        return source

    return plug_in


def picture():
    """A colour picture with little detail, which 4:2:2 and 4:2:0 keep."""
    small = np.random.default_rng(0).integers(30, 220, (3, 4, 3), dtype=np.uint8)
    return cv2.resize(small, SIZE_WH, interpolation=cv2.INTER_LINEAR)


def stored_as(fourcc, bgr):
    """The bytes of a picture in a format, by its definition: BT.601, limited range."""
    b, g, r = (bgr[:, :, k].astype(float) for k in range(3))
    y = 16 + 0.257 * r + 0.504 * g + 0.098 * b
    u = 128 - 0.148 * r - 0.291 * g + 0.439 * b
    v = 128 + 0.439 * r - 0.368 * g - 0.071 * b
    y, u, v = (np.round(p).astype(np.uint8) for p in (y, u, v))
    width, height = SIZE_WH
    if fourcc == "NV12":
        uv = np.stack([u[::2, ::2], v[::2, ::2]], axis=2).reshape(height // 2, width)
        return np.vstack([y, uv])
    out = np.empty((height, width, 2), np.uint8)
    luma, chroma = (0, 1) if fourcc == "YUYV" else (1, 0)
    out[:, :, luma] = y
    out[:, 0::2, chroma], out[:, 1::2, chroma] = u[:, ::2], v[:, ::2]
    return out.reshape(height, 2 * width)


@pytest.mark.parametrize("fourcc", ["YUYV", "UYVY", "NV12"])
@pytest.mark.parametrize("as_one_row", [True, False])
def test_colour_formats_are_converted_here_into_buffers_that_are_used_again(
    plug, fourcc, as_one_row
):
    bgr = picture()
    stored = stored_as(fourcc, bgr)
    shape = None if as_one_row else (48, 64, 2) if fourcc != "NV12" else stored.shape
    driver = Driver(fourcc, stored, shape=shape)
    source = plug(driver)
    assert not driver.converts
    addresses = set()
    for _ in range(20):
        image = source.read().image
        assert image.shape == (48, 64, 3)
        assert np.abs(image.astype(int) - bgr).mean() < 4
        addresses.add(image.__array_interface__["data"][0])
    assert len(addresses) <= 2
    assert source.size_wh == SIZE_WH


def test_a_frame_that_is_held_is_not_overwritten(plug):
    driver = Driver("YUYV", stored_as("YUYV", picture()))
    source = plug(driver)
    kept = source.read().image
    before = kept.copy()
    driver._stored = np.full_like(driver._stored, 90)
    source.read()
    assert (kept == before).all()


def test_rows_that_the_driver_pads_are_cut(plug):
    bgr = picture()
    padded = np.zeros((48, 192), np.uint8)
    padded[:, :128] = stored_as("YUYV", bgr)
    image = plug(Driver("YUYV", padded)).read().image
    assert np.abs(image.astype(int) - bgr).mean() < 4


def test_motion_jpeg_is_left_to_opencv(plug):
    driver = Driver("MJPG", np.zeros((1, 999), np.uint8), picture())
    source = plug(driver, fourcc="MJPG")
    assert driver.converts
    assert (source.read().image == picture()).all()


def test_an_opencv_that_converts_all_the_same(plug):
    driver = Driver("YUYV", stored_as("YUYV", picture()), picture())
    source = plug(driver)
    driver.converts = True
    assert (source.read().image == picture()).all()


@pytest.mark.parametrize("fourcc", ["YUYV", "UYVY", "NV12", "GREY"])
def test_the_luma_of_a_thermal_camera_is_taken_as_it_is(plug, fourcc):
    grey = np.random.default_rng(1).integers(0, 256, (48, 64), dtype=np.uint8)
    if fourcc == "GREY":
        stored = grey
    elif fourcc == "NV12":
        stored = np.vstack([grey, np.full((24, 64), 128, np.uint8)])
    else:
        pair = [grey, np.full_like(grey, 128)]
        stored = np.stack(pair if fourcc == "YUYV" else pair[::-1], axis=2).reshape(48, 128)
    source = plug(Driver(fourcc, stored), "thermal", fourcc=fourcc)
    assert (source.read().image == grey).all()


@pytest.mark.parametrize("fourcc", ["YUYV", "UYVY", "NV12"])
def test_a_false_coloured_thermal_camera_is_refused(plug, fourcc):
    colours = np.zeros((48, 64, 3), np.uint8)
    colours[:, :, 2] = 230
    source = plug(Driver(fourcc, stored_as(fourcc, colours)), "thermal", fourcc=fourcc)
    with pytest.raises(SourceError, match=r"/dev/video0: the thermal picture is false-coloured"):
        source.read()


def test_bytes_of_another_size_are_refused(plug):
    source = plug(Driver("YUYV", np.zeros((48, 100), np.uint8)))
    with pytest.raises(SourceError, match="a frame of 4800 bytes is no YUYV picture of 64x48"):
        source.read()


def test_raw_pixels_need_a_size():
    with pytest.raises(SourceError, match="of 0x0"):
        RawPixels("YUYV", "rgb", "here").image(np.zeros((1, 64), np.uint8), None)


def thermal_frame(size_wh, rows, *, at_top=False, tlinear=None, seed=0):
    """A Y16 frame as bytes, with telemetry rows where ``rows`` is not 0; and its picture."""
    width, height = size_wh
    counts = np.random.default_rng(seed).integers(29000, 31000, (height - rows, width))
    picture = counts.astype("<u2")
    telemetry = np.zeros((rows, width), "<u2")
    telemetry.reshape(-1)[:9] = 14
    if tlinear is not None:
        telemetry.reshape(-1)[208:210] = tlinear
    whole = np.vstack([telemetry, picture] if at_top else [picture, telemetry])
    return whole.view(np.uint8), picture


@pytest.mark.parametrize("at_top", [True, False])
@pytest.mark.parametrize(
    ("size_wh", "rows"), [((160, 122), 2), ((80, 63), 3), ((640, 514), 2), ((320, 258), 2)]
)
def test_telemetry_rows_are_cut_off(plug, size_wh, rows, at_top):
    stored, picture = thermal_frame(size_wh, rows, at_top=at_top)
    source = plug(Driver("Y16 ", stored, size_wh=size_wh), "thermal")
    for index in range(2):
        frame = source.read()
        assert frame.index == index
        assert frame.image.dtype == np.uint16
        assert (frame.image == picture).all()
    assert source.size_wh == (size_wh[0], size_wh[1] - rows)
    (note,) = source.notes
    assert f"{rows} telemetry rows are cut off" in note


@pytest.mark.parametrize("size_wh", [(160, 120), (640, 512), (320, 256)])
def test_without_telemetry_nothing_is_cut_and_the_unit_is_not_known(plug, size_wh):
    stored, picture = thermal_frame(size_wh, 0)
    driver = Driver("Y16 ", stored, size_wh=size_wh)
    source = plug(driver, "thermal")
    assert driver.grabs == 0
    assert (source.read().image == picture).all()
    (note,) = source.notes
    assert "whether they are centikelvin (TLinear) is not known" in note


@pytest.mark.parametrize(
    ("tlinear", "words"),
    [
        ((1, 1), "the counts are centikelvin (TLinear is on, 0.01 K)"),
        ((1, 0), "the counts are 0.1 K"),
        ((0, 1), "TLinear is off"),
        ((7, 7), "TLinear) is not known"),
    ],
)
@pytest.mark.parametrize(("size_wh", "rows"), [((160, 122), 2), ((80, 63), 3)])
def test_a_leptons_telemetry_says_whether_counts_are_temperatures(
    plug, size_wh, rows, tlinear, words
):
    stored, _ = thermal_frame(size_wh, rows, tlinear=tlinear)
    source = plug(Driver("Y16 ", stored, size_wh=size_wh), "thermal")
    assert words in source.notes[0]


def test_a_bosons_telemetry_is_not_read_as_a_leptons(plug):
    stored, _ = thermal_frame((640, 514), 2, tlinear=(1, 1))
    source = plug(Driver("Y16 ", stored, size_wh=(640, 514)), "thermal")
    assert "TLinear) is not known" in source.notes[0]


def test_a_camera_that_gives_nothing_to_look_at_is_closed(plug):
    stored, _ = thermal_frame((160, 122), 2)
    driver, released = Driver("Y16 ", stored, size_wh=(160, 122)), []
    driver.grab = lambda: False
    driver.release = lambda: released.append(True)
    with pytest.raises(SourceError, match="no frame within the driver's time limit"):
        plug(driver, "thermal")
    assert released


def test_telemetry_is_looked_for_in_sixteen_bits_alone():
    assert find_telemetry(np.zeros((122, 160), np.uint8)) is None
    assert find_telemetry(np.zeros((120, 160), np.uint16)) is None
