"""Boards: their memory and power modes, each figure with its source.

Rates at a power mode follow from those of :mod:`differseg.bench.devices` by the number of
multiprocessors that the mode leaves on and their clock.  Modes are those of NVIDIA's nvpmodel
files, as LineageOS/android_device_nvidia_concord keeps them in ``nvpmodel/`` (at 54e4953; the
files of Super mode at 370b63a): a TPC holds two multiprocessors, a bit of ``TPC_PG_MASK`` turns
one of eight TPCs off, a clock of -1 is the highest of the module, and bytes a second are twice the
EMC's clock times the width of the bus.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace

from differseg.bench.devices import DEVICES, Device
from differseg.errors import InputError

_NVPMODEL = "nvpmodel_{}.conf, LineageOS/android_device_nvidia_concord"
_HIGHEST = "highest clocks; lower modes: no figures found"


@dataclass(frozen=True)
class PowerMode:
    """What a power mode leaves on.

    Attributes:
        name: As nvpmodel calls it.
        multiprocessors: Of the GPU.
        clock_mhz: Of the GPU.
        bandwidth_gbs: Bytes of memory a second, in 1e9.
        source: Where the figures are from.
        is_super: It needs JetPack 6.2 or later, flashed with a Super configuration.
    """

    name: str
    multiprocessors: int
    clock_mhz: float
    bandwidth_gbs: float
    source: str
    is_super: bool = False

    @property
    def label(self) -> str:
        """What tables call it."""
        return f"{self.name} Super" if self.is_super and "SUPER" not in self.name else self.name


@dataclass(frozen=True)
class Board:
    """A module.

    Attributes:
        name: What the command line calls it.
        label: What NVIDIA calls it.
        device: Its name in :data:`differseg.bench.devices.DEVICES`.
        multiprocessors: Of the GPU at the device's rates.
        memory_mib: Of the module, processor and GPU together.
        usable_mib: What Linux has of it.
        usable_source: Where that is from.
        modes: The fastest last.
        calibrated: The fit of the estimate is of this family of GPUs.
    """

    name: str
    label: str
    device: str
    multiprocessors: int
    memory_mib: int
    usable_mib: int
    usable_source: str
    modes: tuple[PowerMode, ...]
    calibrated: bool = True

    def at(self, mode: PowerMode) -> Device:
        """Return the two roofs of the board in a power mode."""
        device = DEVICES[self.device]
        assert device.clock_mhz is not None  # every board's is known
        share = mode.multiprocessors * mode.clock_mhz / (self.multiprocessors * device.clock_mhz)
        return replace(
            device,
            name=f"{self.name}@{mode.name}",
            label=f"{self.label}, {mode.label}",
            bandwidth_gbs=mode.bandwidth_gbs,
            matrix_tflops={p: rate * share for p, rate in device.matrix_tflops.items()},
            vector_tflops={p: rate * share for p, rate in device.vector_tflops.items()},
            clock_mhz=mode.clock_mhz,
            sources=f"{device.sources}; {mode.source}",
        )


_8GB_SEEN = "a line of tegrastats of an Orin Nano 8GB: RAM 620/7619MB"
_16GB_SEEN = "trtexec on an Orin NX 16GB: 15536 MiB (OE4T/meta-tegra pull request 2243)"
_SCALED = "unknown; the same part as of the 8 GB module is taken"
_USABLE_PART = 7619 / 8192


def _scaled(memory_gib: int) -> int:
    return round(memory_gib * 1024 * _USABLE_PART)


def _mode(conf: str, name: str, multiprocessors: int, clock_mhz: float, gbs: float) -> PowerMode:
    source = _NVPMODEL.format(conf)
    return PowerMode(name, multiprocessors, clock_mhz, gbs, source, conf.endswith("super"))


BOARDS = {
    board.name: board
    for board in (
        Board(
            "orin-nano-4gb", "Jetson Orin Nano 4GB", "orin-nano-4gb", 4, 4096, _scaled(4), _SCALED,
            (
                _mode("p3767_0004", "7W_CPU", 4, 306, 34),
                _mode("p3767_0004", "7W_AI", 4, 408, 34),
                _mode("p3767_0004", "10W", 4, 625, 34),
                _mode("p3767_0004_super", "25W", 4, 1020, 51),
                _mode("p3767_0004_super", "MAXN_SUPER", 4, 1020, 51),
            ),
        ),
        Board(
            "orin-nano-8gb", "Jetson Orin Nano 8GB", "orin-nano-8gb", 8, 8192, 7619, _8GB_SEEN,
            (
                _mode("p3767_0003", "7W", 4, 408, 68),
                _mode("p3767_0003", "15W", 8, 625, 68),
                _mode("p3767_0003_super", "25W", 8, 918, 102),
                _mode("p3767_0003_super", "MAXN_SUPER", 8, 1020, 102),
            ),
        ),
        Board(
            "orin-nx-8gb", "Jetson Orin NX 8GB", "orin-nx-8gb", 8, 8192, 7619, _8GB_SEEN,
            (
                _mode("p3767_0001", "10W", 4, 612, 68.3),
                _mode("p3767_0001", "15W", 4, 612, 102.4),
                _mode("p3767_0001", "20W", 8, 408, 102.4),
                _mode("p3767_0001", "MAXN", 8, 765, 102.4),
                _mode("p3767_0001_super", "40W", 8, 1173, 102.4),
                _mode("p3767_0001_super", "MAXN_SUPER", 8, 1173, 102.4),
            ),
        ),
        Board(
            "orin-nx-16gb", "Jetson Orin NX 16GB", "orin-nx-16gb", 8, 16384, 15536, _16GB_SEEN,
            (
                _mode("p3767_0000", "10W", 4, 612, 68.3),
                _mode("p3767_0000", "15W", 4, 612, 102.4),
                _mode("p3767_0000", "25W", 8, 408, 102.4),
                _mode("p3767_0000", "MAXN", 8, 918, 102.4),
                _mode("p3767_0000_super", "40W", 8, 1173, 102.4),
                _mode("p3767_0000_super", "MAXN_SUPER", 8, 1173, 102.4),
            ),
        ),
        Board(
            "agx-orin-32gb", "Jetson AGX Orin 32GB", "agx-orin-32gb", 14, 32768, _scaled(32),
            _SCALED,
            (
                _mode("p3701_0004", "MODE_15W", 6, 408, 136.5),
                _mode("p3701_0004", "MODE_30W", 8, 612, 204.8),
                _mode("p3701_0004", "MODE_40W", 14, 816, 204.8),
                _mode("p3701_0004", "MAXN", 14, 930, 204.8),
            ),
        ),
        Board(
            "agx-orin-64gb", "Jetson AGX Orin 64GB", "agx-orin-64gb", 16, 65536, _scaled(64),
            _SCALED,
            (
                _mode("p3701_0000", "MODE_15W", 6, 408, 136.5),
                _mode("p3701_0000", "MODE_30W", 8, 612, 204.8),
                _mode("p3701_0000", "MODE_50W", 16, 816, 204.8),
                _mode("p3701_0000", "MAXN", 16, 1300, 204.8),
            ),
        ),
        Board(
            "thor-t4000", "Jetson T4000", "thor-t4000", 12, 65536, _scaled(64), _SCALED,
            (PowerMode("MAXN", 12, 1530, 273, _HIGHEST),), calibrated=False,
        ),
        Board(
            "thor-t5000", "Jetson T5000 (AGX Thor)", "thor-t5000", 20, 131072, _scaled(128),
            _SCALED, (PowerMode("MAXN", 20, 1575, 273, _HIGHEST),), calibrated=False,
        ),
    )
}  # fmt: skip
"""Name -> board."""


def boards_named(name: str) -> tuple[Board, ...]:
    """Return a board by its name, or all of a family: ``orin-nano`` is both Orin Nanos.

    Raises:
        InputError: There is none; names the nearest.
    """
    found = tuple(b for b in BOARDS.values() if name in (b.name, b.name.rpartition("-")[0], "all"))
    if found:
        return found
    families = sorted({board.rpartition("-")[0] for board in BOARDS})
    near = difflib.get_close_matches(name, [*BOARDS, *families], n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"choose from {', '.join(BOARDS)}"
    raise InputError(f"fit: --device: there are no figures for '{name}'; {hint}")


def modes_of(board: Board, name: str | None) -> tuple[PowerMode, ...]:
    """Return the power modes of a name, or all but the ones that equal a later one.

    Raises:
        InputError: The board has no such mode.
    """
    if name is None:
        figures = {(m.multiprocessors, m.clock_mhz, m.bandwidth_gbs): m for m in board.modes}
        return tuple(figures.values())
    found = tuple(mode for mode in board.modes if mode.name.lower() == name.lower())
    if not found:
        names = ", ".join(mode.name for mode in board.modes)
        raise InputError(f"fit: --mode: {board.label} has no mode '{name}'; it has {names}")
    return found
