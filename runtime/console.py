"""What a camera run shows in the terminal, and how it is stopped from there."""

from __future__ import annotations

import atexit
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from differseg.runtime.summary import LiveStatus, RunSummary
from differseg.runtime.timing import Percentiles

ECHO_S = 1.0
"""Signals this soon after the first are taken for its echo."""


@contextmanager
def stop_on_signals(stop: threading.Event) -> Iterator[None]:
    """Let the first SIGINT or SIGTERM set ``stop``, and one more than a second later kill.

    What follows within that second is ignored: ``timeout`` and service managers signal the child
    and then its whole group, and files would be cut off while they are being closed.  Does nothing
    outside the main thread, where Python takes no signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    first_s: float | None = None

    def on_signal(number: int, _: FrameType | None) -> None:
        nonlocal first_s
        if first_s is None:
            first_s = time.monotonic()
            stop.set()
        elif time.monotonic() - first_s > ECHO_S:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    old = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    for each in old:
        signal.signal(each, on_signal)
    try:
        yield
    finally:
        if first_s is not None and time.monotonic() - first_s <= ECHO_S:
            _ignore_echo(first_s, old)
        else:
            for each, handler in old.items():
                signal.signal(each, handler)


def _ignore_echo(first_s: float, handlers: dict[signal.Signals, Any]) -> None:
    """Keep the echo from killing a run that has closed its files and is about to exit with 0.

    The first signal after the echo brings the given handler back and is handled by it.  The
    interpreter replaces handlers written in Python by the system's when it ends, and the system's
    would kill: a process that ends during the echo ignores it to the last.
    """

    def on_signal(number: int, _: FrameType | None) -> None:
        if time.monotonic() - first_s > ECHO_S:
            signal.signal(number, handlers[signal.Signals(number)])
            signal.raise_signal(number)

    def at_exit() -> None:
        if time.monotonic() - first_s <= ECHO_S:
            for each in handlers:
                signal.signal(each, signal.SIG_IGN)

    for each in handlers:
        signal.signal(each, on_signal)
    atexit.register(at_exit)


class RunConsole:
    """Status line and notes on standard error, summary on standard output.

    Args:
        live: Show a status line where standard error is a terminal.
    """

    def __init__(self, live: bool = True) -> None:
        self._shows_live = live and sys.stderr.isatty()
        self._console = Console(stderr=True, highlight=False, markup=False)
        self._live: Live | None = None
        self._noted: set[str] = set()

    def __enter__(self) -> RunConsole:
        if self._shows_live:
            self._live = Live(
                Text("opening ..."), console=self._console, auto_refresh=False, transient=True
            )
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def note(self, text: str) -> None:
        """Print one line above the status line."""
        self._noted.add(text)
        self._console.print(f"note: {text}", soft_wrap=True)

    def line(self, text: str) -> None:
        """Print one line above the status line, of which many may come."""
        self._console.print(text, soft_wrap=True)

    def status(self, status: LiveStatus) -> None:
        """Renew the status line; nothing where there is no terminal."""
        if self._live is not None:
            self._live.update(Text(status_text(status), no_wrap=True), refresh=True)

    def summary(self, summary: RunSummary) -> None:
        """Print the tables and the files at the end of a run."""
        console = Console(highlight=False, markup=False)
        console.print(
            f"{summary.frames} frames in {summary.seconds:.1f} s ({summary.fps:.1f} Hz), "
            f"{summary.pairs} pairs; ended because {summary.end}",
            soft_wrap=True,
        )
        console.print(_cameras_table(summary))
        console.print(_times_table(summary))
        for note in summary.notes:
            if note not in self._noted:
                console.print(f"note: {note}", soft_wrap=True)
        if summary.thermal_offset is not None:
            console.print(f"thermal offset: {summary.thermal_offset.text()}", soft_wrap=True)
        if summary.board is not None and (text := summary.board.text()):
            console.print(f"board: {text}", soft_wrap=True)
        if summary.recording is not None:
            console.print(summary.recording.summary(), soft_wrap=True)
        for name in summary.files:
            console.print(f"wrote {name}", soft_wrap=True)


def status_text(status: LiveStatus) -> str:
    """Return the status line, such as ``29.8 Hz  age 21 ms  skew +4 ms  dropped 0``."""
    parts = [f"{status.frames} frames"]
    if status.fps is not None:
        parts.append(f"{status.fps:.1f} Hz")
    if status.age_ms is not None:
        parts.append(f"age {status.age_ms:.0f} ms")
    if status.skew_ms is not None:
        parts.append(f"skew {status.skew_ms:+.0f} ms")
    parts.append(f"dropped {status.dropped}")
    parts.extend(status.cameras)
    if status.recording:
        parts.append(status.recording)
    if status.note:
        parts.append(status.note)
    return "  ".join(parts)


def _cameras_table(summary: RunSummary) -> Table:
    table = Table("camera", "clock", "Hz", "captured", "dropped, by cause", box=SIMPLE_HEAD)
    for name, camera in summary.cameras.items():
        causes = [f"{number} {cause}" for cause, number in camera.drops.items()]
        causes += [f"{camera.missed} lost at the source"] if camera.missed else []
        causes += [f"({number} {fault})" for fault, number in camera.faults.items()]
        table.add_row(
            name,
            camera.clock,
            "" if camera.fps is None else f"{camera.fps:.1f}",
            str(camera.captured),
            ", ".join(causes).replace("_", " ") or "none",
        )
    return table


def _times_table(summary: RunSummary) -> Table:
    table = Table("milliseconds", "p50", "p95", "max", box=SIMPLE_HEAD)
    for column in table.columns[1:]:
        column.justify = "right"
    rows: dict[str, Percentiles | None] = {
        "skew of pairs": summary.skew_ms,
        "capture to mask": summary.age_ms,
        **summary.stages_ms,
    }
    for name, row in rows.items():
        if row is not None:
            table.add_row(name, f"{row.p50:.2f}", f"{row.p95:.2f}", f"{row.max:.2f}")
    return table
