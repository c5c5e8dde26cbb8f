"""``differseg robustness``: how a network's figures fall when the cameras get worse.

Each corruption (:mod:`differseg.robustness.suite`) is applied at several levels to the same
images, and each level is judged as ``differseg evaluate`` judges.  A row that is done is kept and
not judged again, so the same command goes on where it was stopped.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from differseg.errors import InputError
from differseg.metrics import BOUNDARY_TOLERANCE_PX
from differseg.options import option, parse, unwinding_on_sigterm
from differseg.robustness.evaluation import Settings, judge, make_plan
from differseg.robustness.judged import (
    JudgedModel,
    open_labelled,
    open_models,
    open_synthetic,
)
from differseg.robustness.report import curves_sheet, render
from differseg.robustness.result import Robustness, as_csv, document, print_table
from differseg.robustness.rows import RowStore
from differseg.robustness.suite import read_names
from differseg.training.samples import SYNTHETIC


@dataclass(frozen=True)
class RobustnessOptions:
    """Judge networks on images that get worse: lost cameras, misregistration, blur, noise."""

    file: Path = option(positional=True, metavar="FILE")
    """Checkpoint, .onnx file, engine, or a network's name for its shipped weights."""
    out: Path = option(metavar="OUT", short="-o")
    """Folder for report.html, curves.svg, robustness.json, robustness.csv, and the rows that the
    same command goes on from."""
    other: Path | None = option(None, positional=True, metavar="OTHER")
    """A second model to compare with."""
    also: tuple[Path, ...] = option((), metavar="FILE")
    """One more model to compare with; may be given again."""
    name: tuple[str, ...] = option((), metavar="NAME")
    """Name of a model in tables and curves; once for each model, in their order."""
    model: str | None = None
    """Name of the network, where a file does not say it (.pt, .pth)."""
    data: str = option(SYNTHETIC, metavar="DIR")
    """Folder with rgb/, thermal/, depth/ or flow/, and labels/; NAME:DIR of a published data set,
    see 'differseg datasets'; or the word synthetic."""
    split: str | None = None
    """Split of a data set given by name (mfnet:DIR); the one that figures are reported on when not
    given."""
    synthetic_count: int = 24
    """Synthetic scenes to judge on, one image of each."""
    label_rule: str = "auto"
    """How label files become a mask, see docs/training.md."""
    holdout: float = 0.0
    """Judge only the share of a folder that 'train --holdout' leaves out; 0 judges all of it."""
    limit: int | None = None
    """Judge this many samples of the data, spread evenly; all when not given."""
    corruptions: str | None = option(None, metavar="NAMES")
    """Corruptions with commas, see docs/robustness.md; all that fit when not given."""
    seed: int = 0
    """Seed of directions and noise."""
    size: tuple[int, int] | None = None
    """Height and width of a checkpoint's input; the network's own when not given."""
    device: str = "auto"
    """Where a checkpoint runs: auto, cpu, cuda or cuda:N."""
    tolerance_px: float = BOUNDARY_TOLERANCE_PX
    """Tolerance of the boundary F-measure in pixels of the label, for two classes."""
    worst: int = 2
    """Pictures of each corruption, at its greatest level: what it made worse most."""
    json: bool = False
    """Print the result as one JSON document, last."""


def _check(options: RobustnessOptions) -> None:
    for name, low in (("synthetic_count", 1), ("limit", 1), ("worst", 0), ("seed", 0)):
        value = getattr(options, name)
        if value is not None and value < low:
            raise InputError(f"--{name.replace('_', '-')} {value}: expected {low} or more")
    if not 0 <= options.holdout < 1:
        raise InputError(f"--holdout {options.holdout}: expected 0 or more, and less than 1")
    if not 0 <= options.tolerance_px < math.inf:
        raise InputError(
            f"--tolerance-px {options.tolerance_px}: expected a finite number of pixels, 0 or more"
        )
    if options.corruptions is not None:
        read_names(options.corruptions)  # before scenes are drawn
    if options.data != SYNTHETIC:
        return
    if options.split is not None:
        raise InputError("--split: is of a data set given by name, --data NAME:DIR")
    for name in ("holdout", "limit"):
        if getattr(options, name):
            raise InputError(f"--{name}: synthetic scenes are counted by --synthetic-count")


def _check_tolerance(options: RobustnessOptions, model: JudgedModel) -> None:
    count = len(model.predictor.classes)
    if count > 2 and options.tolerance_px != BOUNDARY_TOLERANCE_PX:
        raise InputError(
            f"--tolerance-px {options.tolerance_px}: {model.name} has {count} classes, and the "
            "boundary F-measure is a figure of two; leave --tolerance-px away"
        )


def robustness(options: RobustnessOptions, console: Console | None = None) -> Robustness:
    """Judge models under corruptions and write the report; see :class:`RobustnessOptions`.

    Args:
        options: Which models, data and corruptions.
        console: Where progress is shown; standard output when None.

    Raises:
        InputError: An option or the data does not fit, or models cannot be compared.
        CheckpointError, ModelFileError, ManifestError, MissingComponentError: A model cannot be
            used.
    """
    console = console or Console()
    _check(options)
    files = [options.file, *([options.other] if options.other else []), *options.also]
    models = open_models(files, options.name, options.model, options.size, options.device)
    _check_tolerance(options, models[0])
    store = RowStore(options.out)
    if options.data == SYNTHETIC:
        data = open_synthetic(models, options.synthetic_count, options.out / "scenes", console)
    else:
        data = open_labelled(
            options.data,
            models,
            split=options.split,
            label_rule=options.label_rule,
            holdout=options.holdout,
            limit=options.limit,
        )
    for line in data.warnings:
        console.print(f"warning: {line}", highlight=False, soft_wrap=True)
    plan = make_plan(models, data, options.corruptions, options.worst)
    settings = Settings(options.seed, options.tolerance_px)
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    )  # fmt: skip
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("robustness", total=plan.images)

        def advance(images: int, what: str) -> None:
            progress.update(bar, advance=images, description=what)

        judged = judge(plan, data, settings, store, advance)
    result = Robustness(models, data, settings, judged)
    _write(result, options.out)
    return result


def _write(result: Robustness, folder: Path) -> None:
    texts = {
        "robustness.json": json.dumps(document(result), indent=2) + "\n",
        "robustness.csv": as_csv(result),
        "curves.svg": curves_sheet(result),
        "report.html": render(result, folder),
    }
    try:
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"--out {folder}: cannot be written ({error.strerror})") from None


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of ``differseg robustness``."""
    options = parse(RobustnessOptions, argv, "differseg robustness")
    console = Console()
    with unwinding_on_sigterm():
        result = robustness(options, console)
    print_table(result, console)
    for name, why in result.judged.plan.skipped.items():
        console.print(f"not judged: {name}: {why}", highlight=False, soft_wrap=True)
    console.print(f"written: {options.out / 'report.html'}", highlight=False, soft_wrap=True)
    if options.json:
        print(json.dumps(document(result)))
    return 0
