"""Where the page is served: ``:8080``, ``0.0.0.0:8080``, ``[::1]:8080``."""

from __future__ import annotations

import ipaddress
import re
import socket
from contextlib import suppress
from dataclasses import dataclass

from differseg.errors import InputError

LOOPBACK = "127.0.0.1"

_SEND_BUFFER_BYTES = 256 * 1024
"""Of the kernel, per viewer: a large one would hold seconds of old pictures for a slow viewer."""


@dataclass(frozen=True, slots=True)
class Address:
    """A host of this machine and a port.

    Attributes:
        host: Name or IP address, without brackets.
        port: 0 lets the system choose.
    """

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only programs of this machine reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def url(self) -> str:
        """Return where a browser finds it; for all interfaces, by this machine's own address."""
        host = self.host
        if host in ("0.0.0.0", "::"):
            host = _own_address(host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/"

    def listen(self) -> socket.socket:
        """Return a socket that listens here.

        Raises:
            InputError: The port is taken, or the host is not this machine's.
        """
        try:
            found = socket.getaddrinfo(
                self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
        except OSError as error:
            raise InputError(
                f"--preview: '{self.host}' is no address of this machine ({error.strerror}); "
                "expected such as :8080 or 0.0.0.0:8080"
            ) from None
        family, kind, protocol, _, place = found[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # Taken over by every connection that is accepted.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
            listener.bind(place)
            listener.listen(64)
        except OSError as error:
            listener.close()
            raise InputError(
                f"--preview: {self.host}:{self.port} cannot be served ({error.strerror}); choose "
                "another port, or 0 for a free one"
            ) from None
        return listener


def parse_address(text: str) -> Address:
    """Read ``PORT``, ``:PORT`` (both this machine only) or ``HOST:PORT``.

    Raises:
        InputError: It is neither, or the port is out of range.
    """
    match = re.fullmatch(r"(?:(\[[^\[\]]+\]|[^:\[\]]*):)?(\d{1,5})", text.strip())
    if match is None or int(match[2]) > 65535:
        raise InputError(
            f"--preview: expected [HOST]:PORT such as :8080 or 0.0.0.0:8080, got '{text}'"
        )
    return Address((match[1] or "").strip("[]") or LOOPBACK, int(match[2]))


def _own_address(any_host: str) -> str:
    """Return the address under which other machines find this one, as the routes say."""
    family, far = (
        (socket.AF_INET, "192.0.2.1") if any_host == "0.0.0.0" else (socket.AF_INET6, "2001:db8::1")
    )
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((far, 9))  # a datagram socket sends nothing when it connects
        return str(probe.getsockname()[0])
    return socket.gethostname()
