"""Whether a device node or a server is there, asked cheaply while a lost camera is waited for."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Hashable
from urllib.parse import urlsplit

_TIMEOUT_S = 0.2
_EVERY_S = 0.5
_PORTS = {"rtsp": 554, "rtsps": 322, "rtmp": 1935, "http": 80, "https": 443}
_DEVICE = re.compile(r"\bdevice=\"?(/dev/[^\s\"]+)")
_ADDRESS = re.compile(r"\b(?:rtsps?|rtmp|https?|tcp)://[^\s\"]+", re.IGNORECASE)


def device_presence(path: str) -> Hashable | None:
    """Return what tells a device node from its successor; None where there is none.

    A node that is made anew, or given to a group by udev a moment later, has another value.
    """
    try:
        node = os.stat(path)
    except OSError:
        return None
    return node.st_rdev, node.st_ino, node.st_ctime_ns


class ServerPresence:
    """Asks whether a server takes connections, at most twice a second.

    Names are looked up while the server is read from, not while it is away: that can take long.

    Args:
        address: Such as ``rtsp://host:8554/live``; of ``udp://`` nothing can be known.
    """

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        try:
            port = parts.port or _PORTS.get(parts.scheme.lower())
        except ValueError:
            port = None
        known = parts.hostname and port and parts.scheme.lower() != "udp"
        self._server = (parts.hostname or "", port or 0) if known else None
        self._place = self._look_up(socket.AI_NUMERICHOST)
        self._asked_s = float("-inf")
        self._there = True

    def ask(self) -> Hashable | None:
        """Return ``up``, ``unknown``, or None where nobody listens."""
        if self._place is None:
            return "unknown"
        if time.monotonic() - self._asked_s >= _EVERY_S:
            try:
                socket.create_connection(self._place, _TIMEOUT_S).close()
                self._there = True
            except OSError:
                self._there = False
            self._asked_s = time.monotonic()
        return "up" if self._there else None

    def seen(self) -> Hashable:
        """Return the answer for a server that is being read from, without asking it."""
        self._place = self._place or self._look_up(0)
        return "unknown" if self._place is None else "up"

    def _look_up(self, flags: int) -> tuple[str, int] | None:
        """Return the numbers of the server, or None."""
        if self._server is None:
            return None
        try:
            found = socket.getaddrinfo(*self._server, type=socket.SOCK_STREAM, flags=flags)
        except (OSError, UnicodeError):
            return None
        return str(found[0][4][0]), self._server[1]


def device_in(pipeline: str) -> str | None:
    """Return the device node that a GStreamer text names, or None."""
    found = _DEVICE.search(pipeline)
    return found[1] if found else None


def address_in(pipeline: str) -> str | None:
    """Return the address that a GStreamer text names, or None."""
    found = _ADDRESS.search(pipeline)
    return found[0] if found else None
