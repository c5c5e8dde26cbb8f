"""Power rails and over-current counters.

Rails: INA3221 (``in1_label``, ``in1_input`` in mV, ``curr1_input`` in mA; channel 7 is a sum of
shunt voltages) and, on Thor, INA238 (``power1_input`` in uW), both under hwmon from L4T 34 on.
Which rails make up the whole is known from NVIDIA's guide "Platform Power and Performance" and
from energymon's list for Jetsons.  Counters: ``oc1_event_cnt`` ... of ``soctherm-oc-event`` on
Orin and Thor.  The paths were seen in public logs of L4T 35.6, 36.4, 36.5 and 38.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from differseg.runtime.power.sysfs import SysfsFile, entries, read_text

_WHOLE = ("VDD_IN", "VIN", "POM_5V_IN")
_PARTS = (
    ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"),  # AGX Orin
    ("VDD_GPU", "VDD_CPU_SOC_MSS", "VIN_SYS_5V0"),  # Thor without its INA238
    ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"),  # AGX Xavier
)


def total_power(rails_w: Mapping[str, float]) -> tuple[float | None, tuple[str, ...]]:
    """Return the power of the whole module or board in W, and the rails that it is the sum of.

    None where the rails are not known to make up the whole: others than these are parts of parts.
    """
    for name in _WHOLE:
        if name in rails_w:
            return rails_w[name], (name,)
    for names in _PARTS:
        if all(name in rails_w for name in names):
            return sum(rails_w[name] for name in names), names
    return None, ()


class Rails:
    """The power rails of a board.

    Args:
        root: Where ``/`` is.
    """

    def __init__(self, root: Path) -> None:
        self._rails: dict[str, tuple[SysfsFile, ...]] = {}
        for folder in entries(root / "sys/class/hwmon", "hwmon"):
            chip = read_text(folder / "name") or ""
            if chip.startswith("ina"):
                self._add(folder)

    def _add(self, folder: Path) -> None:
        for label in entries(folder, "in"):
            if not label.name.endswith("_label"):
                continue
            name, channel = read_text(label), label.name[2 : -len("_label")]
            if not name or name == "NC":
                continue
            power, volts = folder / f"power{channel}_input", folder / f"in{channel}_input"
            amperes = folder / f"curr{channel}_input"
            if power.exists():
                self._rails[name] = (SysfsFile(power),)
            elif volts.exists() and amperes.exists():
                self._rails[name] = (SysfsFile(volts), SysfsFile(amperes))

    def read(self) -> dict[str, float]:
        """Return name -> power in W, of those that can be read."""
        values = {name: [file.number() for file in files] for name, files in self._rails.items()}
        watts = {}
        for name, (first, *second) in values.items():
            if first is None or None in second:
                continue
            # Microwatts, or millivolts times milliamperes.
            watts[name] = first * (second[0] or 0) / 1e6 if second else first / 1e6
        return watts

    def close(self) -> None:
        """Close the files."""
        for files in self._rails.values():
            for file in files:
                file.close()


class ThrottleCounters:
    """How often the hardware throttled since it was switched on.

    ``OC1``, ``OC2`` ... on a Jetson; on an x86 processor ``package``, of its first package.

    Args:
        root: Where ``/`` is.
    """

    def __init__(self, root: Path) -> None:
        self._files: dict[str, SysfsFile] = {}
        for folder in entries(root / "sys/class/hwmon", "hwmon"):
            for path in entries(folder, "oc"):
                if path.name.endswith("_event_cnt"):
                    self._files[path.name.removesuffix("_event_cnt").upper()] = SysfsFile(path)
        package = root / "sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count"
        if package.exists():
            self._files["package"] = SysfsFile(package)

    def read(self) -> dict[str, int]:
        """Return name -> count, of those that can be read."""
        counts = {name: file.number() for name, file in self._files.items()}
        return {name: count for name, count in counts.items() if count is not None}

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()
