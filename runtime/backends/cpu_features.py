"""What this processor computes by itself."""

from __future__ import annotations

import platform
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_X86 = ("x86_64", "amd64", "i686")


def is_x86() -> bool:
    """Return whether this is an Intel or AMD processor."""
    return platform.machine().lower() in _X86


def cpu_flags() -> frozenset[str] | None:
    """Return the processor's features as Linux names them; None where it does not say."""
    try:
        lines = _CPUINFO.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):  # x86, Arm
            return frozenset(value.split())
    return None
