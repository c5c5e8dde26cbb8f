"""What slows a board down, found from one reading to the next: no clock, no files."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from differseg.runtime.power.reading import BoardReading, Clock, PowerMode

Kind = Literal["over_current", "thermal", "clock_cap"]
"""``over_current``: the supply's limit was reached, for an instant or on average.  ``thermal``: the
kernel or the hardware slows down because it is hot.  ``clock_cap``: a clock's limit lies below that
of the power mode while its unit works."""

KINDS: tuple[Kind, ...] = get_args(Kind)

HOLD_S = 5.0
"""What comes back within this time is one event; a device at its trip point goes on and off."""

_CAP_MARGIN = 0.97
_CAP_SAMPLES = 2
_SETTLE_S = 5.0
_WORKING = 0.2
_KEPT = 32


@dataclass(frozen=True, slots=True)
class ThrottleEvent:
    """The board began to throttle for one reason.

    Attributes:
        time_s: When it was seen, on the monotonic clock.
        kind: Which kind of reason.
        what: The counter, cooling device or clock.
        reason: For people.
    """

    time_s: float
    kind: Kind
    what: str
    reason: str

    def document(self) -> dict[str, Any]:
        """Return the event, ready for ``json.dumps``."""
        return {
            "event": "throttle",
            "time_s": round(self.time_s, 3),
            "kind": self.kind,
            "what": self.what,
            "reason": self.reason,
        }


class ThrottleWatch:
    """Finds throttling in a row of readings.

    Attributes:
        active: What throttles now, oldest first.
        recent: The last 32 events, oldest first.
        counts: Kind -> events so far.
    """

    def __init__(self) -> None:
        self.active: tuple[ThrottleEvent, ...] = ()
        self.recent: deque[ThrottleEvent] = deque(maxlen=_KEPT)
        self.counts: Counter[Kind] = Counter()
        self._began: dict[tuple[Kind, str], ThrottleEvent] = {}
        self._seen_s: dict[tuple[Kind, str], float] = {}
        self._counters: dict[str, int] = {}
        self._mode: PowerMode | None = None
        self._mode_s = 0.0
        self._most_hz: dict[str, float] = {}
        self._capped: Counter[str] = Counter()

    def update(self, reading: BoardReading) -> tuple[ThrottleEvent, ...]:
        """Take the next reading; returns the events that began with it."""
        now_s = reading.time_s
        found = {
            **self._counted(reading.counters),
            **_cooled(reading.cooling),
            **self._capped_clocks(reading),
        }
        began = []
        for key, reason in found.items():
            if key not in self._began:
                self._began[key] = ThrottleEvent(now_s, *key, reason)
                began.append(self._began[key])
            self._seen_s[key] = now_s
        for key in [key for key in self._began if now_s - self._seen_s[key] > HOLD_S]:
            del self._began[key], self._seen_s[key]
        self.active = tuple(self._began.values())
        self.recent.extend(began)
        self.counts.update(event.kind for event in began)
        return tuple(began)

    def _counted(self, counters: Mapping[str, int]) -> dict[tuple[Kind, str], str]:
        """Return the counters that have risen since the reading before."""
        found: dict[tuple[Kind, str], str] = {}
        for name, count in counters.items():
            rise = count - self._counters.get(name, count)
            if rise > 0:
                kind: Kind = "over_current" if name.startswith("OC") else "thermal"
                found[kind, name] = f"{name} throttled {rise} times in a second, {count} since boot"
        self._counters.update(counters)
        return found

    def _capped_clocks(self, reading: BoardReading) -> dict[tuple[Kind, str], str]:
        """Return the clocks whose limit has been below that of the mode for two readings."""
        if reading.mode != self._mode:
            self._mode, self._mode_s = reading.mode, reading.time_s
            self._most_hz.clear()
        found: dict[tuple[Kind, str], str] = {}
        for name, clock in reading.clocks.items():
            if name == "emc" or clock.limit_hz is None:
                continue
            full_hz = self._full_hz(name, clock)
            working = clock.load is None or clock.load >= _WORKING
            # nvpmodel changes its status and its limits one after the other.
            settled = reading.time_s - self._mode_s >= _SETTLE_S
            if clock.limit_hz >= _CAP_MARGIN * full_hz or not working or not settled:
                self._capped[name] = 0
                continue
            self._capped[name] += 1
            if self._capped[name] >= _CAP_SAMPLES:
                found["clock_cap", name] = (
                    f"{name} may run at {clock.limit_hz / 1e6:.0f} MHz of {full_hz / 1e6:.0f} MHz"
                )
        return found

    def _full_hz(self, name: str, clock: Clock) -> float:
        """Return what a clock may have in this mode when nothing throttles.

        Without a mode it is the most that it was allowed so far: a lower limit may have been set
        by hand, and only a change tells.
        """
        assert clock.limit_hz is not None
        self._most_hz[name] = max(clock.limit_hz, self._most_hz.get(name, 0.0))
        if self._mode is None or self._mode.name is None:
            return self._most_hz[name]
        of_mode_hz = self._mode.gpu_hz if name == "gpu" else self._mode.cpu_hz
        known = [hz for hz in (of_mode_hz, clock.top_hz) if hz is not None]
        return min(known) if known else self._most_hz[name]


def _cooled(cooling: Mapping[str, int]) -> dict[tuple[Kind, str], str]:
    """Return the cooling devices that slow something down."""
    return {
        ("thermal", name): f"{name} slows down to step {state}"
        for name, state in cooling.items()
        if state > 0
    }
