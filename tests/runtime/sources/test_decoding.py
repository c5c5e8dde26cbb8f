"""Which bits of a thermal video are kept, and what is said of those that are not."""

import cv2
import pytest

from differseg.runtime.sources.decoding import keep_sixteen_bits


class Capture:
    """A video of one pixel format in an OpenCV that can, or cannot, give it as it is stored."""

    def __init__(self, tag, can_keep):
        self.converts = True
        self._tag, self._can_keep = tag, can_keep

    def get(self, prop):
        assert prop == cv2.CAP_PROP_CODEC_PIXEL_FORMAT
        return float(int.from_bytes(self._tag, "little"))

    def set(self, prop, value):
        assert prop == cv2.CAP_PROP_CONVERT_RGB
        self.converts = bool(value) or not self._can_keep
        return self._can_keep


GRAY16, GRAY16_BE, GRAY12, RGB48 = b"Y1\0\x10", b"\x10\x001Y", b"Y1\0\x0c", b"G3\0\x10"


@pytest.mark.parametrize(
    ("tag", "can_keep", "converts", "words"),
    [
        (GRAY16, True, False, None),
        (GRAY16, False, True, "has 16 bits, of which OpenCV"),
        (GRAY16_BE, True, True, "has 16 bits, of which OpenCV"),
        (GRAY12, True, True, "has 12 bits, of which OpenCV"),
        (RGB48, True, True, "has 16 bits, of which OpenCV"),
        (b"Y800", True, True, "has 8 bits"),
        (b"I420", True, True, "has 8 bits"),
        (b"BGR\x18", True, True, "has 8 bits"),
        (b"\0\0\0\0", True, True, "has 8 bits"),
    ],
)
def test_sixteen_bit_grey_alone_is_taken_unconverted(tag, can_keep, converts, words):
    capture = Capture(tag, can_keep)
    notes = keep_sixteen_bits(capture, "video a.mkv")
    assert capture.converts == converts, "of other formats OpenCV would give raw bytes"
    if words is None:
        assert notes == []
    else:
        (note,) = notes
        assert note.startswith("video a.mkv: the thermal picture " + words)
