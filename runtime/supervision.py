"""Whether a camera is there: states, reconnect attempts and their times; pure logic, no clock.

    online ---- no frame for 1 s ----> stale ---- none for 3 s ----> offline
       ^                                 |                              |
       +------------ a frame ------------+------- a frame --------------+

A source that fails is offline at once.  Every method takes the time, so that a test may drive it,
and none of them waits.  A state that was due before anybody looked is dated to when it was due.
"""

from __future__ import annotations

import random
import threading
from collections import Counter, deque
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Literal

from differseg.runtime.health import Health

CameraState = Literal["online", "stale", "offline", "ended"]

Condition = Literal["online", "stale", "offline", "ended", "black", "frozen", "nan", "ffc"]
"""A camera's state or, while it is online, how its pictures look where that is not as usual;
``ffc``: the last frame ended the pause of a shutter correction."""

STALE_AFTER_S = 1.0
"""A camera that gave no frame for longer is stale; the longest pause of a shutter correction."""
OFFLINE_AFTER_S = 3.0

ATTEMPTS_AFTER_S = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Waits before the attempts to open a camera again; the last one goes on for ever."""
JITTER = 0.2
"""Part of a wait by which it differs at random, so that two cameras do not ask in step."""

_RETRY_S = 0.25
"""Shortest wait between two attempts where the device changes all the time."""
_STALE_PERIODS, _OFFLINE_PERIODS = 3.0, 6.0
_EVENTS = 200


@dataclass(frozen=True, slots=True)
class CameraEvent:
    """One change of a camera.

    Attributes:
        time_s: When, on the monotonic clock.
        camera: ``rgb`` or ``thermal``.
        before: State before (``online``, ``stale``, ``offline``), or look of its pictures before
            (``ok``, ``black``, ``frozen``, ``nan``, ``ffc``).
        after: The same, after.
        reason: In words.
    """

    time_s: float
    camera: str
    before: str
    after: str
    reason: str

    @property
    def is_loss(self) -> bool:
        """Whether the camera is worse off than before."""
        return self.after not in ("online", "ok", "ffc", "ended")

    def text(self) -> str:
        """Return one line, such as ``thermal: online -> offline (no frame for 3 s)``."""
        return f"{self.camera}: {self.before} -> {self.after} ({self.reason})"


class CameraSupervisor:
    """Follows one camera by what its reader says; may be asked from any thread.

    Args:
        camera: Name in the events.
        rng: Decides the jitter of the attempts; a test gives one with a seed.

    Attributes:
        events: The last 200 changes, oldest first.
        counts: How often since the start, by word: ``stale``, ``offline``, ``returns`` (frames
            that ended either), ``attempts`` to open it again, ``black``, ``frozen``, ``nan``
            (times that it began), ``ffc`` (shutter pauses).
    """

    def __init__(self, camera: str, rng: random.Random | None = None) -> None:
        self.events: deque[CameraEvent] = deque(maxlen=_EVENTS)
        self.counts: Counter[str] = Counter()
        self._camera = camera
        self._rng = rng or random.Random()
        self._lock = threading.RLock()
        self._state: CameraState = "online"
        self._look: str = "ok"
        self._open = False
        self._heard_s = 0.0  # the last frame, or the opening after it
        self._frame_s: float | None = None  # the last frame, or the first opening
        self._stale_after_s, self._offline_after_s = STALE_AFTER_S, OFFLINE_AFTER_S
        self._presence: Hashable | None = None
        self._tries = 0
        self._tried_s: float | None = None
        self._next_s = 0.0

    @property
    def state(self) -> CameraState:
        """The state when somebody looked last."""
        return self._state

    def opened(
        self, now_s: float, *, fps: float | None = None, presence: Hashable | None = None
    ) -> None:
        """Note that the source was opened, for the first time or again; frames are to follow.

        Args:
            now_s: Monotonic time.
            fps: Its nominal rate in Hz; a camera slower than 3 Hz gets longer limits.
            presence: What :meth:`Source.presence` says of it.
        """
        with self._lock:
            period_s = 1.0 / fps if fps else 0.0
            self._stale_after_s = max(STALE_AFTER_S, _STALE_PERIODS * period_s)
            self._offline_after_s = max(OFFLINE_AFTER_S, _OFFLINE_PERIODS * period_s)
            self._open, self._heard_s, self._presence = True, now_s, presence
            if self._frame_s is None:
                self._frame_s = now_s

    def frame(self, now_s: float, look: Health = "ok", pause_s: float | None = None) -> None:
        """Note a frame.

        Args:
            now_s: Monotonic time of its arrival.
            look: What :class:`FrameHealth` says of its picture.
            pause_s: Length of the shutter pause that it ended, where it did.
        """
        with self._lock:
            self.tick(now_s)
            returned = self._state != "online"
            if returned:
                self.counts["returns"] += 1
                assert self._frame_s is not None
                self._change(now_s, "online", f"a frame came after {now_s - self._frame_s:.2f} s")
            elif pause_s is not None:
                self.counts["ffc"] += 1
                self._say(now_s, self._look, "ffc", f"shutter pause of {pause_s:.2f} s")
            if look != self._look:
                if look != "ok":
                    self.counts[look] += 1
                self._say(now_s, self._look, look, f"the pictures are {look}")
                self._look = look
            self._heard_s = self._frame_s = now_s
            self._tries, self._tried_s = 0, None

    def tick(self, now_s: float) -> CameraState:
        """Return the state at a time."""
        with self._lock:
            if self._open and self._state in ("online", "stale"):
                silent_s = now_s - self._heard_s
                limits: tuple[tuple[CameraState, float], ...] = (
                    ("stale", self._stale_after_s),
                    ("offline", self._offline_after_s),
                )
                for state, limit_s in limits:
                    if silent_s > limit_s and self._state != state:
                        self.counts[state] += 1
                        self._change(self._heard_s + limit_s, state, f"no frame for {limit_s:g} s")
            return self._state

    def overdue(self, now_s: float) -> bool:
        """Return whether an open source has been silent so long that it counts as failed."""
        with self._lock:
            return self._open and now_s - self._heard_s > self._offline_after_s

    def failed(self, now_s: float, reason: str) -> None:
        """Note that the source failed; the first attempt to open it again follows in 0.5 s."""
        with self._lock:
            self.tick(now_s)
            if self._state != "offline":
                self.counts["offline"] += 1
                self._change(now_s, "offline", reason)
            self._open = False
            self._plan(now_s)

    def ended(self, now_s: float) -> None:
        """Note that the source has come to its end."""
        with self._lock:
            self._open = False
            self._change(now_s, "ended", "the source ended")

    def attempt_due(self, now_s: float, presence: Hashable | None) -> bool:
        """Return whether to try now to open the source again, and count it as tried.

        A device that comes back, or is another than the one that was lost, is tried at once and
        begins the schedule anew.

        Args:
            now_s: Monotonic time.
            presence: What :meth:`Source.presence` says now.
        """
        with self._lock:
            if presence != self._presence:
                self._presence = presence
                if presence is not None:
                    self._tries = 0
                    least_s = now_s if self._tried_s is None else self._tried_s + _RETRY_S
                    self._next_s = min(self._next_s, max(now_s, least_s))
            if now_s < self._next_s:
                return False
            self.counts["attempts"] += 1
            self._tried_s = now_s
            return True

    def attempt_failed(self, now_s: float) -> None:
        """Note that the source could not be opened; the next attempt is later."""
        with self._lock:
            self._plan(now_s)

    def wait_s(self, now_s: float) -> float:
        """Return the seconds until the next attempt."""
        with self._lock:
            return max(0.0, self._next_s - now_s)

    def _plan(self, now_s: float) -> None:
        wait_s = ATTEMPTS_AFTER_S[min(self._tries, len(ATTEMPTS_AFTER_S) - 1)]
        self._tries += 1
        self._next_s = now_s + wait_s * self._rng.uniform(1 - JITTER, 1 + JITTER)

    def _change(self, time_s: float, state: CameraState, reason: str) -> None:
        before, self._state = self._state, state
        self._say(time_s, before, state, reason)

    def _say(self, time_s: float, before: str, after: str, reason: str) -> None:
        self.events.append(CameraEvent(time_s, self._camera, before, after, reason))
