"""Frames of noise that tests of recorded sessions record and play."""

import numpy as np

from differseg.runtime.session_file import CameraRecord, SessionRecord
from differseg.runtime.sources import Frame
from differseg.runtime.sources.session import SessionSource

RECORD = SessionRecord(
    "2026-01-01T00:00:00+00:00",
    {"rgb": CameraRecord("a", "arrival", True, 30.0), "thermal": CameraRecord("b", "driver", True)},
)


def frame(number, modality="rgb", *, size_hw=(48, 64), time_s=None, name=None):
    """A frame of noise that its number decides."""
    rng = np.random.default_rng([number, modality == "rgb"])
    if modality == "rgb":
        image = rng.integers(0, 256, (*size_hw, 3), np.uint8)
    else:
        image = rng.integers(0, 2**16, size_hw, np.uint16)
    return Frame(image, number / 30 if time_s is None else time_s, number, name)


def frames_in(folder, modality="rgb"):
    with SessionSource(folder, modality) as source:
        return list(iter(source.read, None))


def assert_equal(played, given):
    assert [(f.timestamp_s, f.index, f.name) for f in played] == [
        (f.timestamp_s, f.index, f.name) for f in given
    ]
    for a, b in zip(played, given, strict=True):
        assert a.image.dtype == b.image.dtype
        np.testing.assert_array_equal(a.image, b.image)
