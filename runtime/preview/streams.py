"""The two ways in which pictures go to viewers: a web socket for the page, MJPEG for the rest."""

from __future__ import annotations

import asyncio
import json
import struct
import time
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from differseg.runtime.preview.hub import HubClosedError, PictureHub, Pictures
from differseg.runtime.preview.pictures import LAYERS, MEDIA_TYPES, Layer

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send
    from starlette.websockets import WebSocket

MOST_VIEWERS = 32
"""Open streams; one more is refused."""

IN_FLIGHT = 2
"""Pictures on their way to a page that it has not asked beyond; hides the network's delay."""

PATIENCE_S = 30.0
"""A viewer that takes nothing for this long is let go."""

_VIEWS: dict[str, Layer] = {"overlay": "overlay", "rgb": "rgb", "thermal": "thermal"}
_TRY_AGAIN_LATER = 1013
_GOING_AWAY = 1001


class TooManyViewersError(Exception):
    """All places are taken."""


class Viewers:
    """Counts open streams; used from the server's loop alone."""

    def __init__(self) -> None:
        self.count = 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """Take a place.

        Raises:
            TooManyViewersError: All are taken.
        """
        if self.count >= MOST_VIEWERS:
            raise TooManyViewersError
        self.count += 1
        try:
            yield
        finally:
            self.count -= 1


class LiveSocket:
    """Sends pictures over web sockets: each is one binary message.

    A message is the length of its header (uint32, little endian), the header in JSON (``number``,
    ``result``, and ``layers``: name, type and size of each), then the files one after another.
    The page answers every message with ``next`` and the layers that it wants; pictures are sent
    only as answers, so a page gets as many as it can show.

    Args:
        hub: Where the pictures come from.
        viewers: Counts the open ones.
    """

    def __init__(self, hub: PictureHub, viewers: Viewers) -> None:
        self._hub, self._viewers = hub, viewers
        self._built: dict[frozenset[Layer], bytes] = {}
        self._built_number = 0

    async def __call__(self, socket: WebSocket) -> None:
        """Serve one web socket."""
        try:
            with self._viewers.one():
                await socket.accept()
                answers: asyncio.Queue[frozenset[Layer]] = asyncio.Queue(IN_FLIGHT)
                patience = _Patience()
                await _first(
                    self._listen(socket, answers, patience),
                    self._send(socket, answers),
                    patience.lost(),
                )
        except TooManyViewersError:
            await socket.close(_TRY_AGAIN_LATER)
        except HubClosedError:
            with suppress(Exception):
                await socket.close(_GOING_AWAY)

    @staticmethod
    async def _listen(
        socket: WebSocket, answers: asyncio.Queue[frozenset[Layer]], patience: _Patience
    ) -> None:
        """Read answers until the page goes; more than it may give are ignored."""
        while True:
            patience.begin()
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            words = (message.get("text") or "").split()
            if words[:1] == ["next"]:
                wanted = frozenset(layer for layer in LAYERS if layer in words)
                with suppress(asyncio.QueueFull):
                    answers.put_nowait(wanted)

    async def _send(self, socket: WebSocket, answers: asyncio.Queue[frozenset[Layer]]) -> None:
        seen = 0
        while True:
            wanted = await answers.get()
            pictures = await self._hub.next(seen, wanted)
            seen = pictures.number
            await socket.send_bytes(self._message(pictures, wanted))

    def _message(self, pictures: Pictures, wanted: frozenset[Layer]) -> bytes:
        """Return the message of these pictures, built once for all who want the same."""
        if pictures.number != self._built_number:
            self._built, self._built_number = {}, pictures.number
        if wanted not in self._built:
            self._built[wanted] = live_message(pictures, wanted)
        return self._built[wanted]


def live_message(pictures: Pictures, wanted: frozenset[Layer]) -> bytes:
    """Return header length, header and files, see :class:`LiveSocket`."""
    files = [
        (layer, pictures.layers[layer])
        for layer in LAYERS
        if layer in wanted and layer in pictures.layers
    ]
    header = {
        "number": pictures.number,
        "result": pictures.moment.result.document(),
        "layers": [
            {"name": layer, "type": MEDIA_TYPES[layer], "size": len(content)}
            for layer, content in files
        ],
    }
    text = json.dumps(header).encode()
    return b"".join([struct.pack("<I", len(text)), text, *(content for _, content in files)])


class MjpegStream:
    """Answers with an endless ``multipart/x-mixed-replace`` of JPEG pictures.

    Args:
        hub: Where the pictures come from.
        viewers: Counts the open ones.
    """

    def __init__(self, hub: PictureHub, viewers: Viewers) -> None:
        self._hub, self._viewers = hub, viewers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; ``?view=`` is ``overlay`` (default), ``rgb`` or ``thermal``."""
        from starlette.requests import Request
        from starlette.responses import PlainTextResponse

        view = _VIEWS.get(Request(scope).query_params.get("view", "overlay"))
        if view is None:
            refusal = PlainTextResponse("view: expected overlay, rgb or thermal\n", 400)
            return await refusal(scope, receive, send)
        try:
            with self._viewers.one():
                patience = _Patience()
                await _first(
                    _until_gone(receive), self._parts(send, view, patience), patience.lost()
                )
        except TooManyViewersError:
            refusal = PlainTextResponse(f"{MOST_VIEWERS} viewers are here already\n", 503)
            await refusal(scope, receive, send)
        except HubClosedError:
            await send({"type": "http.response.body", "body": b"--frame--\r\n"})

    async def _parts(self, send: Send, view: Layer, patience: _Patience) -> None:
        kind = b"multipart/x-mixed-replace; boundary=frame"
        headers = [(b"content-type", kind), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        seen = 0
        while True:
            pictures = await self._hub.next(seen, [view])
            seen = pictures.number
            content = pictures.layers.get(view)
            if content is None:
                continue
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(content)}\r\n\r\n"
            body = b"".join([head.encode(), content, b"\r\n"])
            patience.begin()
            await send({"type": "http.response.body", "body": body, "more_body": True})
            patience.end()


class _Patience:
    """Notices a viewer that gives no sign for ``PATIENCE_S``.

    Not ``asyncio.wait_for``: before Python 3.12 it loses a cancellation that comes together with
    the result, and the call would go on for ever.
    """

    def __init__(self) -> None:
        self._since_s: float | None = None

    def begin(self) -> None:
        """Wait for a sign from now on."""
        self._since_s = time.monotonic()

    def end(self) -> None:
        """The sign came, and none is expected now."""
        self._since_s = None

    async def lost(self) -> None:
        """Return when patience is at an end."""
        while self._since_s is None or time.monotonic() - self._since_s < PATIENCE_S:
            await asyncio.sleep(PATIENCE_S / 30)


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _first(*calls: Awaitable[Any]) -> None:
    """Run calls together until one ends; the others are cancelled, and its error is raised."""
    tasks = [asyncio.ensure_future(call) for call in calls]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
