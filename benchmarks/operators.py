"""What every operator costs: its portable ONNX form in ONNX Runtime beside eager PyTorch.

    python benchmarks/operators.py [--threads 2] [--json]

Both engines are processes of their own, bursts are taken in turn, and a figure is the median of
the process medians.  The sizes are those of a feature map, see ``operator_calls.py``.
"""

from __future__ import annotations

import json
import platform
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from operator_calls import CALLS, Call, arguments
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import Progress
from rich.table import Column, Table

from differseg.bench.interleave import ENVIRONMENT, check_counts, measure
from differseg.bench.machine import cpu_name
from differseg.export import export_onnx
from differseg.options import parse, run_main

_KEPT = {name: value for name, value in ENVIRONMENT.items() if name.startswith("MALLOC")}
_PROGRAM = (str(Path(__file__).with_name("operators_engines.py")),)


@dataclass(frozen=True)
class OperatorsOptions:
    """Measure every operator in ONNX Runtime and in PyTorch."""

    threads: int = 2
    """Threads of each engine."""
    frames: int = 10
    """Runs in a burst."""
    bursts: int = 3
    """Bursts of each process, taken in turn."""
    rounds: int = 3
    """Fresh processes of each engine."""
    json: bool = False
    """Print one JSON document as the last line."""

    def __post_init__(self) -> None:
        check_counts(
            threads=self.threads, frames=self.frames, bursts=self.bursts, rounds=self.rounds
        )


def measure_operator(name: str, options: OperatorsOptions, folder: Path) -> dict[str, Any]:
    """Return nodes of the portable form and both medians of one operator."""
    path = folder / f"{name}.onnx"
    export = export_onnx(Call(CALLS[name][0]), arguments(name), path)
    given = ["--operator", name, "--model", str(path)]
    times = measure(
        {"PyTorch": given, "ONNX Runtime": given},
        frames=options.frames,
        bursts=options.bursts,
        rounds=options.rounds,
        threads=options.threads,
        progress=lambda steps: None,
        program=_PROGRAM,
        environment=_KEPT,
    )
    return {
        "shapes": ["x".join(map(str, shape)) for shape in CALLS[name][1]],
        "nodes": export.nodes,
        "torch_ms": times["PyTorch"].median_ms,
        "onnx_ms": times["ONNX Runtime"].median_ms,
        "disturbed": any(peer.disturbed for peer in times.values()),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = parse(OperatorsOptions, argv, "operators")
    console = Console(stderr=options.json)
    if not console.is_terminal:
        console.width = 120
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "onnxruntime"))
    machine = f"{cpu_name()}, {options.threads} threads; Python {platform.python_version()}"
    console.print(f"{machine}, {packages}", highlight=False)
    rows: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder, Progress(console=console) as bar:
        for name in bar.track(CALLS, description="operators"):
            rows[name] = measure_operator(name, options, Path(folder))
    heads = ("operator", "operands", "nodes", "PyTorch ms", "ONNX Runtime ms", "ratio")
    table = Table(*(Column(head, no_wrap=True) for head in heads), box=SIMPLE_HEAD)
    for name, row in rows.items():
        table.add_row(
            name + (" (disturbed)" if row["disturbed"] else ""),
            ", ".join(row["shapes"]),
            str(row["nodes"]),
            f"{row['torch_ms']:.2f}",
            f"{row['onnx_ms']:.2f}",
            f"{row['onnx_ms'] / row['torch_ms']:.2f}",
        )
    console.print(table)
    if options.json:
        print(json.dumps({"machine": f"{machine}, {packages}", "operators": rows}))
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
