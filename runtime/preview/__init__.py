"""A web page that shows a running camera: pictures, states, times, and figures for monitors.

:class:`PreviewServer` serves it from a thread of its own; pictures are encoded once for all
viewers, only while somebody looks, and never in the thread that runs the cameras.
"""

from differseg.runtime.preview.server import PreviewServer

__all__ = ["PreviewServer"]
