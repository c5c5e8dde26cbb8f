"""One engine in one process, told over its standard input how many frames to run.

Two engines in one process fight over threads, so each peer of a comparison gets a process of its
own and the parent lets one of them work at a time.  Protocol, one line each way: the worker says
``{"ready": ...}``; on ``burst N`` it runs N frames and answers with the times of each; on ``quit``
it answers with its peak memory and ends.
"""

from __future__ import annotations

import json
import logging
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from differseg.errors import DifferSegError
from differseg.options import option, parse
from differseg.runtime.backends import BackendName, CpuPrecision

FrameTime = tuple[float, dict[str, float]]
"""Milliseconds of one frame, and those of the stages that the engine itself knows."""

Burst = Callable[[int], list[FrameTime]]
"""Runs a number of frames one after the other."""

PEERS = {
    "engine": "differseg.bench.runtime_peers:engine_burst",
    "runtime": "differseg.bench.runtime_peers:runtime_burst",
    "end-to-end": "differseg.bench.runtime_peers:end_to_end_burst",
    "session": "differseg.bench.runtime_peers:session_burst",
    "torch": "differseg.bench.torch_peer:torch_burst",
}
"""Kind of peer -> the function that makes its burst from the worker's options."""


@dataclass(frozen=True)
class WorkerOptions:
    """Run one engine and answer bursts on the standard streams."""

    peer: str = option(positional=True)
    """What it is called."""

    kind: str = option()
    """Which engine and level, of PEERS."""

    model: Path = option()
    """The model file."""

    frames: Path = option()
    """Frames and prepared inputs (.npz)."""

    threads: int = 2
    """Threads for the engine."""

    backend: BackendName = "auto"
    """Engine of the runtime."""

    cpu_precision: CpuPrecision | None = None
    """What OpenVINO computes float32 parts in."""

    checkpoint: Path | None = None
    """Weights for the PyTorch peer."""


def timed(step: Callable[[], object]) -> Burst:
    """Return the burst of an engine that runs one frame a call and knows no stages."""

    def burst(frames: int) -> list[FrameTime]:
        times: list[FrameTime] = []
        for _ in range(frames):
            start = time.perf_counter()
            step()
            times.append(((time.perf_counter() - start) * 1e3, {}))
        return times

    return burst


def serve(burst: Burst, description: str) -> None:
    """Answer ``burst N`` until ``quit``; facts go to stdout as one JSON document a line."""
    print(json.dumps({"ready": description}), flush=True)
    for line in sys.stdin:
        words = line.split()
        if words[0] == "quit":
            break
        cpu_s = time.process_time()
        times = burst(int(words[1]))
        cpu_s = time.process_time() - cpu_s
        answer = {"ms": [ms for ms, _ in times], "stages": [s for _, s in times], "cpu_s": cpu_s}
        print(json.dumps(answer), flush=True)
    print(json.dumps({"peak_mib": _peak_mib()}), flush=True)


def _peak_mib() -> float:
    """Return the largest resident memory of this process.

    ``getrusage`` starts from what the parent had when it forked, so Linux's own account is asked.
    """
    try:
        text = Path("/proc/self/status").read_text()
        return int(text.split("VmHWM:")[1].split()[0]) / 1024
    except (OSError, IndexError, ValueError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Make the peer's burst and serve it; a foreseen mistake is answered as ``{"error": ...}``."""
    options = parse(WorkerOptions, sys.argv[1:], "bench worker")
    logging.getLogger("differseg.runtime").setLevel(logging.ERROR)  # every process would say it
    module, function = PEERS[options.kind].split(":")
    try:
        burst, description = getattr(import_module(module), function)(options)
    except DifferSegError as error:
        print(json.dumps({"error": type(error).__name__, "text": str(error)}), flush=True)
        sys.exit(error.exit_code)
    serve(burst, description)


if __name__ == "__main__":
    main()
