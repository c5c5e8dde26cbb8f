"""``differseg convert``: a published checkpoint as a file of ours."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console
from rich.table import Table

from differseg.options import option, parse, unwinding_on_sigterm

if TYPE_CHECKING:
    from differseg.conversion import ConvertReport


@dataclass(frozen=True)
class ConvertOptions:
    """Turn a checkpoint of a network's authors into one of differseg's.

    Detects the network and its variant from names and shapes, renames every entry, and says
    what has no counterpart. Nothing in the file is run; the output appears when everything fits.
    """

    file: Path = option(positional=True, metavar="AUTHORS.pth")
    """The authors' file: .pth, .pt or .safetensors."""
    out: Path = option(short="-o", metavar="F.safetensors")
    """The file to write."""
    model: str | None = option(None, metavar="NAME")
    """What it must be, see 'differseg models'; by default what is detected."""
    task: Literal["rgb", "rgbd", "rgbt", "video"] | None = None
    """Second input, where the weights fit several; by default that of the model."""
    averaged: bool = False
    """Take the averaged weights that a training snapshot holds beside the last ones."""
    json: bool = False
    """Print the report as one JSON document on the last line."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb; 0, and everything else is an error with its own exit status."""
    options = parse(ConvertOptions, argv, "differseg convert")
    from differseg.conversion import convert  # needs torch, the options do not

    with unwinding_on_sigterm():
        report = convert(options)
    print_report(report, Console())
    if options.json:
        print(json.dumps(dataclasses.asdict(report)))
    return 0


def print_report(report: ConvertReport, console: Console) -> None:
    """Print what a file is and what became of its entries."""
    settings = ", ".join(f"{key} {_shown(value)}" for key, value in report.config.items())
    console.print(f"{report.file}: {report.model} ({settings})", highlight=False, markup=False)
    if report.averaged:
        console.print(f"averaged weights, from '{report.average}'", highlight=False)
    elif report.average:
        console.print(
            f"'{report.average}' holds averaged weights too; --averaged takes them", highlight=False
        )
    table = Table(box=None, pad_edge=False)
    for heading in ("part", "entries", "renamed", "for example"):
        table.add_column(heading, justify="right" if heading in ("entries", "renamed") else "left")
    parts: dict[str, list[tuple[str, str]]] = {}
    for theirs, ours in report.mapped.items():
        parts.setdefault(ours.partition(".")[0], []).append((theirs, ours))
    for part, pairs in parts.items():
        renamed = [pair for pair in pairs if pair[0] != pair[1]]
        example = f"{renamed[0][0]} -> {renamed[0][1]}" if renamed else pairs[0][1]
        table.add_row(part, str(len(pairs)), str(len(renamed)), example)
    console.print(table, highlight=False, markup=False)
    for name, reason in report.dropped.items():
        console.print(f"dropped {name} ({reason})", highlight=False, markup=False)
    if report.missed:
        console.print(
            f"missed {report.missed[0]} and {len(report.missed) - 1} more: they count training "
            "steps and start at 0",
            highlight=False,
            markup=False,
        )
    if report.kinds != ("float32",) and set(report.kinds) - {"float32", "int64"}:
        console.print(f"holds {', '.join(report.kinds)}; written as float32", highlight=False)
    console.print(
        f"mapped {len(report.mapped)}, dropped {len(report.dropped)}, missed "
        f"{len(report.missed)}; wrote {report.out}",
        highlight=False,
        markup=False,
    )


def _shown(value: Any) -> str:
    if isinstance(value, list) and len(value) > 4:
        return f"{len(value)} values"
    return "x".join(map(str, value)) if isinstance(value, list) else str(value)
