"""One thread per source, which reads frames, hands them on, and opens a lost camera again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

from differseg.errors import DifferSegError, SourceError
from differseg.runtime.health import FrameHealth
from differseg.runtime.sources import Frame, Source
from differseg.runtime.supervision import CameraState, CameraSupervisor, Condition

JOIN_TIMEOUT_S = 2.0
"""How long ``close`` waits for a driver that blocks; its thread is then left as a daemon."""

_POLL_S = 0.05
_RATE_WEIGHT = 0.1


class Capture:
    """Reads one open source in a thread of its own.

    A live source that ``reopens`` and fails, or gives nothing for 3 s, is closed and opened again
    until it gives frames; ``supervisor`` says when.  Frames are then numbered on.

    Args:
        source: An open source; ``close`` closes it.
        deliver: Called in the thread with every frame.
        finished: Called in the thread once, when no frame will come any more.
        supervisor: Follows the camera's state; a new one when None.

    Attributes:
        captured: Frames read from the source.
        missed: Frames lost before they were read, from jumps of ``Frame.index``; 0 for sources
            that number frames as they are read.
        health: What the frames of a live source look like.
        supervisor: State, events and counts of the camera.
        error: Why the source failed last; None while it works or when it has merely ended.
        done: Whether the source has ended, or failed for good.
        on_frame: Called in the thread with every frame before it is delivered, for a recorder;
            must not block.  Set before ``start``.
        change: Called in the thread after that; gives the frame that is delivered in its place.
            Set before ``start``.
    """

    def __init__(
        self,
        source: Source,
        deliver: Callable[[Frame], None],
        finished: Callable[[], None],
        supervisor: CameraSupervisor | None = None,
    ) -> None:
        self.source = source
        self.captured = 0
        self.missed = 0
        self.health = FrameHealth(shutter=source.modality == "thermal")
        self.supervisor = supervisor or CameraSupervisor(source.modality)
        self.error: DifferSegError | None = None
        self.done = False
        self.on_frame: Callable[[Frame], None] | None = None
        self.change: Callable[[Frame], Frame] | None = None
        self._deliver = deliver
        self._finished = finished
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._left_behind = False
        self._interrupted = False
        self._interval_s: float | None = None
        self._last: tuple[int, float] | None = None
        self._next_index = 0
        self._shift: int | None = 0
        self._arrived_s = time.monotonic()
        self._thread = threading.Thread(
            target=self._run, name=f"capture-{source.modality}", daemon=True
        )

    def start(self) -> None:
        """Start reading."""
        self._arrived_s = time.monotonic()
        self._note_opened()
        self._thread.start()

    @property
    def silent_s(self) -> float:
        """Seconds since the last frame arrived, or since the start."""
        return time.monotonic() - self._arrived_s

    @property
    def fps(self) -> float | None:
        """Measured frame rate in Hz, smoothed; None before the second frame."""
        return 1.0 / self._interval_s if self._interval_s else None

    def check(self) -> CameraState:
        """Return the camera's state now; a source that is silent too long is interrupted."""
        if not self.source.live:
            # A recording waits until it is asked.
            return self.supervisor.state
        now_s = time.monotonic()
        if self.source.reopens and not self._interrupted and self.supervisor.overdue(now_s):
            self._interrupted = True
            self.source.interrupt()
        return self.supervisor.tick(now_s)

    def condition(self) -> Condition:
        """Return what is to be said of the camera now: its state, or how its pictures look."""
        state = self.check()
        if state != "online":
            return state
        if self.health.state != "ok":
            return self.health.state
        return "online" if self.health.pause_s is None else "ffc"

    def stop(self) -> None:
        """Ask the thread to end after the frame in hand."""
        self._stop.set()
        self.source.interrupt()

    def close(self) -> bool:
        """Stop the thread and close the source; ``deliver`` must not block any more.

        Returns:
            False where the driver did not come back within ``JOIN_TIMEOUT_S``; its source is
            then left to the thread, because closing it under a running read can crash the
            process.
        """
        self.stop()
        if self._thread.is_alive():
            self._thread.join(JOIN_TIMEOUT_S)
            with self._lock:
                self._left_behind = not self.done
            if self._left_behind:
                return False
            self._thread.join()
        self.source.close()
        return True

    def _run(self) -> None:
        try:
            while self._read_all() and self._open_again():
                pass
        except Exception as error:  # a mistake in what takes the frames is for the main thread
            self.error = self._in_one_line(error)
            self.supervisor.failed(time.monotonic(), str(self.error))
        finally:
            with self._lock:
                self.done = True
            if self._left_behind:
                self.source.close()
            self._finished()

    def _read_all(self) -> bool:
        """Hand frames on until there are no more; returns whether to open the source again."""
        while not self._stop.is_set():
            frame = self._read()
            if self._stop.is_set():
                return False
            if frame is None:
                if self.error is None:
                    self.supervisor.ended(time.monotonic())
                    return False
                self.supervisor.failed(time.monotonic(), str(self.error))
                return self.source.reopens
            frame = self._note(frame)
            if self.on_frame is not None:
                self.on_frame(frame)
            if self.change is not None:
                frame = self.change(frame)
            self._deliver(frame)
        return False

    def _read(self) -> Frame | None:
        """Return the next frame; None at the end, or where the source failed, with ``error``."""
        source = self.source
        try:
            frame = source.read()
            if frame is None and source.reopens and self.supervisor.overdue(time.monotonic()):
                raise SourceError(f"{source.description}: gave no frame and was given up")
        except Exception as error:  # a driver's surprise too
            self.error = self._in_one_line(error)
        else:
            self.error = None
            return frame
        return None

    def _open_again(self) -> bool:
        """Close the source and open it when the supervisor says; False where a stop came first."""
        source = self.source
        source.close()
        while not self._stop.is_set():
            if not self.supervisor.attempt_due(time.monotonic(), source.presence()):
                self._stop.wait(min(_POLL_S, self.supervisor.wait_s(time.monotonic())))
                continue
            try:
                source.open()
            except Exception as error:
                self.error = self._in_one_line(error)
                source.close()
                self.supervisor.attempt_failed(time.monotonic())
                continue
            self.health.restart()
            self._last, self._shift = None, None
            self._note_opened()
            return not self._stop.is_set()
        return False

    def _in_one_line(self, error: Exception) -> DifferSegError:
        if isinstance(error, DifferSegError):
            return error
        return SourceError(f"{self.source.description}: {error or type(error).__name__}")

    def _note_opened(self) -> None:
        source = self.source
        self._interrupted = False
        self.supervisor.opened(time.monotonic(), fps=source.fps, presence=source.presence())

    def _note(self, frame: Frame) -> Frame:
        """Count a frame and look at it; returns it, numbered on from before a reopening."""
        if self._shift is None:
            self._shift = self._next_index - frame.index
        if self._shift:
            frame = replace(frame, index=frame.index + self._shift)
        self._next_index = frame.index + 1
        last, self._last = self._last, (frame.index, frame.timestamp_s)
        self.captured += 1
        self._arrived_s = time.monotonic()
        if self.source.live:
            look = self.health.update(frame.image, frame.timestamp_s)
            self.supervisor.frame(self._arrived_s, look, self.health.pause_s)
        if last is not None:
            self.missed += max(0, frame.index - last[0] - 1)
            interval_s = frame.timestamp_s - last[1]
            if interval_s > 0:
                old_s = self._interval_s or interval_s
                self._interval_s = old_s + _RATE_WEIGHT * (interval_s - old_s)
        return frame
