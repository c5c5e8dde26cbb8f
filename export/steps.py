"""The steps of a long command: timed, and told about as they begin and end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.markup import escape
from rich.status import Status

Announce = Callable[[str, "float | None", str], None]
"""Told when a step begins (seconds is None) and when it is done, with what came out of it."""


def silent(name: str, seconds: float | None, words: str) -> None:
    """Tell nobody."""


def on_terminal(console: Console, status: Status) -> Announce:
    """Show the step at work as a spinner on a terminal, and each finished one as a line."""

    def announce(name: str, seconds: float | None, words: str) -> None:
        if seconds is None:
            status.update(f"{name} ...")
        else:
            console.print(f"{seconds:6.1f} s  {name}  [dim]{escape(words)}[/]", highlight=False)

    return announce


def bar(done: int, total: int, width: int = 24) -> str:
    """Return a bar in rich's markup, for a step whose end is known."""
    filled = width * min(done, total) // max(1, total)
    return f"[green]{'━' * filled}[/][dim]{'━' * (width - filled)}[/]"


class Steps:
    """Times the steps and tells about each.

    Attributes:
        seconds: Duration of every finished step.
        announce: Who is told.
    """

    def __init__(self, announce: Announce) -> None:
        self.seconds: dict[str, float] = {}
        self.announce = announce

    @contextlib.contextmanager
    def __call__(self, name: str) -> Iterator[list[str]]:
        """Run one step; the words that the block adds to the list are what came out of it."""
        said: list[str] = []
        self.announce(name, None, "")
        start_s = time.perf_counter()
        yield said
        self.seconds[name] = round(time.perf_counter() - start_s, 3)
        self.announce(name, self.seconds[name], ", ".join(said))
