"""Painting and sinks in a thread of their own, which overlaps with the next frame's inference.

At most one result waits.  When the sinks are slower than the rest, ``put`` waits for them: no
result is lost between mask and file, and a live feed drops (and counts) frames before they are
processed instead.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from time import monotonic, perf_counter

import numpy as np
import numpy.typing as npt

from differseg.errors import DifferSegError, InputError
from differseg.runtime.sinks.base import FrameResult, Sink
from differseg.runtime.timing import StageTimes

Paint = Callable[[], npt.NDArray[np.uint8]]

CLOSE_TIMEOUT_S = 30.0
"""How long sinks may take to finish after a stop; their thread is then left as a daemon."""

_STEP_S = 0.2


class SinkWriter:
    """Gives results to all sinks in order, in one thread.

    Args:
        sinks: Their ``write`` and ``close`` are called in the thread only.
        times: Where the stage ``write`` is counted.
        stop: Set when the run is to end; a ``put`` then waits no longer than ``close`` may.
    """

    def __init__(self, sinks: Sequence[Sink], times: StageTimes, stop: threading.Event) -> None:
        self._sinks = list(sinks)
        self._times = times
        self._stop = stop
        self._deadline_s: float | None = None
        self._queue: queue.Queue[tuple[FrameResult, Paint | None] | None] = queue.Queue(maxsize=1)
        self._error: DifferSegError | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="sinks", daemon=True)
        self._thread.start()

    @property
    def files(self) -> list[str]:
        """What was written, one path per file or folder."""
        return [name for sink in self._sinks for name in sink.files]

    def put(self, result: FrameResult, paint: Paint | None = None) -> None:
        """Hand over one result; waits while another one waits.

        Args:
            result: With its picture, or without.
            paint: Gives the picture; called in the thread.

        Raises:
            DifferSegError: What an earlier result met with in its sink, a stop was asked for and
                the sinks hang, or they are closed.
        """
        while self._error is None:
            if self._closed:
                raise InputError("the outputs are closed already")
            try:
                return self._queue.put((result, paint), timeout=_STEP_S)
            except queue.Full:
                if self._stop.is_set() and self._remaining_s() == 0:
                    self._error = self._hanging()
        raise self._error

    def close(self) -> DifferSegError | None:
        """Finish what waits and close all sinks; returns what the first failing sink met with."""
        if not self._closed:
            self._closed = True
            with suppress(queue.Full):
                self._queue.put(None, timeout=self._remaining_s())
                self._thread.join(self._remaining_s())
            if self._thread.is_alive():
                self._error = self._error or self._hanging()
        return self._error

    def _remaining_s(self) -> float:
        """Return what is left of the time to finish, which begins with the first call."""
        now_s = monotonic()
        if self._deadline_s is None:
            self._deadline_s = now_s + CLOSE_TIMEOUT_S
        return max(0.0, self._deadline_s - now_s)

    def _hanging(self) -> InputError:
        return InputError(
            f"the outputs did not finish within {CLOSE_TIMEOUT_S:g} s and are incomplete; does the "
            f"disk or network share answer that they are on ({', '.join(self.files)})?"
        )

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            # After an error the queue is still emptied, so that put never waits for ever.
            if self._error is None:
                self._guard(partial(self._write, *item))
            del item  # or its buffers would stay in use until the next one comes
        for sink in self._sinks:
            self._guard(sink.close)

    def _write(self, result: FrameResult, paint: Paint | None) -> None:
        if not self._sinks:
            return
        if paint is not None:
            result = replace(result, picture=paint())
        start_s = perf_counter()
        for sink in self._sinks:
            self._guard(partial(sink.write, result))
        self._times.add("write", (perf_counter() - start_s) * 1e3)

    def _guard(self, call: Callable[[], None]) -> None:
        try:
            call()
        except DifferSegError as error:
            self._error = self._error or error
        except Exception as error:  # must reach the main thread as one line
            self._error = self._error or InputError(f"output: {error or type(error).__name__}")
