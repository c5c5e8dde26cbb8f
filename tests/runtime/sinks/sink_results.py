"""Results for sinks, and a disk that is full."""

import resource
from contextlib import contextmanager

import numpy as np

from differseg.runtime.sinks import FrameResult


def result(time_s, level=100, size_hw=(48, 64), **changes):
    picture = np.full((*size_hw, 3), level, np.uint8)
    values = {"index": 0, "name": None, "rgb_time_s": time_s, "status": "ok", "picture": picture}
    return FrameResult(**(values | changes))


def noise(count, size_hw=(480, 640)):
    rng = np.random.default_rng(0)
    for k in range(count):
        picture = rng.integers(0, 256, (*size_hw, 3), dtype=np.uint8)
        yield result(k / 30, index=k, picture=picture, mask=picture[..., 0].copy())


@contextmanager
def files_limited_to(size_bytes):
    """Every file of this process ends there, as a full disk or a quota would have it."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
