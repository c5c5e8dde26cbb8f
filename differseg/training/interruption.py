"""A clean stop: the first SIGINT or SIGTERM asks, the second one forces."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

WORKERS_GONE = (RuntimeError, OSError, EOFError)
"""What torch raises, at any point, where who stopped a run ended its data workers as well."""


class StopRequest:
    """Context in which SIGINT and SIGTERM only set ``requested``.

    The loop reads the flag after each step, so that a step is never cut in half.  A second signal
    gets the usual treatment at once.  Outside the main thread, where Python delivers no signals,
    the flag stays False.
    """

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._ask)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._give_back()

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        self._give_back()

    def _give_back(self) -> None:
        while self._previous:
            number, handler = self._previous.popitem()
            signal.signal(number, handler)
