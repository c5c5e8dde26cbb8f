"""Pictures of ROS messages: every encoding, padded rows, both byte orders."""

import numpy as np
import pytest
from fake_ros import image

from differseg.errors import InputError
from differseg.runtime.ros2_images import to_array

RNG = np.random.default_rng(5)


@pytest.mark.parametrize("padding", [0, 1, 5])
@pytest.mark.parametrize(
    ("encoding", "order"), [("bgr8", "012"), ("rgb8", "210"), ("bgra8", "012"), ("rgba8", "210")]
)
def test_colour_encodings(encoding, order, padding):
    pixels = RNG.integers(0, 256, (5, 7, 4 if "a" in encoding else 3), np.uint8)
    got = to_array(image(pixels, encoding, 0.0, padding=padding), "rgb")
    assert got.dtype == np.uint8
    assert (got == pixels[:, :, [int(c) for c in order]]).all()


@pytest.mark.parametrize("padding", [0, 1, 4])
@pytest.mark.parametrize("bigendian", [False, True])
@pytest.mark.parametrize("encoding", ["mono8", "8UC1", "mono16", "16UC1"])
@pytest.mark.parametrize("modality", ["thermal", "depth"])
def test_grey_encodings(modality, encoding, bigendian, padding):
    kind = np.uint16 if "16" in encoding else np.uint8
    pixels = RNG.integers(0, np.iinfo(kind).max, (5, 7), kind, endpoint=True)
    message = image(pixels, encoding, 0.0, padding=padding, bigendian=bigendian)
    got = to_array(message, modality)
    assert got.dtype == kind
    assert got.dtype.isnative
    assert (got == pixels).all()


def test_a_last_row_without_padding_is_not_asked_for():
    """As the message's definition says, data holds step * rows bytes; less is refused."""
    message = image(np.zeros((4, 6), np.uint8), "mono8", 0.0, padding=2)
    message.data = message.data[:-1]
    with pytest.raises(InputError, match="needs rows of 6 bytes; got step 8 and 31 bytes"):
        to_array(message, "thermal")


@pytest.mark.parametrize(
    ("modality", "encoding", "text"),
    [
        ("rgb", "mono8", "expected bgr8, rgb8, bgra8, rgba8; convert it first"),
        ("thermal", "rgb8", "a coloured picture does not give its values back"),
        ("thermal", "32FC1", "the encoding is '32FC1', expected mono8, 8UC1, mono16, 16UC1"),
    ],
)
def test_other_encodings_are_refused(modality, encoding, text):
    message = image(np.zeros((4, 6, 3), np.uint8), encoding, 0.0)
    with pytest.raises(InputError, match=text):
        to_array(message, modality)


@pytest.mark.parametrize(("field", "value"), [("step", 5), ("height", 0), ("width", 0)])
def test_fields_that_contradict_each_other_are_refused(field, value):
    message = image(np.zeros((4, 6), np.uint8), "mono8", 0.0)
    setattr(message, field, value)
    with pytest.raises(InputError, match="thermal image: "):
        to_array(message, "thermal")
