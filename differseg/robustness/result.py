"""What an evaluation says as plain values: JSON, CSV, and the table in the terminal."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from differseg import __version__
from differseg.robustness.corruption import Corruption
from differseg.robustness.evaluation import CLEAN, Judged, Settings
from differseg.robustness.judged import JudgedData, JudgedModel

FIGURE_TITLES = {"iou": "IoU", "mean_iou": "Mean IoU", "boundary_f": "Boundary F"}
"""Figures that are drawn, and how they are called."""


@dataclass(frozen=True)
class Robustness:
    """A finished evaluation.

    Attributes:
        models: In the order given.
        data: What they were judged on.
        settings: How.
        judged: The rows.
    """

    models: list[JudgedModel]
    data: JudgedData
    settings: Settings
    judged: Judged

    @property
    def corruptions(self) -> list[Corruption]:
        """What was judged, in the order of a report."""
        return self.judged.plan.corruptions

    def drawn_figures(self) -> list[str]:
        """Return the figures to draw: the headline, and the boundary F-measure where it is."""
        every = [row.figures for row in self.judged.rows.values()]
        others = [name for name in ("boundary_f",) if all(name in figures for figures in every)]
        return [self.judged.headline, *others]

    def kept(self, model: JudgedModel) -> list[tuple[Corruption, float]]:
        """Return what a model keeps under each corruption that fits it."""
        kept = [(one, self.judged.kept(model, one)) for one in self.corruptions]
        return [(one, share) for one, share in kept if share is not None]

    def overall_kept(self, model: JudgedModel) -> float | None:
        """Return the mean of what a model keeps over its corruptions; None without any."""
        shares = [share for _, share in self.kept(model)]
        return sum(shares) / len(shares) if shares else None

    def overall(self, model: JudgedModel) -> str:
        """Say what a model keeps overall, and over how many corruptions: ``84 %, mean of 14``."""
        count = len(self.kept(model))
        return f"{percent(self.overall_kept(model))}, mean of {count} corruptions"


def document(result: Robustness) -> dict[str, Any]:
    """Return everything but the pictures as plain JSON values."""
    judged, data = result.judged, result.data
    return {
        "schema": 1,
        "differseg": __version__,
        "data": {
            "title": data.title,
            "images": len(data.samples),
            "label_rule": data.everything.rule.name if data.everything.rule else None,
            "warnings": list(data.warnings),
        },
        "seed": result.settings.seed,
        "tolerance_px": result.settings.tolerance_px,
        "headline": judged.headline,
        "models": [
            {
                "name": model.name,
                "network": model.predictor.name,
                "file": str(model.file),
                "sha256": model.sha256,
                "size": list(model.predictor.size_hw),
                "kept": result.overall_kept(model),
                "kept_by_corruption": {
                    corruption.name: judged.kept(model, corruption)
                    for corruption in result.corruptions
                },
            }
            for model in result.models
        ],
        "corruptions": [
            {
                "name": corruption.name,
                "title": corruption.title,
                "modality": corruption.modality,
                "unit": corruption.unit,
                "levels": list(corruption.levels),
                "meaning": corruption.meaning,
            }
            for corruption in result.corruptions
        ],
        "skipped": judged.plan.skipped,
        "rows": [
            {
                "model": task.model.name,
                "corruption": task.name,
                "level": task.level,
                "images": row.images,
                "figures": row.figures,
            }
            for task, row in judged.rows.items()
        ],
    }


def as_csv(result: Robustness) -> str:
    """Return the rows as CSV: one line each, a column for each figure that is a number."""
    units = {corruption.name: corruption.unit for corruption in result.corruptions}
    rows = result.judged.rows
    names = list(dict.fromkeys(n for row in rows.values() for n in _numbers(row.figures)))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["model", "corruption", "level", "unit", "images", *names])
    for task, row in rows.items():
        numbers = _numbers(row.figures)
        figures = [f"{numbers[name]:.6g}" if name in numbers else "" for name in names]
        unit = units.get(task.name, "")
        writer.writerow([task.model.name, task.name, f"{task.level:g}", unit, row.images, *figures])
    return text.getvalue()


def _numbers(figures: Mapping[str, Any]) -> dict[str, float]:
    return {
        name: value
        for name, value in figures.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and name != "images"
    }


def print_table(result: Robustness, console: Console) -> None:
    """Print one line for each corruption and model."""
    judged, several = result.judged, len(result.models) > 1
    called = FIGURE_TITLES.get(judged.headline, judged.headline)
    table = Table(title=f"{called} on {result.data.title}", title_justify="left")
    table.add_column("corruption", no_wrap=True)
    if several:
        table.add_column("model")
    table.add_column("unit")
    table.add_column(CLEAN, justify="right")
    table.add_column("at the levels")  # one column, which may take several lines: no figure is cut
    table.add_column("kept", justify="right")
    for corruption in result.corruptions:
        for model in result.models:
            curve = judged.curve(model, corruption)
            if not curve:
                continue
            kept = judged.kept(model, corruption)
            shown = [
                f"{corruption.shown(row.level)}:{row.figures[judged.headline]:.3f}"
                for row in curve[1:]
            ]
            cells = [corruption.name, *([model.name] if several else []), corruption.unit]
            clean = f"{curve[0].figures[judged.headline]:.3f}"
            table.add_row(*cells, clean, "   ".join(shown), percent(kept))
    console.print(table)
    for model in result.models:
        text = f"{model.name}: keeps {result.overall(model)}"
        console.print(text, highlight=False, soft_wrap=True)


def percent(share: float | None) -> str:
    """Return a share as percent, or a dash where there is none."""
    return "-" if share is None else f"{100 * share:.0f} %"


def least_kept(result: Robustness, model: JudgedModel) -> tuple[Corruption, float] | None:
    """Return the corruption of which a model keeps least, and how much; None without any."""
    return min(result.kept(model), key=lambda pair: pair[1], default=None)
