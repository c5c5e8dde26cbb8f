"""Write the table of docs/configurations.md from what was measured.

python benchmarks/configurations.py --data DIR --out configurations.json
python benchmarks/configurations_page.py configurations.json
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from page_tables import markdown, write_tables

from differseg.errors import InputError
from differseg.models import list_models
from differseg.models.system import ModelInfo
from differseg.options import option, parse, run_main

PAGE = Path(__file__).parent.parent / "docs" / "configurations.md"
HEADS = (
    "configuration", "inputs", "size", "M parameters", "GMACs", "nodes", "file MB", "max error",
    "flipped pixels", "images", "ms, 2 threads", "ms of one core", "engine MB", "layers",
)  # fmt: skip


@dataclass(frozen=True)
class PageOptions:
    """Write the table of docs/configurations.md."""

    figures: Path = option(positional=True, metavar="F.json")
    """What 'benchmarks/configurations.py' wrote."""


def cells_of(info: ModelInfo, row: dict[str, Any]) -> list[str]:
    """Return the cells of one configuration."""
    height, width = info.size_hw
    flipped = str(row["flipped_pixels"])
    if row["tied_pixels"]:
        flipped += f" ({row['tied_pixels']} tied)"
    weights = "shipped weights, " if row["weights"] == "shipped" else ""
    return [
        f"`{info.name}`",
        " + ".join(info.inputs),
        f"{height}x{width}",
        f"{info.params / 1e6:.2f}",
        f"{info.gmacs:.2f}",
        str(row["nodes"]),
        f"{row['file_bytes'] / 1e6:.1f}",
        f"{row['max_error']:.1e}",
        flipped,
        f"{weights}{row['images']} of {row['data']}",
        _milliseconds(row.get("wall_ms")),
        _milliseconds(row.get("cpu_ms")),
        f"{row['engine_bytes'] / 1e6:.1f}" if row["built"] else "refused",
        str(row["layers"]),
    ]


def _milliseconds(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = parse(PageOptions, argv, "configurations_page")
    if not options.figures.is_file():
        raise InputError(f"{options.figures}: there is no such file; configurations.py writes it")
    document = json.loads(options.figures.read_text(encoding="utf-8"))
    found = document["configurations"]
    rows = [cells_of(info, found[info.name]) for info in list_models() if info.name in found]
    missing = [info.name for info in list_models() if info.name not in found]
    builders = sorted({row["builder"] for row in found.values()})
    about = f"{document['machine']}; TensorRT-RTX {', '.join(builders)}."
    table = f"{about}\n\n{markdown(HEADS, rows)}"
    if missing:
        table += f"\n\n**Not measured yet:** {', '.join(f'`{name}`' for name in missing)}."
    write_tables(PAGE, {"configurations": table})
    print(f"{PAGE}: {len(rows)} configurations")
    if missing:
        print(f"not measured: {', '.join(missing)}")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(run_main(main))
