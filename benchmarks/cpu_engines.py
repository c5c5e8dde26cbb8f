"""Every edge network on the processor: PyTorch eager, ONNX Runtime, and OpenVINO in its precisions.

    python benchmarks/cpu_engines.py --files DIR --out engines.json [--only NAME]
    python benchmarks/cpu_engines.py --files DIR --out engines.json --page docs/backends.md

DIR holds NAME.onnx, and NAME.int8.onnx of ``differseg quantize --target onnxruntime``; what is not
there is exported in float32, and left out in INT8.  Every engine is a process of its own, bursts
are taken in turn, and a figure is the median of the process medians (see
``differseg/bench/interleave.py``).  The file is written after every network, and those that it
holds already are left out.

PyTorch runs three times: as it is installed; with the memory of earlier runs kept by the allocator,
as every other engine has it here; and so with OpenMP's threads asleep between operators, as
``differseg bench`` measures it.  On an idle machine threads that wait by turning are up to twice as
fast, on a busy one several times slower.  The fastest of the three is what the engines are
compared with.
"""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from page_tables import markdown, write_tables
from rich.console import Console

from differseg.bench.interleave import ENVIRONMENT, check_counts, measure
from differseg.bench.machine import cpu_name
from differseg.errors import InputError, MissingComponentError
from differseg.models import list_models
from differseg.models.registry import find_model
from differseg.options import option, parse, run_main
from differseg.runtime.backends.cpu_features import cpu_flags

_PROGRAM = (str(Path(__file__).with_name("cpu_engines_worker.py")),)
_KEPT = {name: value for name, value in ENVIRONMENT.items() if name.startswith("MALLOC")}
_EAGER = ("PyTorch as installed", "PyTorch, memory kept", "PyTorch, threads asleep")
_PEERS = {
    _EAGER[0]: ("torch-installed", "", ""),
    _EAGER[1]: ("torch", "", ""),
    _EAGER[2]: ("torch-asleep", "", ""),
    "ONNX Runtime": ("onnxruntime", "", ""),
    "OpenVINO f32": ("openvino", "", "f32"),
    "OpenVINO bf16": ("openvino", "", "bf16"),
    "OpenVINO INT8": ("openvino", ".int8", "f32"),
    "OpenVINO INT8 + bf16": ("openvino", ".int8", "bf16"),
}
"""Peer -> engine, what stands before a file's ending, and the precision."""


@dataclass(frozen=True)
class EnginesOptions:
    """Measure the edge networks in every engine for processors."""

    files: Path = option(metavar="DIR")
    """Folder of NAME.onnx and NAME.int8.onnx."""
    out: Path = option(metavar="F.json")
    """Figures; networks that it holds already are not measured again."""
    only: tuple[str, ...] = option((), metavar="NAME")
    """Measure this network, also again (may be repeated)."""
    page: Path | None = option(None, metavar="PAGE.md")
    """Measure nothing; write the tables of this page from F.json."""
    threads: int = 2
    """Threads of each engine."""
    frames: int = 10
    """Runs in a burst, at least."""
    bursts: int = 5
    """Bursts of each process, taken in turn."""
    rounds: int = 3
    """Fresh processes of each engine."""

    def __post_init__(self) -> None:
        check_counts(
            threads=self.threads, frames=self.frames, bursts=self.bursts, rounds=self.rounds
        )
        for name in self.only:
            find_model(name)


def edge_networks() -> list[str]:
    """Return the names of the edge configurations."""
    return [info.name for info in list_models() if info.name.endswith("-edge")]


def measured(name: str, options: EnginesOptions) -> dict[str, Any]:
    """Export a network where its file is missing; return the times of every engine."""
    full = options.files / f"{name}.onnx"
    if not full.is_file():
        from differseg.export.to_onnx import export_model

        export_model(full, model=name, limit=1, real=False)
    peers = {}
    for peer, (engine, part, precision) in _PEERS.items():
        file = options.files / f"{name}{part}.onnx"
        if file.is_file() and (precision != "bf16" or _has_bfloat16()):
            peers[peer] = ["--engine", engine, "--model", str(file)]
            peers[peer] += ["--cpu-precision", precision] if engine == "openvino" else []
    times = measure(
        peers,
        frames=options.frames,
        bursts=options.bursts,
        rounds=options.rounds,
        threads=options.threads,
        progress=lambda steps: None,
        program=_PROGRAM,
        environment=_KEPT,
    )
    return {
        peer: {
            "median_ms": found.median_ms,
            "process_medians_ms": found.medians_ms,
            "disturbed": found.disturbed,
            "dropped_bursts": found.dropped_bursts,
        }
        for peer, found in times.items()
    }


def _has_bfloat16() -> bool:
    return bool((cpu_flags() or frozenset()) & {"avx512_bf16", "amx_bf16"})


def run(options: EnginesOptions, console: Console) -> dict[str, Any]:
    """Measure what is missing, write the file after every network, and return its content."""
    document: dict[str, Any] = {"networks": {}}
    if options.out.is_file():
        document = json.loads(options.out.read_text(encoding="utf-8"))
    document["machine"] = machine(options.threads)
    rows = document["networks"]
    for name in edge_networks():
        if name not in options.only if options.only else name in rows:
            continue
        console.print(f"{name} ...", highlight=False)
        rows[name] = measured(name, options)
        options.out.write_text(json.dumps(document, indent=1), encoding="utf-8")
    return document


def machine(threads: int) -> str:
    """Return processor, threads and versions in words."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "onnxruntime", "openvino"))
    return f"{cpu_name()}, {threads} threads; Python {platform.python_version()}, {packages}"


def table(rows: dict[str, Any]) -> str:
    """Return milliseconds, and how many times faster than the fastest PyTorch the others are."""
    heads = ["network, 480x640", *_PEERS]
    return markdown(heads, (_cells(name, rows[name]) for name in edge_networks() if name in rows))


def _cells(name: str, row: dict[str, Any]) -> list[str]:
    eager = min(float(row[peer]["median_ms"]) for peer in _EAGER)
    cells = [f"`{name}`"]
    for peer in _PEERS:
        if peer not in row:
            cells.append("-")
            continue
        median = float(row[peer]["median_ms"])
        faster = "" if peer in _EAGER else f", **{eager / median:.2f}**"
        cells.append(f"{median:.1f}{faster}{_doubt(row[peer])}")
    return cells


def _doubt(found: dict[str, Any]) -> str:
    """Mark a figure during whose bursts other programs ran."""
    return " *" if found["disturbed"] else ""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = parse(EnginesOptions, argv, "cpu_engines")
    if options.page is not None:
        if not options.out.is_file():
            raise InputError(f"cpu_engines: --out {options.out}: there is no such file")
        document = json.loads(options.out.read_text(encoding="utf-8"))
        write_tables(options.page, {"engines": table(document["networks"])})
        return 0
    if not options.files.is_dir():
        raise InputError(f"cpu_engines: --files: there is no folder {options.files}")
    try:
        console = Console()
        document = run(options, console)
    except ModuleNotFoundError as error:
        raise MissingComponentError(
            f"cpu_engines: '{error.name}' is missing: pip install 'differseg[export,openvino]'"
        ) from None
    console.print(table(document["networks"]), soft_wrap=True, highlight=False, markup=False)
    console.print(document["machine"], soft_wrap=True, highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
