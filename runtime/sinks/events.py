"""One JSON line for each alarm zone that was switched."""

from __future__ import annotations

import json
import os
from pathlib import Path

from differseg.errors import InputError
from differseg.runtime.sinks.base import FrameResult, make_folder

EVENTS_FILE = "events.jsonl"


class EventSink:
    """Writes ``zone_on`` and ``zone_off`` as they happen; each line is on the disk at once.

    Args:
        path: ``.jsonl`` file; lines are added where it exists, so that a service that starts
            again keeps what it has said.
    """

    wants_picture = False

    def __init__(self, path: Path) -> None:
        make_folder(path.parent)
        try:
            self._lines = path.open("a", encoding="utf-8")
        except OSError as error:
            raise InputError(f"{path}: cannot be written ({error.strerror})") from None
        self.files = [str(path)]

    def write(self, result: FrameResult) -> None:
        """Write the events of one result."""
        if not result.zone_events:
            return
        lines = [json.dumps(event.document(), allow_nan=False) for event in result.zone_events]
        try:
            self._lines.write("\n".join(lines) + "\n")
            self._lines.flush()
            os.fsync(self._lines.fileno())
        except OSError as error:
            raise InputError(f"{self._lines.name}: cannot be written ({error.strerror})") from None

    def close(self) -> None:
        """Close the file."""
        self._lines.close()
