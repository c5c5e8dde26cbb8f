"""Thermal zones, and the cooling devices that slow a board down.

Layout: Documentation/ABI/testing/sysfs-class-thermal of Linux.  On Orin the zones are named
``cpu-thermal`` ... ``tj-thermal`` with a passive trip point at 99 degrees and a critical one at
104.5 (device tree of Tegra234 in Linux); the zones of engines that are switched off answer EAGAIN.
Cooling devices are named ``thermal-cpufreq-0`` up to Linux 5.12 and ``cpufreq-cpu0``,
``devfreq-17000000.gpu`` after; ``*-throttle-alert`` and ``hot-surface-alert`` are NVIDIA's.
"""

from __future__ import annotations

import re
from pathlib import Path

from differseg.runtime.power.reading import Zone
from differseg.runtime.power.sysfs import SysfsFile, entries, read_number, read_text

OFFLINE_C = -256.0
"""What NVIDIA's drivers say of a sensor that is switched off."""

_NO_SENSORS = ("pmic", "iwlwifi")
"""PMIC zones of Jetsons hold a constant, and a radio's heat is none of the processor's."""

_SLOWS_DOWN = re.compile(
    r"(thermal-)?(cpufreq|devfreq)-.+|.+-throttle-alert|hot-surface-alert|(CPU|GPU)-balanced"
    r"|Processor",
)


def zone_name(kind: str) -> str | None:
    """Return a short name for a zone of this type (``CPU-therm``: ``cpu``); None to leave it out.

    The names are those that ``tegrastats`` prints, in lower case.
    """
    name = re.sub(r"[-_](thermal|therm)$", "", kind.strip().lower())
    return None if not name or name.startswith(_NO_SENSORS) else name


def plausible_c(value_c: float) -> float | None:
    """Return a temperature, or None where a sensor says that it has none."""
    return value_c if -100 < value_c < 250 else None


class ThermalZones:
    """The thermal zones of a board.

    Args:
        root: Where ``/`` is.
    """

    def __init__(self, root: Path) -> None:
        self._zones: dict[str, tuple[SysfsFile, float | None, float | None]] = {}
        for folder in entries(root / "sys/class/thermal", "thermal_zone"):
            name = zone_name(read_text(folder / "type") or "")
            if name is None or not (folder / "temp").exists():
                continue
            while name in self._zones:
                name += "+"
            self._zones[name] = (SysfsFile(folder / "temp"), *_trips_c(folder))

    def read(self) -> dict[str, Zone]:
        """Return name -> zone."""
        return {
            name: Zone(_celsius(file.number()), throttle_c, critical_c)
            for name, (file, throttle_c, critical_c) in self._zones.items()
        }

    def close(self) -> None:
        """Close the files."""
        for file, *_ in self._zones.values():
            file.close()


class CoolingDevices:
    """The devices of a board that cool by slowing it down; fans are none of them.

    Args:
        root: Where ``/`` is.
    """

    def __init__(self, root: Path) -> None:
        self._states: dict[str, SysfsFile] = {}
        for folder in entries(root / "sys/class/thermal", "cooling_device"):
            kind = read_text(folder / "type") or ""
            if _SLOWS_DOWN.fullmatch(kind):
                # The processor's cores on a PC all have the same name.
                name = kind if kind not in self._states else f"{kind} {folder.name[14:]}"
                self._states[name] = SysfsFile(folder / "cur_state")

    def read(self) -> dict[str, int]:
        """Return name -> state, of those that can be read."""
        states = {name: file.number() for name, file in self._states.items()}
        return {name: state for name, state in states.items() if state is not None}

    def close(self) -> None:
        """Close the files."""
        for file in self._states.values():
            file.close()


def _celsius(milli_c: int | None) -> float | None:
    return None if milli_c is None else plausible_c(milli_c / 1000)


def _trips_c(folder: Path) -> tuple[float | None, float | None]:
    """Return where a zone throttles and where it is critical."""
    trips: dict[str, list[float]] = {}
    for path in entries(folder, "trip_point_"):
        if not path.name.endswith("_type"):
            continue
        limit = read_number(path.with_name(path.name.replace("_type", "_temp")))
        if limit is not None and limit > 0:  # 0 and less: not in use
            trips.setdefault(read_text(path) or "", []).append(limit / 1000)
    throttle = [*trips.get("passive", ()), *trips.get("hot", ())]
    critical = trips.get("critical", [])
    return min(throttle, default=None), min(critical, default=None)
