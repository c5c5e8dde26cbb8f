"""Sample a board once a second, in a thread and in a fixed amount of memory."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from differseg.runtime.power.board import Board, SysfsBoard
from differseg.runtime.power.reading import BoardReading
from differseg.runtime.power.tegrastats import TegrastatsBoard
from differseg.runtime.power.throttling import ThrottleEvent, ThrottleWatch

_LOG = logging.getLogger("differseg.runtime.power")

PERIOD_S = 1.0
_LONGEST_GAP_S = 5.0


@dataclass(frozen=True, slots=True)
class BoardState:
    """A board at one moment.

    Attributes:
        reading: The last sample.
        throttling: What throttles now, oldest first.
        events: The last 32 events, oldest first.
        counts: Kind of throttling -> events since the start.
        energy_j: Energy since the start in joules; None without a power reading.
    """

    reading: BoardReading
    throttling: tuple[ThrottleEvent, ...] = ()
    events: tuple[ThrottleEvent, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    energy_j: float | None = None


@dataclass(frozen=True)
class BoardSummary:
    """A board over a whole run.

    Attributes:
        source: What was read.
        samples: How often.
        mode: The power mode at the end, such as ``MAXN_SUPER (2)``.
        highest_c: Zone -> highest temperature in degrees Celsius.
        mean_power_w: Mean power over the time that it is known for.
        highest_power_w: Highest power of a sample.
        power_of: The rails that the power is the sum of.
        energy_j: Energy in joules.
        throttle_events: Kind -> events.
        throttled_s: Kind -> seconds in which it throttled.
        last_events: The last events, at most 32.
        monitor_core_fraction: Part of one core that the monitor itself took.
    """

    source: str
    samples: int
    mode: str | None
    highest_c: dict[str, float]
    mean_power_w: float | None
    highest_power_w: float | None
    power_of: list[str]
    energy_j: float | None
    throttle_events: dict[str, int]
    throttled_s: dict[str, float]
    last_events: list[dict[str, object]]
    monitor_core_fraction: float | None

    def text(self) -> str:
        """Return one line, such as ``15W (0), hottest cpu 61 C, 11.2 W on average``."""
        parts = [] if self.mode is None else [self.mode]
        if self.highest_c:
            zone = max(self.highest_c, key=lambda name: self.highest_c[name])
            parts.append(f"hottest {zone} {self.highest_c[zone]:.0f} C")
        if self.mean_power_w is not None:
            parts.append(f"{self.mean_power_w:.1f} W on average")
        parts += [
            f"throttled ({kind}) for {seconds:.0f} s" for kind, seconds in self.throttled_s.items()
        ]
        return ", ".join(parts)


def open_board(root: Path = Path("/")) -> tuple[Board, str]:
    """Return the board that this process runs on, and why it is read in this way.

    The files of the kernel are read where they say anything of heat or power: that costs least.
    ``tegrastats`` is asked where they do not, as in a container without ``/sys``.
    """
    board = SysfsBoard(root)
    reading = board.read(time.monotonic())
    if reading.zones or reading.rails_w:
        return board, "sysfs: it has " + _listed(reading)
    if shutil.which("tegrastats") is not None:
        board.close()
        return TegrastatsBoard(), "tegrastats: sysfs has no thermal zones and no power rails"
    return board, "sysfs: it has " + _listed(reading)


def _listed(reading: BoardReading) -> str:
    parts = [
        f"{len(values)} {name}" + ("s" if len(values) != 1 else "")
        for name, values in (
            ("thermal zone", reading.zones),
            ("power rail", reading.rails_w),
            ("clock", reading.clocks),
            ("cooling device", reading.cooling),
            ("throttle counter", reading.counters),
        )
        if values
    ]
    return ", ".join(parts) or "nothing to read here"


class BoardTotals:
    """Sums and maxima over a run; their number does not grow."""

    def __init__(self) -> None:
        self.samples = 0
        self.highest_c: dict[str, float] = {}
        self.highest_power_w: float | None = None
        self.energy_j: float | None = None
        self.measured_s = 0.0
        self.throttled_s: dict[str, float] = {}
        self._last: BoardReading | None = None

    def add(self, reading: BoardReading, throttling: tuple[ThrottleEvent, ...]) -> None:
        """Count one sample; time that no samples were taken in counts for nothing."""
        self.samples += 1
        for name, zone in reading.zones.items():
            if zone.temperature_c is not None:
                highest_c = self.highest_c.get(name, zone.temperature_c)
                self.highest_c[name] = max(highest_c, zone.temperature_c)
        power_w, last = reading.power_w, self._last
        if power_w is not None:
            self.highest_power_w = max(power_w, self.highest_power_w or power_w)
        passed_s = reading.time_s - last.time_s if last is not None else 0.0
        if last is not None and 0 < passed_s <= _LONGEST_GAP_S:
            for kind in {event.kind for event in throttling}:
                self.throttled_s[kind] = self.throttled_s.get(kind, 0.0) + passed_s
            if power_w is not None and last.power_w is not None:
                self.energy_j = (self.energy_j or 0.0) + passed_s * (power_w + last.power_w) / 2
                self.measured_s += passed_s
        self._last = reading


class BoardMonitor:
    """A thread that samples a board, and knows its present state.

    Args:
        board: What is sampled; closed with the monitor.
        period_s: Time between two samples.
        on_event: Called from the thread with every event of throttling.

    Example:
        >>> board, reason = open_board()  # doctest: +SKIP
        >>> with BoardMonitor(board) as monitor:
        ...     monitor.state.reading.power_w
        7.214
    """

    def __init__(
        self,
        board: Board,
        period_s: float = PERIOD_S,
        on_event: Callable[[ThrottleEvent], None] | None = None,
    ) -> None:
        self._board, self._period_s, self._on_event = board, period_s, on_event
        self._listeners: list[Callable[[BoardState], None]] = []
        self._watch, self._totals = ThrottleWatch(), BoardTotals()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="board", daemon=True)
        self._start_s = time.monotonic()
        self._cpu_s = 0.0
        self._state = BoardState(BoardReading(self._start_s, "sysfs"))
        self._complained: set[str] = set()

    @property
    def state(self) -> BoardState:
        """The newest state; from any thread."""
        return self._state

    def listen(self, listener: Callable[[BoardState], None]) -> None:
        """Call this after every sample, from the monitor's thread; to be said before the start."""
        self._listeners.append(listener)

    def start(self) -> None:
        """Take the first sample, so that there is a state, and start the thread."""
        self._start_s = time.monotonic()
        self.sample(self._start_s)
        self._thread.start()

    def sample(self, now_s: float) -> BoardState:
        """Take one sample and tell the listeners; the thread calls this.

        Args:
            now_s: The present, on the monotonic clock.
        """
        reading = self._board.read(now_s)
        began = self._watch.update(reading)
        self._totals.add(reading, self._watch.active)
        self._state = BoardState(
            reading,
            self._watch.active,
            tuple(self._watch.recent),
            dict(self._watch.counts.items()),
            self._totals.energy_j,
        )
        if self._on_event is not None:
            for event in began:
                self._on_event(event)
        for listener in self._listeners:
            listener(self._state)
        return self._state

    def summary(self) -> BoardSummary:
        """Return what the run was like so far; from any thread."""
        totals, reading = self._totals, self._state.reading
        mode, wall_s = reading.mode, time.monotonic() - self._start_s
        energy_j = totals.energy_j
        return BoardSummary(
            source=reading.source,
            samples=totals.samples,
            mode=None if mode is None else mode_text(mode.id, mode.name),
            highest_c={name: round(value, 1) for name, value in dict(totals.highest_c).items()},
            mean_power_w=None if energy_j is None else round(energy_j / totals.measured_s, 3),
            highest_power_w=_rounded(totals.highest_power_w),
            power_of=list(reading.power_of),
            energy_j=_rounded(energy_j),
            throttle_events=dict(self._state.counts),
            throttled_s={kind: round(s, 1) for kind, s in dict(totals.throttled_s).items()},
            last_events=[event.document() for event in self._state.events],
            monitor_core_fraction=round(self._cpu_s / wall_s, 6) if wall_s > 0 else None,
        )

    def close(self) -> None:
        """Stop the thread and close the board; safe to call twice."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self._board.close()

    def __enter__(self) -> BoardMonitor:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _run(self) -> None:
        due_s = time.monotonic() + self._period_s
        while not self._stop.wait(max(0.0, due_s - time.monotonic())):
            try:
                self.sample(time.monotonic())
            except Exception as error:
                # A monitor must not be why a run ends; the same fault is told once.
                text = f"{type(error).__name__}: {error}"
                if text not in self._complained and len(self._complained) < 8:
                    self._complained.add(text)
                    _LOG.exception("the board cannot be sampled: %s", text)
            self._cpu_s = time.thread_time()
            due_s = max(due_s + self._period_s, time.monotonic())


def mode_text(number: int, name: str | None) -> str:
    """Return a power mode for people."""
    return f"mode {number}" if name is None else f"{name} ({number})"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
