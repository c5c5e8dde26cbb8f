"""The numbers of a run that its steps follow."""

from __future__ import annotations

from dataclasses import dataclass, field

from differseg.training.learning import Learning, Optimizer, Schedule
from differseg.training.optimizer import learning_rate_at


@dataclass(frozen=True)
class Recipe:
    """The numbers that a step needs.

    ``class_weights`` are those of more than two classes in the loss, None where all weigh the same.
    ``trained_start`` says that the network comes with trained weights, ``freeze_norm`` that the
    statistics of its batch normalisations stay as they are, where it comes with some.  ``seed`` is
    that of the random numbers within a step, where several processes share it.
    """

    learning_rate: float
    weight_decay: float
    ema_decay: float
    warmup_steps: int
    total_steps: int
    trained_start: bool = False
    freeze_norm: bool = False
    class_weights: tuple[float, ...] | None = None
    steps_per_epoch: int = 1
    optimizer: Optimizer = "adamw"
    schedule: Schedule = "cosine"
    learning: Learning = field(default_factory=Learning)
    seed: int = 0

    def learning_rate_at(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        return learning_rate_at(
            step, self.total_steps, self.warmup_steps, self.learning_rate,
            kind=self.schedule, settings=self.learning.learning,
            steps_per_epoch=self.steps_per_epoch,
        )  # fmt: skip
