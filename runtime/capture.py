"""One thread per source, which reads frames and hands them on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from differseg.errors import DifferSegError, SourceError
from differseg.runtime.health import FrameHealth
from differseg.runtime.sources import Frame, Source

JOIN_TIMEOUT_S = 2.0
"""How long ``close`` waits for a driver that blocks; its thread is then left as a daemon."""

_RATE_WEIGHT = 0.1


class Capture:
    """Reads one open source in a thread of its own.

    Args:
        source: An open source; ``close`` closes it.
        deliver: Called in the thread with every frame.
        finished: Called in the thread once, when the source has ended or failed.

    Attributes:
        captured: Frames read from the source.
        missed: Frames lost before they were read, from jumps of ``Frame.index``; 0 for sources
            that number frames as they are read.
        health: What the frames of a live source look like.
        error: Why the source failed; None while it works or when it has merely ended.
        done: Whether the source has ended or failed.
    """

    def __init__(
        self,
        source: Source,
        deliver: Callable[[Frame], None],
        finished: Callable[[], None],
    ) -> None:
        self.source = source
        self.captured = 0
        self.missed = 0
        self.health = FrameHealth()
        self.error: DifferSegError | None = None
        self.done = False
        self._deliver = deliver
        self._finished = finished
        self._stop = threading.Event()
        self._interval_s: float | None = None
        self._last: tuple[int, float] | None = None
        self._arrived_s = time.monotonic()
        self._thread = threading.Thread(
            target=self._run, name=f"capture-{source.modality}", daemon=True
        )

    def start(self) -> None:
        """Start reading."""
        self._arrived_s = time.monotonic()
        self._thread.start()

    @property
    def silent_s(self) -> float:
        """Seconds since the last frame arrived, or since the start."""
        return time.monotonic() - self._arrived_s

    @property
    def fps(self) -> float | None:
        """Measured frame rate in Hz, smoothed; None before the second frame."""
        return 1.0 / self._interval_s if self._interval_s else None

    def stop(self) -> None:
        """Ask the thread to end after the frame in hand."""
        self._stop.set()
        self.source.interrupt()

    def close(self) -> bool:
        """Stop the thread and close the source; ``deliver`` must not block any more.

        Returns:
            False where the driver did not come back within ``JOIN_TIMEOUT_S``; its source is
            then left open, because closing it under a running read can crash the process.
        """
        self.stop()
        if self._thread.is_alive():
            self._thread.join(JOIN_TIMEOUT_S)
            if self._thread.is_alive():
                return False
        self.source.close()
        return True

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                frame = self.source.read()
                if frame is None or self._stop.is_set():
                    break
                self._note(frame)
                self._deliver(frame)
        except DifferSegError as error:
            self.error = error
        except Exception as error:  # a driver's surprise must reach the main thread
            self.error = SourceError(f"{self.source.description}: {error or type(error).__name__}")
        finally:
            self.done = True
            self._finished()

    def _note(self, frame: Frame) -> None:
        last, self._last = self._last, (frame.index, frame.timestamp_s)
        self.captured += 1
        self._arrived_s = time.monotonic()
        if self.source.live:
            self.health.update(frame.image, frame.timestamp_s)
        if last is None:
            return
        self.missed += max(0, frame.index - last[0] - 1)
        interval_s = frame.timestamp_s - last[1]
        if interval_s > 0:
            old_s = self._interval_s or interval_s
            self._interval_s = old_s + _RATE_WEIGHT * (interval_s - old_s)
