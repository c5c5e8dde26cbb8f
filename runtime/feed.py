"""From two capture threads to one stream of pairs.

Live: frames are paired as they arrive, and the newest pair waits in a slot of one; a pair that
the consumer was too busy to take is replaced and counted, so what is processed is never old.
Recorded: the consumer pulls, each capture thread reads one frame ahead, and nothing is dropped.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from differseg.errors import InputError, SourceError
from differseg.runtime.capture import Capture
from differseg.runtime.loss import RgbLossPolicy, ThermalWatch
from differseg.runtime.pairing import Pair, Pairer
from differseg.runtime.sources import Frame, Source
from differseg.runtime.supervision import CameraState

__all__ = ["Delivery", "Feed", "LiveFeed", "RecordedFeed", "ThermalWatch", "open_feed"]

RGB_SILENT_S = 10.0
"""A live RGB camera that gives nothing for this long ends the run, where the policy is ``stop``."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What the feed hands to the pipeline.

    Attributes:
        pair: A pair; its thermal frame is None for a model without thermal input, or when the
            thermal camera is lost.
        thermal_lost: Why there is no thermal frame; None while the camera works.
        states: State of each camera when the pair was decided, by ``rgb`` and ``thermal``.
    """

    pair: Pair
    thermal_lost: str | None = None
    states: Mapping[str, CameraState] = field(default_factory=dict)


class Feed(ABC):
    """Two captures (or one, without thermal) and the pairing between them.

    Args:
        rgb: An open source.
        thermal: An open source, or None.
        pairer: Pairs the two; None without thermal.
        watch: Decides when thermal is lost.
        on_rgb_loss: ``stop`` ends the run when a live RGB camera is away for 10 s; ``wait`` waits
            for it however long that takes.

    Attributes:
        rgb: Capture of the RGB source.
        thermal: Capture of the thermal source, or None.
        drops: RGB frames that became no delivery, by cause; the pairer counts its own.
        thermal_drops: Thermal frames that never reached the pairer, by cause.
    """

    def __init__(
        self,
        rgb: Source,
        thermal: Source | None,
        pairer: Pairer | None,
        watch: ThermalWatch,
        *,
        on_rgb_loss: RgbLossPolicy = "stop",
    ) -> None:
        self.drops: Counter[str] = Counter()
        self.thermal_drops: Counter[str] = Counter()
        self.pairer = pairer
        self._watch = watch
        self._on_rgb_loss = on_rgb_loss
        self._condition = threading.Condition()
        self._closed = False
        self.rgb = self._capture(rgb)
        self.thermal = None if thermal is None else self._capture(thermal)

    @abstractmethod
    def _capture(self, source: Source) -> Capture:
        """Return the capture of one source, which delivers to this feed."""

    @abstractmethod
    def take(self, timeout_s: float) -> Delivery | None:
        """Return the next delivery, or None where none came in time or ever will.

        Raises:
            SourceError: The RGB source failed, or is silent.
        """

    @property
    @abstractmethod
    def ended(self) -> bool:
        """Whether no delivery will ever come again."""

    def start(self) -> None:
        """Start the capture threads."""
        for capture in self.captures:
            capture.start()

    @property
    def captures(self) -> list[Capture]:
        """The capture threads."""
        return [self.rgb] if self.thermal is None else [self.rgb, self.thermal]

    def states(self) -> dict[str, CameraState]:
        """Return the state of each camera now, by ``rgb`` and ``thermal``."""
        return {capture.source.modality: capture.check() for capture in self.captures}

    def close(self) -> list[str]:
        """Stop the threads and close the sources.

        Returns:
            One line for each driver that did not come back.
        """
        for capture in self.captures:
            capture.stop()
        with self._condition:
            self._closed = True
            self._condition.notify_all()
        stuck = [c.source.description for c in self.captures if not c.close()]
        if self.pairer is not None:
            self.pairer.finish()
        return [f"{name}: the driver did not come back and was left behind" for name in stuck]

    def _decide(self, pair: Pair) -> Delivery | None:
        """Return the delivery that a decided RGB frame makes, or None where it is dropped."""
        if pair.thermal is not None:
            self._watch.paired(pair.rgb.timestamp_s)
            return Delivery(pair, None, self.states())
        assert self.thermal is not None
        assert self.pairer is not None
        reason = self._watch.lost(pair.rgb.timestamp_s, self.thermal, self.pairer)
        if reason is None:
            self.drops["no_thermal_in_tolerance"] += 1
            return None
        self.pairer.expect_no_thermal()
        return Delivery(pair, reason, self.states())

    def _raise_rgb_error(self) -> None:
        """Raise why no RGB frame will come, or has come for too long.

        Raises:
            SourceError: The RGB source failed for good, or is away and the policy is ``stop``.
        """
        rgb, error = self.rgb, self.rgb.error
        if rgb.done:
            if error is not None:
                raise error
            return
        if not rgb.source.live or self._on_rgb_loss == "wait" or rgb.silent_s <= RGB_SILENT_S:
            return
        if error is not None:
            raise SourceError(
                f"{error}; it did not come back within {RGB_SILENT_S:.0f} s (to wait longer, use "
                "--on-rgb-loss wait)"
            )
        raise SourceError(
            f"{rgb.source.description}: no frame for {RGB_SILENT_S:.0f} s; is the camera "
            "plugged in and not used by another program?"
        )


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
        self.states()  # a silent camera has nobody else who looks at the time
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
                self._put(Delivery(Pair(frame), None, self.states()))
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
            return Delivery(Pair(frame), None, self.states()) if frame is not None else None
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


def open_feed(
    rgb: Source,
    thermal: Source | None,
    pairer: Pairer | None,
    watch: ThermalWatch,
    *,
    on_rgb_loss: RgbLossPolicy = "stop",
) -> Feed:
    """Return the feed that suits two open sources.

    Raises:
        InputError: One source is live and the other recorded, so their times do not compare.
    """
    if thermal is not None and thermal.live != rgb.live:
        live, recorded = (rgb, thermal) if rgb.live else (thermal, rgb)
        raise InputError(
            f"{live.description} is live but {recorded.description} is recorded, so their times "
            "do not compare; add --live to play the recording in real time"
        )
    kind = LiveFeed if rgb.live else RecordedFeed
    return kind(rgb, thermal, pairer, watch, on_rgb_loss=on_rgb_loss)
