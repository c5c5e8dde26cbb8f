"""Who hears what a camera run has to say: nobody, a terminal, or a log."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from differseg.runtime.console import RunConsole, status_text
from differseg.runtime.supervision import CameraEvent

if TYPE_CHECKING:
    from differseg.runtime.service.notify import Notifier
    from differseg.runtime.summary import LiveStatus

_LOG = logging.getLogger("differseg.runtime.run")


class RunListener:
    """Keeps the notes, and tells the status to a function; may be called from any thread.

    Args:
        on_status: Called about four times a second; None for nobody.

    Attributes:
        notes: Automatic choices and warnings, one line each.
    """

    def __init__(self, on_status: Callable[[LiveStatus], None] | None = None) -> None:
        self.notes: list[str] = []
        self._on_status = on_status

    def note(self, text: str) -> None:
        """Take an automatic choice or a warning."""
        self.notes.append(text)

    def event(self, event: CameraEvent) -> None:
        """Take a change of a camera."""

    def page(self, url: str) -> None:
        """Take the address of the web page, which may hold a secret."""

    def status(self, status: LiveStatus) -> None:
        """Take a look at the run."""
        if self._on_status is not None:
            self._on_status(status)


class ConsoleListener(RunListener):
    """Prints to the terminal, and tells the status to the service manager too.

    Args:
        console: Where to print.
        notifier: The service manager.
    """

    def __init__(self, console: RunConsole, notifier: Notifier) -> None:
        super().__init__()
        self._console, self._notifier = console, notifier

    def note(self, text: str) -> None:
        """Keep and print it."""
        super().note(text)
        self._console.note(text)

    def event(self, event: CameraEvent) -> None:
        """Print it."""
        self._console.line(event.text())

    def page(self, url: str) -> None:
        """Print it; it goes nowhere else."""
        self._console.line(f"preview: {url}")

    def status(self, status: LiveStatus) -> None:
        """Renew the status line."""
        self._console.status(status)
        self._notifier.status(status_text(status))


class LogListener(RunListener):
    """Logs, and tells the status to the service manager.

    Args:
        notifier: The service manager.
    """

    def __init__(self, notifier: Notifier) -> None:
        super().__init__()
        self._notifier = notifier

    def note(self, text: str) -> None:
        """Keep and log it."""
        super().note(text)
        _LOG.info(text)

    def event(self, event: CameraEvent) -> None:
        """Log it: a loss as a warning."""
        _LOG.log(logging.WARNING if event.is_loss else logging.INFO, event.text())

    def page(self, url: str) -> None:
        """Log it without the secret; a log is read by others."""
        _LOG.info("preview: %s", url.partition("?")[0])

    def status(self, status: LiveStatus) -> None:
        """Tell the service manager."""
        self._notifier.status(status_text(status))
