"""A video file that plays at the speed at which things happened."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from differseg.errors import InputError
from differseg.runtime.opencv_log import quiet
from differseg.runtime.sinks.base import FrameResult, make_folder

DEFAULT_FPS = 30.0
LOWEST_FPS, HIGHEST_FPS = 1.0, 60.0
LONGEST_GAP_S = 5.0
"""A longer gap between results is cut to this, so that a clock step cannot fill the disk."""

SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv")

_RESERVE_BYTES = 2**20
_INDEX_BYTES_PER_FRAME = 32
"""At most; the file's index is written last, and without it nothing can be played."""


class VideoSink:
    """Writes painted frames as MP4 or Matroska (MPEG-4 part 2) at a constant rate.

    The file has a fixed rate and results do not, so each result takes the place on the file's
    time line that its time stamp says, and is repeated until the next one: playback takes as long
    as the run did.  Two results in one place: the later stays.  A closed file is complete: writing
    ends while the disk still has room for the file's index, and ``close`` looks into the file.

    Args:
        path: ``.mp4`` or ``.mkv`` file; replaced where it exists.  One that the program did not
            live to close plays up to its last seconds as Matroska, and not at all as MP4.
        fps: Rate of the results in Hz; the file's is the nearest that suits a video.
    """

    wants_picture = True

    def __init__(self, path: Path, fps: float | None = None) -> None:
        self.path = path
        self.fps = file_fps(fps or DEFAULT_FPS)
        self.files: list[str] = []
        self.frames_written = 0
        self._writer: cv2.VideoWriter | None = None
        self._size_hw: tuple[int, int] | None = None
        self._even: npt.NDArray[np.uint8] | None = None
        self._start_s = 0.0
        self._waiting: npt.NDArray[np.uint8] | None = None
        self._place = 0
        if path.suffix.lower() not in SUFFIXES:
            raise InputError(f"{path}: the video must end in .mp4 or .mkv")
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
        self._check_room(picture)
        place = round((result.rgb_time_s - self._start_s) * self.fps)
        longest = round(LONGEST_GAP_S * self.fps)
        step = place - self._place
        if step < 0 or step > longest:
            # The camera's clock stepped, or nothing came for long: carry on from here.
            step = 1 if step < 0 else longest
            self._start_s = result.rgb_time_s - (self._place + step) / self.fps
        self._repeat(step)
        self._waiting, self._place = picture, self._place + step

    def close(self, until_s: float | None = None) -> None:
        """Write the last picture, finish the file and look whether it can be played.

        Args:
            until_s: Show the last picture up to this time; once when None.

        Raises:
            InputError: It cannot.
        """
        if self._writer is None:
            return
        times = 1
        if until_s is not None:
            last = round((until_s - self._start_s) * self.fps)
            times = min(max(1, last - self._place), round(LONGEST_GAP_S * self.fps))
        self._repeat(times)
        writer, self._writer = self._writer, None
        self._waiting = None
        with quiet():
            writer.release()
            readable = readable_frames(self.path)
        if readable < self.frames_written:
            self.files.clear()
            raise InputError(
                f"{self.path}: is not a whole video, {readable} of {self.frames_written} frames "
                "can be read; is its disk full?"
            )

    def _open(self, picture: npt.NDArray[np.uint8], start_s: float) -> None:
        height, width = picture.shape[:2]
        size_wh = (width + width % 2, height + height % 2)
        try:
            self.path.open("wb").close()
        except OSError as error:
            raise InputError(f"{self.path}: cannot be written ({error.strerror})") from None
        with quiet():
            code = cv2.VideoWriter.fourcc(*"mp4v")
            writer = cv2.VideoWriter(str(self.path), cv2.CAP_FFMPEG, code, self.fps, size_wh)
        if not writer.isOpened():
            self.path.unlink(missing_ok=True)
            raise InputError(
                f"{self.path}: OpenCV cannot write this video ({width}x{height} at "
                f"{self.fps:g} Hz); has this OpenCV FFmpeg?"
            )
        if size_wh != (width, height):
            self._even = np.empty((size_wh[1], size_wh[0], 3), np.uint8)
        self._writer, self._size_hw, self._start_s = writer, (height, width), start_s
        self.files.append(str(self.path))

    def _check_room(self, picture: npt.NDArray[np.uint8]) -> None:
        """Refuse to go on when the disk is nearly full, as long as the file can be finished."""
        needed = _RESERVE_BYTES + picture.nbytes + _INDEX_BYTES_PER_FRAME * self.frames_written
        free = shutil.disk_usage(self.path.parent).free
        if free < needed:
            raise InputError(
                f"{self.path}: its disk is full ({free / 2**20:.1f} MB left, {needed / 2**20:.1f} "
                "needed to go on), so the video ends here; free some space"
            )

    def _repeat(self, times: int) -> None:
        picture = self._waiting
        if picture is None or self._writer is None:
            return
        if self._even is not None:
            # The encoder takes even sizes only.
            height, width = picture.shape[:2]
            bottom, right = self._even.shape[0] - height, self._even.shape[1] - width
            cv2.copyMakeBorder(picture, 0, bottom, 0, right, cv2.BORDER_REPLICATE, dst=self._even)
            picture = self._even
        with quiet():
            for _ in range(times):
                self._writer.write(picture)
        self.frames_written += times


def file_fps(fps: float) -> float:
    """Return the rate of a file for results at ``fps`` Hz: 1..60, in thousandths.

    MPEG-4 counts time in fractions of a second whose denominator is at most 65535.
    """
    return round(min(max(fps, LOWEST_FPS), HIGHEST_FPS), 3)


def readable_frames(path: Path) -> int:
    """Return the frames that a file claims, or 0 where the first or the last cannot be read."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    count = max(0, round(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
    whole = capture.grab()
    if whole and count > 1 and path.suffix.lower() == ".mkv":
        # Its count is the duration in the header, which says nothing of what follows.
        last_ms = 1000.0 * (count - 1) / capture.get(cv2.CAP_PROP_FPS)
        whole = capture.set(cv2.CAP_PROP_POS_FRAMES, count - 1) and capture.grab()
        whole = whole and capture.get(cv2.CAP_PROP_POS_MSEC) >= last_ms - 1000.0
    capture.release()
    return count if whole else 0
