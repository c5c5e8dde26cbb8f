"""One engine in one process, told over its standard input how many frames to run.

Two engines in one process fight over threads, so each peer of a comparison gets a process of its
own and the parent lets one of them work at a time.  Protocol, one line each way: the worker says
``{"ready": ...}``; on ``burst N`` it runs N frames and answers with the times of each; on ``quit``
it answers with its peak memory and ends.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from differseg.options import option, parse

Step = Callable[[], dict[str, float]]
"""Runs one frame; returns the stage times in ms that the engine itself knows (may be empty)."""

PEERS = {
    "runtime": "differseg.bench.runtime_peers:runtime_step",
    "session": "differseg.bench.runtime_peers:session_step",
    "torch": "differseg.bench.torch_peer:torch_step",
}
"""Peer -> the function that makes its step from the worker's options."""


@dataclass(frozen=True)
class WorkerOptions:
    """Run one engine and answer bursts on the standard streams."""

    peer: str = option(positional=True)
    """Which engine."""

    model: Path = option()
    """The ONNX file."""

    frames: Path = option()
    """Frames and prepared inputs (.npz)."""

    threads: int = 2
    """Threads for the engine."""

    checkpoint: Path | None = None
    """Weights for the PyTorch peer."""


def serve(step: Step, description: str) -> None:
    """Answer ``burst N`` until ``quit``; facts go to stdout as one JSON document a line."""
    print(json.dumps({"ready": description}), flush=True)
    for line in sys.stdin:
        words = line.split()
        if words[0] == "quit":
            break
        cpu_s, times_ms, stages = time.process_time(), [], []
        for _ in range(int(words[1])):
            start = time.perf_counter()
            stages.append(step())
            times_ms.append((time.perf_counter() - start) * 1e3)
        cpu_s = time.process_time() - cpu_s
        print(json.dumps({"ms": times_ms, "stages": stages, "cpu_s": cpu_s}), flush=True)
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"peak_mib": peak_mib}), flush=True)


def main() -> None:
    """Make the peer's step and serve it."""
    options = parse(WorkerOptions, sys.argv[1:], "bench worker")
    module, function = PEERS[options.peer].split(":")
    step, description = getattr(import_module(module), function)(options)
    serve(step, description)


if __name__ == "__main__":
    main()
