"""The addresses of the page and what they answer."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from collections.abc import Callable
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from differseg.runtime.preview.access import Gate
from differseg.runtime.preview.streams import LiveSocket, MjpegStream

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_STATE_KEPT_S = 0.4
"""Viewers who ask within this time get the same state."""

_HEADERS = {
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
}


class Answers:
    """What the page's addresses answer, as functions of the run.

    Args:
        setup: Returns what does not change, ready for JSON.
        state: Returns the run at this moment, ready for JSON.
        metrics: Returns the page for Prometheus.
        snapshot: Returns a ZIP file of this moment; None before the first result.
        trouble: Returns why the run is not healthy, or None.
    """

    def __init__(
        self,
        setup: Callable[[], dict[str, Any]],
        state: Callable[[], dict[str, Any]],
        metrics: Callable[[], bytes],
        snapshot: Callable[[], bytes | None],
        trouble: Callable[[], str | None],
    ) -> None:
        self.setup, self.state, self.metrics = setup, state, metrics
        self.snapshot, self.trouble = snapshot, trouble


def make_app(answers: Answers, live: LiveSocket, mjpeg: MjpegStream, gate: Gate) -> ASGIApp:
    """Return the application that the server runs.

    Args:
        answers: Of the addresses that are no streams.
        live: The page's web socket.
        mjpeg: The stream of other programs.
        gate: Who may see it.
    """
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.responses import HTMLResponse, PlainTextResponse, Response
    from starlette.routing import Route, WebSocketRoute

    page = files("differseg.runtime.preview").joinpath("page.html").read_text(encoding="utf-8")
    policy = {"content-security-policy": content_policy(page)}
    kept: dict[str, tuple[float, bytes]] = {}

    def json_response(body: bytes) -> Response:
        return Response(body, media_type="application/json")

    async def home(_: Request) -> Response:
        return HTMLResponse(page, headers=policy)

    async def setup(_: Request) -> Response:
        return json_response(json.dumps(answers.setup()).encode())

    async def state(_: Request) -> Response:
        made_s, body = kept.get("state", (0.0, b""))
        if not body or time.monotonic() - made_s > _STATE_KEPT_S:
            body = json.dumps(answers.state()).encode()
            kept["state"] = time.monotonic(), body
        return json_response(body)

    async def metrics(_: Request) -> Response:
        return Response(answers.metrics(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def healthz(_: Request) -> Response:
        trouble = answers.trouble()
        if trouble is not None:
            return PlainTextResponse(f"not healthy: {trouble}\n", 503)
        return PlainTextResponse("ok\n")

    async def snapshot(_: Request) -> Response:
        content = await run_in_threadpool(answers.snapshot)
        if content is None:
            return PlainTextResponse("there is no picture yet\n", 503)
        name = time.strftime("differseg-%Y%m%d-%H%M%S.zip")
        headers = {"content-disposition": f'attachment; filename="{name}"'}
        return Response(content, media_type="application/zip", headers=headers)

    routes = [
        Route("/", home),
        Route("/api/setup", setup),
        Route("/api/state", state),
        Route("/api/snapshot.zip", snapshot),
        Route("/metrics", metrics),
        Route("/healthz", healthz),
        Route("/stream.mjpg", mjpeg, methods=["GET"]),
        WebSocketRoute("/live", live.__call__),
    ]
    return _Guarded(Starlette(routes=routes), gate)


def content_policy(page: str) -> str:
    """Return the Content-Security-Policy that admits the page's own script and style alone."""
    hashes = {}
    for tag in ("script", "style"):
        found = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digests = [base64.b64encode(hashlib.sha256(t.encode()).digest()).decode() for t in found]
        hashes[tag] = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {hashes['script']}; style-src {hashes['style']}; "
        "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )


class _Guarded:
    """Lets requests through that the gate admits, and adds headers to every answer."""

    def __init__(self, app: ASGIApp, gate: Gate) -> None:
        self._app, self._gate = app, gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        from starlette.requests import Request
        from starlette.responses import PlainTextResponse, RedirectResponse

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                names = {name for name, _ in message["headers"]}
                message["headers"] = list(message["headers"]) + [
                    (name.encode(), value.encode())
                    for name, value in _HEADERS.items()
                    if name.encode() not in names
                ]
            await send(message)

        request = Request(scope)
        verdict = self._gate.judge(request.headers, request.query_params.get("token"))
        app: ASGIApp = self._app
        if verdict.status != 200:
            app = PlainTextResponse(f"{verdict.text}\n", verdict.status)
        elif verdict.by_query and request.url.path == "/":
            # The secret leaves the address bar, and with it histories and screenshots.
            app = RedirectResponse("/", 303, headers={"set-cookie": self._gate.set_cookie()})
        await app(scope, receive, with_headers)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        from starlette.datastructures import Headers, QueryParams

        token = QueryParams(scope["query_string"]).get("token")
        verdict = self._gate.judge(Headers(scope=scope), token)
        if verdict.status == 200:
            await self._app(scope, receive, send)
        else:
            await receive()
            await send({"type": "websocket.close", "code": 1008})
