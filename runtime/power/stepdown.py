"""When to go to a smaller model and when to come back: pure logic, no clock, no threads.

The smaller model runs after the board throttled, was about to, or was late for some time, and the
larger one comes back after a long calm.  What keeps both from taking turns for ever: the calm must
be of a wider margin than the trouble, two changes are a minute apart at least, and each return
that fails within the hour doubles the calm that the next one needs.
"""

from __future__ import annotations

from dataclasses import dataclass

from differseg.errors import InputError

LEAST_S = 60.0
"""Two changes are at least this far apart."""

_GAP_S = 5.0
_SILENT_S = 10.0


@dataclass(frozen=True)
class StepRules:
    """The margins and times of :class:`StepDown`.

    Attributes:
        near_c: This near to a trip point the board is hot.
        clear_c: Only this far from every trip point it is cool.
        hot_s: Throttling or heat must last for this long.
        late_s: Results must be late for this long.
        calm_s: Calm that the first return needs; doubled by each that fails.
        hold_s: A return that lasts for this long has not failed.

    Raises:
        InputError: A margin without hysteresis, or a time that is not positive.
    """

    near_c: float = 3.0
    clear_c: float = 10.0
    hot_s: float = 10.0
    late_s: float = 5.0
    calm_s: float = 120.0
    hold_s: float = 3600.0

    def __post_init__(self) -> None:
        """Check the margins and times."""
        if not 0 <= self.near_c < self.clear_c:
            raise InputError(
                f"step down: expected 0 <= near_c < clear_c, got {self.near_c} and {self.clear_c}"
            )
        for name in ("hot_s", "late_s", "calm_s", "hold_s"):
            if not 0 < getattr(self, name) < 1e9:
                raise InputError(f"step down: {name} must be positive, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class Signals:
    """What one second was like.

    Attributes:
        headroom_c: Degrees left to the nearest trip point; None where there is no such sensor.
        throttled: Why the board is slowed down; None where it is not.
        late: Whether most results missed the deadline; None in a second without results.
    """

    headroom_c: float | None
    throttled: str | None
    late: bool | None


@dataclass(frozen=True, slots=True)
class StepChange:
    """Another model is to run.

    Attributes:
        time_s: When it was decided.
        old: Place of the present model in the list, largest first.
        new: Place of the other.
        reason: For people.
    """

    time_s: float
    old: int
    new: int
    reason: str


class StepDown:
    """Chooses among models, the largest first.

    Args:
        models: How many there are.
        start_s: The present, on the clock of all calls; the first change is a minute after it.
        rules: Margins and times.

    Attributes:
        index: Place of the model that is to run.
    """

    def __init__(self, models: int, start_s: float, rules: StepRules | None = None) -> None:
        if models < 2:
            raise InputError(f"step down: expected two models or more, got {models}")
        self.index = 0
        self._models, self._rules = models, rules or StepRules()
        self._out: set[int] = set()
        self._changed_s = self._last_s = self._heard_s = start_s
        self._returned_s: float | None = None
        self._calm_needed_s = self._rules.calm_s
        self._hot_since_s: float | None = None
        self._late_since_s: float | None = None
        self._calm_since_s: float | None = None

    def update(self, now_s: float, signals: Signals) -> StepChange | None:
        """Take one second's signals; returns the change that they call for, or None.

        Args:
            now_s: When; never earlier than before.
            signals: What the second was like.
        """
        if now_s - self._last_s > _GAP_S:
            self._forget()  # nobody looked: nothing is known to have lasted
        self._last_s = now_s
        hot = self._hot(signals)
        self._hot_since_s = _since(self._hot_since_s, now_s, hot is not None)
        self._listen(now_s, signals, calm=self._calm(signals))
        if now_s - self._changed_s < LEAST_S:
            return None
        if (smaller := self._next(1)) is not None:
            if hot is not None and _lasted(self._hot_since_s, now_s, self._rules.hot_s):
                return self._change(now_s, smaller, f"{hot} for {self._rules.hot_s:.0f} s")
            if _lasted(self._late_since_s, now_s, self._rules.late_s):
                reason = f"most results were late for {self._rules.late_s:.0f} s"
                return self._change(now_s, smaller, reason)
        larger = self._next(-1)
        if larger is not None and _lasted(self._calm_since_s, now_s, self._calm_needed_s):
            reason = f"cool, in time and not throttled for {self._calm_needed_s:.0f} s"
            return self._change(now_s, larger, reason)
        return None

    def refuse(self, change: StepChange) -> None:
        """Note that a change could not be made; its model is not asked for again.

        Args:
            change: The last that :meth:`update` returned.
        """
        self._out.add(change.new)
        self.index = change.old
        if change.new < change.old:
            self._returned_s = None

    def _hot(self, signals: Signals) -> str | None:
        if signals.throttled is not None:
            return signals.throttled
        if signals.headroom_c is not None and signals.headroom_c <= self._rules.near_c:
            return f"less than {self._rules.near_c:g} degrees were left to a trip point"
        return None

    def _calm(self, signals: Signals) -> bool:
        cool = signals.headroom_c is None or signals.headroom_c >= self._rules.clear_c
        return signals.throttled is None and cool

    def _listen(self, now_s: float, signals: Signals, *, calm: bool) -> None:
        """Follow lateness and calm; a second without results changes neither, ten end both."""
        if signals.late is not None:
            self._heard_s = now_s
            self._late_since_s = _since(self._late_since_s, now_s, signals.late)
        elif now_s - self._heard_s > _SILENT_S:
            self._late_since_s = self._calm_since_s = None  # an idle board is cool without merit
        if not calm or signals.late:
            self._calm_since_s = None
        elif signals.late is False:
            self._calm_since_s = _since(self._calm_since_s, now_s, True)

    def _next(self, step: int) -> int | None:
        """Return the nearest model on one side that can run, or None."""
        place = self.index + step
        while place in self._out:
            place += step
        return place if 0 <= place < self._models else None

    def _change(self, now_s: float, new: int, reason: str) -> StepChange:
        change = StepChange(now_s, self.index, new, reason)
        if new < self.index:
            self._returned_s = now_s
        elif self._returned_s is not None:
            failed = now_s - self._returned_s < self._rules.hold_s
            self._calm_needed_s = 2 * self._calm_needed_s if failed else self._rules.calm_s
            self._returned_s = None
        self.index, self._changed_s = new, now_s
        self._forget()
        return change

    def _forget(self) -> None:
        self._hot_since_s = self._late_since_s = self._calm_since_s = None


def _since(since_s: float | None, now_s: float, holds: bool) -> float | None:
    """Return since when something holds; None where it does not."""
    if not holds:
        return None
    return now_s if since_s is None else since_s


def _lasted(since_s: float | None, now_s: float, for_s: float) -> bool:
    return since_s is not None and now_s - since_s >= for_s
