"""One thread per source that puts frames into a slot of one.

Live: a newer frame replaces one that nobody took yet, and the replaced frame is counted.
Recorded: the thread waits until the slot is free, so that every frame arrives in order.
Several captures share one :class:`Signal`, so that their reader can wait for any of them.
"""

from __future__ import annotations

import threading
import time

from differseg.errors import DifferSegError, SourceError
from differseg.runtime.health import FrameHealth
from differseg.runtime.sources import Frame, Source

JOIN_TIMEOUT_S = 2.0
"""How long ``close`` waits for a driver that blocks; its thread is then left as a daemon."""

_RATE_WEIGHT = 0.1


class Signal:
    """Wakes the reader of several captures."""

    def __init__(self) -> None:
        self.condition = threading.Condition()


class Capture:
    """Reads one open source in a thread of its own.

    Args:
        source: An open source; ``close`` closes it.
        signal: Shared with the other captures of the same reader.

    Attributes:
        captured: Frames read from the source.
        replaced: Frames that were replaced in the slot by a newer one (live only).
        missed: Frames lost before they reached this process, from jumps of ``Frame.index``.
        health: What the frames look like (live only).
        error: Why the source failed; None while it works or when it has merely ended.
    """

    def __init__(self, source: Source, signal: Signal) -> None:
        self.source = source
        self.captured = 0
        self.replaced = 0
        self.missed = 0
        self.health = FrameHealth()
        self.error: DifferSegError | None = None
        self._signal = signal
        self._slot: Frame | None = None
        self._finished = False
        self._stop = False
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

    def take(self) -> Frame | None:
        """Return the waiting frame and empty the slot; None where it is empty."""
        with self._signal.condition:
            frame, self._slot = self._slot, None
            if frame is not None:
                self._signal.condition.notify_all()
            return frame

    @property
    def depth(self) -> int:
        """Frames waiting: 0 or 1."""
        return int(self._slot is not None)

    @property
    def ended(self) -> bool:
        """Whether the source has ended or failed and its last frame was taken."""
        with self._signal.condition:
            return self._finished and self._slot is None

    @property
    def silent_s(self) -> float:
        """Seconds since the last frame arrived, or since the start."""
        return time.monotonic() - self._arrived_s

    @property
    def fps(self) -> float | None:
        """Measured frame rate in Hz, smoothed; None before the second frame."""
        return 1.0 / self._interval_s if self._interval_s else None

    def close(self) -> bool:
        """Stop the thread and close the source.

        Returns:
            False where the driver did not come back within ``JOIN_TIMEOUT_S``; its source is
            then left open, because closing it under a running read can crash the process.
        """
        with self._signal.condition:
            self._stop = True
            self._slot = None
            self._signal.condition.notify_all()
        self.source.interrupt()
        if self._thread.is_alive():
            self._thread.join(JOIN_TIMEOUT_S)
            if self._thread.is_alive():
                return False
        self.source.close()
        return True

    def _run(self) -> None:
        try:
            while not self._stop:
                frame = self.source.read()
                if frame is None or self._stop:
                    break
                self._note(frame)
                self._put(frame)
        except DifferSegError as error:
            self.error = error
        except Exception as error:  # a driver's surprise must reach the main thread
            self.error = SourceError(f"{self.source.description}: {error or type(error).__name__}")
        finally:
            with self._signal.condition:
                self._finished = True
                self._signal.condition.notify_all()

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

    def _put(self, frame: Frame) -> None:
        with self._signal.condition:
            if self.source.live:
                self.replaced += self._slot is not None
            else:
                while self._slot is not None and not self._stop:
                    self._signal.condition.wait()
            if not self._stop:
                self._slot = frame
                self._signal.condition.notify_all()
