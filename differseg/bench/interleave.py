"""Fresh processes per round, bursts in turn, medians of process medians.

The method keeps three known faults out of the figures: two thread pools in one process, load from
outside during a burst, and an allocator that returns memory to the system between calls.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from differseg import errors
from differseg.errors import CheckFailedError, InputError

MAX_OUTSIDE_CORES = 0.3
"""A burst during which other processes used more than this many cores is dropped."""

MIN_BURST_S = 0.3
"""Bursts are at least this long: the system counts its load in ticks of about 0.01 s."""

PAUSE_S = 0.05
"""Before every burst, for the previous engine's threads to stop spinning."""

ENVIRONMENT = {
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TRIM_THRESHOLD_": "4294967296",
    "OMP_WAIT_POLICY": "PASSIVE",
}
"""Same allocator and waiting policy for every engine."""

WORKER = ("-m", "differseg.bench.worker")
"""What Python runs in a peer's process."""


@dataclass
class PeerTimes:
    """What was measured of one peer.

    Attributes:
        description: Engine and version, from the engine's own process.
        processes_ms: Frame times of each process, after the drop of disturbed bursts.
        stages_ms: Stage name -> times of all frames.
        peak_mib: Highest resident memory of any of its processes.
        dropped_bursts: Bursts left out because of outside load.
        disturbed: Every burst was, so the times are those of the disturbed bursts after all.
    """

    description: str = ""
    processes_ms: list[list[float]] = field(default_factory=list)
    stages_ms: dict[str, list[float]] = field(default_factory=dict)
    peak_mib: float = 0.0
    dropped_bursts: int = 0
    disturbed: bool = False

    @property
    def medians_ms(self) -> list[float]:
        """Median of each process."""
        return [statistics.median(times) for times in self.processes_ms if times]

    @property
    def median_ms(self) -> float:
        """Median of the process medians."""
        return statistics.median(self.medians_ms)


class _Worker:
    """A peer's process and the two pipes to it."""

    def __init__(
        self,
        peer: str,
        arguments: Sequence[str],
        threads: int,
        program: Sequence[str],
        settings: Mapping[str, str],
    ) -> None:
        environment = {**os.environ, **settings, "OMP_NUM_THREADS": str(threads)}
        command = [sys.executable, *program, peer, *arguments]
        self.peer = peer
        self.process = subprocess.Popen(
            [*command, "--threads", str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.description = self._read()["ready"]

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                answer = json.loads(line)
                if "error" in answer:
                    self.process.communicate()
                    raise getattr(errors, answer["error"])(answer["text"])
                return answer
        status = self.process.wait()
        raise CheckFailedError(f"bench: the process of '{self.peer}' ended with status {status}")

    def ask(self, line: str) -> dict[str, Any]:
        """Send one command and wait for its answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self._read()

    def close(self) -> float:
        """End the process; returns its peak memory in MiB."""
        peak_mib = float(self.ask("quit")["peak_mib"])
        self.process.communicate()
        return peak_mib

    def kill(self) -> None:
        """End the process at once."""
        self.process.kill()
        self.process.communicate()


def _busy_s() -> float | None:
    """CPU seconds that the whole machine has worked, None where /proc/stat is not there."""
    try:
        with open("/proc/stat") as stat:
            ticks = [int(word) for word in stat.readline().split()[1:9]]
    except OSError:
        return None
    user, nice, system, _, _, irq, softirq, steal = ticks
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


@dataclass
class _Burst:
    """What one burst of one process gave."""

    process: int
    times_ms: list[float]
    stages: list[dict[str, float]]
    disturbed: bool


def _burst(worker: _Worker, frames: int, process: int) -> _Burst:
    time.sleep(PAUSE_S)
    busy, start = _busy_s(), time.perf_counter()
    answer = worker.ask(f"burst {frames}")
    wall_s, after = time.perf_counter() - start, _busy_s()
    disturbed = False
    if busy is not None and after is not None:
        disturbed = (after - busy - answer["cpu_s"]) / wall_s > MAX_OUTSIDE_CORES
    return _Burst(process, answer["ms"], answer["stages"], disturbed)


def _collect(times: PeerTimes, bursts: list[_Burst]) -> None:
    """Fill in the undisturbed bursts; all of them, marked so, where none was undisturbed."""
    times.dropped_bursts = sum(burst.disturbed for burst in bursts)
    times.disturbed = times.dropped_bursts == len(bursts)
    times.processes_ms = [[] for _ in range(1 + max(burst.process for burst in bursts))]
    for burst in bursts:
        if burst.disturbed and not times.disturbed:
            continue
        times.processes_ms[burst.process].extend(burst.times_ms)
        for stages in burst.stages:
            for name, value in stages.items():
                times.stages_ms.setdefault(name, []).append(value)


def check_counts(**counts: int) -> None:
    """Refuse a count below 1; the names are those of the command line.

    Raises:
        InputError: One is, and this is its name and value.
    """
    for name, count in counts.items():
        if count < 1:
            raise InputError(f"--{name.replace('_', '-')} {count}: expected 1 or more")


def measure(
    peers: Mapping[str, Sequence[str]],
    *,
    frames: int,
    bursts: int,
    rounds: int,
    threads: int,
    progress: Callable[[int], None],
    program: Sequence[str] = WORKER,
    environment: Mapping[str, str] = ENVIRONMENT,
) -> dict[str, PeerTimes]:
    """Measure peers against each other.

    Args:
        peers: Peer name -> command-line arguments of its worker.
        frames: Frames a burst, at least; more where they take less than ``MIN_BURST_S``.
        bursts: Bursts a process, taken in turn with the other peers' bursts.
        rounds: Fresh processes per peer.
        threads: Threads of each engine.
        progress: Called with the number of steps done (``rounds * (bursts + 1)`` in all).
        program: What Python runs in each process, before the peer's name; see
            :mod:`differseg.bench.worker` for what it must answer.
        environment: Variables set for every process.

    Returns:
        Peer name -> its times.

    Raises:
        InputError: A count below 1.
        CheckFailedError: A worker ended by itself.
        DifferSegError: A worker refused its arguments, in its own words.
    """
    check_counts(frames=frames, bursts=bursts, rounds=rounds, threads=threads)
    times = {peer: PeerTimes() for peer in peers}
    taken: dict[str, list[_Burst]] = {peer: [] for peer in peers}
    for number in range(rounds):
        workers: list[_Worker] = []
        try:
            for peer, arguments in peers.items():
                workers.append(_Worker(peer, arguments, threads, program, environment))
                times[peer].description = workers[-1].description
            counts: dict[str, int] = {}
            for worker in workers:
                warm_up = worker.ask(f"burst {max(3, frames // 4)}")  # not counted
                fill = math.ceil(MIN_BURST_S * 1000 / statistics.median(warm_up["ms"]))
                counts[worker.peer] = max(frames, fill)
            progress(1)
            for turn in range(bursts):
                for worker in workers if turn % 2 == 0 else workers[::-1]:
                    taken[worker.peer].append(_burst(worker, counts[worker.peer], number))
                progress(1)
            for worker in workers:
                into = times[worker.peer]
                into.peak_mib = max(into.peak_mib, worker.close())
        finally:
            for worker in workers:
                if worker.process.poll() is None:
                    worker.kill()
    for peer, measured in times.items():
        _collect(measured, taken[peer])
    return times
