"""The page's server: a thread beside the run."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from differseg.errors import InputError, MissingComponentError
from differseg.manifest import ClassSpec
from differseg.runtime.metrics import RunMetrics
from differseg.runtime.preview.access import Gate
from differseg.runtime.preview.address import Address, parse_address
from differseg.runtime.preview.app import Answers, make_app
from differseg.runtime.preview.exposition import exposition
from differseg.runtime.preview.history import StageHistory
from differseg.runtime.preview.hub import PictureHub
from differseg.runtime.preview.pictures import Moment, PictureMaker, snapshot
from differseg.runtime.preview.state import setup_document, state_document
from differseg.runtime.preview.streams import LiveSocket, MjpegStream, Viewers
from differseg.runtime.sinks import FrameResult

if TYPE_CHECKING:
    import uvicorn
    from prometheus_client.core import Metric

START_TIMEOUT_S = 10.0
_MESSAGE_BYTES = 4096
"""Longest message of a page; they are some words."""


class Board(Protocol):
    """The part of :class:`differseg.runtime.power.run_power.RunPower` that the page needs."""

    def metrics(self) -> Iterator[Metric]:
        """Yield what ``/metrics`` says of the machine."""

    def document(self) -> dict[str, Any]:
        """Return the machine's state, ready for JSON; ``lines`` are for people."""


class PreviewServer:
    """Serves a running camera to browsers, video programs and monitors.

    ``publish`` costs the run microseconds whoever looks: it counts the result and swaps one
    reference.  Everything else happens in two threads, one that encodes and one that serves.

    Args:
        address: ``:8080`` (this machine only) or ``0.0.0.0:8080`` (needs a token).
        classes: Of the mask's ids.
        metrics: Counts the results that are published.
        model: Name of the network, for the title.
        token: Secret that viewers must bring; made where None and others reach the address.
        max_side_px: Longer side of the pictures sent; a snapshot has full size.
        board: The machine, for the page and its figures; None leaves it out.

    Attributes:
        url: Where to look, with the token where there is one; a secret then.
        address: Host and port, final after the constructor.

    Raises:
        InputError: The address or the token cannot be used.
        MissingComponentError: A package of the extra ``web`` is not installed.
    """

    def __init__(
        self,
        address: str,
        classes: Sequence[ClassSpec],
        metrics: RunMetrics,
        *,
        model: str = "",
        token: str | None = None,
        max_side_px: int = 960,
        board: Board | None = None,
    ) -> None:
        _check_packages()
        wanted = parse_address(address)
        if max_side_px < 64:
            raise InputError(f"max_side_px: expected 64 or more, got {max_side_px}")
        self._classes, self._metrics, self._model = list(classes), metrics, model
        self._board = board
        self._listener = wanted.listen()
        self.address = Address(wanted.host, self._listener.getsockname()[1])
        self._gate = Gate(self.address, token)
        secret = f"?token={self._gate.token}" if self._gate.token else ""
        self.url = self.address.url() + secret
        self._history, self._viewers = StageHistory(), Viewers()
        self._hub = PictureHub(PictureMaker(self._classes, max_side_px))
        self._snapshots = threading.Lock()
        self._server: uvicorn.Server | None = None
        self._thread = threading.Thread(target=self._serve, name="preview-server", daemon=True)

    def start(self) -> None:
        """Serve from now on.

        Raises:
            InputError: The server does not start.
        """
        self._server = _make_server(
            make_app(
                Answers(
                    lambda: setup_document(self._model, self._classes),
                    self._state,
                    self._exposition,
                    self._snapshot,
                    lambda: self._metrics.report().trouble(),
                ),
                LiveSocket(self._hub, self._viewers),
                MjpegStream(self._hub, self._viewers),
                self._gate,
            )
        )
        self._hub.start()
        self._thread.start()
        end_s = time.monotonic() + START_TIMEOUT_S
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > end_s:
                self.close()
                raise InputError(f"--preview: the server at {self.address.url()} did not start")
            time.sleep(0.005)

    def publish(
        self,
        result: FrameResult,
        rgb: npt.NDArray[np.uint8],
        thermal: npt.NDArray[Any] | None = None,
        mask: npt.NDArray[np.uint8] | None = None,
    ) -> None:
        """Count a result and show it to whoever looks; returns at once.

        Args:
            result: Its own arrays are not looked at.
            rgb: (H, W, 3) uint8 BGR.
            thermal: (H, W) uint8 or uint16, in the RGB view; None without one.
            mask: (H, W) uint8 class ids to be shown (of an older frame for ``hold``); or None.
                The arrays must not change afterwards; they are kept until the next call.
        """
        self._metrics.observe(result)
        self._history.add(result.stage_ms)
        self._hub.publish(Moment(result, rgb, thermal, mask, self._metrics.fps))

    def close(self) -> None:
        """End all streams and the server, within a second; harmless when called twice."""
        self._hub.close()
        server = self._server
        if server is not None and self._thread.is_alive():
            server.should_exit = True
            self._thread.join(0.5)
            server.force_exit = True
            self._thread.join(0.4)
        self._listener.close()

    def _serve(self) -> None:
        assert self._server is not None
        try:
            self._server.run(sockets=[self._listener])
        except Exception as error:  # the run goes on without its page
            logging.getLogger("differseg.runtime").error("preview: the server ended: %s", error)

    def _exposition(self) -> bytes:
        report, board = self._metrics.report(), self._board
        more = () if board is None else board.metrics()
        return exposition(report, self._model, self._viewers.count, more)

    def _state(self) -> dict[str, Any]:
        return state_document(
            self._metrics.report(),
            self._history,
            viewers=self._viewers.count,
            encode_ms=self._hub.encode_ms,
            board=None if self._board is None else self._board.document(),
        )

    def _snapshot(self) -> bytes | None:
        moment = self._hub.moment
        if moment is None:
            return None
        state = self._state()
        del state["history"], state["last"]
        with self._snapshots:  # one at a time: each takes a core for a moment
            return snapshot(moment, self._classes, {"model": self._model, "run": state})


def _check_packages() -> None:
    """Refuse to begin without what the page needs.

    Raises:
        MissingComponentError: Names the package and the extra.
    """
    try:
        import prometheus_client  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
        import websockets  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingComponentError(
            f"--preview needs the package '{error.name}', which is not installed; "
            "install it with: pip install 'differseg[web]'"
        ) from None


def _make_server(app: Any) -> uvicorn.Server:
    import uvicorn

    config = uvicorn.Config(
        app,
        loop="asyncio",
        ws="websockets-sansio",
        ws_max_size=_MESSAGE_BYTES,
        ws_max_queue=4,
        ws_per_message_deflate=False,  # pictures do not get smaller
        lifespan="off",
        log_config=None,
        log_level=logging.CRITICAL,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=256,
        timeout_graceful_shutdown=1,
    )
    return uvicorn.Server(config)
