"""One reading of everything that sysfs says of a board."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from differseg.runtime.power.clocks import Clocks
from differseg.runtime.power.nvpmodel import PowerModes
from differseg.runtime.power.rails import Rails, ThrottleCounters, total_power
from differseg.runtime.power.reading import BoardReading
from differseg.runtime.power.zones import CoolingDevices, ThermalZones

_SCAN_EVERY_S = 60.0


class Board(Protocol):
    """Something that can be asked how a board is."""

    def read(self, now_s: float) -> BoardReading:
        """Return a reading; what cannot be read is None or left out."""

    def close(self) -> None:
        """Give everything back."""


class SysfsBoard:
    """The board that this process runs on, by the files of its kernel.

    Which files there are is looked up once a minute: a service that starts early finds the drivers
    that are loaded after it.

    Args:
        root: Where ``/`` is.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._scanned_s: float | None = None
        self._find()

    def _find(self) -> None:
        root = self._root
        self._zones, self._cooling = ThermalZones(root), CoolingDevices(root)
        self._rails, self._counters = Rails(root), ThrottleCounters(root)
        self._clocks, self._modes = Clocks(root), PowerModes(root)

    def read(self, now_s: float) -> BoardReading:
        """Return a reading.

        Args:
            now_s: The present, on the monotonic clock.
        """
        if self._scanned_s is None:
            self._scanned_s = now_s
        elif now_s - self._scanned_s >= _SCAN_EVERY_S:
            self.close()
            self._find()
            self._scanned_s = now_s
        rails_w = self._rails.read()
        power_w, power_of = total_power(rails_w)
        return BoardReading(
            time_s=now_s,
            source="sysfs",
            zones=self._zones.read(),
            clocks=self._clocks.read(),
            rails_w=rails_w,
            power_w=power_w,
            power_of=power_of,
            mode=self._modes.read(),
            cooling=self._cooling.read(),
            counters=self._counters.read(),
        )

    def close(self) -> None:
        """Close the files."""
        for part in (self._zones, self._cooling, self._rails, self._counters, self._clocks):
            part.close()
