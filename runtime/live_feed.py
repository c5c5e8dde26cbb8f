"""Live: frames are paired in the capture threads, and the newest pair waits in a slot of one."""

from __future__ import annotations

import time

from differseg.runtime.capture import Capture
from differseg.runtime.feed_base import Delivery, Feed
from differseg.runtime.loss import RgbLossPolicy, ThermalWatch
from differseg.runtime.pairing import Pair, Pairer
from differseg.runtime.sources import Frame, Source


class LiveFeed(Feed):
    """Pairs frames in the capture threads and keeps the newest pair."""

    def __init__(
        self,
        rgb: Source,
        thermal: Source | None,
        pairer: Pairer | None,
        watch: ThermalWatch,
        *,
        on_rgb_loss: RgbLossPolicy = "stop",
    ) -> None:
        super().__init__(rgb, thermal, pairer, watch, on_rgb_loss=on_rgb_loss)
        self._slot: Delivery | None = None
        self._rgb_done = False
        self._rgb_returns = 0

    def _capture(self, source: Source) -> Capture:
        if source.modality == "rgb":
            return Capture(source, self._rgb_came, self._rgb_finished)
        return Capture(source, self._thermal_came, self._thermal_finished)

    @property
    def depth(self) -> int:
        """Deliveries that wait: 0 or 1."""
        return int(self._slot is not None)

    @property
    def ended(self) -> bool:
        """Whether the RGB source is done and the slot is empty."""
        return self._rgb_done and self._slot is None

    def take(self, timeout_s: float) -> Delivery | None:
        """Return the newest delivery as soon as there is one."""
        with self._condition:
            if self._slot is None and not self._rgb_done:
                self._condition.wait(timeout_s)
            delivery, self._slot = self._slot, None
        self.conditions()  # a silent camera has nobody else who looks at the time
        if delivery is None:
            self._raise_rgb_error()
        return delivery

    def close(self) -> list[str]:
        """Stop; what waits or is undecided is counted as dropped at the stop."""
        notes = super().close()
        waiting = self.pairer.waiting if self.pairer is not None else 0
        self.drops["at_stop"] += self.depth + waiting
        self._slot = None
        return notes

    def _rgb_came(self, frame: Frame) -> None:
        arrival_s = time.monotonic()  # before the lock may be waited for
        with self._condition:
            if self.pairer is None:
                self._put(Delivery(Pair(frame), None, self.conditions()))
                return
            returns = self.rgb.supervisor.counts["returns"]
            if returns != self._rgb_returns:
                self._rgb_returns = returns
                self._watch.restart()
            if self.thermal is not None and self.thermal.check() == "offline":
                self.pairer.expect_no_thermal()
            self.pairer.add_rgb(frame, arrival_s)
            self._advance()

    def _thermal_came(self, frame: Frame) -> None:
        assert self.pairer is not None
        arrival_s = time.monotonic()
        with self._condition:
            self.pairer.add_thermal(frame, arrival_s)
            self._advance()

    def _rgb_finished(self) -> None:
        with self._condition:
            self._rgb_done = True
            if self.pairer is not None:
                self.pairer.end_rgb()
                self.pairer.expect_no_thermal()
                self._advance()
            self._condition.notify_all()

    def _thermal_finished(self) -> None:
        assert self.pairer is not None
        with self._condition:
            self.pairer.end_thermal()
            self._advance()

    def _advance(self) -> None:
        """Move the newest of what is decided into the slot.

        One thermal frame can decide several RGB frames at once; only the newest goes on.
        """
        assert self.pairer is not None
        newest: Delivery | None = None
        while (pair := self.pairer.next()) is not None:
            delivery = self._decide(pair)
            if delivery is not None:
                self.drops["superseded"] += newest is not None
                newest = delivery
        if newest is not None:
            self._put(newest)

    def _put(self, delivery: Delivery) -> None:
        self.drops["consumer_busy"] += self.depth
        self._slot = delivery
        self._condition.notify_all()
