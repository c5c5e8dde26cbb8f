"""What a run shows: a live bar on a terminal, one plain line per epoch anywhere else."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from differseg.scoring import in_short

_SMOOTHING = 0.1


class RunDisplay:
    """Context that shows a run's progress.

    Args:
        console: Where to; its ``is_terminal`` decides between bar and lines.
        epochs: Epochs of the whole run.
        total_steps: Steps of the whole run.
        done_steps: Steps that an earlier start has done.
    """

    def __init__(self, console: Console, epochs: int, total_steps: int, done_steps: int) -> None:
        self.console, self.epochs = console, epochs
        self._progress = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[loss]}"),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task(
            "train", total=total_steps, completed=done_steps, epoch=f"-/{epochs}", loss="", rate=""
        )
        self._loss: float | None = None
        self._images_per_s: float | None = None
        self._last_s = time.perf_counter()

    def __enter__(self) -> RunDisplay:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def step(self, epoch: int, loss: float, images: int) -> None:
        """Show one finished step; ``epoch`` counts from 1."""
        now_s = time.perf_counter()
        rate = images / max(now_s - self._last_s, 1e-9)
        self._last_s = now_s
        self._loss = _smoothed(self._loss, loss)
        self._images_per_s = _smoothed(self._images_per_s, rate)
        self._progress.update(
            self._task,
            advance=1,
            epoch=f"{epoch}/{self.epochs}",
            loss=f"loss {self._loss:.3f}",
            rate=f"{self._images_per_s:.1f} images/s",
        )

    def validating(self) -> None:
        """Show that the held-out samples are being judged."""
        self._progress.update(self._task, rate="validating")

    def epoch(self, line: dict[str, Any]) -> None:
        """Show one finished epoch, a line of ``metrics.jsonl``; epoch 0 is the start."""
        figures = line["validation"]
        trained = line["epoch"] > 0
        text = (
            f"epoch {line['epoch']:>3}/{self.epochs}  "
            f"{'loss {:.4f}'.format(line['loss']) if trained else '(--init)   '}  "
            f"{in_short(figures, '  ')}"
            f"{'  {:.1f} images/s'.format(line['images_per_s']) if trained else ''}"
            f"{'  best' if line['best'] else ''}"
        )
        self.console.print(text, highlight=False, soft_wrap=True)
        self._last_s = time.perf_counter()


def _smoothed(old: float | None, new: float) -> float:
    return new if old is None else old + _SMOOTHING * (new - old)
