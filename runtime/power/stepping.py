"""Run the model that the board can stand: joins monitor, policy and swap."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from differseg.runtime.power.monitor import BoardState
from differseg.runtime.power.stepdown import Signals, StepChange, StepDown
from differseg.runtime.power.swap import SwappingSegmenter, SwapReport
from differseg.runtime.service.logs import fields

_LOG = logging.getLogger("differseg.runtime.power")


@dataclass(frozen=True, slots=True)
class StepEvent:
    """Another model runs, or could not.

    Attributes:
        time_s: When, on the monotonic clock.
        old: Name of the model before.
        new: Name of the model that was asked for.
        reason: Why it was asked for.
        refused: Why it does not run; None where it does.
    """

    time_s: float
    old: str
    new: str
    reason: str
    refused: str | None = None

    def document(self) -> dict[str, Any]:
        """Return the event, ready for ``json.dumps``."""
        return {
            "event": "model_step" if self.refused is None else "model_step_refused",
            "time_s": round(self.time_s, 3),
            "old": self.old,
            "new": self.new,
            "reason": self.reason,
            "refused": self.refused,
        }

    def text(self) -> str:
        """Return one line for people."""
        if self.refused is not None:
            return f"STAYS WITH {self.old}: {self.new} cannot run ({self.refused})"
        return f"NOW RUNS {self.new} instead of {self.old}: {self.reason}"


class ModelStepper:
    """Asks for the model that fits, once a second; a listener of ``BoardMonitor``.

    Over-current alone does not count as throttling here.  On an Orin Nano the counter of
    instantaneous over-current rises under every bursty load and costs no measurable time; where it
    does cost time, results are late, and that counts.

    Args:
        names: Of the models, largest first.
        segmenter: Of the run; it runs the first of them.
        policy: Decides.
        counts: Returns how many frames missed the deadline so far, and how many results there are.
        on_event: Called with every change and refusal.

    Attributes:
        steps: Changes so far.
        refusals: Changes that could not be made.
    """

    def __init__(
        self,
        names: Sequence[str],
        segmenter: SwappingSegmenter,
        policy: StepDown,
        counts: Callable[[], tuple[int, int]],
        on_event: Callable[[StepEvent], None] | None = None,
    ) -> None:
        self.steps = self.refusals = 0
        self._names, self._segmenter, self._policy = list(names), segmenter, policy
        self._counts, self._on_event = counts, on_event
        self._counted = counts()
        self._asked: StepChange | None = None

    @property
    def model(self) -> str:
        """Name of the model that frames are begun with."""
        return self._names[self._segmenter.index]

    def __call__(self, state: BoardState) -> None:
        """Take one state of the board."""
        late = self._late()
        now_s = state.reading.time_s
        report = self._segmenter.take_report()
        if report is not None:
            self._settle(now_s, report)
        if self._segmenter.busy:
            return
        change = self._policy.update(now_s, signals_of(state, late))
        if change is None:
            return
        if self._segmenter.request(change.new):
            self._asked = change
        else:
            self._policy.refuse(change)

    def _settle(self, now_s: float, report: SwapReport) -> None:
        """Take note of how a request ended, and tell of it."""
        asked, self._asked = self._asked, None
        if asked is None:
            return
        if report.refused is None:
            self.steps += 1
        else:
            self.refusals += 1
            self._policy.refuse(asked)
        event = StepEvent(
            now_s, self._names[asked.old], self._names[asked.new], asked.reason, report.refused
        )
        _LOG.warning(event.text(), extra=fields(**event.document()))
        if self._on_event is not None:
            self._on_event(event)

    def _late(self) -> bool | None:
        """Return whether most frames since the last call were late; None where there were none."""
        before, self._counted = self._counted, self._counts()
        late, done = (now - then for now, then in zip(self._counted, before, strict=True))
        return late > done if late + done > 0 else None


def signals_of(state: BoardState, late: bool | None) -> Signals:
    """Return what a policy needs of a board's state.

    Args:
        state: Of the board.
        late: Whether most results were late.
    """
    tightest = state.reading.tightest
    causes = [event.reason for event in state.throttling if event.kind != "over_current"]
    return Signals(
        headroom_c=None if tightest is None else tightest[1],
        throttled=causes[0] if causes else None,
        late=late,
    )
