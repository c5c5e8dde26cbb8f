"""Write the tables of docs/operators.md from what tests and benchmarks measured.

    python -m pytest tests/ops --measured-errors errors.json
    python benchmarks/operators.py --json | tail -1 > costs.json
    python benchmarks/operators_page.py errors.json costs.json

The text of the page is written by hand; what lies between ``<!-- begin NAME -->`` and
``<!-- end NAME -->`` is replaced.  Which target takes which form is asked of the lint, on graphs
that are exported here.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import torch
from operator_calls import CALLS, Call, arguments
from page_tables import markdown, write_tables

from differseg.export import export_onnx
from differseg.export.lint import levels_by_target
from differseg.options import option, parse, run_main

PAGE = Path(__file__).parent.parent / "docs" / "operators.md"
TARGETS = ("jetpack5", "jetpack6.0", "jetpack6", "jetpack7.0", "jetpack7", "trt11.4", "rtx1")
FORMS = {
    "torch": "PyTorch",
    "portable": "portable",
    "function": "function",
    "plugin": "plugin graph's definition",
    "emulated kernel": "CUDA kernel, emulated on a CPU",
}
_WORDS = {"yes": "yes", "condition": "with library", "no": "no"}


@dataclass(frozen=True)
class PageOptions:
    """Write the tables of docs/operators.md."""

    errors: Path = option(positional=True, metavar="ERRORS.json")
    """What 'pytest --measured-errors' wrote."""
    costs: Path = option(positional=True, metavar="COSTS.json")
    """The last line of 'benchmarks/operators.py --json'."""


def support_rows() -> list[list[str]]:
    """Return one row an operator: what every target says about both forms, alone in a graph."""
    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "f.onnx"
        for name, (function, _) in CALLS.items():
            levels = []
            for form in ("portable", "plugin"):
                given = arguments(name)
                export_onnx(Call(function), given, path, ops=form, verify=False)
                model = onnx.load(path)
                own = any(node.domain == "differseg" for node in model.graph.node)
                found = levels_by_target(model)
                levels.append(
                    [_WORDS[found[t]] if own or form == "portable" else "—" for t in TARGETS]
                )
            portable, plugin = levels
            cells = [a if b == "—" else f"{a} / {b}" for a, b in zip(portable, plugin, strict=True)]
            rows.append([f"`{name}`", *cells])
    return rows


def error_rows(errors: Iterable[dict[str, Any]]) -> list[list[str]]:
    """Return one row an operator and dtype: the worst error of every form."""
    worst = {(e["operator"], e["dtype"], e["form"]): e["error"] for e in errors}
    rows = []
    for name in CALLS:
        for dtype in ("float32", "float16"):
            found = [worst.get((name, dtype, form)) for form in FORMS]
            rows.append([f"`{name}`", dtype, *("—" if e is None else f"{e:.1e}" for e in found)])
    return rows


def cost_rows(operators: dict[str, dict[str, Any]]) -> list[list[str]]:
    """Return one row an operator: nodes of the portable form and milliseconds."""
    return [
        [
            f"`{name}`",
            " and ".join(row["shapes"]),
            str(row["nodes"]),
            f"{row['torch_ms']:.2f}",
            f"{row['onnx_ms']:.2f}",
            f"{row['onnx_ms'] / row['torch_ms']:.2f}",
        ]
        for name, row in operators.items()
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = parse(PageOptions, argv, "operators_page")
    errors = json.loads(options.errors.read_text(encoding="utf-8"))
    costs = json.loads(options.costs.read_text(encoding="utf-8"))
    tables = {
        "support": markdown(["operator", *TARGETS], support_rows()),
        "errors": markdown(["operator", "dtype", *FORMS.values()], error_rows(errors)),
        "costs": f"{costs['machine']}\n\n"
        + markdown(
            ["operator", "operands", "nodes", "PyTorch ms", "ONNX Runtime ms", "ratio"],
            cost_rows(costs["operators"]),
        ),
    }
    write_tables(PAGE, tables)
    print(f"{PAGE}: {len(CALLS)} operators")
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
