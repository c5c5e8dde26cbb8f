"""A video file that plays at the speed at which things happened."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from differseg.errors import InputError
from differseg.runtime.sinks.base import FrameResult, make_folder

DEFAULT_FPS = 30.0
LONGEST_GAP_S = 5.0
"""A longer gap between results is cut to this, so that a clock step cannot fill the disk."""


class VideoSink:
    """Writes painted frames as MP4 (MPEG-4 part 2) at a constant rate.

    The file has a fixed rate and results do not, so each result takes the place on the file's
    time line that its time stamp says, and is repeated until the next one: playback takes as long
    as the run did.  Two results in one place: the later stays.  A closed file is complete.

    Args:
        path: ``.mp4`` file; replaced where it exists.
        fps: Rate of the file in Hz.
    """

    wants_picture = True

    def __init__(self, path: Path, fps: float | None = None) -> None:
        self.path = path
        self.fps = fps or DEFAULT_FPS
        self.files: list[str] = []
        self.frames_written = 0
        self._writer: cv2.VideoWriter | None = None
        self._size_hw: tuple[int, int] | None = None
        self._start_s = 0.0
        self._waiting: npt.NDArray[np.uint8] | None = None
        self._place = 0
        if path.suffix.lower() not in (".mp4", ".m4v", ".mov"):
            raise InputError(f"{path}: the video must end in .mp4")
        make_folder(path.parent)
        if path.is_dir():
            raise InputError(f"{path}: is a folder, expected a file name such as {path}/run.mp4")

    def write(self, result: FrameResult) -> None:
        """Put a picture in its place; the one before it is then written as often as needed."""
        picture = result.picture
        if picture is None:
            return
        if self._writer is None:
            self._open(picture, result.rgb_time_s)
        elif picture.shape[:2] != self._size_hw:
            raise InputError(
                f"{self.path}: frames changed from {self._size_hw} to {picture.shape[:2]} pixels; "
                "a video has one size"
            )
        place = round((result.rgb_time_s - self._start_s) * self.fps)
        longest = round(LONGEST_GAP_S * self.fps)
        step = place - self._place
        if step < 0 or step > longest:
            # The camera's clock stepped, or nothing came for long: carry on from here.
            step = 1 if step < 0 else longest
            self._start_s = result.rgb_time_s - (self._place + step) / self.fps
        self._repeat(step)
        self._waiting, self._place = picture, self._place + step

    def close(self) -> None:
        """Write the last picture and finish the file."""
        if self._writer is None:
            return
        self._repeat(1)
        self._writer.release()
        self._writer = None

    def _open(self, picture: npt.NDArray[np.uint8], start_s: float) -> None:
        height, width = picture.shape[:2]
        code = cv2.VideoWriter.fourcc(*"mp4v")
        writer = cv2.VideoWriter(str(self.path), cv2.CAP_FFMPEG, code, self.fps, (width, height))
        if not writer.isOpened():
            raise InputError(
                f"{self.path}: OpenCV cannot write this video ({width}x{height} at "
                f"{self.fps:g} Hz); is the folder writable, and has this OpenCV FFmpeg?"
            )
        self._writer, self._size_hw, self._start_s = writer, (height, width), start_s
        self.files.append(str(self.path))

    def _repeat(self, times: int) -> None:
        if self._waiting is None or self._writer is None:
            return
        for _ in range(times):
            self._writer.write(self._waiting)
        self.frames_written += times
