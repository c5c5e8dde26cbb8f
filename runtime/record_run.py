"""A recorder beside a run: told of the run, fed by its capture threads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from differseg.manifest import Manifest
from differseg.runtime.feed import Feed
from differseg.runtime.recorder import Recorder
from differseg.runtime.registration import Registration
from differseg.runtime.session_text import session_record
from differseg.runtime.summary import LiveStatus

StatusListener = Callable[[LiveStatus], None]


def record_run(
    folder: Path,
    feed: Feed,
    *,
    limit_gb: float | None,
    options: Mapping[str, Any],
    manifest: Manifest,
    registration: Registration | None,
    note: Callable[[str], None],
) -> Recorder:
    """Return a recorder that gets every frame of a feed, which must not have been started.

    Args:
        folder: See :class:`Recorder`.
        feed: Its captures' ``on_frame`` are set.
        limit_gb: The recording ends at this size; None for no limit.
        options: Of the run, for the record.
        manifest: Of the model.
        registration: Of the run; None where it has none.
        note: Takes what the user must know, from the recorder's thread too.

    Raises:
        InputError: The folder holds files, cannot be made, or its disk is full.
    """
    record = session_record(
        [capture.source for capture in feed.captures],
        options=options,
        manifest=manifest,
        thermal_offset_ms=0.0 if feed.pairer is None else feed.pairer.offset_ms,
    )
    recorder = Recorder(
        folder,
        record,
        registration=registration,
        limit_bytes=None if limit_gb is None else round(limit_gb * 1e9),
        on_note=note,
    )
    for capture in feed.captures:
        capture.on_frame = partial(recorder.add, capture.source.modality)
    note(f"recording in {recorder.folder}")
    return recorder


def with_recording(
    on_status: StatusListener | None, recorder: Recorder | None
) -> StatusListener | None:
    """Return a listener that also learns how the recording goes."""
    if on_status is None or recorder is None:
        return on_status
    return lambda status: on_status(replace(status, recording=recorder.state.text()))
