"""A network exported by this package beside PyTorch's own export of it, both in ONNX Runtime.

    python benchmarks/authors_export.py --model segnext-freqfusion [--threads 2] [--json]

PyTorch's export gets the same network with the same weights and its operators as publications
write them (``plain_operators.py``); nothing is folded or rewritten for it.  Both files run in turn
in one process; a figure is the median.  Processor time is that of one thread: it says what the
work is, also on a busy machine.  Where PyTorch cannot export a network, or ONNX Runtime cannot
open what it wrote, the command says so and measures this package's file alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from decided_weights import enlarge_layer_scales
from plain_operators import plain_operators
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from session_times import machine, open_session, session_times
from torch import Tensor, nn

from differseg.bench.interleave import check_counts
from differseg.errors import CheckFailedError
from differseg.export import export_onnx
from differseg.export.network_source import RANDOM_SEED, checked_size
from differseg.export.trace import quiet
from differseg.models import create_model
from differseg.models.deployment import lowered_for_export
from differseg.options import parse, run_main

TOLERANCE = 1e-4
"""Largest difference between both files, of the range of the logits."""
_OURS, _PYTORCH = "differseg", "PyTorch"


@dataclass(frozen=True)
class AuthorsExportOptions:
    """Compare this package's export of a network with PyTorch's own, in ONNX Runtime."""

    model: str = "segnext-freqfusion"
    """A named configuration."""
    size: tuple[int, int] | None = None
    """Height and width of the input; the configuration's own when absent."""
    threads: int = 2
    """Threads of ONNX Runtime."""
    runs: int = 10
    """Runs of each file, taken in turn."""
    json: bool = False
    """Print one JSON document as the last line."""

    def __post_init__(self) -> None:
        check_counts(threads=self.threads, runs=self.runs)


class Logits(nn.Module):
    """A network whose result is its logits alone."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *streams: Tensor) -> Tensor:
        """Return the logits of normalised inputs."""
        return self.network(*streams)["logits"]


@dataclass(frozen=True)
class Exports:
    """The files of a network.

    Attributes:
        paths: By who wrote them.
        inputs: Values by name.
        refusal: Why there is no file of PyTorch's.
    """

    paths: dict[str, Path]
    inputs: dict[str, Tensor]
    refusal: str = ""


def export_both(model: str, size_hw: tuple[int, int] | None, folder: Path) -> Exports:
    """Write both files of a network with seeded weights."""
    torch.manual_seed(RANDOM_SEED)
    network = create_model(model).eval()
    enlarge_layer_scales(network)
    size_hw = checked_size(network.spec, size_hw)
    inputs = {m.name: torch.randn(1, m.channels, *size_hw) for m in network.spec.modalities}
    paths = {who: folder / f"{who}.onnx" for who in (_OURS, _PYTORCH)}
    lowered = Logits(lowered_for_export(network, size_hw))
    export_onnx(lowered, inputs, paths[_OURS], output_names=["logits"], verify=False)
    try:
        _export_plain(network, inputs, paths[_PYTORCH])
    except Exception as error:  # PyTorch's exporter and ONNX Runtime raise classes of many trees
        return Exports({_OURS: paths[_OURS]}, inputs, _first_line(error))
    return Exports(paths, inputs)


def _export_plain(network: nn.Module, inputs: dict[str, Tensor], path: Path) -> None:
    with plain_operators(), torch.no_grad():
        torch.onnx.export(
            Logits(network).eval(),
            tuple(inputs.values()),
            path,
            dynamo=True,
            opset_version=18,
            input_names=list(inputs),
            external_data=False,
            verbose=False,
        )
    open_session(path, 1)


def _first_line(error: Exception) -> str:
    lines = (line.strip() for line in str(error).splitlines())
    return f"{type(error).__name__}: {next((line for line in lines if line), '')}"


def run_both(
    paths: dict[str, Path], inputs: dict[str, Tensor], threads: int, runs: int
) -> dict[str, dict[str, Any]]:
    """Return nodes, median wall time and median processor time of each file.

    Raises:
        CheckFailedError: The files compute different logits.
    """
    feed = {name: value.numpy() for name, value in inputs.items()}
    logits = [open_session(path, threads).run(None, feed)[0] for path in paths.values()]
    error = float(np.abs(logits[0] - logits[-1]).max() / np.ptp(logits[-1]))
    if not error <= TOLERANCE:
        raise CheckFailedError(
            f"authors_export: the two files differ by {error:.1e} of the range, expected at most "
            f"{TOLERANCE:.0e}; look at the form for export"
        )
    del logits
    times = session_times(paths, feed, threads, runs)
    return {
        who: {"nodes": len(onnx.load(path).graph.node), **times[who], "difference": error}
        for who, path in paths.items()
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = parse(AuthorsExportOptions, argv, "authors_export")
    console = Console(stderr=options.json)
    with tempfile.TemporaryDirectory() as folder:
        # PyTorch's exporter reports its steps on standard output.
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), quiet():
            exports = export_both(options.model, options.size, Path(folder))
        rows = run_both(exports.paths, exports.inputs, options.threads, options.runs)
    described = machine(options.threads)
    console.print(f"{options.model}: {described}", highlight=False)
    table = Table("export", "nodes", "wall ms", "processor ms", box=SIMPLE_HEAD)
    for who, row in rows.items():
        times = (f"{row[key]:.1f}" for key in ("wall_ms", "cpu_ms"))
        table.add_row(who, str(row["nodes"]), *times)
    if exports.refusal:
        table.add_row(_PYTORCH, "-", "-", "-")
    else:
        ratios = (rows[_PYTORCH][key] / rows[_OURS][key] for key in ("wall_ms", "cpu_ms"))
        table.add_row("times faster", "", *(f"{ratio:.2f}" for ratio in ratios))
    console.print(table)
    if exports.refusal:
        console.print(f"PyTorch's export does not run: {escape(exports.refusal)}", highlight=False)
    if options.json:
        document = {"model": options.model, "machine": described, "exports": rows}
        print(json.dumps(document | {"refusal": exports.refusal}))
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
