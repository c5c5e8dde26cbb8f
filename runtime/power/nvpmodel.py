"""nvpmodel's power mode, read from its two files; neither root nor the tool is needed.

``/var/lib/nvpmodel/status`` says ``pmode:0002``, at times with a second line for the fan.
``/etc/nvpmodel.conf`` holds a block for each mode, ``< POWER_MODEL ID=2 NAME=MAXN_SUPER >``, with
lines such as ``GPU MAX_FREQ 612000000`` (Hz), ``CPU_A78_0 MAX_FREQ 1497600`` (kHz) and
``EMC MAX_FREQ 2133000000`` (Hz), where -1 means no limit, and ``< PM_CONFIG DEFAULT=1 >``, the mode
of a board that was never switched.  Definitions above the blocks use the same words.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from differseg.runtime.power.reading import PowerMode
from differseg.runtime.power.sysfs import read_text

_BLOCK = re.compile(r"<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)\s*>")
_DEFAULT = re.compile(r"<\s*PM_CONFIG\s+DEFAULT=(\d+)\s*>")
_LIMIT = re.compile(r"(GPU|EMC|CPU)\w*\s+MAX_FREQ\s+(-?\d+)$")
_STATUS = re.compile(r"^pmode:(\d+)", re.MULTILINE)


def parse_modes(text: str) -> tuple[dict[int, PowerMode], int | None]:
    """Return number -> mode, and the number of the default, of an ``nvpmodel.conf``."""
    modes: dict[int, PowerMode] = {}
    default: int | None = None
    block: tuple[int, str] | None = None
    limits: dict[str, float] = {}

    def keep() -> None:
        if block is not None:
            modes[block[0]] = PowerMode(
                *block, limits.get("GPU"), limits.get("CPU"), limits.get("EMC")
            )

    for line in (raw.strip() for raw in text.splitlines()):
        if line.startswith("<"):
            keep()
            head = _BLOCK.match(line)
            block, limits = (int(head[1]), head[2]) if head else None, {}
            chosen = _DEFAULT.match(line)
            default = int(chosen[1]) if chosen else default
        elif match := _LIMIT.match(line):
            unit, value = match[1], float(match[2]) * (1e3 if match[1] == "CPU" else 1.0)
            if value > 0:
                limits[unit] = max(value, limits.get(unit, 0.0))
    keep()
    return modes, default


class PowerModes:
    """The power mode of a board.

    Args:
        root: Where ``/`` is.
    """

    def __init__(self, root: Path) -> None:
        self._status = root / "var/lib/nvpmodel/status"
        self._modes, self._default = parse_modes(read_text(root / "etc/nvpmodel.conf") or "")
        self._stamp: tuple[int, int] | None = None
        self._mode = self._read()

    def read(self) -> PowerMode | None:
        """Return the mode of this moment; None where there is no nvpmodel."""
        try:
            status = os.stat(self._status)
            stamp = (status.st_ino, status.st_mtime_ns)
        except OSError:
            stamp = None
        if stamp != self._stamp:
            self._stamp, self._mode = stamp, self._read()
        return self._mode

    def _read(self) -> PowerMode | None:
        match = _STATUS.search(read_text(self._status) or "")
        number = int(match[1]) if match else self._default
        return None if number is None else self._modes.get(number, PowerMode(number))
