"""The epochs of a run: train, judge, keep what is better, and stop or go on at any step."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from rich.console import Console
from torch import Tensor

from differseg.checkpoints import save_checkpoint
from differseg.pictures import write_picture
from differseg.training.events import EventLog
from differseg.training.interruption import StopRequest
from differseg.training.loop import Position, Trainer
from differseg.training.progress import RunDisplay
from differseg.training.run_folder import RunFolder
from differseg.training.samples import TrainingData
from differseg.training.snapshot import write_snapshot
from differseg.training.tables import StepTable
from differseg.training.validation import validate


@dataclass
class Epochs:
    """What the epochs of a run work on.

    Of several processes the first one judges and writes; the others learn with it, and wait.

    Attributes:
        trainer: The network and how far it has come.
        data: Samples to learn from and to judge by.
        folder: Where results and snapshots go.
        stop: Read between batches.
        count: Epochs of the whole run.
        snapshot_minutes: Minutes between snapshots inside an epoch.
        start_notes: What a checkpoint of the very start records; None where the start is fresh
            weights, which are not worth judging.
        pieces: Pieces that make a batch.
        patience: Epochs without a better one after which the run ends; None for all of them.
        tensorboard: Whether events are written.
    """

    trainer: Trainer
    data: TrainingData
    folder: RunFolder
    stop: StopRequest
    count: int
    snapshot_minutes: float
    start_notes: dict[str, str] | None
    pieces: int = 1
    patience: int | None = None
    tensorboard: bool = False

    def __post_init__(self) -> None:
        self._steps: StepTable | None = None
        self._events: EventLog | None = None

    @property
    def gave_up(self) -> bool:
        """Whether the run ends before its last epoch, for lack of better ones."""
        return gave_up(self.trainer.position, self.count, self.patience)

    def run(self, console: Console) -> bool:
        """Train until the last epoch or until a stop is asked for; True where it was the last."""
        position, first = self.trainer.position, self.trainer.processes.first
        if position.history and first:
            self.folder.write_metrics(position.history)  # a kill may have come before they were
        total_steps = self.trainer.recipe.total_steps
        with contextlib.ExitStack() as stack:
            display = RunDisplay(console, self.count, total_steps, position.step)
            stack.enter_context(display)
            if first:
                self._steps = StepTable(self.folder.steps, position.step)
                stack.callback(self._steps.close)
            if first and self.tensorboard:
                self._events = EventLog(self.folder.events, position.step)
                stack.callback(self._events.close)
            while self.trainer.position.epoch < self.count and not self.gave_up:
                line = self._next(display)
                if line is None:
                    self._write_snapshot()
                    return False
                display.epoch(line)
        return True

    def _next(self, display: RunDisplay) -> dict[str, Any] | None:
        """Judge the start, or finish the present epoch; None where a stop was asked for."""
        position = self.trainer.position
        if self.start_notes is not None and position.step == 0 and not position.history:
            display.validating()
            return self._judge(0, self.start_notes)
        if not self._train(display):
            return None
        display.validating()
        return self._judge(position.epoch + 1, self.data.checkpoint_notes)

    def _train(self, display: RunDisplay) -> bool:
        """Do what is left of the present epoch; False where a stop was asked for."""
        trainer, position = self.trainer, self.trainer.position
        last_snapshot_s = last_s = time.monotonic()
        for parts in self._batches():
            images = position.images
            loss = trainer.step(*parts)
            now_s = time.monotonic()
            position.seconds += now_s - last_s
            last_s = now_s
            display.step(position.epoch + 1, loss, position.images - images)
            rate = trainer.recipe.learning_rate_at(position.step - 1)
            if self._steps is not None:
                self._steps.add(position.step, position.epoch + 1, loss, rate)
            if self._events is not None:
                self._events.step(position.step, loss, rate)
            if trainer.processes.any(self.stop.requested):
                return False
            if now_s - last_snapshot_s >= self.snapshot_minutes * 60:
                self._write_snapshot()
                last_snapshot_s = time.monotonic()
        return True

    def _batches(self) -> Iterator[list[dict[str, Tensor]]]:
        """Yield the pieces of each batch that is left of the epoch."""
        position = self.trainer.position
        pieces = iter(self.data.training_batches(position.epoch, position.batch))
        while True:
            with self.trainer.processes.failing_together():
                parts = list(islice(pieces, self.pieces))
            if not parts:
                return
            yield parts

    def _judge(self, epoch: int, notes: dict[str, str]) -> dict[str, Any] | None:
        """Validate, save what is better, and count the epoch; None where a stop was asked for.

        Args:
            epoch: The epoch that is finished, counted from 1; 0 is the start.
            notes: What a checkpoint of these weights records.
        """
        trainer, line = self.trainer, None
        with trainer.processes.failing_together():
            if trainer.processes.first:
                line = self._judge_here(epoch, notes)
        line, trainer.position = trainer.processes.told((line, trainer.position))
        return line

    def _judge_here(self, epoch: int, notes: dict[str, str]) -> dict[str, Any] | None:
        trainer, data, position = self.trainer, self.data, self.trainer.position
        judged = validate(
            trainer, data.held_out_batches(), data.held_out_stems, self.stop, data.lost_cameras
        )
        if judged is None:
            return None
        if not self.folder.snapshot.exists():
            self._write_snapshot()  # results never lie in a folder without a state to go on from
        best = judged.headline > position.best
        if best:
            position.best, position.best_epoch = judged.headline, epoch
            with trainer.average.applied_to(trainer.model):
                save_checkpoint(self.folder.best, trainer.model, extra=notes)
        write_picture(self.folder.picture(epoch), judged.picture)
        line = {
            "epoch": epoch,
            "step": position.step,
            "loss": position.loss_sum / max(1, position.images) if epoch else None,
            "learning_rate": (
                trainer.recipe.learning_rate_at(position.step - 1) if epoch else None
            ),
            "images_per_s": position.images / max(position.seconds, 1e-9) if epoch else None,
            "best": best,
            "validation": judged.figures,
        }
        position.history.append(line)
        position.epoch, position.batch, position.images = epoch, 0, 0
        position.loss_sum = position.seconds = 0.0
        if self._events is not None:
            self._events.epoch(line, judged.picture)
        self._write_snapshot()
        self.folder.write_metrics(position.history)
        return line

    def _write_snapshot(self) -> None:
        if self._steps is None:
            return
        self._steps.flush()
        if self._events is not None:
            self._events.flush()
        write_snapshot(self.folder.snapshot, self.trainer.state())


def gave_up(position: Position, count: int, patience: int | None) -> bool:
    """Return whether a run ended before its last epoch, for lack of better ones.

    Args:
        position: How far it has come.
        count: Epochs of the whole run.
        patience: Epochs without a better one after which it ends.
    """
    since = position.epoch - position.best_epoch
    return patience is not None and since >= patience and position.epoch < count
