"""The files that output options name: none may be an input, and none another output."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from differseg.errors import InputError
from differseg.runtime.sinks.base import Sink
from differseg.runtime.sinks.events import EVENTS_FILE, EventSink
from differseg.runtime.sinks.masks import RESULTS_FILE, MaskSink
from differseg.runtime.sinks.segments import SegmentedVideoSink
from differseg.runtime.sinks.video import VideoSink

Named = tuple[str, Path]
"""An option such as ``--video``, and a file or folder that it names."""


def open_sinks(
    out: Path | None,
    video: Path | None,
    masks: Path | None,
    *,
    inputs: Iterable[Named],
    fps: float | None,
    segment_s: float | None = None,
    zones: bool = False,
    record: Path | None = None,
) -> list[Sink]:
    """Return the sinks of the three output options of a camera run.

    Args:
        out: Folder for overlay.mp4, masks/ and results.jsonl.
        video: Video file.
        masks: Folder for masks and results.jsonl.
        inputs: What the run reads, see :func:`refuse_clashes`.
        fps: Rate of the RGB source in Hz; None where unknown.
        segment_s: Length of the pieces of ``video``; None for one file.
        zones: Write the zones' events too, beside each ``results.jsonl``.
        record: Folder of the recorder, which makes it itself.

    Raises:
        InputError: A clash, and nothing was touched; or an output that cannot be opened.
    """
    videos: list[Named] = [] if video is None else [("--video", video)]
    folders: list[tuple[str, Path, Path]] = []
    if masks is not None:
        folders.append(("--masks", masks, masks / RESULTS_FILE))
    if out is not None:
        videos.append(("--out", out / "overlay.mp4"))
        folders.append(("--out", out / "masks", out / RESULTS_FILE))
    outputs = [*videos]
    for name, folder, results in folders:
        outputs += [(name, folder), (name, results)]
        outputs += [(name, results.with_name(EVENTS_FILE))] if zones else []
    outputs += [] if record is None else [("--record", record)]
    refuse_clashes(inputs, outputs)
    sinks: list[Sink] = []
    try:
        # Videos first: they refuse a wrong name before anything is replaced.
        for name, path in videos:
            if name == "--video" and segment_s is not None:
                sinks.append(SegmentedVideoSink(path, segment_s, fps))
            else:
                sinks.append(VideoSink(path, fps))
        for _, folder, results in folders:
            sinks.append(MaskSink(folder, results))
            if zones:
                sinks.append(EventSink(results.with_name(EVENTS_FILE)))
    except BaseException:
        for sink in sinks:
            sink.close()
        raise
    return sinks


def refuse_clashes(inputs: Iterable[Named], outputs: Iterable[Named]) -> None:
    """Refuse an output that is an input or another output, by whatever path.

    Args:
        inputs: Files and folders that are read.
        outputs: Files that are written, and folders that files are written into.

    Raises:
        InputError: Names the two options.
    """
    taken = {_identity(path): name for name, path in inputs}
    for name, path in outputs:
        identity = _identity(path)
        if identity in taken:
            raise InputError(
                f"{name} would write {path}, but {taken[identity]} names the same; choose another "
                "place (nothing was written)"
            )
        taken[identity] = name


def source_path(text: str) -> Path | None:
    """Return the file or folder in the text of a source; None for cameras and streams."""
    text = text.strip().removeprefix("session:")
    while text:
        path = os.path.expanduser(text.strip())
        if os.path.exists(path):
            return Path(path)
        text = text.rpartition(",")[0]  # without its last option
    return None


def _identity(path: Path) -> tuple[int, int] | str:
    """Return the same for two paths of one file, which may not exist yet."""
    try:
        found = path.stat()
    except OSError:
        return os.path.realpath(path)
    return found.st_dev, found.st_ino
