"""``tegrastats``, the second way: for a container that sees little of sysfs.

Its lines differ between boards and releases; these parts are read, all optional:

    CPU [14%@2188,off] or CPU [0%,5%,off]@2601      load and MHz of every core
    EMC_FREQ 3%@2133                                load and MHz of the memory
    GR3D_FREQ 62%@306, 0%@[0,0] or @[1574,1574]     load and MHz of the GPU or of its clusters
    cpu@52.562C, tj@66.6C/66.6C, CV0@-256C          temperature (and highest); -256: switched off
    VDD_IN 2763mW/2846mW, CPU 311/311               power in mW now and on average (and highest)

Written after lines of Xavier (L4T 32 and 35), Orin (L4T 35, 36 and 39) and Thor (L4T 38 and 39)
that are public, among others in the tests of rbonghi/jetson_stats.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
import time

from differseg.errors import MissingComponentError
from differseg.runtime.power.rails import total_power
from differseg.runtime.power.reading import BoardReading, Clock, Zone
from differseg.runtime.power.zones import plausible_c, zone_name

_CPU = re.compile(r"\bCPU \[([^\]]*)\](?:@(\d+))?")
_CORE = re.compile(r"(\d+)%(?:@(\d+))?$")
_GPU = re.compile(r"\bGR3D_FREQ (?=[\d@])(?:(\d+)%)?(?:@(?:\[([^\]]*)\]|(\d+)))?")
_EMC = re.compile(r"\bEMC_FREQ (?=[\d@])(?:(\d+)%)?(?:@(\d+))?")
_ZONE = re.compile(r"(?:^|\s)([A-Za-z]\w*)@(-?\d+(?:\.\d+)?)C(?=[/\s]|$)")
_RAIL = re.compile(r"(?:^|\s)([A-Z]\w*) (-?\d+)(?:mW)?(?:/-?\d+(?:mW)?){1,2}(?=\s|$)")

_LONGEST_LINE = 8192
_STALE_S = 5.0


def parse_line(line: str, time_s: float) -> BoardReading:
    """Return what one line says; parts that it does not have are left out.

    Args:
        line: Of ``tegrastats``, with or without a date.
        time_s: When it was printed, on the monotonic clock.
    """
    zones = {
        name: Zone(plausible_c(float(value)))
        for kind, value in _ZONE.findall(line)
        if (name := zone_name(kind)) is not None
    }
    rails_w = {name: int(mw) / 1e3 for name, mw in _RAIL.findall(line) if name != "NC"}
    clocks = {"cpu": _cpu(line), "gpu": _gpu(line), "emc": _emc(line)}
    power_w, power_of = total_power(rails_w)
    return BoardReading(
        time_s=time_s,
        source="tegrastats",
        zones=zones,
        clocks={name: clock for name, clock in clocks.items() if clock is not None},
        rails_w=rails_w,
        power_w=power_w,
        power_of=power_of,
    )


def _mhz(values: list[str]) -> float | None:
    """Return the fastest of some clocks in Hz; None where all are switched off."""
    return max((int(value) * 1e6 for value in values if value.isdecimal()), default=0.0) or None


def _load(percent: str | None) -> float | None:
    return None if percent is None else min(int(percent) / 100, 1.0)


def _cpu(line: str) -> Clock | None:
    match = _CPU.search(line)
    if match is None:
        return None
    cores = [core for text in match[1].split(",") if (core := _CORE.match(text.strip()))]
    if not cores:
        return None
    load = sum(int(core[1]) for core in cores) / 100 / len(cores)
    return Clock(_mhz([core[2] or match[2] or "" for core in cores]), load=min(load, 1.0))


def _gpu(line: str) -> Clock | None:
    match = _GPU.search(line)
    if match is None:
        return None
    clusters = [value.strip() for value in (match[2] or match[3] or "").split(",")]
    return Clock(_mhz(clusters), load=_load(match[1]))


def _emc(line: str) -> Clock | None:
    match = _EMC.search(line)
    return None if match is None else Clock(_mhz([match[2] or ""]), load=_load(match[1]))


class TegrastatsBoard:
    """A running ``tegrastats``; the newest line counts, and an old one does not.

    Args:
        command: The program.
        interval_s: How often it prints.

    Raises:
        MissingComponentError: It is not there or does not start.
    """

    def __init__(self, command: str = "tegrastats", interval_s: float = 1.0) -> None:
        path = shutil.which(command)
        if path is None:
            raise MissingComponentError(
                f"{command} is not on the PATH; it comes with a Jetson's own packages "
                "(nvidia-l4t-tools), and a container must be given it"
            )
        try:
            self._process = subprocess.Popen(
                [path, "--interval", str(round(interval_s * 1e3))],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                errors="replace",
            )
        except OSError as error:
            raise MissingComponentError(f"{path}: it does not start ({error.strerror})") from None
        self._newest: BoardReading | None = None
        self._thread = threading.Thread(target=self._follow, name="tegrastats", daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        assert self._process.stdout is not None
        while line := self._process.stdout.readline(_LONGEST_LINE):
            self._newest = parse_line(line, time.monotonic())

    def read(self, now_s: float) -> BoardReading:
        """Return the newest line's reading, or an empty one where none is of this moment."""
        newest = self._newest
        if newest is None or now_s - newest.time_s > _STALE_S:
            return BoardReading(now_s, "tegrastats")
        return newest

    def close(self) -> None:
        """End the program."""
        self._process.terminate()
        try:
            self._process.wait(2.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._thread.join(2.0)
        if self._process.stdout is not None:
            self._process.stdout.close()
