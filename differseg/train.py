"""``differseg train``: train a network on a labelled folder or on synthetic scenes.

The same command with the same ``--out`` goes on where the run stopped, whatever stopped it: the
snapshot holds the whole state, and data and augmentation are functions of seed, epoch and index,
so on the same machine an interrupted run ends in the same weights, bit for bit.

Several processes learn together where a launcher starts them:
``accelerate launch -m differseg.train`` with the same options.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
from collections.abc import Sequence
from typing import Any

import torch
from rich.console import Console
from torch import nn

from differseg.errors import InputError
from differseg.file_hash import sha256_of
from differseg.options import run_main
from differseg.recipes.reading import parse_with_recipe, read_recipe
from differseg.scoring import in_short
from differseg.training.announcement import announcement
from differseg.training.assembly import distillation_of, open_data, recipe_of, teacher_of
from differseg.training.choices import Choices, choose, device_of, identity
from differseg.training.data_workers import choose_workers
from differseg.training.determinism import deterministic
from differseg.training.epochs import Epochs
from differseg.training.events import require_tensorboard
from differseg.training.interruption import WORKERS_GONE, StopRequest
from differseg.training.learning import Learning
from differseg.training.loop import Position, Trainer
from differseg.training.memory import naming_the_memory
from differseg.training.network import network_to_train
from differseg.training.options import TrainOptions, check_options, resume_command
from differseg.training.processes import Processes, join_processes, launched
from differseg.training.run_folder import RunFolder
from differseg.training.samples import TrainingData
from differseg.training.start import StartWeights, choose_thermal_policy, load_start

__all__ = ["INTERRUPTED", "TrainOptions", "main", "resume_command", "train"]

INTERRUPTED = 130
"""Exit status after SIGINT or SIGTERM."""

_LAUNCHER = "accelerate launch --num_processes {} -m differseg.train"


@dataclasses.dataclass(frozen=True)
class _Run:
    """A run that is about to begin, or to go on."""

    options: TrainOptions
    processes: Processes
    trainer: Trainer
    data: TrainingData
    folder: RunFolder
    start: StartWeights | None
    choices: Choices
    config: dict[str, Any]


def train(options: TrainOptions, console: Console | None = None) -> dict[str, Any]:
    """Run or resume a training.

    Args:
        options: What to train, on what, and where to keep it; of a recipe in them only what is no
            option is taken, :func:`differseg.recipes.reading.recipe_options` gives the rest.
        console: Where progress is shown; standard output when None.

    Returns:
        ``completed`` (False after SIGINT or SIGTERM), ``stopped_early`` (True where ``patience``
        ended it), ``epochs``, ``steps``, ``best_epoch`` (0 for the weights of ``--init``),
        ``best`` (the held-out figures of that epoch), ``last``, ``weights`` and ``run`` (paths).

    Raises:
        InputError: An option, the data, or the run folder does not fit, cannot be written, or the
            memory does not suffice.
        CheckpointError: ``--init`` or the snapshot cannot be used.
        CheckFailedError: The loss became NaN or infinite.
        MissingComponentError: The network or the device needs what is not there.
    """
    processes = join_processes(options.device)
    try:
        console = (console or Console()) if processes.first else Console(quiet=True)
        with processes.noticing_losses(), deterministic(options.deterministic):
            with processes.first_ahead():
                run = _prepared(options, processes)
                if processes.first:
                    _find(run)  # before anything is written
            return _carried_out(run, console)
    finally:
        processes.leave()


def _prepared(options: TrainOptions, processes: Processes) -> _Run:
    """Check and open all that the run needs; nothing is written."""
    check_options(options)
    learning = Learning() if options.recipe is None else read_recipe(options.recipe).learning
    torch.manual_seed(options.seed)
    model = network_to_train(options.model, options.classes, options.init)
    size_hw = options.size or model.spec.size_hw
    if any(side % model.spec.multiple or side < 1 for side in size_hw):
        raise InputError(
            f"--size {size_hw[0]}x{size_hw[1]}: {options.model} needs multiples of "
            f"{model.spec.multiple}"
        )
    folder = RunFolder(options.out)
    for flag, given in (("--init", options.init), ("--teacher", options.teacher)):
        if given is not None and given.resolve() == folder.best.resolve():
            raise InputError(
                f"{flag} {given}: this file belongs to the run in --out, which would replace it; "
                "give another folder for --out"
            )
    if options.tensorboard:
        require_tensorboard()
    start = None if options.init is None else load_start(options.init, model)
    teacher = teacher_of(options, model.spec)
    qdq = None
    if options.qat is not None:
        from differseg.training.qdq_file import read_qdq_file  # loads onnx

        processes.require_alone("--qat")
        qdq = read_qdq_file(options.qat)
    policy, why_policy = choose_thermal_policy(options.thermal_policy, model.spec, start)
    where = device_of(options, processes)
    device = torch.device(where.value)
    workers = choose_workers(options.workers, device.type, processes.on_this_machine)
    data = open_data(
        options, model.spec, size_hw, policy, start, learning, processes, int(workers.value)
    )
    choices = choose(options, model.spec, data, why_policy, where, workers)
    config = identity(
        options, model.spec, data, size_hw, start, choices, learning, processes
    )  # fmt: skip
    if qdq is not None:
        config["qat"] = f"sha256 {qdq.sha256}"
    if options.teacher is not None:
        config["teacher"] = f"sha256 {sha256_of(options.teacher)[:16]}"
    if options.sync_norm:
        processes.require_gpus("--sync-norm")
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    trainer = Trainer(
        model,
        recipe_of(options, data, choices, start, learning),
        device,
        choices.precision.value,
        qdq,
        processes,
        options.compile,
        distillation_of(options, model, teacher, size_hw, device),
    )
    return _Run(options, processes, trainer, data, folder, start, choices, config)


def _carried_out(run: _Run, console: Console) -> dict[str, Any]:
    options, processes, trainer, folder = run.options, run.processes, run.trainer, run.folder
    with StopRequest() as stop, contextlib.ExitStack() as stack:
        found = False
        with processes.first_ahead():
            if processes.first:
                if not stack.enter_context(folder.locked()):
                    console.print(
                        "note: no locks on this file system; start one run at a time in --out"
                    )
                found = _find(run)
        if processes.told(found):
            processes.require_everywhere(folder.snapshot.exists())
            with processes.first_ahead():
                trainer.resume(folder.snapshot)
            processes.require_same_step(trainer.position.step)
        with processes.first_ahead():
            if processes.first:
                _write_start(run, found)
        for line in announcement(options, trainer, run.data, run.choices, run.start):
            console.print(line, highlight=False, soft_wrap=True)
        complete = run.start is not None and not run.start.fresh  # else it cannot compete
        start_notes = run.start.notes(run.data.policy) if run.start and complete else None
        epochs = Epochs(
            trainer, run.data, folder, stop, options.epochs, options.snapshot_minutes, start_notes,
            options.accumulate, options.patience, options.tensorboard,
        )  # fmt: skip
        with naming_the_memory(
            trainer.device, options.batch, options.accumulate, trainer.precision,
            lambda: f"at step {trainer.position.step + 1}",
        ):  # fmt: skip
            completed = _draw_and_run(epochs, console)
        return _summary(folder, trainer, completed, epochs.gave_up)


def _write_start(run: _Run, found: bool) -> None:
    if not found:
        run.folder.begin(run.config)
    run.folder.tidy()
    decided = [run.choices.device, run.choices.workers, *run.choices.lasting]
    decisions = [dataclasses.asdict(choice) for choice in decided]
    run.folder.add_start({"from_step": run.trainer.position.step, "decisions": decisions})


def _find(run: _Run) -> bool:
    """Return whether there is a snapshot to go on from."""
    options = run.options
    found = run.folder.find(run.config, options.restart)
    if options.resume and not found:
        raise InputError(f"--resume: there is no snapshot in {options.out}; leave --resume away")
    return found


def _draw_and_run(epochs: Epochs, console: Console) -> bool:
    """Draw scenes, then train; False where a stop was asked for."""
    processes = epochs.trainer.processes
    try:
        drawn = True
        with processes.first_ahead():
            if processes.first:
                drawn = epochs.data.draw_scenes(console, epochs.stop)
        return processes.told(drawn) and epochs.run(console)
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


def _summary(
    folder: RunFolder, trainer: Trainer, completed: bool, stopped_early: bool
) -> dict[str, Any]:
    position = trainer.position
    by_epoch = {line["epoch"]: line["validation"] for line in position.history}
    return {
        "completed": completed,
        "stopped_early": stopped_early,
        "epochs": position.epoch,
        "steps": position.step,
        "best_epoch": position.best_epoch,
        "best": by_epoch.get(position.best_epoch),
        "last": by_epoch.get(position.epoch),
        "weights": str(folder.best) if folder.best.exists() else None,
        "run": str(folder.path),
    }


def _last_line(options: TrainOptions, summary: dict[str, Any], count: int) -> str | None:
    """Say how the run ended; None where there is nothing to say."""
    if not summary["completed"]:
        given = None if options.recipe is None else read_recipe(options.recipe).options
        program = "differseg train" if count == 1 else _LAUNCHER.format(count)
        command = resume_command(options, given, program)
        return f"stopped after step {summary['steps']}; go on with: {command}"
    if summary["best"] is None:
        return None
    figures = f"{in_short(summary['best'])}; weights {summary['weights']}"
    why = ""
    if summary["stopped_early"]:
        why = f" (--patience {options.patience} ended it after epoch {summary['epochs']})"
    if summary["best_epoch"] == 0:
        return (
            f"done{why}: no epoch improved on --init {options.init}, {figures} are those of --init"
        )
    return f"done{why}: best epoch {summary['best_epoch']}, {figures}"


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of ``differseg train``; 130 after an interruption."""
    options = parse_with_recipe(argv)
    console = Console()
    summary = train(options, console)
    count, rank = launched()
    line = _last_line(options, summary, count)
    if line is not None and rank == 0:
        console.print(line, highlight=False, soft_wrap=True)
    if options.json and rank == 0:
        print(json.dumps(summary))
    return 0 if summary["completed"] else INTERRUPTED


if __name__ == "__main__":
    sys.exit(run_main(main))
