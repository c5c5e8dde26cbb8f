"""The newest moment, encoded once for everybody who waits for it.

Pictures are pulled: a viewer asks for what is newer than what it has, and asks again when it has
taken it.  So nobody's queue grows, a slow viewer gets fewer pictures, and nothing is encoded
while nobody waits.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from differseg.runtime.preview.pictures import Layer, Moment, PictureMaker

_LOG = logging.getLogger("differseg.runtime")

MOST_FPS = 30.0
"""Pictures per second at most, however fast the results come."""


class HubClosedError(Exception):
    """There will be no more pictures."""


@dataclass(frozen=True, slots=True)
class Pictures:
    """Layers of one moment.

    Attributes:
        number: Counts the moments, from 1.
        moment: What they show.
        layers: Content of the files; what the moment has not is left out.
    """

    number: int
    moment: Moment
    layers: Mapping[Layer, bytes]


@dataclass(eq=False, slots=True)
class _Viewer:
    """One call of :meth:`PictureHub.next` that waits."""

    future: asyncio.Future[Pictures]
    loop: asyncio.AbstractEventLoop
    seen: int
    layers: frozenset[Layer]


class PictureHub:
    """Encodes in a thread of its own.

    Args:
        maker: Used by the hub's thread alone.
        most_fps: Pictures per second at most.

    Attributes:
        encode_ms: How long the last encoding took; None before the first.
        encoded: Pictures encoded so far, all layers.
    """

    def __init__(self, maker: PictureMaker, most_fps: float = MOST_FPS) -> None:
        self.encode_ms: float | None = None
        self.encoded = 0
        self._maker, self._interval_s = maker, 1.0 / most_fps
        self._changed = threading.Condition()
        self._waiting: set[_Viewer] = set()
        self._moment: Moment | None = None
        self._number = 0
        self._closed = False
        self._made: dict[Layer, bytes] = {}
        self._made_number = 0
        self._due_s = 0.0
        self._said: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="preview-encoder", daemon=True)

    @property
    def moment(self) -> Moment | None:
        """The newest moment."""
        return self._moment

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def publish(self, moment: Moment) -> None:
        """Make a moment the newest; it is kept until the next one."""
        with self._changed:
            if self._closed:
                return
            self._moment = moment
            self._number += 1
            if self._waiting:
                self._changed.notify()

    async def next(self, seen: int, layers: Iterable[Layer]) -> Pictures:
        """Wait for pictures of a moment newer than ``seen``.

        Args:
            seen: Number of the pictures that the viewer has; 0 for none.
            layers: What it wants of them.

        Raises:
            HubClosedError: The hub was closed.
        """
        loop = asyncio.get_running_loop()
        viewer = _Viewer(loop.create_future(), loop, seen, frozenset(layers))
        with self._changed:
            if self._closed:
                raise HubClosedError
            self._waiting.add(viewer)
            self._changed.notify()
        try:
            return await viewer.future
        finally:
            with self._changed:
                self._waiting.discard(viewer)

    def close(self) -> None:
        """End the thread and all waiting; does not wait for an encoding in work."""
        with self._changed:
            self._closed = True
            waiting, self._waiting = list(self._waiting), set()
            self._moment = None
            self._changed.notify_all()
        for viewer in waiting:
            with suppress(RuntimeError):  # its loop has ended
                viewer.loop.call_soon_threadsafe(_refuse, viewer.future)

    def _run(self) -> None:
        while (taken := self._take()) is not None:
            number, moment, viewers = taken
            layers = frozenset[Layer]().union(*(viewer.layers for viewer in viewers))
            pictures = Pictures(number, moment, self._layers(number, moment, layers))
            with suppress(RuntimeError):  # the loop has ended
                viewers[0].loop.call_soon_threadsafe(_resolve, viewers, pictures)
            # Or a frame's buffers would stay in use until the next viewer comes.
            del taken, moment, pictures, viewers

    def _take(self) -> tuple[int, Moment, list[_Viewer]] | None:
        """Wait until somebody wants the newest moment; None when the hub is closed."""
        with self._changed:
            while not self._closed:
                ready = [v for v in self._waiting if v.seen < self._number]
                wait_s = 0.0
                if self._number != self._made_number:
                    wait_s = self._due_s - time.monotonic()
                if ready and wait_s <= 0 and self._moment is not None:
                    self._waiting.difference_update(ready)
                    return self._number, self._moment, ready
                self._changed.wait(wait_s if ready else None)
        return None

    def _layers(
        self, number: int, moment: Moment, wanted: frozenset[Layer]
    ) -> Mapping[Layer, bytes]:
        """Return the layers of a moment, made now or before."""
        if number != self._made_number:
            self._made, self._made_number = {}, number
            self._due_s = time.monotonic() + self._interval_s
        missing = wanted - self._made.keys()
        if missing:
            start_s = time.perf_counter()
            for layer in missing:
                content = self._make(moment, layer)
                if content is not None:
                    self._made[layer] = content
                    self.encoded += 1
            self.encode_ms = (time.perf_counter() - start_s) * 1e3
        return dict(self._made)

    def _make(self, moment: Moment, layer: Layer) -> bytes | None:
        try:
            return self._maker.make(moment, layer)
        except Exception as error:  # a frame that cannot be shown must not end the showing
            text = f"preview: the {layer} picture cannot be made: {error}"
            if layer not in self._said:
                self._said.add(layer)
                _LOG.warning(text)
            return None


def _resolve(viewers: list[_Viewer], pictures: Pictures) -> None:
    for viewer in viewers:
        if not viewer.future.done():
            viewer.future.set_result(pictures)


def _refuse(future: asyncio.Future[Pictures]) -> None:
    if not future.done():
        future.set_exception(HubClosedError())
