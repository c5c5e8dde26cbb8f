"""An int8 file beside its float32 one, in OpenVINO and in ONNX Runtime, in turn.

    differseg quantize F.onnx --data DIR --target onnxruntime -o F.int8.onnx
    python benchmarks/int8_engines.py F.onnx F.int8.onnx [--threads 2] [--json]

OpenVINO is told to compute in float32 what is not int8: its default on some processors is bfloat16.
Wall time; every engine keeps its threads waiting without turning.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from session_times import Feed, machine, noise, open_session

from differseg.bench.interleave import check_counts
from differseg.errors import InputError, MissingComponentError
from differseg.options import option, parse, run_main
from differseg.runtime.backends.openvino import openvino_core
from differseg.runtime.backends.openvino_int8 import write_unsigned


@dataclass(frozen=True)
class EnginesOptions:
    """Measure an int8 file and its float32 one in OpenVINO and ONNX Runtime."""

    full: Path = option(positional=True, metavar="F.onnx")
    """The float32 file."""
    int8: Path = option(positional=True, metavar="F.int8.onnx")
    """The int8 file of the form for processors."""
    threads: int = 2
    """Threads of each engine."""
    runs: int = 30
    """Runs of each, taken in turn."""
    json: bool = False
    """Print one JSON document as the last line."""

    def __post_init__(self) -> None:
        check_counts(threads=self.threads, runs=self.runs)
        for path in (self.full, self.int8):
            if not path.is_file():
                raise InputError(f"int8_engines: {path}: there is no such file")


Run = Callable[[], Any]


def openvino_run(path: Path, feed: Feed, threads: int) -> Run:
    """Return a run of a file in OpenVINO."""
    try:
        import openvino
    except ModuleNotFoundError:
        raise MissingComponentError(
            "int8_engines: OpenVINO is not installed: pip install 'differseg[openvino]'"
        ) from None
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
    }
    core = openvino_core()
    model = core.read_model(str(path))
    write_unsigned(openvino, model)
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    return lambda: request.infer(dict(feed))


def onnxruntime_run(path: Path, feed: Feed, threads: int) -> Run:
    """Return a run of a file in ONNX Runtime."""
    session = open_session(path, threads)
    return lambda: session.run(None, dict(feed))


def measure(options: EnginesOptions) -> dict[str, float]:
    """Return the median milliseconds of each engine and file."""
    feed = noise(options.full)
    makers = {"OpenVINO": openvino_run, "ONNX Runtime": onnxruntime_run}
    files = {"float32": options.full, "int8": options.int8}
    runs = {
        f"{engine} {name}": make(path, feed, options.threads)
        for engine, make in makers.items()
        for name, path in files.items()
    }
    times: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    for _ in range(options.runs):
        for name, run in runs.items():
            start_s = time.perf_counter()
            run()
            times[name].append(1e3 * (time.perf_counter() - start_s))
    return {name: statistics.median(found) for name, found in times.items()}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = parse(EnginesOptions, argv, "int8_engines")
    medians = measure(options)
    console, table = Console(), Table(title=options.int8.name, title_justify="left")
    for heading in ("engine", "float32 ms", "int8 ms", "ratio"):
        table.add_column(heading, justify="left" if heading == "engine" else "right")
    ratios = {}
    for engine in ("OpenVINO", "ONNX Runtime"):
        full, int8 = medians[f"{engine} float32"], medians[f"{engine} int8"]
        ratios[engine] = full / int8
        table.add_row(engine, f"{full:.1f}", f"{int8:.1f}", f"{full / int8:.2f}")
    console.print(table)
    about = f"{machine(options.threads)}, openvino {version('openvino')}"
    console.print(about, highlight=False, soft_wrap=True)
    if options.json:
        rounded = {name: float(np.round(value, 2)) for name, value in medians.items()}
        print(json.dumps({"ms": rounded, "ratios": ratios, "machine": about}))
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
