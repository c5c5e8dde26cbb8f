"""From deliveries to frames that the network computes, one ahead where the engine allows it.

An engine with two slots (TensorRT) computes one frame while the next is brought into view and
prepared, in a thread of its own.  A frame that is taken early would be old when its turn comes, so
the thread takes the newest just in time: as long before the engine will be free as preparing
usually takes.  Other engines take one frame after the other, without a thread.
"""

from __future__ import annotations

import math
import queue
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable

from differseg.runtime.deadline import Deadline
from differseg.runtime.feed import Delivery, Feed
from differseg.runtime.processor import FrameProcessor, UnderWay
from differseg.runtime.service.watchdog import ProgressWatch

Check = Callable[[Delivery], "str | None"]

_POLL_S = 0.05
_MARGIN_S = 0.001
_WEIGHT = 0.2


class Intake(ABC):
    """Takes deliveries from the feed and begins with them.

    Args:
        feed: Gives deliveries.
        processor: Begins with them.
        deadline: Says which come too late; they are counted as ``too_late``.
        check: Says why the run ends before a delivery, or None; may raise.
        watch: Told that a result is owed for what is begun.

    Attributes:
        end: Why the run ends before the next delivery, from ``check``; None while it goes on.
    """

    def __init__(
        self,
        feed: Feed,
        processor: FrameProcessor,
        deadline: Deadline,
        check: Check,
        watch: ProgressWatch,
    ) -> None:
        self.end: str | None = None
        self._feed, self._processor, self._watch = feed, processor, watch
        self._deadline, self._check = deadline, check
        self._prepare_s = 0.0

    def start(self) -> None:  # noqa: B027 - without a thread there is nothing to start
        """Start; the feed must have been started."""

    @abstractmethod
    def take(self, timeout_s: float) -> UnderWay | None:
        """Return what was begun next, or None where nothing was in time or ever will.

        Raises:
            DifferSegError: The feed failed, or a frame cannot be taken.
        """

    @property
    @abstractmethod
    def ended(self) -> bool:
        """Whether nothing will ever come again."""

    def done(self) -> None:  # noqa: B027 - one slot needs no account
        """Note that the frame that was begun first has ended."""

    def close(self) -> None:  # noqa: B027 - without a thread there is nothing to stop
        """Stop; what was begun is ended and counted as dropped at the stop."""

    def _begin(self, timeout_s: float) -> UnderWay | None:
        """Take a delivery and begin with it; None where there is none, or none worth it."""
        delivery = self._feed.take(timeout_s)
        if delivery is None:
            return None
        self.end = self._check(delivery)
        if self.end is not None:
            self._feed.drops["at_stop"] += 1
            return None
        if self._feed.rgb.source.live:
            age_ms = (time.monotonic() - delivery.pair.rgb.timestamp_s) * 1e3
            if self._deadline.too_late(age_ms):
                self._feed.drops["too_late"] += 1
                return None
        start_s = time.monotonic()
        self._watch.taken()
        under_way = self._processor.begin(delivery)
        self._prepare_s = time.monotonic() - start_s
        return under_way


class SerialIntake(Intake):
    """One frame after the other, in the caller's thread."""

    def take(self, timeout_s: float) -> UnderWay | None:
        """Begin with the next delivery."""
        return self._begin(timeout_s)

    @property
    def ended(self) -> bool:
        """Whether the feed has ended."""
        return self.end is not None or self._feed.ended


class EngineClock:
    """When the engine will have room, from how long it took before; may be asked from any thread.

    All times are in seconds on one clock.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting_s: deque[float] = deque()
        self._ended_s = -math.inf
        self._engine_s = self._prepare_s = 0.0

    def begun(self, now_s: float, prepare_s: float) -> None:
        """Note that a frame was begun now, and what preparing it took."""
        with self._lock:
            self._waiting_s.append(now_s)
            self._prepare_s = _smoothed(self._prepare_s, prepare_s)

    def ended(self, now_s: float) -> None:
        """Note that the frame that was begun first has ended now."""
        with self._lock:
            since_s = max(self._waiting_s.popleft(), self._ended_s)
            self._engine_s = _smoothed(self._engine_s, now_s - since_s)
            self._ended_s = now_s

    def prepare_at_s(self) -> float:
        """Return when to begin with preparing, so that the frame is ready when the engine is."""
        with self._lock:
            if not self._waiting_s:
                return -math.inf
            since_s = max(self._waiting_s[0], self._ended_s)
            busy_s = len(self._waiting_s) * self._engine_s
            return since_s + busy_s - self._prepare_s - _MARGIN_S


def _smoothed(old: float, new: float) -> float:
    return old + _WEIGHT * (new - old) if old else new


class AheadIntake(Intake):
    """A thread that begins with the next frame while the engine computes one.

    Args:
        feed, processor, deadline, check, watch: As :class:`Intake`.
        slots: How many frames the engine has room for.
    """

    def __init__(
        self,
        feed: Feed,
        processor: FrameProcessor,
        deadline: Deadline,
        check: Check,
        watch: ProgressWatch,
        slots: int,
    ) -> None:
        super().__init__(feed, processor, deadline, check, watch)
        self._clock = EngineClock()
        self._free = threading.Semaphore(slots)
        self._begun: queue.Queue[UnderWay | None] = queue.Queue()  # None: nothing will follow
        self._error: BaseException | None = None
        self._over = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="intake", daemon=True)

    def start(self) -> None:
        """Start the thread; the feed must have been started."""
        self._thread.start()

    def take(self, timeout_s: float) -> UnderWay | None:
        """Return what the thread began next."""
        if self._over:
            return None
        try:
            under_way = self._begun.get(timeout=timeout_s)
        except queue.Empty:
            return None
        self._over = under_way is None
        if self._over and self._error is not None:
            raise self._error
        return under_way

    @property
    def ended(self) -> bool:
        """Whether the thread has ended and everything was taken."""
        return self._over

    def done(self) -> None:
        """Give the slot back."""
        self._clock.ended(time.monotonic())
        self._free.release()

    def close(self) -> None:
        """Stop the thread; what it began is ended, so that the engine is idle."""
        self._stop.set()
        self._thread.join()
        while not self._begun.empty():
            under_way = self._begun.get()
            if under_way is not None:
                self._processor.discard(under_way)
                self._feed.drops["at_stop"] += 1

    def _run(self) -> None:
        try:
            while not self._stop.is_set() and self.end is None and not self._feed.ended:
                if self._free.acquire(timeout=_POLL_S) and not self._begin_next():
                    self._free.release()
        except BaseException as error:
            self._error = error
        self._begun.put(None)

    def _begin_next(self) -> bool:
        """Begin with a delivery as soon as it is time; False where there is none."""
        if self._feed.rgb.source.live:
            self._stop.wait(max(0.0, self._clock.prepare_at_s() - time.monotonic()))
        under_way = self._begin(_POLL_S)
        if under_way is None:
            return False
        self._clock.begun(time.monotonic(), self._prepare_s)
        self._begun.put(under_way)
        return True
