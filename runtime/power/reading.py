"""What a board says about itself at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Zone:
    """One thermal zone.

    Attributes:
        temperature_c: None while the sensor cannot be read, as that of a GPU that is switched off.
        throttle_c: Where the kernel begins to slow the board down; None where it says nothing.
        critical_c: Where it switches the board off; None where it says nothing.
    """

    temperature_c: float | None
    throttle_c: float | None = None
    critical_c: float | None = None

    @property
    def headroom_c(self) -> float | None:
        """Degrees left to ``throttle_c``, else to ``critical_c``; None where it is not known."""
        limit_c = self.critical_c if self.throttle_c is None else self.throttle_c
        if self.temperature_c is None or limit_c is None:
            return None
        return limit_c - self.temperature_c


@dataclass(frozen=True, slots=True)
class Clock:
    """One clock.

    Attributes:
        hz: Its frequency; None while it is switched off.
        limit_hz: The highest that it may have now.
        top_hz: The highest that the hardware has.
        load: Part of the time that its unit was busy, 0..1.
    """

    hz: float | None
    limit_hz: float | None = None
    top_hz: float | None = None
    load: float | None = None


@dataclass(frozen=True, slots=True)
class PowerMode:
    """nvpmodel's mode and the limits that it sets; a limit is None where it sets none.

    Attributes:
        id: Its number, as ``nvpmodel -m`` takes it.
        name: Such as ``15W`` or ``MAXN_SUPER``; None where the configuration cannot be read.
        gpu_hz: Highest clock of the GPU.
        cpu_hz: Highest clock of the processor's cores.
        emc_hz: Highest clock of the memory.
    """

    id: int
    name: str | None = None
    gpu_hz: float | None = None
    cpu_hz: float | None = None
    emc_hz: float | None = None


@dataclass(frozen=True, slots=True)
class BoardReading:
    """One sample; what a board does not have is None or empty.

    Attributes:
        time_s: When, on the monotonic clock.
        source: What was read.
        zones: Name -> thermal zone.
        clocks: ``gpu``, ``emc``, and ``cpu`` or ``cpu0``, ``cpu4`` ... by the first core of each
            group of cores with one clock.
        rails_w: Name -> power in W, as the board measures it.
        power_w: Power of the whole module or board in W.
        power_of: The rails that ``power_w`` is the sum of.
        mode: nvpmodel's power mode.
        cooling: Name -> state of every device that cools by slowing down; 0 is full speed.
        counters: Name -> how often the hardware throttled since it was switched on.
    """

    time_s: float
    source: Literal["sysfs", "tegrastats"]
    zones: Mapping[str, Zone] = field(default_factory=dict)
    clocks: Mapping[str, Clock] = field(default_factory=dict)
    rails_w: Mapping[str, float] = field(default_factory=dict)
    power_w: float | None = None
    power_of: tuple[str, ...] = ()
    mode: PowerMode | None = None
    cooling: Mapping[str, int] = field(default_factory=dict)
    counters: Mapping[str, int] = field(default_factory=dict)

    @property
    def hottest(self) -> tuple[str, float] | None:
        """Name and temperature in degrees Celsius of the hottest zone."""
        known = [
            (zone.temperature_c, name)
            for name, zone in self.zones.items()
            if zone.temperature_c is not None
        ]
        return None if not known else (max(known)[1], max(known)[0])

    @property
    def tightest(self) -> tuple[str, float] | None:
        """Name of the zone that is nearest to its limit, and the degrees that are left."""
        known = [
            (zone.headroom_c, name)
            for name, zone in self.zones.items()
            if zone.headroom_c is not None
        ]
        return None if not known else (min(known)[1], min(known)[0])
