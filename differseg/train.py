"""``differseg train``: train a network on a labelled folder or on synthetic scenes.

The same command with the same ``--out`` goes on where the run stopped, whatever stopped it: the
snapshot holds the whole state, and data and augmentation are functions of seed, epoch and index,
so on the same machine an interrupted run ends in the same weights, bit for bit.
"""

from __future__ import annotations

import dataclasses
import json
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from rich.console import Console

from differseg.checkpoints import load_checkpoint, save_checkpoint
from differseg.errors import InputError
from differseg.manifest import ThermalPolicy
from differseg.models import create_model
from differseg.models.base import SegmentationModel
from differseg.models.spec import ModelSpec
from differseg.options import option, parse
from differseg.pictures import comparison_grid, write_picture
from differseg.training.interruption import StopRequest
from differseg.training.loop import Position, Recipe, Trainer
from differseg.training.precision import choose_device, choose_precision
from differseg.training.progress import RunDisplay
from differseg.training.run_folder import RunFolder
from differseg.training.samples import (
    SYNTHETIC,
    Loading,
    TrainingData,
    open_folder,
    open_synthetic,
)
from differseg.training.snapshot import read_snapshot, write_snapshot
from differseg.training.validation import validate

INTERRUPTED = 130
"""Exit status after SIGINT or SIGTERM, with the snapshot written."""

_FREE_FIELDS = {
    "out", "workers", "device", "synthetic_cache", "snapshot_minutes", "resume", "restart", "json",
}  # fmt: skip
"""Options that may differ when a run goes on: they do not define what is learnt."""


@dataclass(frozen=True)
class TrainOptions:
    """Train a network; the same command again resumes an interrupted run."""

    out: Path = option(metavar="RUN")
    """Folder of the run: config, metrics, pictures, snapshot and best weights."""
    model: str = "differseg-edge"
    """Name of the network, see 'differseg models'."""
    data: str = option("synthetic", metavar="DIR")
    """Folder with rgb/, thermal/ or depth/, and labels/; or the word synthetic."""
    synthetic_count: int = 2000
    """Synthetic samples to train on; a tenth as many more are held out."""
    synthetic_size: tuple[int, int] | None = None
    """Height and width that scenes are drawn at; the network's own when not given."""
    synthetic_cache: Path | None = option(None, metavar="DIR")
    """Folder that keeps drawn scenes, about 1.2 MB a sample; RUN/synthetic when not given."""
    label_rule: str = "auto"
    """How label files become a binary mask, see docs/training.md."""
    holdout: float = 0.15
    """Share of a folder held out for validation, by whole sequences."""
    size: tuple[int, int] | None = None
    """Height and width to train at; the network's own when not given."""
    epochs: int = 30
    """Passes over the data."""
    batch: int = 8
    """Images a step."""
    lr: float = 5e-3
    """Highest learning rate."""
    weight_decay: float = 5e-4
    """AdamW's weight decay; norms and biases have none."""
    warmup: float = 1.0
    """Epochs of linear warm-up."""
    ema: float = 0.998
    """Decay of the averaged weights, which are validated and saved; 0 turns averaging off."""
    seed: int = 0
    """Seed of weights, order, augmentation and synthetic scenes."""
    workers: int = 2
    """Processes that prepare data; 0 prepares it in the training process."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    precision: Literal["auto", "fp32", "amp"] = "auto"
    """amp is mixed precision on a GPU; auto takes it where there is one."""
    init: Path | None = option(None, metavar="CHECKPOINT")
    """Start from these weights instead of fresh ones."""
    snapshot_minutes: float = 5.0
    """Minutes between snapshots inside an epoch; one follows every epoch anyway."""
    resume: bool = False
    """Refuse to start anew: there must be a run in --out to go on with."""
    restart: bool = False
    """Delete the run in --out and start anew."""
    json: bool = False
    """Print the summary as one JSON document, last."""


def train(options: TrainOptions, console: Console | None = None) -> dict[str, Any]:
    """Run or resume a training.

    Args:
        options: What to train, on what, and where to keep it.
        console: Where progress is shown; standard output when None.

    Returns:
        ``completed`` (False after SIGINT or SIGTERM), ``epochs``, ``steps``, ``best_epoch``,
        ``best`` (the held-out figures of that epoch), ``last``, ``weights`` and ``run`` (paths).

    Raises:
        InputError: An option, the data, or the run folder does not fit.
        CheckpointError: ``--init`` or the snapshot cannot be used.
        CheckFailedError: The loss became NaN or infinite.
        MissingComponentError: The network or the device needs what is not there.
    """
    console = console or Console()
    _check(options)
    torch.manual_seed(options.seed)
    model = create_model(options.model)
    size_hw = options.size or model.spec.size_hw
    if any(side % model.spec.multiple or side < 1 for side in size_hw):
        raise InputError(
            f"--size {size_hw[0]}x{size_hw[1]}: {options.model} needs multiples of "
            f"{model.spec.multiple}"
        )
    data = _open_data(options, model.spec, size_hw)
    device = choose_device(options.device)
    precision = choose_precision(options.precision, torch.device(device.value))
    folder = RunFolder(options.out)
    found = _open_run(options, folder, _identity(options, data, size_hw), model)
    trainer = Trainer(model, _recipe(options, data), torch.device(device.value), precision.value)
    if found:
        trainer.restore(read_snapshot(folder.snapshot))
    folder.add_start(
        {
            "from_step": trainer.position.step,
            "decisions": [dataclasses.asdict(decision) for decision in (device, precision)],
        }
    )
    _announce(console, options, trainer, data)
    data.draw_scenes(console)
    with StopRequest() as stop:
        completed = _run(options, trainer, data, folder, console, stop)
    return _summary(folder, trainer, completed)


def _check(options: TrainOptions) -> None:
    for name, low in (
        ("epochs", 1), ("batch", 1), ("synthetic_count", 1), ("workers", 0),
        ("weight_decay", 0), ("warmup", 0), ("snapshot_minutes", 0),
    ):  # fmt: skip
        if not getattr(options, name) >= low:
            flag = name.replace("_", "-")
            raise InputError(f"--{flag} {getattr(options, name)}: expected {low} or more")
    if not options.lr > 0:
        raise InputError(f"--lr {options.lr}: expected a value above 0")
    if not 0 <= options.ema < 1:
        raise InputError(f"--ema {options.ema}: expected 0 <= ema < 1")
    if options.resume and options.restart:
        raise InputError("--resume and --restart exclude each other")


def _open_run(
    options: TrainOptions, folder: RunFolder, config: dict[str, Any], model: SegmentationModel
) -> bool:
    """Return whether there is a snapshot to go on from; where there is none, begin a run."""
    found = folder.find(config, options.restart)
    if options.resume and not found:
        raise InputError(f"--resume: there is no snapshot in {options.out}; leave --resume away")
    if not found:
        if options.init is not None:
            load_checkpoint(options.init, model)
        folder.begin(config)
    folder.tidy()
    return found


def _open_data(options: TrainOptions, spec: ModelSpec, size_hw: tuple[int, int]) -> TrainingData:
    loading = Loading(size_hw, options.batch, options.seed, options.workers, ThermalPolicy())
    if options.data != SYNTHETIC:
        return open_folder(
            spec, loading, Path(options.data), label_rule=options.label_rule,
            holdout=options.holdout,
        )  # fmt: skip
    return open_synthetic(
        spec, loading, count=options.synthetic_count,
        size_hw=options.synthetic_size or spec.size_hw,
        cache=options.synthetic_cache or options.out / SYNTHETIC,
    )  # fmt: skip


def _identity(
    options: TrainOptions, data: TrainingData, size_hw: tuple[int, int]
) -> dict[str, Any]:
    """Return what must be equal for a run to go on, as plain JSON values."""
    asked = {
        name: str(value) if isinstance(value, Path) else value
        for name, value in dataclasses.asdict(options).items()
        if name not in _FREE_FIELDS
    }
    return {**asked, "size": list(size_hw), "samples": data.description}


def _recipe(options: TrainOptions, data: TrainingData) -> Recipe:
    return Recipe(
        learning_rate=options.lr,
        weight_decay=options.weight_decay,
        ema_decay=options.ema,
        warmup_steps=round(options.warmup * data.batches_per_epoch),
        total_steps=options.epochs * data.batches_per_epoch,
    )


def _announce(
    console: Console, options: TrainOptions, trainer: Trainer, data: TrainingData
) -> None:
    trainable = sum(p.numel() for p in trainer.model.parameters() if p.requires_grad)
    step = trainer.position.step
    start = f"resuming at step {step}" if step else "starting"
    if step == trainer.recipe.total_steps:
        start = "already complete"
    console.print(
        f"{start}: {options.model} ({trainable / 1e6:.2f} M trainable parameters) on "
        f"{data.description['train']} samples, {data.description['held_out']} held out; "
        f"{trainer.device}, {trainer.precision}, run folder {options.out}",
        highlight=False,
        soft_wrap=True,
    )


def _run(
    options: TrainOptions,
    trainer: Trainer,
    data: TrainingData,
    folder: RunFolder,
    console: Console,
    stop: StopRequest,
) -> bool:
    """Train until the last epoch or until a stop is asked for; True where it was the last."""
    position = trainer.position
    folder.write_metrics(position.history)  # a kill may have come between snapshot and metrics
    total_steps = trainer.recipe.total_steps
    with RunDisplay(console, options.epochs, total_steps, position.step) as display:
        try:
            while position.epoch < options.epochs:
                line = _train_and_judge(options, trainer, data, folder, display, stop)
                if line is None:
                    write_snapshot(folder.snapshot, trainer.state())
                    return False
                display.epoch(line)
        except RuntimeError:
            if not stop.requested:
                raise
            # Who stopped the run ended its workers too (a batch system does), and torch says so
            # wherever the run happens to be, also within a step: the last snapshot is what holds.
            trainer.position = Position()
            if folder.snapshot.exists():
                trainer.restore(read_snapshot(folder.snapshot))
            return False
    return True


def _train_and_judge(
    options: TrainOptions,
    trainer: Trainer,
    data: TrainingData,
    folder: RunFolder,
    display: RunDisplay,
    stop: StopRequest,
) -> dict[str, Any] | None:
    """Finish the present epoch and return its line; None where a stop was asked for."""
    if not _train_epoch(options, trainer, data, folder, display, stop):
        return None
    display.validating()
    return _finish_epoch(options, trainer, data, folder, stop)


def _train_epoch(
    options: TrainOptions,
    trainer: Trainer,
    data: TrainingData,
    folder: RunFolder,
    display: RunDisplay,
    stop: StopRequest,
) -> bool:
    """Do what is left of the present epoch; False where a stop was asked for."""
    position = trainer.position
    last_snapshot_s = last_s = time.monotonic()
    for batch in data.training_batches(position.epoch, position.batch):
        loss = trainer.step(batch)
        now_s = time.monotonic()
        position.seconds += now_s - last_s
        last_s = now_s
        display.step(position.epoch + 1, loss, len(batch["mask"]))
        if stop.requested:
            return False
        if now_s - last_snapshot_s >= options.snapshot_minutes * 60:
            write_snapshot(folder.snapshot, trainer.state())
            last_snapshot_s = time.monotonic()
    return True


def _finish_epoch(
    options: TrainOptions,
    trainer: Trainer,
    data: TrainingData,
    folder: RunFolder,
    stop: StopRequest,
) -> dict[str, Any] | None:
    """Validate, save what is better, and count the epoch; None where a stop was asked for."""
    judged = validate(trainer, data.held_out_batches(), data.held_out_stems, stop)
    if judged is None:
        return None
    figures, rows = judged
    position = trainer.position
    epoch = position.epoch + 1
    best = figures["iou"] > position.best
    if best:
        position.best, position.best_epoch = figures["iou"], epoch
        with trainer.average.applied_to(trainer.model):
            save_checkpoint(folder.best, trainer.model, extra=data.checkpoint_notes)
    picture = comparison_grid(rows, threshold=trainer.spec.threshold)
    write_picture(folder.picture(epoch), picture)
    line = {
        "epoch": epoch,
        "step": position.step,
        "loss": position.loss_sum / max(1, position.images),
        "learning_rate": trainer.optimizer.param_groups[0]["lr"],
        "images_per_s": position.images / max(position.seconds, 1e-9),
        "best": best,
        "validation": figures,
    }
    position.history.append(line)
    position.epoch, position.batch, position.images = epoch, 0, 0
    position.loss_sum = position.seconds = 0.0
    write_snapshot(folder.snapshot, trainer.state())
    folder.write_metrics(position.history)
    return line


def _summary(folder: RunFolder, trainer: Trainer, completed: bool) -> dict[str, Any]:
    position = trainer.position
    by_epoch = {line["epoch"]: line["validation"] for line in position.history}
    return {
        "completed": completed,
        "epochs": position.epoch,
        "steps": position.step,
        "best_epoch": position.best_epoch,
        "best": by_epoch.get(position.best_epoch),
        "last": by_epoch.get(position.epoch),
        "weights": str(folder.best) if folder.best.exists() else None,
        "run": str(folder.path),
    }


def resume_command(options: TrainOptions) -> str:
    """Return the command line that goes on with a run of these options."""
    words = ["differseg", "train"]
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if value == field.default or field.name in ("resume", "restart", "json"):
            continue
        text = "x".join(map(str, value)) if isinstance(value, tuple) else str(value)
        words += ["--" + field.name.replace("_", "-"), text]
    return shlex.join(words)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of ``differseg train``; 130 after an interruption."""
    options = parse(TrainOptions, argv, "differseg train")
    console = Console()
    summary = train(options, console)
    if not summary["completed"]:
        text = f"stopped after step {summary['steps']}; go on with: {resume_command(options)}"
        console.print(text, highlight=False, soft_wrap=True)
    elif summary["best"] is not None:
        console.print(
            f"done: best epoch {summary['best_epoch']}, iou {summary['best']['iou']:.4f}, "
            f"boundary_f {summary['best']['boundary_f']:.4f}; weights {summary['weights']}",
            highlight=False,
            soft_wrap=True,
        )
    if options.json:
        print(json.dumps(summary))
    return 0 if summary["completed"] else INTERRUPTED
