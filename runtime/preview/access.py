"""Who may see the page: host names, origins, and a token where others can reach it.

A page of another site must not read the cameras through the viewer's own browser.  Against a
name that is made to point here (DNS rebinding) the Host header is checked; against a web socket
that another page opens, the Origin header.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from differseg.errors import InputError
from differseg.runtime.preview.address import Address

LEAST_TOKEN = 16
"""Least length of a token that is given; a generated one has 32 characters."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do with a request.

    Attributes:
        status: 200, or the HTTP status of the refusal.
        text: One line for the refused; empty where it is admitted.
        by_query: The token came with the address.
    """

    status: int
    text: str = ""
    by_query: bool = False


def new_token() -> str:
    """Return a secret that cannot be guessed: 32 characters."""
    return secrets.token_urlsafe(24)


class Gate:
    """Admits requests.

    Args:
        address: Where the page is served, with its final port.
        token: Secret that every request must bring; generated where None and other machines
            reach the address; nobody needs one on a loopback address, unless it is given.

    Attributes:
        token: The secret, or None.
        cookie: Name of the cookie that carries it.
    """

    def __init__(self, address: Address, token: str | None = None) -> None:
        if token is not None and (len(token) < LEAST_TOKEN or not token.isascii()):
            raise InputError(
                f"the preview's token must have at least {LEAST_TOKEN} ASCII characters, got "
                f"{len(token)}; leave it out to have one made"
            )
        if token is None and not address.is_loopback:
            token = new_token()
        self.token = token
        # Cookies of one host are shared by all its ports.
        self.cookie = f"differseg_{address.port}"
        self._loopback = address.is_loopback
        own = socket.gethostname().lower()
        self._names = {"localhost"}
        if not self._loopback:
            self._names |= {own, f"{own.partition('.')[0]}.local", address.host.lower()}

    def judge(self, headers: Mapping[str, str], query_token: str | None) -> Verdict:
        """Return what to do with a request.

        Args:
            headers: By lower-case name.
            query_token: ``token`` of the address, where there is one.
        """
        host = headers.get("host", "")
        if not self._knows(host):
            return Verdict(421, "this host name is not served here; use the machine's IP address")
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return Verdict(403, "another site's page may not read the cameras")
        if self.token is None:
            return Verdict(200)
        if query_token is not None and self._is_token(query_token):
            return Verdict(200, by_query=True)
        bearer = headers.get("authorization", "")
        if bearer.startswith("Bearer ") and self._is_token(bearer[len("Bearer ") :]):
            return Verdict(200)
        if self._is_token(self._cookie_of(headers.get("cookie", ""))):
            return Verdict(200)
        return Verdict(401, "open the address with ?token=... that the run printed at its start")

    def set_cookie(self) -> str:
        """Return the header that lets a browser remember the token until it is closed."""
        return f"{self.cookie}={self.token}; Path=/; HttpOnly; SameSite=Lax"

    def _knows(self, host: str) -> bool:
        try:
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        except ValueError:
            return False
        if name in self._names:
            return True
        try:
            number = ipaddress.ip_address(name)
        except ValueError:
            return False
        # A rebinding page has a name: an address in numbers cannot be one.
        return number.is_loopback or not self._loopback

    def _is_token(self, text: str) -> bool:
        assert self.token is not None
        return hmac.compare_digest(text.encode(), self.token.encode())

    def _cookie_of(self, header: str) -> str:
        try:
            morsel = SimpleCookie(header).get(self.cookie)
        except CookieError:
            return ""
        return "" if morsel is None else morsel.value
