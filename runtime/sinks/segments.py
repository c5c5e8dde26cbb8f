"""A video in files of a minute or so, of which a power cut can take the last one at most."""

from __future__ import annotations

import re
from pathlib import Path

from differseg.errors import InputError
from differseg.runtime.disk import sync_path
from differseg.runtime.sinks.base import FrameResult
from differseg.runtime.sinks.video import VideoSink

SHORTEST_S, LONGEST_S = 1.0, 86400.0


class SegmentedVideoSink:
    """Writes ``NAME-000000.mkv``, ``NAME-000001.mkv``, ... instead of one long file.

    Each file plays by itself, and is finished and on the disk before the next one begins.  A
    later run goes on behind the highest number that is there, so that a service which starts
    again replaces nothing.  Of the file that a kill or a power cut ends, Matroska plays up to
    the last seconds that reached the disk; MP4 loses all of it.

    Args:
        path: ``NAME.mkv`` or ``NAME.mp4``.
        segment_s: Length of a file, by the time stamps of the results.
        fps: Rate of the results in Hz.

    Attributes:
        files: The first and the last file that was finished.

    Raises:
        InputError: A length outside 1..86400 s, or a wrong place.
    """

    wants_picture = True

    def __init__(self, path: Path, segment_s: float, fps: float | None = None) -> None:
        if not SHORTEST_S <= segment_s <= LONGEST_S:
            raise InputError(
                f"--segment-s: expected {SHORTEST_S:g} to {LONGEST_S:g}, got {segment_s:g}"
            )
        self.path = path
        self._segment_s, self._fps = segment_s, fps
        self._number = highest_number(path) + 1
        self.files: list[str] = []
        self._last_s: float | None = None
        self._start_s = 0.0
        self._shape: tuple[int, ...] = ()
        # Made now, so that a wrong place is refused before the run begins.
        self._sink = VideoSink(self._file(), fps)

    def write(self, result: FrameResult) -> None:
        """Put a picture into the file of its time."""
        if result.picture is None:
            return
        time_s, shape = result.rgb_time_s, result.picture.shape
        if self._last_s is not None:
            ended = time_s - self._start_s >= self._segment_s
            # A clock that stepped back and a camera of another size begin a new file too.
            if ended or time_s < self._last_s or shape != self._shape:
                self._finish(time_s if ended else None)
                self._sink, self._last_s = VideoSink(self._file(), self._fps), None
        if self._last_s is None:
            self._start_s, self._shape = time_s, shape
        self._sink.write(result)
        self._last_s = time_s

    def close(self) -> None:
        """Finish the file in work."""
        if self._last_s is not None:
            self._finish(None)
            self._last_s = None

    def _finish(self, until_s: float | None) -> None:
        """Close a file and have it on the disk."""
        path = self._file()
        self._sink.close(until_s)
        self._number += 1
        # Those between have the numbers between; a list of all would grow for ever.
        self.files = [*self.files[:1], str(path)]
        try:
            sync_path(path)
            sync_path(path.parent)
        except OSError as error:
            raise InputError(f"{path}: cannot be finished ({error.strerror})") from None

    def _file(self, ahead: int = 0) -> Path:
        number = self._number + ahead
        return self.path.with_name(f"{self.path.stem}-{number:06d}{self.path.suffix}")


def highest_number(path: Path) -> int:
    """Return the highest number among the files of a name; -1 where there are none."""
    pattern = re.compile(re.escape(path.stem) + r"-(\d{6,})" + re.escape(path.suffix))
    if not path.parent.is_dir():
        return -1
    found = (pattern.fullmatch(each.name) for each in path.parent.iterdir())
    return max((int(match[1]) for match in found if match), default=-1)
