"""The epochs of a run: train, judge, keep what is better, and stop or go on at any step."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from differseg.checkpoints import save_checkpoint
from differseg.pictures import write_picture
from differseg.training.interruption import StopRequest
from differseg.training.loop import Trainer
from differseg.training.progress import RunDisplay
from differseg.training.run_folder import RunFolder
from differseg.training.samples import TrainingData
from differseg.training.snapshot import write_snapshot
from differseg.training.validation import validate


@dataclass(frozen=True)
class Epochs:
    """What the epochs of a run work on.

    Attributes:
        trainer: The network and how far it has come.
        data: Samples to learn from and to judge by.
        folder: Where results and snapshots go.
        stop: Read between batches.
        count: Epochs of the whole run.
        snapshot_minutes: Minutes between snapshots inside an epoch.
        start_notes: What a checkpoint of the very start records; None where the start is fresh
            weights, which are not worth judging.
    """

    trainer: Trainer
    data: TrainingData
    folder: RunFolder
    stop: StopRequest
    count: int
    snapshot_minutes: float
    start_notes: dict[str, str] | None

    def run(self, console: Console) -> bool:
        """Train until the last epoch or until a stop is asked for; True where it was the last."""
        position = self.trainer.position
        if position.history:
            self.folder.write_metrics(position.history)  # a kill may have come before they were
        total_steps = self.trainer.recipe.total_steps
        with RunDisplay(console, self.count, total_steps, position.step) as display:
            while position.epoch < self.count:
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
        position = self.trainer.position
        last_snapshot_s = last_s = time.monotonic()
        for batch in self.data.training_batches(position.epoch, position.batch):
            loss = self.trainer.step(batch)
            now_s = time.monotonic()
            position.seconds += now_s - last_s
            last_s = now_s
            display.step(position.epoch + 1, loss, len(batch["mask"]))
            if self.stop.requested:
                return False
            if now_s - last_snapshot_s >= self.snapshot_minutes * 60:
                self._write_snapshot()
                last_snapshot_s = time.monotonic()
        return True

    def _judge(self, epoch: int, notes: dict[str, str]) -> dict[str, Any] | None:
        """Validate, save what is better, and count the epoch; None where a stop was asked for.

        Args:
            epoch: The epoch that is finished, counted from 1; 0 is the start.
            notes: What a checkpoint of these weights records.
        """
        trainer, data, position = self.trainer, self.data, self.trainer.position
        judged = validate(trainer, data.held_out_batches(), data.held_out_stems, self.stop)
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
            "learning_rate": trainer.optimizer.param_groups[0]["lr"] if epoch else None,
            "images_per_s": position.images / max(position.seconds, 1e-9) if epoch else None,
            "best": best,
            "validation": judged.figures,
        }
        position.history.append(line)
        position.epoch, position.batch, position.images = epoch, 0, 0
        position.loss_sum = position.seconds = 0.0
        self._write_snapshot()
        self.folder.write_metrics(position.history)
        return line

    def _write_snapshot(self) -> None:
        write_snapshot(self.folder.snapshot, self.trainer.state())
