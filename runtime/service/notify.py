"""Tell systemd how a service is: ready, alive, stopping, and one line of status.

The protocol is a datagram of ``NAME=value`` lines to the socket that ``NOTIFY_SOCKET`` names
(sd_notify(3), sd_watchdog_enabled(3) of systemd).  Without systemd every call does nothing.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping

STATUS_EVERY_S = 2.0
"""A status that changes faster than this is not worth a datagram."""

_SEND_TIMEOUT_S = 0.2


class Notifier:
    """A line to the service manager; safe to use from several threads.

    Losing the service manager never ends a run: a datagram that cannot be sent is counted.

    Args:
        address: Path of a datagram socket, ``@name`` for one in Linux's abstract namespace, or
            None where there is no service manager.
        watchdog_s: Time after which the manager takes a silent service for dead; None where it
            does not watch.

    Attributes:
        failed: Datagrams that could not be sent.
    """

    def __init__(self, address: str | None = None, watchdog_s: float | None = None) -> None:
        self.failed = 0
        self.watchdog_s = watchdog_s if address else None
        self._address = "\0" + address[1:] if address and address[0] == "@" else address
        self._socket: socket.socket | None = None
        if address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.settimeout(_SEND_TIMEOUT_S)
        self._beat_s: float | None = None
        self._status: tuple[str, float] | None = None

    @classmethod
    def from_environment(
        cls, environ: Mapping[str, str] = os.environ, pid: int | None = None
    ) -> Notifier:
        """Return the notifier that the environment asks for.

        ``WATCHDOG_PID``, where it is set, names the one process that is watched.

        Args:
            environ: Environment variables.
            pid: Of this process; asked of the system when None.
        """
        address = environ.get("NOTIFY_SOCKET", "")
        if address[:1] not in ("/", "@") or not hasattr(socket, "AF_UNIX"):
            return cls()
        watched = environ.get("WATCHDOG_PID")
        microseconds = environ.get("WATCHDOG_USEC", "")
        own_pid = str(os.getpid() if pid is None else pid)
        if watched not in (None, "", own_pid) or not microseconds.isdecimal():
            return cls(address)
        return cls(address, int(microseconds) / 1e6 or None)

    @property
    def enabled(self) -> bool:
        """Whether there is a service manager to tell."""
        return self._socket is not None

    @property
    def heartbeat_s(self) -> float | None:
        """Seconds between signs of life: half of what the manager allows; None: none wanted."""
        return None if self.watchdog_s is None else self.watchdog_s / 2

    def ready(self, status: str = "") -> None:
        """Say that the service does its work; the units that wait for it are then started."""
        self._send("READY=1", *([f"STATUS={_one_line(status)}"] if status else []))

    def status(self, text: str, now_s: float | None = None) -> None:
        """Say in one line how it goes, at most every ``STATUS_EVERY_S``.

        Args:
            text: For people; shown by ``systemctl status``.
            now_s: Time on a steady clock; the monotonic one when None.
        """
        now_s = time.monotonic() if now_s is None else now_s
        last = self._status
        if last is not None and (last[0] == text or now_s - last[1] < STATUS_EVERY_S):
            return
        self._status = (text, now_s)
        self._send(f"STATUS={_one_line(text)}")

    def heartbeat(self, now_s: float | None = None) -> None:
        """Give a sign of life where one is due; to be called only while there is progress."""
        every_s = self.heartbeat_s
        now_s = time.monotonic() if now_s is None else now_s
        if every_s is None or (self._beat_s is not None and now_s - self._beat_s < every_s):
            return
        self._beat_s = now_s
        self._send("WATCHDOG=1")

    def stopping(self, status: str = "") -> None:
        """Say that the service is about to end."""
        self._send("STOPPING=1", *([f"STATUS={_one_line(status)}"] if status else []))

    def close(self) -> None:
        """Close the socket; harmless when called twice."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, *lines: str) -> None:
        if self._socket is None or self._address is None:
            return
        try:
            self._socket.sendto("\n".join(lines).encode(), self._address)
        except OSError:
            self.failed += 1


def _one_line(text: str) -> str:
    return " ".join(text.split())
