"""``differseg models``: the networks with their inputs, parameters and multiply-adds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from differseg.models.registry import list_models
from differseg.options import parse


@dataclass(frozen=True)
class ModelsOptions:
    """List the networks with their inputs, parameters and multiply-adds."""

    json: bool = False
    """Print one JSON document instead of the table."""


def describe_models() -> list[dict[str, Any]]:
    """Return one JSON object per named configuration.

    ``params`` is a count and ``gmacs`` are 1e9 multiply-adds, both for one image (pair) of
    ``size_hw`` pixels; ``shipped_weights`` says whether trained weights come with the package.
    """
    return [
        {
            "name": info.name,
            "system": info.system,
            "task": info.task,
            "summary": info.summary,
            "inputs": list(info.inputs),
            "size_hw": list(info.size_hw),
            "params": info.params,
            "gmacs": info.gmacs,
            "shipped_weights": info.shipped_weights is not None,
        }
        for info in list_models()
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Print the list; always 0."""
    options = parse(ModelsOptions, argv, "differseg models")
    models = describe_models()
    if options.json:
        print(json.dumps(models))
    else:
        _print_table(models)
    return 0


def _print_table(models: list[dict[str, Any]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    # Tight columns, and no task, which the inputs tell: the table fits 80 characters.
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for heading in ("name", "inputs", "size"):
        table.add_column(heading, no_wrap=True)
    for heading in ("M params", "GMAC"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("weights", no_wrap=True)
    for model in models:
        table.add_row(
            model["name"],
            " + ".join(model["inputs"]),
            "x".join(map(str, model["size_hw"])),
            f"{model['params'] / 1e6:.2f}",
            f"{model['gmacs']:.2f}",
            "shipped" if model["shipped_weights"] else "-",
        )
    Console().print(table)
