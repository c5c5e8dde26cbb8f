"""OpenCV's and FFmpeg's own lines on standard error, and how to do without them."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import cv2

_SILENT = 0
_lock = threading.Lock()
_users = 0
_level = 0


@contextmanager
def quiet() -> Iterator[None]:
    """Silence OpenCV and its FFmpeg for a block, from any thread; the caller reports what failed.

    The log level is one for the whole process: the first block that begins saves it, the last
    that ends restores it.
    """
    global _users, _level
    # Read by OpenCV once, when its FFmpeg part first runs; a user's own setting wins.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    # Its place in the API depends on the version.
    home = getattr(cv2.utils, "logging", cv2)
    if not hasattr(home, "setLogLevel"):
        yield
        return
    with _lock:
        if _users == 0:
            _level = home.getLogLevel()
            home.setLogLevel(_SILENT)
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                home.setLogLevel(_level)
