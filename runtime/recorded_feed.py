"""Recorded: the consumer pulls, each capture thread reads one frame ahead, nothing is dropped."""

from __future__ import annotations

import time

from differseg.runtime.capture import Capture
from differseg.runtime.feed_base import Delivery, Feed
from differseg.runtime.loss import RgbLossPolicy, ThermalWatch
from differseg.runtime.pairing import Pair, Pairer
from differseg.runtime.sources import Frame, Source


class RecordedFeed(Feed):
    """Pairs frames when they are asked for; every RGB frame is delivered or counted."""

    def __init__(
        self,
        rgb: Source,
        thermal: Source | None,
        pairer: Pairer | None,
        watch: ThermalWatch,
        *,
        on_rgb_loss: RgbLossPolicy = "stop",
    ) -> None:
        self._slots: dict[str, Frame | None] = {"rgb": None, "thermal": None}
        self._ended = False
        super().__init__(rgb, thermal, pairer, watch, on_rgb_loss=on_rgb_loss)

    def _capture(self, source: Source) -> Capture:
        modality = source.modality
        drops = self.drops if modality == "rgb" else self.thermal_drops

        def deliver(frame: Frame) -> None:
            with self._condition:
                while self._slots[modality] is not None and not self._closed:
                    self._condition.wait()
                if self._closed:
                    drops["at_stop"] += 1
                    return
                self._slots[modality] = frame
                self._condition.notify_all()

        return Capture(source, deliver, self._notify)

    @property
    def ended(self) -> bool:
        """Whether every RGB frame was delivered or counted."""
        return self._ended

    def take(self, timeout_s: float) -> Delivery | None:
        """Return the next RGB frame in order, with its thermal frame."""
        end_s = time.monotonic() + timeout_s
        with self._condition:
            while not self._ended:
                delivery = self._step()
                if delivery is not None:
                    return delivery
                if not self._ended and not self._feed_one():
                    remaining_s = end_s - time.monotonic()
                    if remaining_s <= 0 or not self._condition.wait(remaining_s):
                        return None
        self._raise_rgb_error()
        return None

    def close(self) -> list[str]:
        """Stop; frames read ahead are counted as dropped at the stop."""
        waiting = self.pairer.waiting if self.pairer is not None else 0
        notes = super().close()
        self.drops["at_stop"] += waiting + (self._slots["rgb"] is not None)
        self.thermal_drops["at_stop"] += self._slots["thermal"] is not None
        return notes

    def _step(self) -> Delivery | None:
        """Return what can be decided with the frames that are here."""
        if self.pairer is None:
            frame = self._pull("rgb")
            self._ended = frame is None and self._drained(self.rgb)
            return Delivery(Pair(frame), None, self.conditions()) if frame is not None else None
        while (pair := self.pairer.next()) is not None:
            delivery = self._decide(pair)
            if delivery is not None:
                return delivery
        self._ended = self.pairer.waiting == 0 and self._drained(self.rgb)
        return None

    def _feed_one(self) -> bool:
        """Give the pairer the frame that it wants; False where that frame is not here yet."""
        if self.pairer is None:
            return False
        assert self.thermal is not None
        if self.pairer.wants_thermal:
            name, capture = "thermal", self.thermal
            add, end = self.pairer.add_thermal, self.pairer.end_thermal
        else:
            name, capture = "rgb", self.rgb
            add, end = self.pairer.add_rgb, self.pairer.end_rgb
        frame = self._pull(name)
        if frame is not None:
            add(frame)
        elif self._drained(capture):
            end()
        else:
            return False
        return True

    def _pull(self, name: str) -> Frame | None:
        frame, self._slots[name] = self._slots[name], None
        if frame is not None:
            self._condition.notify_all()
        return frame

    def _drained(self, capture: Capture) -> bool:
        return capture.done and self._slots[capture.source.modality] is None

    def _notify(self) -> None:
        with self._condition:
            self._condition.notify_all()
