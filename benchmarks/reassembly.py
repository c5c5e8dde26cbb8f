"""Content-aware reassembly (CARAFE): every way to write it, eager and in ONNX Runtime, in turn.

    python benchmarks/reassembly.py [--settings default] [--threads 2] [--json]

Forms: sums of shifted maps, an unfolded map, a one-hot convolution with products of matrices, and
differseg's operator; each eager and exported, differseg's also with ONNX Runtime's threads sleeping
between operators instead of spinning (its default).  Every engine is a process of its own; bursts
are taken in turn, and the figure is the median of the process medians.  The last column is the
largest tensor between the graph's inputs and its output, in sizes of the output.

Settings of allocator and waiting policy, the same for all engines: ``kept`` (memory is kept between
calls: PyTorch at its best), ``passive`` (kept, and threads sleep), ``default`` (nothing is set).
"""

from __future__ import annotations

import json
import math
import platform
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import torch
from reassembly_forms import FORMS, Shifts
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import Progress
from rich.table import Column, Table

from differseg.bench.interleave import ENVIRONMENT, PeerTimes, check_counts, measure
from differseg.bench.machine import cpu_name
from differseg.export import export_onnx
from differseg.options import parse, run_main

_KEPT = {name: value for name, value in ENVIRONMENT.items() if name.startswith("MALLOC")}
SETTINGS = {"kept": _KEPT, "passive": ENVIRONMENT, "default": {}}
_PROGRAM = (str(Path(__file__).with_name("reassembly_engines.py")),)
_OURS = "ONNX differseg"


@dataclass(frozen=True)
class ReassemblyOptions:
    """Measure the forms of reassembly on one map."""

    channels: int = 64
    """Channels of the map."""
    height: int = 64
    """Rows of the map."""
    width: int = 64
    """Columns of the map."""
    kernel_size: int = 5
    """Taps along a side."""
    scale: int = 2
    """Output pixels per input pixel along a side."""
    settings: Literal["kept", "passive", "default"] = "kept"
    """Allocator and waiting policy of every engine; see above."""
    threads: int = 2
    """Threads of each engine."""
    frames: int = 12
    """Runs in a burst."""
    bursts: int = 6
    """Bursts of each process, taken in turn."""
    rounds: int = 3
    """Fresh processes of each engine."""
    json: bool = False
    """Print one JSON document as the last line."""

    def __post_init__(self) -> None:
        counts = {name: getattr(self, name) for name in self.__dataclass_fields__}
        check_counts(**{name: value for name, value in counts.items() if type(value) is int})


def write_engines(
    options: ReassemblyOptions, folder: Path
) -> tuple[dict[str, list[str]], dict[str, float], list[str]]:
    """Write arrays and files.

    Returns:
        Engine name to the arguments of its process; name to the size of the largest tensor; and
        what the export chose.
    """
    torch.manual_seed(0)
    size, scale, taps = options.kernel_size, options.scale, options.kernel_size**2
    x = torch.randn(1, options.channels, options.height, options.width)
    logits = torch.randn(1, taps, scale * options.height, scale * options.width)
    kernels = logits.softmax(1)
    expected = Shifts(size, scale)(x.double(), kernels.double())
    arrays = folder / "arrays.npz"
    np.savez(arrays, x=x.numpy(), kernels=kernels.numpy(), expected=expected.numpy())
    common = ["--arrays", str(arrays), "--kernel-size", str(size), "--scale", str(scale)]
    engines = {f"eager {name}": common for name in FORMS}
    largest, choices = {}, []
    for name, form in FORMS.items():
        path = folder / f"{name}.onnx"
        export = export_onnx(form(size, scale), {"x": x, "kernels": kernels}, path, verify=False)
        engines[f"ONNX {name}"] = [*common, "--model", str(path)]
        largest[f"ONNX {name}"] = largest_tensor(path) / expected.numel()
        choices = [f"{d.what}: {d.value} ({d.reason})" for d in export.decisions]
    engines[f"{_OURS}, sleeping"] = [*engines[_OURS], "--passive"]
    return engines, largest, choices


def largest_tensor(path: Path) -> int:
    """Return the elements of the largest tensor that a node of a file computes."""
    model = onnx.shape_inference.infer_shapes(onnx.load(path), strict_mode=True, data_prop=True)
    values = [*model.graph.value_info, *model.graph.output]
    shapes = ([axis.dim_value for axis in v.type.tensor_type.shape.dim] for v in values)
    return max(math.prod(shape) for shape in shapes)


def print_table(
    times: dict[str, PeerTimes], largest: dict[str, float], base_ms: float, console: Console
) -> None:
    """Print one row an engine."""
    heads = ("", "ms [processes]", "/ best other", "error", "dropped", "largest tensor")
    table = Table(*(Column(head, no_wrap=True) for head in heads), box=SIMPLE_HEAD)
    for name, peer in sorted(times.items(), key=lambda item: item[1].median_ms):
        low, high = min(peer.medians_ms), max(peer.medians_ms)
        table.add_row(
            name,
            f"{peer.median_ms:.2f} [{low:.2f} - {high:.2f}]",
            f"{peer.median_ms / base_ms:.2f}",
            peer.description,
            f"{peer.dropped_bursts}{' (all)' if peer.disturbed else ''}",
            f"{largest[name]:.2f}" if name in largest else "",
        )
    console.print(table)
    if any(peer.disturbed for peer in times.values()):
        console.print("(all): other programs disturbed every burst; do not quote these figures")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = parse(ReassemblyOptions, argv, "reassembly")
    console = Console(stderr=options.json, width=110)
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "onnxruntime", "numpy"))
    machine = f"{cpu_name()}, {options.threads} threads, settings {options.settings}"
    console.print(f"{machine}; Python {platform.python_version()}, {packages}", highlight=False)
    with tempfile.TemporaryDirectory() as folder, Progress(console=console) as bar:
        task = bar.add_task("measuring", total=options.rounds * (options.bursts + 1))
        engines, largest, choices = write_engines(options, Path(folder))
        times = measure(
            engines,
            frames=options.frames,
            bursts=options.bursts,
            rounds=options.rounds,
            threads=options.threads,
            progress=lambda steps: bar.update(task, advance=steps),
            program=_PROGRAM,
            environment=SETTINGS[options.settings],
        )
    base_ms = min(peer.median_ms for name, peer in times.items() if "differseg" not in name)
    print_table(times, largest, base_ms, console)
    for choice in choices:
        console.print(choice, highlight=False, soft_wrap=True)
    if options.json:
        figures = {name: peer.median_ms for name, peer in times.items()}
        document = {"machine": machine, "versions": packages, "median_ms": figures}
        print(json.dumps(document | {"largest_tensor": largest}))
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
