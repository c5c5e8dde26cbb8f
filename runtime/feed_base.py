"""What live and recorded feeds have in common: two captures, and what a pair becomes."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from differseg.errors import SourceError
from differseg.runtime.capture import Capture
from differseg.runtime.clock_offset import OffsetEstimate
from differseg.runtime.loss import RgbLossPolicy, ThermalWatch
from differseg.runtime.pairing import Pair, Pairer
from differseg.runtime.sources import Source
from differseg.runtime.supervision import Condition

RGB_SILENT_S = 10.0
"""A live RGB camera that gives nothing for this long ends the run, where the policy is ``stop``."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What the feed hands to the pipeline.

    Attributes:
        pair: A pair; its thermal frame is None for a model without thermal input, or when the
            thermal camera is lost.
        thermal_lost: Why there is no thermal frame; None while the camera works.
        cameras: Condition of each camera when the pair was decided, by ``rgb`` and ``thermal``;
            empty for recordings.
    """

    pair: Pair
    thermal_lost: str | None = None
    cameras: Mapping[str, Condition] = field(default_factory=dict)


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

    def conditions(self) -> dict[str, Condition]:
        """Return the condition of each live camera now, by ``rgb`` and ``thermal``."""
        live = [capture for capture in self.captures if capture.source.live]
        return {capture.source.modality: capture.condition() for capture in live}

    def thermal_offset(self) -> OffsetEstimate | None:
        """Return what is known of the lateness of the thermal stamps; None where it is given."""
        if self.pairer is None:
            return None
        with self._condition:
            return self.pairer.estimate

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
            return Delivery(pair, None, self.conditions())
        assert self.thermal is not None
        assert self.pairer is not None
        reason = self._watch.lost(pair.rgb.timestamp_s, self.thermal, self.pairer)
        if reason is None:
            self.drops["no_thermal_in_tolerance"] += 1
            return None
        self.pairer.expect_no_thermal()
        return Delivery(pair, reason, self.conditions())

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
