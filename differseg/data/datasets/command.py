"""``differseg datasets``: the published data sets that are read as they are released."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from differseg.options import option, parse

if TYPE_CHECKING:
    from differseg.data.datasets.definition import DatasetInfo
    from differseg.data.datasets.layout import Layout


@dataclass(frozen=True)
class DatasetsOptions:
    """List the data sets that are read in their published layout: --data NAME:DIR --split SPLIT."""

    name: str | None = option(None, positional=True, metavar="NAME")
    """Show one of them: folders, splits, classes, whom to cite, and its terms."""
    json: bool = False
    """Print one JSON document instead."""


def describe_dataset(info: DatasetInfo) -> dict[str, Any]:
    """Return what is stated of a data set as plain JSON values."""
    return {
        "name": info.name,
        "title": info.title,
        "modalities": list(info.modalities),
        "more_modalities": list(info.more_modalities),
        "splits": {split: info.counts.get(split) for split in info.splits},
        "judged": info.judged,
        "judged_on": list(info.tests),
        "classes": [
            {"id": spec.id, "name": spec.name, "color_rgb": list(spec.color_rgb)}
            for spec in info.classes
        ],
        "label_rules": {str(count): rule for count, rule in info.label_rules.items()},
        "layouts": [
            {
                "splits": {split: list(folders) for split, folders in layout.splits.items()},
                "files": dict(layout.tree()),
            }
            for layout in info.layouts
        ],
        "citation": info.citation,
        "licence": info.licence,
        "facts": info.facts,
        "notes": info.notes,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Print the list, or one data set; always 0."""
    options = parse(DatasetsOptions, argv, "differseg datasets")
    from differseg.data.datasets.registry import find_dataset, list_datasets

    if options.name is not None:
        info = find_dataset(options.name)
        if options.json:
            print(json.dumps(describe_dataset(info)))
        else:
            print("\n".join(page(info)))
    elif options.json:
        print(json.dumps([describe_dataset(info) for info in list_datasets()]))
    else:
        _print_table(list_datasets())
    return 0


def page(info: DatasetInfo) -> list[str]:
    """Return what is stated of a data set as lines of text."""
    held = ", ".join(info.modalities)
    if info.more_modalities:
        held += f" (some copies also {', '.join(info.more_modalities)})"
    lines = [f"{info.name}: {info.title}", f"  holds    {held}"]
    lines += [f"  splits   {_splits(info)}"]
    if info.judged is not None:
        lines.append(f"  judged   on {info.judged}, where --split says no other")
    if info.tests:
        lines.append(f"  networks that learn from it are judged on {', '.join(info.tests)}")
    names = [f"{spec.id} {spec.name}" for spec in info.classes]
    shown = names if len(names) <= 20 else [*names[:6], "...", names[-1]]
    lines.append(f"  classes  {', '.join(shown)}")
    for count, rule in info.label_rules.items():
        lines.append(f"  labels   of networks with {count} classes by rule {rule}")
    alike: dict[str, list[Layout]] = {}
    for layout in info.layouts:
        alike.setdefault(str(layout.tree()), []).append(layout)
    for number, layouts in enumerate(alike.values(), 1):
        heading = "layout" if len(alike) == 1 else f"layout {number}"
        lines += ["", f"  {heading}, in the folder given as {info.name}:DIR"]
        lines += [f"    {place}   {held}" for place, held in _aligned(layouts[0].tree())]
        lines += _split_folders(layouts)
    lines += ["", f"  cite     {info.citation}", f"  terms    {info.licence}"]
    lines.append(f"  layout read from {info.facts}")
    if info.notes:
        lines.append(f"  note     {info.notes}")
    return lines


def _split_folders(layouts: list[Layout]) -> list[str]:
    """Say what SPLIT stands for in layouts that differ in nothing else, where it is not evident."""
    lines = []
    if "SPLIT" in str(layouts[0].tree()):
        for split in dict.fromkeys(split for layout in layouts for split in layout.splits):
            given = [layout.splits[split] for layout in layouts if split in layout.splits]
            choices = [", ".join(folders) for folders in given]
            if choices != [split]:
                lines.append(f"    SPLIT of {split}: {' or '.join(choices)}")
    return lines


def _aligned(tree: list[tuple[str, str]]) -> list[tuple[str, str]]:
    width = max(len(place) for place, _ in tree)
    return [(place.ljust(width), held) for place, held in tree]


def _splits(info: DatasetInfo) -> str:
    counts = {split: info.counts.get(split) for split in info.splits}
    return ", ".join(f"{split} {count}" if count else split for split, count in counts.items())


def _print_table(infos: Sequence[DatasetInfo]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for heading in ("name", "inputs", "classes", "splits"):
        table.add_column(heading, no_wrap=heading != "splits", overflow="fold")
    for info in infos:
        inputs = " + ".join(info.modalities)
        table.add_row(info.name, inputs, str(len(info.classes)), _splits(info))
    Console().print(table)
