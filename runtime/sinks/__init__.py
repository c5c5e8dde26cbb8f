"""Where results go: video files, PNG masks with a line per frame, a window.

A :class:`Sink` takes :class:`FrameResult` after :class:`FrameResult` and is closed once.
"""

from differseg.runtime.sinks.base import FrameResult, Sink, Status

__all__ = ["FrameResult", "Sink", "Status"]
