"""The text of ``--rgb`` and ``--thermal`` to a source.

synthetic:seed=3,fps=30      a synthetic camera
0   /dev/video2              a V4L2 device; /dev/video2,fourcc=Y16,size=640x512,fps=9
csi:0   csi:0,size=1280x720,fps=30         a CSI camera of a Jetson
nvv4l2:/dev/video0           a camera whose frames a Jetson's hardware copies
nvdec:rtsp://host/path       a network stream that a Jetson's hardware decodes; ,codec=h265
nvarguscamerasrc ! ...       a GStreamer pipeline
rtsp://host/path             a network stream (rtsp, rtsps, rtmp, http, https, udp, tcp)
clip.mp4                     a video file
session:DIR                  what --record wrote; the folder alone will do
frames/   frames/,fps=10     an image folder
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import stat
import typing
from pathlib import Path
from typing import Any, TypeVar

from differseg.errors import InputError, SourceError
from differseg.runtime.sources.base import Modality, PaceClock, Source
from differseg.runtime.sources.cameras import (
    GstreamerSource,
    NetworkSource,
    V4l2Source,
    without_password,
)
from differseg.runtime.sources.files import FolderSource, PacedSource, VideoSource
from differseg.runtime.sources.presets import (
    PRESETS,
    CsiOptions,
    DecoderOptions,
    csi_pipeline,
    decoder_pipeline,
    nvv4l2_pipeline,
)
from differseg.runtime.sources.session import session_source
from differseg.runtime.sources.synthetic import SyntheticOptions, SyntheticSource

T = TypeVar("T")

_NETWORK = re.compile(r"(rtsps?|rtmp|https?|udp|tcp)://", re.IGNORECASE)
_OPTIONS = re.compile(r"(?:,[A-Za-z_]+=[^,]*)+$")


@dataclasses.dataclass(frozen=True)
class DeviceOptions:
    """Options after a device, such as ``/dev/video2,fourcc=Y16,size=640x512,fps=9``."""

    fourcc: str | None = None
    size: tuple[int, int] | None = None
    fps: float | None = None


@dataclasses.dataclass(frozen=True)
class FolderOptions:
    """Options after a folder, such as ``frames/,fps=10``."""

    fps: float | None = None


def open_source(
    text: str, modality: Modality, *, live: bool = False, clock: PaceClock | None = None
) -> Source:
    """Read the text of a source and open it.

    Args:
        text: As the module's docstring lists.
        modality: ``rgb`` or ``thermal``.
        live: Give recorded frames out in real time, and let late ones be dropped.
        clock: Shared by the paced sources of one run.

    Raises:
        SourceError: It cannot be opened, or is empty; one line.
        InputError: An unknown or malformed option in the text.
        MissingComponentError: A GStreamer text and an OpenCV without GStreamer.
    """
    source = parse_source(text, modality, live=live, clock=clock)
    source.open()
    return source


def parse_source(
    text: str, modality: Modality, *, live: bool = False, clock: PaceClock | None = None
) -> Source:
    """Read the text of a source without opening it; see :func:`open_source`."""
    clock = clock or PaceClock()
    text = text.strip()
    if not text:
        raise InputError(f"--{modality}: the source is empty text")
    if text.startswith("synthetic:"):
        options = read_options(SyntheticOptions, text[len("synthetic:") :], "synthetic:")
        return SyntheticSource(modality, options, clock)
    if text == "synthetic":
        raise InputError("a synthetic source is written with a colon: 'synthetic:'")
    if " ! " in text:
        return GstreamerSource(text, modality)
    if text.partition(":")[0] in PRESETS:
        return _preset(text, modality)
    if _NETWORK.match(text):
        return NetworkSource(text, modality)
    source = session_source(text, modality) or _device(text, modality)
    source = source or _recording(text, modality)
    return PacedSource(source, clock) if live and not source.live else source


def _preset(text: str, modality: Modality) -> Source:
    name, _, rest = text.partition(":")
    found = _OPTIONS.search(rest)
    what = rest[: found.start()] if found else rest
    options = found.group()[1:] if found else ""
    where = without_password(f"{name}:{what}")
    if name == "nvdec":
        pipeline = decoder_pipeline(what, read_options(DecoderOptions, options, where), modality)
    else:
        build = csi_pipeline if name == "csi" else nvv4l2_pipeline
        pipeline = build(what, read_options(CsiOptions, options, where), modality)
    return GstreamerSource(pipeline, modality, where)


def _split(text: str) -> tuple[str, str]:
    """Split options off, unless a file of the whole name exists."""
    found = _OPTIONS.search(text)
    if found is None or Path(text).exists():
        return text, ""
    return text[: found.start()], found.group()[1:]


def _device(text: str, modality: Modality) -> Source | None:
    base, rest = _split(text)
    if not (base.isdecimal() or base.startswith("/dev/") or _is_device(base)):
        return None
    options = read_options(DeviceOptions, rest, base)
    if options.fourcc is not None and not 1 <= len(options.fourcc) <= 4:
        raise InputError(f"{base}: fourcc: expected up to 4 characters, got '{options.fourcc}'")
    return V4l2Source(
        int(base) if base.isdecimal() else base,
        modality,
        fourcc=options.fourcc,
        size_wh=options.size,
        fps=options.fps,
    )


def _is_device(base: str) -> bool:
    path = Path(base)
    return path.exists() and stat.S_ISCHR(path.stat().st_mode)


def _recording(text: str, modality: Modality) -> Source:
    base, rest = _split(text)
    path = Path(base).expanduser()
    if path.is_dir():
        return FolderSource(path, modality, read_options(FolderOptions, rest, base).fps)
    if not path.exists():
        raise SourceError(
            f"--{modality} {without_password(text)}: no such file or folder, and not a device "
            "index, /dev path, GStreamer text (with ' ! '), address (rtsp://...) or 'synthetic:'"
        )
    if rest:
        raise InputError(f"{base}: a video file takes no options, got '{rest}'")
    return VideoSource(path, modality)


def read_options(cls: type[T], text: str, where: str) -> T:
    """Read ``key=value,key=value`` into a dataclass of options.

    Raises:
        InputError: An unknown key (nearest match named) or a malformed value.
    """
    hints = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if key not in hints:
            near = difflib.get_close_matches(key, hints, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"options: {', '.join(hints)}"
            raise InputError(f"{where}: there is no option '{key}'; {hint}")
        if not equals or key in values:
            problem = "stands there twice" if equals else "has no value"
            raise InputError(f"{where}: option '{key}' {problem}; write {key}=VALUE once")
        values[key] = _value(hints[key], value, f"{where}: {key}")
    return cls(**values)


def _value(hint: Any, text: str, where: str) -> Any:
    kinds = typing.get_args(hint) or (hint,)
    if bool in kinds:
        if text not in ("0", "1"):
            raise InputError(f"{where}: expected 0 or 1, got '{text}'")
        return text == "1"
    if tuple in (typing.get_origin(kind) for kind in (hint, *kinds)):
        match = re.fullmatch(r"(\d+)x(\d+)", text)
        if not match or not all(16 <= int(n) <= 16384 for n in match.groups()):
            raise InputError(f"{where}: expected WIDTHxHEIGHT such as 640x480, got '{text}'")
        return int(match[1]), int(match[2])
    if str in kinds:
        return text
    whole = int in kinds
    least, most = (0.01, 1000.0) if where.endswith(" fps") else (0.0, float(2**31))
    try:
        number = int(text) if whole else float(text)
    except ValueError:
        number = -1
    if not least <= number <= most:
        kind = "a whole number" if whole else "a number"
        raise InputError(f"{where}: expected {kind} from {least:g} to {most:g}, got '{text}'")
    return number
