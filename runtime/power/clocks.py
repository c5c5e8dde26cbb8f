"""Clocks of GPU, processor and memory.

GPU: devfreq, named ``17000000.gv11b`` (Xavier), ``17000000.ga10b`` (Orin, L4T 35),
``17000000.gpu`` (Orin, L4T 36) or ``gpu-gpc-0`` (Thor), with the load in thousandths in
``device/load``.  ``max_freq`` and ``scaling_max_freq`` are the limits of this moment: nvpmodel and
the kernel's cooling lower both.  Memory: ``clk/emc`` of BPMP, which only root may read, and
``bwmgr`` on Thor; nvpmodel's limit is in ``nvpmodel_clk_cap`` (from L4T 36 on) or
``nvpmodel_emc_cap``.  Paths as in rbonghi/jetson_stats 7.2 and in NVIDIA's driver
nvpmodel-clk-cap.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from differseg.runtime.power.reading import Clock
from differseg.runtime.power.sysfs import SysfsFile, entries, read_number, read_text

_GPU = re.compile(r"(.+\.)?(gv11b|gp10b|ga10b|gb10b|gpu)|gpu-gpc-0")
_MOST_POLICIES = 16
"""A large server has one for each of its cores, and nobody wants to see them all."""


@dataclass(frozen=True)
class _Files:
    """Where one clock is read; factors bring it to Hz and 0..1."""

    hz: SysfsFile | None
    limit: SysfsFile | None
    load: SysfsFile | None
    top_hz: float | None
    factor: float

    def read(self) -> Clock:
        hz, limit, load = (
            None if file is None else file.number() for file in (self.hz, self.limit, self.load)
        )
        return Clock(
            hz=hz * self.factor if hz else None,  # 0: switched off
            limit_hz=limit * self.factor if limit else None,
            top_hz=self.top_hz,
            load=None if load is None else min(max(load / 1000, 0.0), 1.0),
        )

    def close(self) -> None:
        for file in (self.hz, self.limit, self.load):
            if file is not None:
                file.close()


class Clocks:
    """The clocks of a board.

    Args:
        root: Where ``/`` is.
    """

    def __init__(self, root: Path) -> None:
        self._clocks: dict[str, _Files] = {}
        gpu = _gpu(root)
        if gpu is not None:
            self._clocks["gpu"] = gpu
        for folder in entries(root / "sys/devices/system/cpu/cpufreq", "policy")[:_MOST_POLICIES]:
            top = read_number(folder / "cpuinfo_max_freq")
            self._clocks[folder.name.replace("policy", "cpu")] = _Files(
                hz=_file(folder / "scaling_cur_freq"),
                limit=_file(folder / "scaling_max_freq"),
                load=None,
                top_hz=None if top is None else top * 1e3,
                factor=1e3,
            )
        emc = _emc(root)
        if emc is not None:
            self._clocks["emc"] = emc

    def read(self) -> dict[str, Clock]:
        """Return name -> clock."""
        return {name: files.read() for name, files in self._clocks.items()}

    def close(self) -> None:
        """Close the files."""
        for files in self._clocks.values():
            files.close()


def _file(path: Path) -> SysfsFile | None:
    return SysfsFile(path) if os.access(path, os.R_OK) else None


def _gpu(root: Path) -> _Files | None:
    for folder in entries(root / "sys/class/devfreq"):
        if _GPU.fullmatch(folder.name):
            words = (read_text(folder / "available_frequencies") or "").split()
            steps = [int(word) for word in words if word.isdecimal()]
            return _Files(
                hz=_file(folder / "cur_freq"),
                limit=_file(folder / "max_freq"),
                load=_file(folder / "device/load"),
                top_hz=float(max(steps)) if steps else None,
                factor=1.0,
            )
    return None


def _emc(root: Path) -> _Files | None:
    bpmp = root / "sys/kernel/debug/bpmp/debug/clk/emc"
    hz = _file(bpmp / "rate") or _file(root / "sys/class/devfreq/bwmgr/cur_freq")
    limit = _file(root / "sys/kernel/nvpmodel_clk_cap/emc") or _file(
        root / "sys/kernel/nvpmodel_emc_cap/emc_iso_cap"
    )
    if hz is None and limit is None:
        return None
    top = read_number(bpmp / "max_rate")
    return _Files(hz, limit, None, None if top is None else float(top), 1.0)
