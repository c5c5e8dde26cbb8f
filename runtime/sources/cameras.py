"""Cameras and network streams through OpenCV: V4L2 devices, GStreamer pipelines, RTSP and HTTP."""

from __future__ import annotations

import glob
import os
import re
import time
from collections.abc import Hashable
from typing import Any

import cv2
import numpy.typing as npt

from differseg.errors import MissingComponentError, SourceError
from differseg.runtime.sources.base import Frame, Modality, Source
from differseg.runtime.sources.decoding import Decoder, keep_sixteen_bits, open_quietly
from differseg.runtime.sources.drain import Drain
from differseg.runtime.sources.elements import missing_elements
from differseg.runtime.sources.flir import (
    Telemetry,
    counts_note,
    find_telemetry,
    may_have_telemetry,
)
from differseg.runtime.sources.pixels import RAW_FORMATS, RawPixels
from differseg.runtime.sources.presence import (
    ServerPresence,
    address_in,
    device_in,
    device_presence,
)

_DRIVER_STAMP_MAX_AGE_S = 1.0
"""A driver whose stamps are all older than this has another clock than ours."""

_SELECT_TIMEOUT_S = 2
"""How long OpenCV's V4L2 reader waits for a frame of a silent camera; its own choice is 10 s."""

_OPEN_TIMEOUT_MS = 10_000
_READ_TIMEOUT_MS = 5_000

_SETTLE_S = 1.0
"""How long a new network stream is read and let go: FFmpeg keeps what it looked at to know the
format, and a camera may send the last seconds first."""

_CLOSE_TIMEOUT_S = 2.0

_USER = re.compile(r"(?<=://)\S*@")
_QUERY = re.compile(r"(://[^\s?#\"']*)[?#][^\s\"']*")
_SECRET = re.compile(r"((?:pass\w*|pwd|\w*-pw|token)=)(?:\"[^\"]*\"|[^\s&]+)", re.IGNORECASE)


class CaptureSource(Source):
    """A live ``cv2.VideoCapture``; the subclasses say how to open it.

    Where frames would wait unread, and be taken for new when they are read, a :class:`Drain` lets
    them go from the opening until the first ``read``.
    """

    reopens = True

    def __init__(self, modality: Modality) -> None:
        super().__init__(modality)
        self._capture: cv2.VideoCapture | None = None
        self._drain: Drain | None = None
        self._decoder = Decoder(modality)
        self._index = 0

    def _begin(self) -> None:
        """Let go of an earlier opening and what was noted there."""
        self.close()
        self.notes = []

    def _adopt(self, capture: cv2.VideoCapture) -> None:
        """Take over an open capture and read its rate and size."""
        self._capture, self._index = capture, 0
        rate = capture.get(cv2.CAP_PROP_FPS)
        # Network streams report time base rates such as 90000.
        self.fps = float(rate) if 0.5 <= rate <= 1000 else None
        width, height = (int(capture.get(p)) for p in (3, 4))
        self.size_wh = (width, height) if width > 0 and height > 0 else None

    def read(self) -> Frame | None:
        """Return the next frame, stamped when it was grabbed or by the driver."""
        if self._capture is None:
            raise SourceError(f"{self.description}: read before open")
        drain, self._drain = self._drain, None
        if drain is not None:
            drain.stop()
        if (drain is not None and drain.lost) or not self._capture.grab():
            raise SourceError(f"{self.description}: {self._lost_text()}")
        timestamp_s = self._stamp(time.monotonic())
        image = self._decoder.image(self._capture, self.description, self._unpack)
        self.size_wh = (image.shape[1], image.shape[0])
        frame = Frame(image, timestamp_s, self._index)
        self._index += 1
        return frame

    def _stamp(self, now_s: float) -> float:
        return now_s

    def _unpack(self, raw: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return raw

    def _lost_text(self) -> str:
        return "the stream was lost"

    def close(self) -> None:
        """Release the device; not while a driver blocks in it, which could crash the process."""
        stuck = self._drain is not None and not self._drain.stop(_CLOSE_TIMEOUT_S)
        if self._capture is not None and not stuck:
            self._capture.release()
        self._capture = self._drain = None


class V4l2Source(CaptureSource):
    """A camera on a V4L2 device node.

    A thermal camera is asked for 16 bit: FOURCC ``Y16 `` first and ``CONVERT_RGB`` off second,
    the order in which OpenCV keeps the 16 bits.  Where the driver refuses, its 8-bit picture is
    used and a note says so.  Formats in ``RAW_FORMATS`` are converted here, others by OpenCV.

    Args:
        device: Index, or path such as ``/dev/video2``.
        modality: ``rgb`` or ``thermal``.
        fourcc: Four characters, such as ``MJPG`` or ``Y16``; the driver's choice when None
            (thermal: ``Y16``).
        size_wh: Width and height to ask for.
        fps: Rate to ask for.
    """

    def __init__(
        self,
        device: int | str,
        modality: Modality,
        *,
        fourcc: str | None = None,
        size_wh: tuple[int, int] | None = None,
        fps: float | None = None,
    ) -> None:
        super().__init__(modality)
        self._path = f"/dev/video{device}" if isinstance(device, int) else device
        self._wanted = (fourcc, size_wh, fps)
        self._pixels: RawPixels | None = None
        self._telemetry: Telemetry | None = None
        self.description = f"V4L2 {self._path}"

    def open(self) -> None:
        """Open the device and set its format."""
        self._begin()
        if not os.path.exists(self._path):
            have = ", ".join(sorted(glob.glob("/dev/video*"))) or "none"
            raise SourceError(
                f"{self._path}: there is no such device (present: {have}); is the camera plugged "
                "in, and in a container, was it passed with --device?"
            )
        # Read by OpenCV once, when it first waits for a frame; a user's own setting wins.
        os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", str(_SELECT_TIMEOUT_S))
        capture = open_quietly(self._path, cv2.CAP_V4L2, [])
        if not capture.isOpened():
            reason = (
                "another program may hold it, or it is not a capture node"
                if os.access(self._path, os.R_OK | os.W_OK)
                else "no permission; add the user to the group 'video'"
            )
            raise SourceError(f"{self._path}: OpenCV's V4L2 reader cannot open it: {reason}")
        fourcc, size_wh, fps = self._wanted
        self._pixels = self._telemetry = None
        code = self._set_format(capture, fourcc)
        if size_wh is not None:
            capture.set(cv2.CAP_PROP_FRAME_WIDTH, size_wh[0])
            capture.set(cv2.CAP_PROP_FRAME_HEIGHT, size_wh[1])
        if fps is not None:
            capture.set(cv2.CAP_PROP_FPS, fps)
        self.clock = "arrival"
        self._adopt(capture)
        for what, wanted, got in (("size", size_wh, self.size_wh), ("rate", fps, self.fps)):
            if wanted is not None and wanted != got:
                self.notes.append(f"{self._path}: asked for {what} {wanted}, the driver gave {got}")
        if code == "Y16 " and self.modality == "thermal":
            self._look_for_telemetry()

    def presence(self) -> Hashable | None:
        """Return what tells the device node from its successor."""
        return device_presence(self._path)

    def _look_for_telemetry(self) -> None:
        """Find telemetry rows in a first frame, which is let go, and note what the counts are."""
        whole = None
        if may_have_telemetry(self.size_wh):
            try:
                frame = self.read()
            except SourceError:
                self.close()
                raise
            assert frame is not None
            whole = frame.image
            self._telemetry, self._index = find_telemetry(whole), 0
        self.notes.append(counts_note(self._path, whole, self._telemetry))

    def _set_format(self, capture: cv2.VideoCapture, fourcc: str | None) -> str:
        """Set the format, and have it handed over raw where it is converted here; returns it."""
        code = (fourcc or ("Y16" if self.modality == "thermal" else "")).ljust(4)
        wanted = cv2.VideoWriter.fourcc(*code)
        if code.strip():
            capture.set(cv2.CAP_PROP_FOURCC, wanted)
        got = int(capture.get(cv2.CAP_PROP_FOURCC))
        if got == wanted or not code.strip():
            code = (got & 0xFFFFFFFF).to_bytes(4, "little").decode("latin-1")
            if code in RAW_FORMATS:
                capture.set(cv2.CAP_PROP_CONVERT_RGB, 0)
                self._pixels = RawPixels(code, self.modality, self._path)
            return code
        if fourcc is not None:
            capture.release()
            raise SourceError(
                f"{self._path}: the driver does not offer format '{fourcc}'; list its formats "
                f"with: v4l2-ctl -d {self._path} --list-formats-ext"
            )
        self.notes.append(
            f"{self._path}: no 16-bit format (Y16), so its 8-bit picture is used; the camera's "
            "own gain control then decides the contrast"
        )
        return ""

    def _stamp(self, now_s: float) -> float:
        """Return the driver's capture time where it is on the monotonic clock, else ``now_s``.

        The first recent stamp shows the clock; later ones count however long their frame waited.
        """
        if self._capture is None:
            return now_s
        stamp_s = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000.0
        if now_s - _DRIVER_STAMP_MAX_AGE_S <= stamp_s <= now_s + 0.002:
            self.clock = "driver"
        # Some drivers leave the stamp of a frame at 0.
        return min(stamp_s, now_s) if self.clock == "driver" and stamp_s > 0 else now_s

    def _unpack(self, raw: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the image that raw pixels are, without telemetry rows."""
        if self._pixels is None:
            return raw
        image = self._pixels.image(raw, self.size_wh)
        return image if self._telemetry is None else self._telemetry.cut(image)

    def _lost_text(self) -> str:
        return "no frame within the driver's time limit; unplugged, or the link is overloaded"


class GstreamerSource(CaptureSource):
    """A GStreamer pipeline written as text; needs an OpenCV build with GStreamer.

    Where the text has no ``appsink``, one is added that keeps only the newest frame (a pipeline
    that queues frames shows the past).

    Args:
        text: The pipeline.
        modality: ``rgb`` or ``thermal``.
        name: What stands for it in messages; the beginning of the text when None.
    """

    def __init__(self, text: str, modality: Modality, name: str | None = None) -> None:
        super().__init__(modality)
        self._text = text.strip()
        self._device, address = device_in(text), address_in(text)
        self._server = None if address is None else ServerPresence(address)
        shown = without_password(name or self._text)
        self.description = f"GStreamer '{shown[:60]}'"

    @property
    def pipelines(self) -> list[str]:
        """Texts to give to OpenCV, the first that starts is used."""
        if "appsink" in self._text:
            return [self._text]
        sink = "appsink drop=true max-buffers=1 sync=false"
        if self.modality == "rgb":
            return [f"{self._text} ! videoconvert ! video/x-raw,format=BGR ! {sink}"]
        # 16 bit is not offered to videoconvert, which would turn it into 8 bit and 8 into 16.  The
        # text may end with caps, and GStreamer takes none straight after others.
        return [
            f"{self._text} ! identity ! video/x-raw,format=GRAY16_LE ! {sink}",
            f"{self._text} ! videoconvert ! video/x-raw,format=GRAY8 ! {sink}",
        ]

    def open(self) -> None:
        """Build and start the pipeline."""
        self._begin()
        if not has_gstreamer():
            raise MissingComponentError(
                f"{self.description}: this OpenCV ({cv2.__version__}) is built without GStreamer; "
                "use an OpenCV that has it (JetPack's system OpenCV, Debian's python3-opencv), "
                "not the one from PyPI"
            )
        missing = missing_elements(self._text)
        if missing:
            raise MissingComponentError(
                f"{self.description}: GStreamer has no element '{missing[0]}'; NVIDIA's come with "
                "the package nvidia-l4t-gstreamer (a container must be given them), others with "
                "gstreamer1.0-plugins-good, -bad or -ugly"
            )
        for pipeline in self.pipelines:
            capture = open_quietly(pipeline, cv2.CAP_GSTREAMER, [])
            if capture.isOpened():
                if "format=GRAY8" in pipeline:
                    self.notes.append(f"{self.description}: gives no 16 bit, so 8 bit are used")
                self._adopt(capture)
                self._drain = Drain(capture)
                return
        alone = without_password(self._text).partition("appsink")[0].rstrip(" !")
        raise SourceError(
            f"{self.description}: the pipeline does not start; try it alone with: "
            f"gst-launch-1.0 {alone} ! fakesink"
        )

    def presence(self) -> Hashable | None:
        """Ask for the device or server that the text names."""
        if self._device is not None:
            return device_presence(self._device)
        if self._server is None:
            return super().presence()
        return self._server.seen() if self._capture is not None else self._server.ask()

    def _lost_text(self) -> str:
        return "the pipeline ended or failed"


class NetworkSource(CaptureSource):
    """An RTSP, HTTP, RTMP or UDP stream through OpenCV's FFmpeg part."""

    def __init__(self, address: str, modality: Modality) -> None:
        super().__init__(modality)
        self._address = address
        self._server = ServerPresence(address)
        self.description = without_password(address)

    def open(self) -> None:
        """Connect, at most 10 s, and let go of what was sent until then."""
        self._begin()
        settings = [
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _OPEN_TIMEOUT_MS,
            cv2.CAP_PROP_READ_TIMEOUT_MSEC, _READ_TIMEOUT_MS,
        ]  # fmt: skip
        capture = open_quietly(self._address, cv2.CAP_FFMPEG, settings)
        if not capture.isOpened():
            raise SourceError(
                f"{self.description}: cannot connect (OpenCV's FFmpeg reader, "
                f"{_OPEN_TIMEOUT_MS // 1000} s); check address, user and password with: "
                f"ffprobe {self.description}"
            )
        if self.modality == "thermal":
            self.notes += keep_sixteen_bits(capture, self.description)
        self._adopt(capture)
        self._drain = Drain(capture)
        self._drain.wait(_SETTLE_S)

    def presence(self) -> Hashable | None:
        """Ask whether the server takes connections."""
        return self._server.seen() if self._capture is not None else self._server.ask()

    def _lost_text(self) -> str:
        return f"the stream ended or gave nothing for {_READ_TIMEOUT_MS / 1000:g} s"


def has_gstreamer() -> bool:
    """Say whether this OpenCV was built with GStreamer."""
    lines = cv2.getBuildInformation().splitlines()
    return any("GStreamer:" in line and "YES" in line for line in lines)


def without_password(text: str) -> str:
    """Return a text without what stands in it of users, passwords and queries of addresses.

    Cameras take passwords in the query too, and GStreamer elements as ``user-pw=...``.
    """
    text = _QUERY.sub(r"\1", _USER.sub("", text))
    return _SECRET.sub(r"\1...", text)
