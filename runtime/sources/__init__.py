"""Where frames come from: cameras, videos, image folders, streams and synthetic scenes.

``open_source("/dev/video0")`` gives an open :class:`Source`; ``source.read()`` gives a
:class:`Frame`, None at the end, or raises ``SourceError`` when the source has failed.
"""

from differseg.runtime.sources.base import Frame, PaceClock, Source
from differseg.runtime.sources.parsing import open_source, parse_source

__all__ = ["Frame", "PaceClock", "Source", "open_source", "parse_source"]
