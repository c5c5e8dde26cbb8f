"""How much of a difference is float32 rounding: ONNX Runtime and PyTorch, twice, against float64.

    python benchmarks/rounding.py F.safetensors F.onnx --data DIR --limit 4

PyTorch runs with one and with two threads, which adds in another order; what these two disagree
about, no export can preserve.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import track
from rich.table import Table

from differseg.checkpoints import load_checkpoint
from differseg.export.parity_backends import OnnxRunner
from differseg.export.parity_data import load_samples
from differseg.export.parity_form import Arrays
from differseg.models.deployment import DeploymentModule
from differseg.options import option, parse, run_main

Map = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RoundingOptions:
    """Compare ONNX Runtime, and PyTorch with itself, against float64."""

    checkpoint: Path = option(positional=True, metavar="F.safetensors")
    """The weights."""
    model: Path = option(positional=True, metavar="F.onnx")
    """The file exported from them."""
    data: Path | None = option(None, metavar="DIR")
    """Folder of images; by default synthetic scenes."""
    limit: int | None = None
    """Compare on at most N images."""


def single_precision(module: DeploymentModule, threads: int) -> Callable[[Arrays], Map]:
    """Return the network as it is exported, with a number of threads."""

    def run(arrays: Arrays) -> Map:
        torch.set_num_threads(threads)
        with torch.inference_mode():
            return module(*map(torch.from_numpy, arrays.values())).double().numpy()

    return run


def double_precision(module: DeploymentModule) -> Callable[[Arrays], Map]:
    """Return the network in float64 from the first operation on."""
    precise = copy.deepcopy(module).double()

    def run(arrays: Arrays) -> Map:
        planes = {
            name: torch.from_numpy(x.transpose(0, 3, 1, 2) if x.dtype == np.uint8 else x).double()
            for name, x in arrays.items()
        }
        with torch.inference_mode():
            logits = precise.model(*precise.normalize(planes).values())["logits"]
            return torch.sigmoid(logits).numpy()

    return run


def print_table(maps: dict[str, Map], threshold: float, console: Console) -> None:
    """Print every pair: errors of the probability, and pixels on two sides of the threshold."""
    table = Table("a", "b", "max error", "mean error", "flipped", box=SIMPLE_HEAD)
    for a, b in combinations(maps, 2):
        difference = np.abs(maps[a] - maps[b])
        flipped = int(((maps[a] >= threshold) != (maps[b] >= threshold)).sum())
        table.add_row(a, b, f"{difference.max():.1e}", f"{difference.mean():.1e}", str(flipped))
    console.print(table)


def _maps(run: Callable[[Arrays], npt.NDArray[np.floating]], images: Iterable[Arrays]) -> Map:
    return np.concatenate([np.asarray(run(arrays), np.float64).ravel() for arrays in images])


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = parse(RoundingOptions, argv, "rounding")
    runner = OnnxRunner(options.model)
    samples = load_samples(runner.inputs, options.data, options.limit)
    images = [sample.arrays for sample in samples]
    module = DeploymentModule(load_checkpoint(options.checkpoint))
    runs = {
        "torch 1 thread": single_precision(module, 1),
        "torch 2 threads": single_precision(module, 2),
        "ONNX Runtime": runner.probability,
        "float64": double_precision(module),
    }
    console = Console()
    maps = {
        name: _maps(run, track(images, name, console=Console(stderr=True), transient=True))
        for name, run in runs.items()
    }
    pixels = next(iter(maps.values())).size
    title = f"{options.model} on {samples.description}, {pixels:,} pixels"
    console.print(title, highlight=False, soft_wrap=True)
    print_table(maps, runner.side.threshold, console)
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
