"""End a run that hangs: a driver or a GPU that never answers keeps its thread for ever.

Such a thread cannot be killed from inside its process, so the process ends with a status of its
own, the stacks of all threads are in the log, and what started the process starts it again.
:class:`ProgressWatch` decides (no threads, no clock of its own), :class:`Watchdog` acts.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from types import TracebackType

from differseg.runtime.service.logs import fields
from differseg.runtime.service.notify import Notifier

WATCHDOG_STATUS = 75
"""Exit status of a run that hung (EX_TEMPFAIL of sysexits.h: the same may work the next time)."""

LIMIT_S = 10.0
"""A run that owes a result for this long hangs."""

START_LIMIT_S = 120.0
"""The same before the first result, which may have to compile or to fill a cache."""

RESCUE_S = 2.0
"""How long outputs may take to be closed before a process that hangs is ended."""

_SLOW_FACTOR = 4.0
_PAUSE_S = 3.0
_POLL_S = 0.5
_HARD_MARGIN_S = 5.0

_IDENT = re.compile(r"0x[0-9a-f]{16}(?= \(most recent)")
_LOG = logging.getLogger("differseg.runtime.watchdog")


class ProgressWatch:
    """Decides whether a run hangs: it owes results, and none comes.

    A run that waits for cameras owes nothing: it says :meth:`idle`, however long they are offline.
    A result that takes long because the model is slow is no hang either: the limit is at least
    four times what the result before took.  Time in which the whole process stood still (stopped
    by a signal, starved) is not counted.

    Args:
        limit_s: Longest time without a result while one is owed, or without a sign of the loop.
        start_limit_s: The same before the first result, and the most that a slow model is given.
        now_s: The present, on the clock of all other calls; the monotonic one when None.
    """

    def __init__(
        self,
        limit_s: float = LIMIT_S,
        start_limit_s: float = START_LIMIT_S,
        now_s: float | None = None,
    ) -> None:
        self._least_s, self._most_s = limit_s, max(start_limit_s, limit_s)
        self._limit_s = self._most_s
        self._lock = threading.Lock()
        self._owed = 0
        self._results = 0
        self._closing = False
        self._moved_s = _now(now_s)
        self._checked_s = self._moved_s

    @property
    def results(self) -> int:
        """Results so far."""
        return self._results

    @property
    def limit_s(self) -> float:
        """The limit that holds now."""
        return self._limit_s

    def idle(self, now_s: float | None = None) -> None:
        """Note that the loop went round with nothing to do; no progress while results are owed."""
        now_s = _now(now_s)
        with self._lock:
            if not self._owed:
                self._moved_s = now_s

    def taken(self, now_s: float | None = None) -> None:
        """Note that frames were taken, and that a result is owed for them."""
        now_s = _now(now_s)
        with self._lock:
            if not self._owed:
                self._moved_s = now_s
            self._owed += 1

    def finished(self, now_s: float | None = None) -> None:
        """Note that what was taken is done with: handed over, or given up."""
        now_s = _now(now_s)
        with self._lock:
            took_s = now_s - self._moved_s
            self._limit_s = min(max(self._least_s, _SLOW_FACTOR * took_s), self._most_s)
            self._owed = max(0, self._owed - 1)
            self._results += 1
            self._moved_s = now_s

    def closing(self) -> None:
        """Note that the loop has ended; closing files has limits of its own."""
        with self._lock:
            self._closing = True

    def stuck_s(self, now_s: float | None = None) -> float | None:
        """Return for how many seconds the run has hung; None while it does not.

        To be called steadily, about twice a second: a long pause between two calls says that the
        process did not run at all, and is not counted.
        """
        now_s = _now(now_s)
        with self._lock:
            pause_s = now_s - self._checked_s
            self._checked_s = now_s
            if pause_s > _PAUSE_S:
                self._moved_s = min(now_s, self._moved_s + pause_s)
            still_s = now_s - self._moved_s
            return still_s if still_s > self._limit_s and not self._closing else None


class Watchdog:
    """A thread that looks at a :class:`ProgressWatch`, and tells the service manager.

    ``READY=1`` goes out with the first result, ``WATCHDOG=1`` while the run does not hang, and
    ``STOPPING=1`` when ``stop`` is set or the block ends.

    Args:
        watch: What the run reports to.
        notifier: The service manager's; None for none.  Closed at the end.
        stop: Set when the run is to end.
        rescue: Called in a thread before a process that hangs is ended; has ``RESCUE_S`` to close
            the outputs.
        hard: Also end a process in which a driver keeps Python's lock, so that no thread of
            Python runs any more.  The status is then 1, and time in which the process was stopped
            by a signal counts: only for processes that are started again.
        end_process: Ends the process with a status.
        poll_s: Seconds between two looks.

    Example:
        >>> with Watchdog(ProgressWatch(), Notifier.from_environment()):  # doctest: +SKIP
        ...     pipeline.run()
    """

    def __init__(
        self,
        watch: ProgressWatch,
        notifier: Notifier | None = None,
        *,
        stop: threading.Event | None = None,
        rescue: Callable[[], object] | None = None,
        hard: bool = False,
        end_process: Callable[[int], object] = os._exit,
        poll_s: float = _POLL_S,
    ) -> None:
        self._watch = watch
        self._notifier = notifier or Notifier()
        self._stop = stop or threading.Event()
        self._rescue, self._hard, self._end_process = rescue, hard, end_process
        self._poll_s = min(poll_s, self._notifier.heartbeat_s or poll_s)
        self._ready = self._stopping = False
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def __enter__(self) -> Watchdog:
        if not faulthandler.is_enabled() and _has_descriptor(sys.stderr):
            faulthandler.enable()  # the stacks of a crash in native code
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop watching; harmless when called twice."""
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._hard:
            faulthandler.cancel_dump_traceback_later()
        self._tell_of_stop()
        self._notifier.close()

    def _run(self) -> None:
        while True:
            if self._look():
                return
            if self._closed.wait(self._poll_s):
                return

    def _look(self) -> bool:
        """Look once; returns whether the run hangs, where ending the process did not end it."""
        stuck_s = self._watch.stuck_s()
        if stuck_s is not None:
            self._end(stuck_s)
            return True
        if self._hard:
            wait_s = self._watch.limit_s + _HARD_MARGIN_S
            faulthandler.dump_traceback_later(wait_s, exit=True, file=sys.__stderr__ or 2)
        if self._watch.results and not self._ready:
            self._ready = True
            self._notifier.ready()
        if self._stop.is_set():
            self._tell_of_stop()
        self._notifier.heartbeat()
        return False

    def _tell_of_stop(self) -> None:
        if not self._stopping:
            self._stopping = True
            self._notifier.stopping()

    def _end(self, stuck_s: float) -> None:
        try:
            # Each in a thread of its own: the log or a file may be what hangs.
            _within(RESCUE_S, partial(self._report, stuck_s, thread_stacks()))
            if self._rescue is not None:
                _within(RESCUE_S, self._rescue)
        finally:
            self._end_process(WATCHDOG_STATUS)

    def _report(self, stuck_s: float, stacks: str) -> None:
        self._notifier.status(f"hangs for {stuck_s:.0f} s, ends")
        _LOG.error(
            f"no result for {stuck_s:.0f} s although the run owes one: a driver, the GPU or an "
            f"output hangs; the process ends with status {WATCHDOG_STATUS}",
            extra=fields(results=self._watch.results, stacks=stacks),
        )


def thread_stacks() -> str:
    """Return where every thread of Python stands, newest call first, with the threads' names."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    try:
        # In memory: the disk may be what hangs.
        with os.fdopen(os.memfd_create("stacks"), "r+b") as file:
            faulthandler.dump_traceback(file, all_threads=True)
            file.seek(0)
            text = file.read().decode("utf-8", "replace").strip()
    except OSError as error:
        return f"no stacks: {error.strerror}"
    return _IDENT.sub(lambda match: names.get(int(match[0], 16), match[0]), text)


def _within(seconds: float, call: Callable[[], object]) -> None:
    thread = threading.Thread(target=call, name="rescue", daemon=True)
    thread.start()
    thread.join(seconds)


def _has_descriptor(stream: object) -> bool:
    try:
        return isinstance(stream.fileno(), int)  # type: ignore[attr-defined]
    except (AttributeError, OSError, ValueError):
        return False


def _now(now_s: float | None) -> float:
    return time.monotonic() if now_s is None else now_s
