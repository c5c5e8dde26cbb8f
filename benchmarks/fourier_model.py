"""Every way to transform an axis, measured in ONNX Runtime and estimated by the cost model.

    python benchmarks/fourier_model.py [--size 240x320] [--channels 32] [--threads 2]

Shows what the choice of a Fourier plan costs: the way that the model chooses against the fastest.
Of every way the lowest tenth of many runs is taken, in several passes over all ways, so that other
programs disturb little.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from fourier_graphs import PlanGraph
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import track
from rich.table import Table

from differseg.export.lowering.fourier_plan import Axis, cheapest, irfft2_plan, rfft2_plan
from differseg.options import parse, run_main

SIZES = ((16, 16), (32, 32), (48, 64), (60, 80), (96, 128), (120, 160), (128, 128), (240, 320))
_WORTH_TIMING = 4.0
"""Ways with a larger estimate, as a multiple of the lowest one, are left out."""


@dataclass(frozen=True)
class ModelOptions:
    """Measure the ways of rfft2 and irfft2 and compare them with their estimates."""

    size: tuple[int, int] | None = None
    """One size, height x width, instead of the usual eight."""
    channels: int = 32
    """Planes of the map."""
    threads: int = 2
    """Threads of ONNX Runtime."""
    passes: int = 3
    """Times that every way is measured."""
    runs: int = 20
    """Runs a pass."""


@dataclass(frozen=True)
class Case:
    """One way of one axis."""

    operator: str
    axis: Axis
    first: int | None


def cases_of(channels: int, size_hw: tuple[int, int]) -> list[Case]:
    """Return every way of both axes of both transforms that may be worth it."""
    cases = []
    for make in (rfft2_plan, irfft2_plan):
        axes: list[Axis] = []

        def record(axis: Axis, axes: list[Axis] = axes) -> int | None:
            axes.append(axis)
            return None

        make(channels, size_hw, "ortho", record)
        for axis in axes:
            times_ns = axis.estimates_ns()
            limit_ns = _WORTH_TIMING * min(times_ns.values())
            ways = [first for first, ns in times_ns.items() if first is None or ns < limit_ns]
            cases += [Case(make.__name__.removesuffix("_plan"), axis, way) for way in ways]
    return cases


def measure_ms(case: Case, folder: Path, threads: int, runs: int) -> list[float]:
    """Return the times of some runs."""
    graph, path = PlanGraph(), folder / "way.onnx"
    graph.append(case.axis.ways(case.first), case.axis.shape)
    graph.save(path, case.axis.shape)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(0).standard_normal(case.axis.shape).astype(np.float32)
    session.run(None, {"x": x})
    times_ms = []
    for _ in range(runs):
        start = time.perf_counter()
        session.run(None, {"x": x})
        times_ms.append((time.perf_counter() - start) * 1e3)
    return times_ms


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = parse(ModelOptions, argv, "fourier model")
    console = Console()
    for size_hw in [options.size] if options.size else SIZES:
        cases = cases_of(options.channels, size_hw)
        times_ms: list[list[float]] = [[] for _ in cases]
        with tempfile.TemporaryDirectory() as folder:
            for index in track(list(range(len(cases))) * options.passes, transient=True):
                measured = measure_ms(cases[index], Path(folder), options.threads, options.runs)
                times_ms[index] += measured
        low_ms = [float(np.percentile(times, 10)) for times in times_ms]
        title = f"{options.channels}x{size_hw[0]}x{size_hw[1]}"
        table = Table("", title, "measured ms", "estimated ms", "/ fastest", box=SIMPLE_HEAD)
        for case, ms in zip(cases, low_ms, strict=True):
            same = [t for c, t in zip(cases, low_ms, strict=True) if c.axis is case.axis]
            chosen = "chosen" if cheapest(case.axis) == case.first else ""
            name = f"{case.operator}, {case.axis.name} {case.axis.label(case.first)}"
            estimate_ms = case.axis.estimates_ns()[case.first] / 1e6
            table.add_row(chosen, name, f"{ms:.3f}", f"{estimate_ms:.3f}", f"{ms / min(same):.2f}")
        console.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
