"""``differseg train``: train a network on a labelled folder or on synthetic scenes.

The same command with the same ``--out`` goes on where the run stopped, whatever stopped it: the
snapshot holds the whole state, and data and augmentation are functions of seed, epoch and index,
so on the same machine an interrupted run ends in the same weights, bit for bit.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from differseg.data.transforms import Augmentation
from differseg.errors import InputError
from differseg.manifest import Decision, ThermalPolicy
from differseg.models.base import SegmentationModel
from differseg.models.spec import ModelSpec
from differseg.options import parse
from differseg.schema import to_plain
from differseg.scoring import in_short
from differseg.training.class_weights import choose_class_weights
from differseg.training.epochs import Epochs
from differseg.training.fake_quantization import FakeQuantization
from differseg.training.interruption import WORKERS_GONE, StopRequest
from differseg.training.loop import Position, Recipe, Trainer
from differseg.training.network import network_to_train
from differseg.training.norms import choose_freeze_norm, norm_state
from differseg.training.options import TrainOptions, check_options, resume_command
from differseg.training.precision import choose_device, choose_precision
from differseg.training.run_folder import NOTES, RunFolder
from differseg.training.samples import (
    SYNTHETIC,
    Loading,
    TrainingData,
    open_folder,
    open_synthetic,
)
from differseg.training.start import StartWeights, choose_thermal_policy, load_start

INTERRUPTED = 130
"""Exit status after SIGINT or SIGTERM."""

_FREE_FIELDS = {
    "out", "workers", "device", "synthetic_cache", "snapshot_minutes", "resume", "restart", "json",
    "qat",
}  # fmt: skip
"""Options that may differ when a run goes on: they do not define what is learnt. A file of
``--qat`` is known by its content."""

_MUCH_FROZEN = 0.05
"""Share of frozen parameters from which a start without trained weights is pointed out."""
_STARTING_PAGE = "docs/models/differseg.md"
_SHOWN = 4
"""How many of the tensors that are not rounded are named."""
_MUCH_REMEMBERED = 0.2
"""Share of the start in the averaged weights at the end of a run from which it is pointed out."""


@dataclasses.dataclass(frozen=True)
class _Choices:
    """What is decided for the user, each with its reason."""

    device: Decision
    precision: Decision
    freeze_norm: Decision
    class_weights: Decision
    weight_values: tuple[float, ...] | None
    thermal_policy: Decision | None
    label_rule: Decision | None


def train(options: TrainOptions, console: Console | None = None) -> dict[str, Any]:
    """Run or resume a training.

    Args:
        options: What to train, on what, and where to keep it.
        console: Where progress is shown; standard output when None.

    Returns:
        ``completed`` (False after SIGINT or SIGTERM), ``epochs``, ``steps``, ``best_epoch`` (0 for
        the weights of ``--init``), ``best`` (the held-out figures of that epoch), ``last``,
        ``weights`` and ``run`` (paths).

    Raises:
        InputError: An option, the data, or the run folder does not fit, or cannot be written.
        CheckpointError: ``--init`` or the snapshot cannot be used.
        CheckFailedError: The loss became NaN or infinite.
        MissingComponentError: The network or the device needs what is not there.
    """
    console = console or Console()
    check_options(options)
    torch.manual_seed(options.seed)
    model = network_to_train(options.model, options.classes, options.init)
    size_hw = options.size or model.spec.size_hw
    if any(side % model.spec.multiple or side < 1 for side in size_hw):
        raise InputError(
            f"--size {size_hw[0]}x{size_hw[1]}: {options.model} needs multiples of "
            f"{model.spec.multiple}"
        )
    folder = RunFolder(options.out)
    if options.init is not None and options.init.resolve() == folder.best.resolve():
        raise InputError(
            f"--init {options.init}: this file belongs to the run in --out, which would replace "
            "it; give another folder for --out"
        )
    start = None if options.init is None else load_start(options.init, model)
    qdq = None
    if options.qat is not None:
        from differseg.training.qdq_file import read_qdq_file  # loads onnx

        qdq = read_qdq_file(options.qat)
    policy, why_policy = choose_thermal_policy(options.thermal_policy, model.spec, start)
    data = _open_data(options, model.spec, size_hw, policy, start)
    choices = _choose(options, model.spec, data, why_policy)
    config = _identity(options, model.spec, data, size_hw, start, choices)
    if qdq is not None:
        config["qat"] = f"sha256 {qdq.sha256}"
    trainer = Trainer(
        model,
        _recipe(options, data, choices, start),
        torch.device(choices.device.value),
        choices.precision.value,
        qdq,
    )
    _find(folder, options, config)  # before anything is written
    with StopRequest() as stop, folder.locked() as alone:
        if not alone:
            console.print("note: no locks on this file system; start one run at a time in --out")
        if _find(folder, options, config):
            trainer.resume(folder.snapshot)
        else:
            folder.begin(config)
        folder.tidy()
        decided = [choices.device, *_decisions(choices)]
        decisions = [dataclasses.asdict(choice) for choice in decided]
        folder.add_start({"from_step": trainer.position.step, "decisions": decisions})
        _announce(console, options, trainer, data, choices, start)
        complete = start is not None and not start.fresh  # else it cannot compete with an epoch
        start_notes = start.notes(data.policy) if start is not None and complete else None
        epochs = Epochs(
            trainer, data, folder, stop, options.epochs, options.snapshot_minutes, start_notes
        )
        completed = _draw_and_run(epochs, console)
        return _summary(folder, trainer, completed)


def _find(folder: RunFolder, options: TrainOptions, config: dict[str, Any]) -> bool:
    """Return whether there is a snapshot to go on from."""
    found = folder.find(config, options.restart)
    if options.resume and not found:
        raise InputError(f"--resume: there is no snapshot in {options.out}; leave --resume away")
    return found


def _draw_and_run(epochs: Epochs, console: Console) -> bool:
    """Draw scenes, then train; False where a stop was asked for."""
    try:
        return epochs.data.draw_scenes(console, epochs.stop) and epochs.run(console)
    except WORKERS_GONE:
        if not epochs.stop.requested:
            raise
    # Who stopped the run ended its workers too (a batch system does), and torch says so wherever
    # the run happens to be, also within a step: the last snapshot is what holds.
    trainer, snapshot = epochs.trainer, epochs.folder.snapshot
    trainer.position = Position()
    if snapshot.exists():
        trainer.resume(snapshot)
    return False


def _open_data(
    options: TrainOptions,
    spec: ModelSpec,
    size_hw: tuple[int, int],
    policy: ThermalPolicy,
    start: StartWeights | None,
) -> TrainingData:
    loading = Loading(
        size_hw, options.batch, options.seed, options.workers, policy,
        Augmentation(largest_crop=options.largest_crop),
    )  # fmt: skip
    if options.data != SYNTHETIC:
        return open_folder(
            spec, loading, Path(options.data), label_rule=options.label_rule,
            holdout=options.holdout, start=start,
        )  # fmt: skip
    return open_synthetic(
        spec, loading, count=options.synthetic_count,
        size_hw=options.synthetic_size or spec.size_hw,
        cache=options.synthetic_cache or options.out / SYNTHETIC, start=start,
    )  # fmt: skip


def _choose(
    options: TrainOptions, spec: ModelSpec, data: TrainingData, thermal_policy: Decision | None
) -> _Choices:
    device = choose_device(options.device)
    weights, values = choose_class_weights(options.class_weights, spec.classes, data.train)
    return _Choices(
        device,
        choose_precision(options.precision, torch.device(device.value)),
        choose_freeze_norm(options.freeze_norm, options.init is not None),
        weights,
        values,
        thermal_policy,
        data.label_rule,
    )


def _decisions(choices: _Choices) -> list[Decision]:
    """Return all but the device, which may be another one when a run goes on."""
    of_data = (choices.thermal_policy, choices.label_rule)
    return [
        choices.precision, choices.freeze_norm, choices.class_weights,
        *(choice for choice in of_data if choice is not None),
    ]  # fmt: skip


def _identity(
    options: TrainOptions,
    spec: ModelSpec,
    data: TrainingData,
    size_hw: tuple[int, int],
    start: StartWeights | None,
    choices: _Choices,
) -> dict[str, Any]:
    """Return what must be equal for a run to go on, and notes on it, as plain JSON values."""
    asked = {
        name: value
        for name, value in dataclasses.asdict(options).items()
        if name not in _FREE_FIELDS
    }
    synthetic = options.data == SYNTHETIC
    return {
        **asked,
        "data": SYNTHETIC if synthetic else str(Path(options.data).resolve()),
        "size": list(size_hw),
        "classes": [known.name for known in spec.classes],
        "init": start and f"sha256 {start.sha256}",
        "precision": choices.precision.value,
        "freeze_norm": choices.freeze_norm.value == "on",
        # The default is not written: runs from before there was a choice go on.
        "thermal_policy": None if data.policy == ThermalPolicy() else to_plain(data.policy),
        "samples": data.description,
        NOTES: {
            "init": start and str(start.path),
            "decisions": [dataclasses.asdict(choice) for choice in _decisions(choices)],
        },
    }


def _recipe(
    options: TrainOptions, data: TrainingData, choices: _Choices, start: StartWeights | None
) -> Recipe:
    return Recipe(
        learning_rate=options.lr,
        weight_decay=options.weight_decay,
        ema_decay=options.ema,
        warmup_steps=round(options.warmup * data.batches_per_epoch),
        total_steps=options.epochs * data.batches_per_epoch,
        trained_start=start is not None and not start.fresh,
        freeze_norm=choices.freeze_norm.value == "on",
        class_weights=choices.weight_values,
    )


def _announce(
    console: Console,
    options: TrainOptions,
    trainer: Trainer,
    data: TrainingData,
    choices: _Choices,
    start_weights: StartWeights | None,
) -> None:
    trainable = sum(p.numel() for p in trainer.model.parameters() if p.requires_grad)
    step = trainer.position.step
    start = f"resuming at step {step}" if step else "starting"
    if step == trainer.recipe.total_steps:
        start = "already complete"
    norms = norm_state(trainer.model, trainer.frozen_norms, choices.freeze_norm)
    lines = [
        f"{start}: {options.model} ({trainable / 1e6:.2f} M trainable parameters) on "
        f"{data.description['train']} samples, {data.description['held_out']} held out; "
        f"{trainer.device}, {trainer.precision}, run folder {options.out}",
        f"statistics of batch normalisation are {norms}",
    ]
    for choice in (choices.thermal_policy, choices.label_rule):
        if choice is not None:
            lines.append(f"{choice.what}: {choice.value} ({choice.reason})")
    if choices.weight_values is not None:
        lines.append(f"class weights: {choices.class_weights.value}")
    if isinstance(trainer.network, FakeQuantization):
        lines += _rounding(trainer.network, options)
    if start_weights is not None and start_weights.fresh:
        lines.append(
            f"--init {options.init} is for other classes; these start anew: "
            f"{', '.join(start_weights.fresh)}"
        )
    if start_weights is None and step == 0:
        lines += _random_frozen_parts(trainer.model)
    remembered = options.ema**trainer.recipe.total_steps
    if trainer.recipe.trained_start and remembered > _MUCH_REMEMBERED:
        lines.append(
            f"note: with --ema {options.ema:g} the averaged weights are still {remembered:.0%} "
            f"those of --init after {trainer.recipe.total_steps} steps; a lower --ema follows "
            "the training sooner"
        )
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)


def _rounding(network: FakeQuantization, options: TrainOptions) -> list[str]:
    lines = [
        f"rounding as in {options.qat}: {network.kernels} convolutions and products, "
        f"{network.sums} operands of sums"
    ]
    skipped = network.skipped
    if skipped:
        more = f"; and {len(skipped) - _SHOWN} more" if len(skipped) > _SHOWN else ""
        lines.append(f"note: not rounded: {'; '.join(skipped[:_SHOWN])}{more}")
    return lines


def _random_frozen_parts(model: SegmentationModel) -> list[str]:
    """Warn of frozen parts that nobody trained: without --init they stay noise."""
    frozen = sum(p.numel() for p in model.parameters() if not p.requires_grad)
    share = frozen / sum(p.numel() for p in model.parameters())
    if share < _MUCH_FROZEN:
        return []
    return [
        f"warning: {share:.0%} of the network is frozen, and random numbers without --init; start "
        f"from trained weights, see {_STARTING_PAGE}"
    ]


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


def _last_line(options: TrainOptions, summary: dict[str, Any]) -> str | None:
    """Say how the run ended; None where there is nothing to say."""
    if not summary["completed"]:
        return f"stopped after step {summary['steps']}; go on with: {resume_command(options)}"
    if summary["best"] is None:
        return None
    figures = f"{in_short(summary['best'])}; weights {summary['weights']}"
    if summary["best_epoch"] == 0:
        return f"done: no epoch improved on --init {options.init}, {figures} are those of --init"
    return f"done: best epoch {summary['best_epoch']}, {figures}"


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of ``differseg train``; 130 after an interruption."""
    options = parse(TrainOptions, argv, "differseg train")
    console = Console()
    summary = train(options, console)
    line = _last_line(options, summary)
    if line is not None:
        console.print(line, highlight=False, soft_wrap=True)
    if options.json:
        print(json.dumps(summary))
    return 0 if summary["completed"] else INTERRUPTED
