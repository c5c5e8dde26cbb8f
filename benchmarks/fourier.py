"""A Fourier transform, a weight for every bin, and back: four ways to compute it, in turn.

    python benchmarks/fourier.py [--settings default] [--threads 2] [--json]

Engines: ``torch.fft`` (eager), the ONNX DFT operator as PyTorch's exporter writes it, matrix
products with one matrix an axis ("whole"), and differseg's portable form, with ONNX Runtime's
threads spinning between operators (its default) and sleeping.  Every engine is a process of its
own; bursts are taken in turn, and the figure is the median of the process medians.

Eager PyTorch gives memory back to the system after every call unless the allocator is told not to,
and its threads wait as OpenMP is told, so three settings are offered, the same for all engines:
``kept`` (memory is kept: PyTorch at its best), ``passive`` (kept, and threads sleep) and
``default`` (nothing is set: what a user sees).
"""

from __future__ import annotations

import copy
import json
import platform
import sys
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from fourier_graphs import PlanGraph
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import Progress
from rich.table import Column, Table
from torch import Tensor, nn

from differseg.bench.interleave import ENVIRONMENT, PeerTimes, check_counts, measure
from differseg.bench.machine import cpu_name
from differseg.export import export_onnx
from differseg.export.lowering.fourier_plan import irfft2_plan, rfft2_plan
from differseg.ops.fourier import irfft2, rfft2
from differseg.options import parse, run_main

SIZES = ((64, 96, 128), (32, 240, 320))
"""Channels, height and width, pixels."""

_KEPT = {name: value for name, value in ENVIRONMENT.items() if name.startswith("MALLOC")}
SETTINGS = {"kept": _KEPT, "passive": ENVIRONMENT, "default": {}}
_PROGRAM = (str(Path(__file__).with_name("fourier_engines.py")),)


@dataclass(frozen=True)
class FourierOptions:
    """Measure the gated pair of Fourier transforms at 64x96x128 and 32x240x320."""

    settings: Literal["kept", "passive", "default"] = "kept"
    """Allocator and waiting policy of every engine; see above."""
    threads: int = 2
    """Threads of each engine."""
    frames: int = 12
    """Runs in a burst."""
    bursts: int = 4
    """Bursts of each process, taken in turn."""
    rounds: int = 3
    """Fresh processes of each engine."""
    skip_dft: bool = False
    """Leave out the DFT operator, which takes most of the time."""
    json: bool = False
    """Print one JSON document as the last line."""

    def __post_init__(self) -> None:
        check_counts(
            threads=self.threads, frames=self.frames, bursts=self.bursts, rounds=self.rounds
        )


class TorchPair(nn.Module):
    """PyTorch's own transforms around a gate."""

    def __init__(self, gate: Tensor) -> None:
        super().__init__()
        self.gate = nn.Parameter(gate)

    def forward(self, x: Tensor) -> Tensor:
        """Filter ``x`` (N, C, H, W)."""
        spectrum = torch.fft.rfft2(x, norm="ortho") * self.gate
        return torch.fft.irfft2(spectrum, s=x.shape[-2:], norm="ortho")


class PortablePair(nn.Module):
    """differseg's transforms around the same gate."""

    def __init__(self, gate: Tensor) -> None:
        super().__init__()
        self.gate = nn.Parameter(gate[:, :, None])

    def forward(self, x: Tensor) -> Tensor:
        """Filter ``x`` (N, C, H, W)."""
        return irfft2(rfft2(x) * self.gate, width=x.shape[-1])


def write_whole(gate: Tensor, size: tuple[int, int, int], path: Path) -> None:
    """Write the pair with one matrix product an axis."""
    channels, *size_hw = size
    graph, whole = PlanGraph(), lambda axis: None
    forward = rfft2_plan(channels, (size_hw[0], size_hw[1]), "ortho", whole)
    back = irfft2_plan(channels, (size_hw[0], size_hw[1]), "ortho", whole)
    graph.append(forward.steps, (1, *size))
    graph.multiply(gate[:, :, None].numpy())
    graph.append(back.steps, (1, channels, 2, size_hw[0], size_hw[1] // 2 + 1))
    graph.save(path, (1, *size))


def write_engines(
    size: tuple[int, int, int], folder: Path, skip_dft: bool
) -> tuple[dict[str, list[str]], list[str]]:
    """Write the arrays and files of one size.

    Returns:
        Engine name to the arguments of its process, and how differseg's form splits the axes.
    """
    channels, height, width = size
    torch.manual_seed(0)
    x, gate = torch.randn(1, *size), torch.randn(1, channels, height, width // 2 + 1)
    pair = TorchPair(gate)
    with torch.no_grad():
        expected = copy.deepcopy(pair).double()(x.double())
    arrays = folder / "arrays.npz"
    np.savez(arrays, x=x.numpy(), gate=gate.numpy(), expected=expected.numpy())
    engines = {"torch.fft": ["--arrays", str(arrays)]}

    def add(name: str, file: str, *flags: str) -> None:
        path = folder / file
        engines[name] = ["--arrays", str(arrays), "--model", str(path), *flags]

    export = export_onnx(PortablePair(gate), {"x": x}, folder / "portable.onnx")
    write_whole(gate, size, folder / "whole.onnx")
    add("portable", "portable.onnx")
    add("portable, sleeping", "portable.onnx", "--passive")
    add("whole", "whole.onnx")
    if not skip_dft:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                pair.eval(), (x,), dynamo=True, input_names=["x"], verbose=False
            )
        assert program is not None
        program.save(folder / "dft.onnx")
        add("ONNX DFT", "dft.onnx")
    return engines, [f"{d.what}: {d.value} ({d.reason})" for d in export.decisions]


def print_table(size: tuple[int, int, int], times: dict[str, PeerTimes], console: Console) -> None:
    """Print one row an engine."""
    title = "x".join(map(str, size))
    heads = (title, "ms [processes]", "/ torch", "error", "dropped")
    table = Table(*(Column(head, no_wrap=True) for head in heads), box=SIMPLE_HEAD)
    base_ms = times["torch.fft"].median_ms
    for name, peer in times.items():
        low, high = min(peer.medians_ms), max(peer.medians_ms)
        dropped = f"{peer.dropped_bursts}{' (all)' if peer.disturbed else ''}"
        table.add_row(
            name,
            f"{peer.median_ms:.2f} [{low:.2f} - {high:.2f}]",
            f"{peer.median_ms / base_ms:.2f}",
            peer.description,
            dropped,
        )
    console.print(table)
    if any(peer.disturbed for peer in times.values()):
        console.print("(all): other programs disturbed every burst; do not quote these figures")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = parse(FourierOptions, argv, "fourier")
    console = Console(stderr=options.json)
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "onnxruntime", "numpy"))
    machine = f"{cpu_name()}, {options.threads} threads, settings {options.settings}"
    where = f"{machine}; Python {platform.python_version()}, {packages}"
    console.print(where, highlight=False, soft_wrap=True)
    figures = {}
    for size in SIZES:
        with tempfile.TemporaryDirectory() as folder, Progress(console=console) as bar:
            task = bar.add_task(
                "x".join(map(str, size)), total=options.rounds * (options.bursts + 1)
            )
            engines, choices = write_engines(size, Path(folder), options.skip_dft)
            times = measure(
                engines,
                frames=options.frames,
                bursts=options.bursts,
                rounds=options.rounds,
                threads=options.threads,
                progress=lambda steps: bar.update(task, advance=steps),  # noqa: B023
                program=_PROGRAM,
                environment=SETTINGS[options.settings],
            )
        print_table(size, times, console)
        for choice in choices:
            console.print(choice, highlight=False, soft_wrap=True)
        figures["x".join(map(str, size))] = {n: peer.median_ms for n, peer in times.items()}
    if options.json:
        print(json.dumps({"machine": machine, "versions": packages, "median_ms": figures}))
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
