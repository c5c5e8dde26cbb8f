"""Events of a run for TensorBoard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from differseg.errors import MissingComponentError
from differseg.training.tables import flattened


def require_tensorboard() -> type[Any]:
    """Return what writes events.

    Raises:
        MissingComponentError: ``tensorboard`` is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise MissingComponentError(
            "--tensorboard needs the package 'tensorboard', which is not installed; install "
            "it with: pip install 'differseg[train]'"
        ) from None
    return SummaryWriter


class EventLog:
    """Losses of steps, figures and pictures of epochs, for TensorBoard.

    Args:
        folder: Where the events go.
        done: Steps that the run has behind it; later events of an earlier start are hidden.

    Raises:
        MissingComponentError: ``tensorboard`` is not installed.
    """

    def __init__(self, folder: Path, done: int) -> None:
        self._writer: Any = require_tensorboard()(str(folder), purge_step=done + 1)

    def step(self, step: int, loss: float, learning_rate: float) -> None:
        """Add a step, counted from 1."""
        self._writer.add_scalar("step/loss", loss, step)
        self._writer.add_scalar("step/learning_rate", learning_rate, step)

    def epoch(self, line: dict[str, Any], picture: Any) -> None:
        """Add an epoch.

        Args:
            line: Of ``metrics.jsonl``.
            picture: (H, W, 3) uint8, RGB.
        """
        for name, value in flattened(line["validation"]).items():
            if isinstance(value, (int, float)):
                self._writer.add_scalar(f"held_out/{name}", value, line["step"])
        self._writer.add_image("held_out", picture, line["step"], dataformats="HWC")

    def flush(self) -> None:
        """Wait until all events are in the file: a snapshot must not be ahead of them."""
        self._writer.flush()

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()
