"""The live picture on the screen, where there is one."""

from __future__ import annotations

import os
import sys

import cv2

from differseg.runtime.sinks.base import FrameResult

_TITLE = "differseg"
_QUIT_KEYS = (ord("q"), ord("Q"), 27)


def why_no_window() -> str | None:
    """Return why no window can be shown; None where it can."""
    gui = [line for line in cv2.getBuildInformation().splitlines() if "GUI:" in line]
    if not gui or "NONE" in gui[0]:
        return "this OpenCV build has no windows (opencv-python-headless)"
    display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if sys.platform.startswith("linux") and not display:
        return "there is no display (DISPLAY is not set)"
    return None


class WindowSink:
    """Shows each picture; must be used from the main thread.

    Attributes:
        quit: Whether the user pressed q or Esc, or closed the window.
    """

    wants_picture = True

    def __init__(self) -> None:
        self.files: list[str] = []
        self.quit = False
        self._shown = False

    def write(self, result: FrameResult) -> None:
        """Show the picture and look at the keyboard."""
        if result.picture is None:
            return
        if not self._shown:
            cv2.namedWindow(_TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
        cv2.imshow(_TITLE, result.picture)
        key = cv2.waitKey(1) & 0xFF
        closed = self._shown and cv2.getWindowProperty(_TITLE, cv2.WND_PROP_VISIBLE) < 1
        self._shown = True
        self.quit = self.quit or closed or key in _QUIT_KEYS

    def close(self) -> None:
        """Remove the window."""
        if self._shown:
            cv2.destroyWindow(_TITLE)
            self._shown = False
