"""``differseg evaluate``: score a checkpoint or an ONNX file on labelled data.

Each form of a model runs as :mod:`differseg.predictors` says.  The probability map is resized to
the label, as the runtime resizes it to the frame, and judged at the label's size.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from differseg.averaged_predictor import AveragedPredictor, averaged
from differseg.class_metrics import ClassScores
from differseg.data.datasets.judging import open_judged
from differseg.data.datasets.published import PublishedDataset
from differseg.data.folder import FolderDataset
from differseg.data.synthetic_dataset import SyntheticDataset
from differseg.errors import InputError
from differseg.evaluation_report import render
from differseg.metrics import BOUNDARY_TOLERANCE_PX, MEASURES, ImageScores
from differseg.options import option, parse
from differseg.pictures import write_picture
from differseg.predictors import Predictor, open_predictor
from differseg.provenance import other_size, seen_in_training
from differseg.runtime.tiling_options import tiles_of
from differseg.scoring import Row, Scorer, open_scorer
from differseg.training.environment import describe_environment
from differseg.training.samples import JUDGED_SEED, SYNTHETIC, Samples, refuse_classes


@dataclass(frozen=True)
class EvaluateOptions:
    """Score a checkpoint, an ONNX file or an engine on labelled data."""

    file: Path | None = option(None, positional=True, metavar="FILE")
    """Checkpoint (.safetensors, .pt, .pth), .onnx file, engine, or a network's name for its
    shipped weights."""
    model: str | None = None
    """Name of the network, where the file does not say it (.pt, .pth)."""
    data: str = option(SYNTHETIC, metavar="DIR")
    """Folder with rgb/, thermal/ or depth/, and labels/; NAME:DIR of a published data set, see
    'differseg datasets'; or the word synthetic."""
    split: str | None = None
    """Split of a data set given by name (mfnet:DIR); the one that figures are reported on when not
    given."""
    synthetic_count: int = 64
    """Synthetic samples to judge on."""
    label_rule: str = "auto"
    """How label files become a mask, see docs/training.md."""
    holdout: float = 0.0
    """Judge only the share of a folder that 'train --holdout' leaves out; 0 judges all of it."""
    size: tuple[int, int] | None = None
    """Height and width of a checkpoint's input; the network's own when not given."""
    threshold: float | None = None
    """Probability from which a pixel is foreground, for two classes; the model's own when not
    given."""
    device: str = "auto"
    """Where a checkpoint runs: auto, cpu, cuda or cuda:N."""
    tolerance_px: float = BOUNDARY_TOLERANCE_PX
    """Tolerance of the boundary F-measure in pixels of the label, for two classes."""
    scale: tuple[float, ...] = option((), metavar="S")
    """Average over this factor of a checkpoint's size (may be repeated), such as 0.75, 1, 1.25."""
    flip: bool = False
    """Average over the mirrored images, too."""
    tile: tuple[int, int] | None = option(None, metavar="HxW")
    """Take large images in tiles of this many pixels, as 'run_images.py --tile' does."""
    overlap: float | None = option(None, metavar="N")
    """What neighbouring tiles have in common at least: below 1 a share of the tile, from 1 on
    pixels; a quarter when left out."""
    whole_view: bool | None = None
    """With --tile, look at the whole image first, which is so unless it is forbidden."""
    normalize: bool = False
    """Stretch every prediction to 0..1 first, as papers on salient objects do; two classes."""
    hce: bool = False
    """Also count the corrections that a mask needs (HCE of DIS5K), which is slow; two classes."""
    engine_key: Path | None = option(None, metavar="FILE")
    """Key that an engine must be signed with."""
    out: Path | None = option(None, metavar="DIR")
    """Write report.html, metrics.json, images.csv and worst.jpg here."""
    worst: int = 8
    """Images with the lowest IoU (mean IoU of several classes) that are shown."""
    json: bool = False
    """Print the result as one JSON document, last."""


def _open_samples(options: EvaluateOptions, predictor: Predictor) -> tuple[Samples, str | None]:
    """Return the samples to judge, and a line where they were or may have been trained on."""
    if options.data == SYNTHETIC:
        lacking = set(predictor.modalities) - set(SyntheticDataset.modalities)
        if lacking:
            raise InputError(
                f"--data {SYNTHETIC}: the scenes have rgb and thermal, but {predictor.name} needs "
                f"{', '.join(sorted(lacking))}; give a folder with it: --data DIR"
            )
        refuse_classes(predictor.name, predictor.classes)
        return SyntheticDataset(options.synthetic_count, JUDGED_SEED, predictor.own_size_hw), None
    everything, samples, name = open_judged(
        options.data,
        options.split,
        predictor.modalities,
        label_rule=options.label_rule,
        holdout=options.holdout,
        classes=predictor.classes,
    )
    record = predictor.training
    if record is None:
        return samples, None
    return samples, seen_in_training(record, name, everything.stems, samples.stems)


def _check_classes(options: EvaluateOptions, predictor: Predictor) -> None:
    """Refuse options of two classes for a model with more."""
    count = len(predictor.classes)
    for flag, given in (("--normalize", options.normalize), ("--hce", options.hce)):
        if count > 2 and given:
            raise InputError(
                f"{flag}: {predictor.name} has {count} classes, and this is of figures of two; "
                f"leave {flag} away"
            )
    if count > 2 and options.threshold is not None:
        raise InputError(
            f"--threshold {options.threshold}: {predictor.name} has {count} classes and takes the "
            "most probable one at every pixel; leave --threshold away"
        )
    if count > 2 and options.tolerance_px != BOUNDARY_TOLERANCE_PX:
        raise InputError(
            f"--tolerance-px {options.tolerance_px}: {predictor.name} has {count} classes, and the "
            "boundary F-measure is a figure of two; leave --tolerance-px away"
        )


class _Worst:
    """Keeps the rows of the images with the lowest IoU."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._kept: list[tuple[float, int, Row]] = []

    def wants(self, iou: float) -> bool:
        """Say whether an image of this IoU would be kept."""
        full = len(self._kept) >= self._count
        return self._count > 0 and (not full or iou < self._kept[-1][0])

    def add(self, iou: float, row: Row) -> None:
        """Keep a row, and drop the best one of too many."""
        self._kept.append((iou, len(self._kept), row))
        self._kept.sort(key=lambda kept: kept[:2])
        del self._kept[self._count :]

    def rows(self) -> list[Row]:
        """Return the rows, worst first."""
        return [row for _, _, row in self._kept]


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        summary: Model, data, ``warnings`` and ``metrics`` as plain JSON values.
        images: Name and figures of every image.
        worst: Rows of the images with the lowest IoU, worst first.
        scorer: What scored them, and draws the rows.
    """

    summary: dict[str, Any]
    images: list[tuple[str, ImageScores | ClassScores]]
    worst: list[Row]
    scorer: Scorer


def evaluate(options: EvaluateOptions, console: Console | None = None) -> Evaluation:
    """Score a model; see :class:`EvaluateOptions`.

    Args:
        options: Which model, on which data.
        console: Where progress is shown; standard output when None.

    Raises:
        InputError: An option or the data does not fit.
        CheckpointError, ModelFileError, ManifestError, MissingComponentError: The model cannot be
            used.
    """
    console = console or Console()
    if options.threshold is not None and not 0 < options.threshold < 1:
        raise InputError(f"--threshold {options.threshold}: expected a value between 0 and 1")
    if not 0 <= options.tolerance_px < math.inf:
        raise InputError(
            f"--tolerance-px {options.tolerance_px}: expected a finite number of pixels, 0 or more"
        )
    tiles = tiles_of(options.tile, options.overlap, options.whole_view)
    if tiles is not None and options.scale:
        raise InputError("--scale and --tile exclude each other: a tile has one size")
    predictor = open_predictor(
        options.file, options.model, options.size, options.device, options.engine_key, tiles
    )
    _check_classes(options, predictor)
    predictor = averaged(predictor, options.scale, options.flip)
    samples, seen = _open_samples(options, predictor)
    warnings = [line for line in (other_size(predictor.training, predictor.size_hw), seen) if line]
    for line in warnings:
        console.print(f"warning: {line}", highlight=False, soft_wrap=True)
    threshold = options.threshold or predictor.threshold
    scorer = open_scorer(
        predictor.classes,
        threshold,
        options.tolerance_px,
        measures=(*MEASURES, "hce") if options.hce else MEASURES,
        normalize="minmax" if options.normalize else None,
    )
    worst, images, times_s = _Worst(options.worst), [], []
    for index in track(
        range(len(samples)), "evaluate", console=console, disable=not console.is_terminal
    ):
        sample = samples[index]
        start_s = time.perf_counter()
        probability = predictor.probability(sample)
        times_s.append(time.perf_counter() - start_s)
        scored = scorer.score(probability, sample["mask"])
        images.append((sample["stem"], scored.scores))
        if worst.wants(scored.headline):
            row = scorer.row(scored, sample["stem"], predictor.pictures(sample))
            worst.add(scored.headline, row)
    binary = len(predictor.classes) == 2
    environment = describe_environment()
    sizes_hw = (
        predictor.sizes_hw if isinstance(predictor, AveragedPredictor) else (predictor.size_hw,)
    )
    summary = {
        "model": predictor.name,
        "file": str(options.file or options.model),
        "data": options.data,
        "split": samples.split if isinstance(samples, PublishedDataset) else None,
        "label_rule": samples.rule.name if isinstance(samples, FolderDataset) and samples.rule
        else None,
        "size": list(predictor.size_hw),
        "sizes": [list(size) for size in sizes_hw],
        "flip": options.flip,
        "tiles": None if tiles is None else dataclasses.asdict(tiles),
        "normalize": options.normalize,
        "threshold": threshold if binary else None,
        "tolerance_px": options.tolerance_px if binary else None,
        "warnings": warnings,
        "metrics": scorer.compute(),
        "speed": _speed(times_s, predictor),
        "versions": environment["versions"],
        "processor": environment["processor"],
    }  # fmt: skip
    return Evaluation(summary, images, worst.rows(), scorer)


def _speed(times_s: Sequence[float], predictor: Predictor) -> dict[str, Any]:
    """Return how long an image takes; the first one, which warms up, counts only where it is all.

    Everything from the image as read to the probability counts: preparing, copying, the network,
    all sizes and mirror images.
    """
    median_s = statistics.median(times_s[1:] or times_s)
    return {
        "median_ms": round(1e3 * median_s, 3),
        "images_per_s": round(1 / median_s, 3),
        "device": predictor.runs_on,
        "what": "image to probability, one image at a time, median",
    }


def write_evaluation(evaluation: Evaluation, folder: Path) -> None:
    """Write ``report.html``, ``metrics.json``, ``images.csv`` and ``worst.jpg``.

    Raises:
        InputError: The folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(evaluation.summary, indent=2) + "\n"
        (folder / "metrics.json").write_text(text, encoding="utf-8")
        (folder / "report.html").write_text(render(evaluation), encoding="utf-8")
        with (folder / "images.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["stem", *evaluation.scorer.columns])
            for stem, scores in evaluation.images:
                figures = (getattr(scores, name) for name in evaluation.scorer.columns)
                writer.writerow([stem, *(f"{figure:.6f}" for figure in figures)])
    except OSError as error:
        raise InputError(f"--out {folder}: cannot be written ({error.strerror})") from None
    if evaluation.worst:
        write_picture(folder / "worst.jpg", evaluation.scorer.grid(evaluation.worst))


def _print(evaluation: Evaluation, console: Console) -> None:
    summary = evaluation.summary
    height, width = summary["size"]
    text = f"{summary['model']} ({summary['file']}) at {height}x{width} on {summary['data']}"
    console.print(text, highlight=False, soft_wrap=True)
    table = Table()
    table.add_column("figure")
    table.add_column("value", justify="right")
    figures = dict(summary["metrics"])
    of_classes = figures.pop("class_iou", {})
    figures |= {f"iou of {name}": iou for name, iou in of_classes.items() if iou is not None}
    for name, value in figures.items():
        table.add_row(name, f"{value:.4f}" if isinstance(value, float) else str(value))
    console.print(table)
    speed = summary["speed"]
    console.print(
        f"{speed['median_ms']:.1f} ms an image ({speed['what']}; {speed['device']})",
        highlight=False,
        soft_wrap=True,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of ``differseg evaluate``."""
    options = parse(EvaluateOptions, argv, "differseg evaluate")
    console = Console()
    evaluation = evaluate(options, console)
    _print(evaluation, console)
    if options.out is not None:
        write_evaluation(evaluation, options.out)
        console.print(f"written: {options.out}", highlight=False, soft_wrap=True)
    if options.json:
        print(json.dumps(evaluation.summary))
    return 0
