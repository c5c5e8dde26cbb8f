"""Times of ONNX files in ONNX Runtime, taken in turn in one process.

Wall time is that of several threads.  Processor time is that of one thread: it says what the work
is, also on a machine that has other work.
"""

from __future__ import annotations

import gc
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from differseg.bench.machine import cpu_name

Feed = Mapping[str, npt.NDArray[Any]]


def machine(threads: int) -> str:
    """Return processor, threads and versions in words."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "onnxruntime"))
    return f"{cpu_name()}, {threads} threads; Python {platform.python_version()}, {packages}"


def session_times(
    paths: Mapping[str, Path], feed: Feed, threads: int, runs: int
) -> dict[str, dict[str, float]]:
    """Measure files that take the same inputs.

    Args:
        paths: Files by name.
        feed: Input name -> array.
        threads: Threads of the wall time.
        runs: Runs of each file and kind of time, after one that is not counted.

    Returns:
        Name -> the medians ``wall_ms`` (of ``threads`` threads) and ``cpu_ms`` (of one).
    """
    kinds: tuple[tuple[str, int, Callable[[], float]], ...] = (
        ("wall_ms", threads, time.perf_counter),
        ("cpu_ms", 1, time.process_time),
    )
    medians: dict[str, dict[str, float]] = {name: {} for name in paths}
    for kind, count, clock in kinds:
        sessions = {name: open_session(path, count) for name, path in paths.items()}
        times: dict[str, list[float]] = {name: [] for name in paths}
        for session in sessions.values():
            session.run(None, dict(feed))
        for _ in range(runs):
            for name, session in sessions.items():
                start = clock()
                session.run(None, dict(feed))
                times[name].append(1e3 * (clock() - start))
        for name, taken in times.items():
            medians[name][kind] = statistics.median(taken)
        del sessions, session
        gc.collect()  # a large network's memory before the next one takes its own
    return medians


def open_session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    """Open a file on the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    # Threads that wait by turning would count as processor time, and take it from the other file.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def noise(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Return seeded noise for every input of a file: 0..255 for bytes, else 0..1."""
    draw = np.random.default_rng(0)
    feed: dict[str, npt.NDArray[Any]] = {}
    for entry in open_session(path, 1).get_inputs():
        if entry.type == "tensor(uint8)":
            feed[entry.name] = draw.integers(0, 256, entry.shape, dtype=np.uint8)
        else:
            feed[entry.name] = draw.random(entry.shape, dtype=np.float32)
    return feed
