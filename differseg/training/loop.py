"""One optimiser step, and everything that has to survive between two of them."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from differseg.errors import CheckFailedError, CheckpointError
from differseg.losses import class_loss, deep_supervision_loss
from differseg.models.base import SegmentationModel
from differseg.models.deployment import Normalize
from differseg.training.averaging import WeightAverage
from differseg.training.fake_quantization import FakeQuantization
from differseg.training.norms import BatchStatistics, norms_with_statistics, set_training_mode
from differseg.training.optimizer import create_optimizer, learning_rate_at
from differseg.training.snapshot import random_state, read_snapshot, restore_random_state

if TYPE_CHECKING:
    from differseg.training.qdq_file import QdqFile

GRADIENT_NORM = 5.0
"""Gradients are scaled down to this norm; a rare bad batch must not throw the weights away."""

_DETAIL = 160
"""Characters of a foreign error that a message repeats."""


@dataclass(frozen=True)
class Recipe:
    """The numbers that a step needs.

    ``class_weights`` are those of more than two classes in the loss, None where all weigh the same.
    ``trained_start`` says that the network comes with trained weights, ``freeze_norm`` that the
    statistics of its batch normalisations stay as they are, where it comes with some.
    """

    learning_rate: float
    weight_decay: float
    ema_decay: float
    warmup_steps: int
    total_steps: int
    trained_start: bool = False
    freeze_norm: bool = False
    class_weights: tuple[float, ...] | None = None


@dataclass
class Position:
    """How far a run has come; plain values only.

    ``epoch`` and ``batch`` count what is finished; ``loss_sum``, ``images`` and ``seconds`` are
    of the present epoch.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    images: int = 0
    seconds: float = 0.0
    best: float = -1.0
    best_epoch: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)


class Trainer:
    """A network, its optimiser, the average of its weights, and the position in the run.

    Args:
        model: The network; it is moved to the device and to the channels-last layout, which CPU
            and GPU convolutions both prefer.
        recipe: Learning rate and so on.
        device: Where to compute.
        precision: ``fp32``, ``bf16`` or ``fp16``.
        qdq: An int8 file, whose rounding is trained with and judged by.

    Attributes:
        network: What is called: the network, or its forward with the rounding of the file.
    """

    def __init__(
        self,
        model: SegmentationModel,
        recipe: Recipe,
        device: torch.device,
        precision: str,
        qdq: QdqFile | None = None,
    ) -> None:
        self.model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network = self.model if qdq is None else FakeQuantization(self.model, qdq)
        self.recipe, self.device, self.precision = recipe, device, precision
        self.spec = model.spec
        self.normalize = Normalize(self.spec).to(device)
        weights = recipe.class_weights
        self._class_weights = None if weights is None else torch.tensor(weights, device=device)
        self.optimizer = create_optimizer(model, recipe.learning_rate, recipe.weight_decay)
        self.average = WeightAverage(model, recipe.ema_decay, recipe.trained_start)
        self._statistics = BatchStatistics(model)
        self.frozen_norms = norms_with_statistics(model) if recipe.freeze_norm else []
        set_training_mode(model, self.frozen_norms)
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")
        self.position = Position()

    def inputs(self, batch: dict[str, Tensor]) -> list[Tensor]:
        """Return the network's positional inputs of a batch in 0..1, normalised, on the device."""
        moved = {
            name: batch[name].to(self.device, memory_format=torch.channels_last, non_blocking=True)
            for name in self.normalize.names
        }
        return list(self.normalize(moved).values())

    def step(self, batch: dict[str, Tensor]) -> float:
        """Learn from one batch and return its loss.

        The network is put into training mode first, whatever mode it was left in.

        Args:
            batch: Each modality (N, C, H, W) float in 0..1.  Of two classes ``mask`` (N, 1, H, W)
                float and ``valid`` (N, 1, H, W) float, 0 where the label is ignored; of more
                ``mask`` (N, 1, H, W) uint8, 255 ignored.

        Raises:
            CheckFailedError: Loss or gradient are not finite; weights and batch statistics are as
                they were before the call.
        """
        set_training_mode(self.model, self.frozen_norms)
        self._statistics.keep()
        rate = learning_rate_at(
            self.position.step,
            self.recipe.total_steps,
            self.recipe.warmup_steps,
            self.recipe.learning_rate,
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss = self._loss(batch)
        value = loss.item()
        self._require_finite("loss", value, batch)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), GRADIENT_NORM)
        if not self.scaler.is_enabled():  # the scaler itself skips steps that overflow
            self._require_finite("gradient norm", norm.item(), batch)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.average.update(self.model)
        images = len(batch["mask"])
        self.position.step += 1
        self.position.batch += 1
        self.position.images += images
        self.position.loss_sum += value * images
        return value

    def _loss(self, batch: dict[str, Tensor]) -> Tensor:
        mask = batch["mask"].to(self.device, non_blocking=True)
        reduced = torch.float16 if self.precision == "fp16" else torch.bfloat16
        mixed = self.precision != "fp32"
        with torch.autocast(self.device.type, dtype=reduced, enabled=mixed):
            outputs = self.network(*self.inputs(batch))
        if not self.spec.binary:
            return class_loss(outputs, mask, self._class_weights)
        valid = batch["valid"].to(self.device, non_blocking=True)
        return deep_supervision_loss(outputs, mask, valid)

    def _require_finite(self, what: str, value: float, batch: dict[str, Tensor]) -> None:
        if math.isfinite(value):
            return
        self._statistics.take_back()
        lower = self.recipe.learning_rate / 3
        fp32 = "" if self.precision == "fp32" else " or --precision fp32"
        broken = [name for name, plane in batch.items() if not plane.isfinite().all()]
        advice = f"start again with --restart --lr {lower:.1e}{fp32}"
        if broken:
            advice = f"the batch holds NaN or infinite values in {', '.join(broken)}: mend the data"
        raise CheckFailedError(
            f"train: the {what} is {value} at step {self.position.step + 1} (epoch "
            f"{self.position.epoch + 1}, batch {self.position.batch + 1}); {advice}"
        )

    def state(self) -> dict[str, Any]:
        """Return the whole state as tensors and plain values."""
        return {
            "model": self.model.state_dict(),
            "average": self.average.state(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "random": random_state(),
            "position": dataclasses.asdict(self.position),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a state of :meth:`state`, so that the next step is the one that was due."""
        self.model.load_state_dict(state["model"])
        self.average.restore(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.scaler.is_enabled() and state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])
        restore_random_state(state["random"])
        self.position = Position(**state["position"])

    def resume(self, path: Path) -> None:
        """Take up the snapshot in a file.

        Raises:
            CheckpointError: Not a snapshot, or one of another network.
        """
        state = read_snapshot(path)
        try:
            self.restore(state)
        except (RuntimeError, LookupError, ValueError, TypeError, AssertionError) as error:
            detail = " ".join(str(error).split())[:_DETAIL]
            raise CheckpointError(
                f"{path}: does not fit this network ({type(error).__name__}: {detail}); go on with "
                "the version of differseg that environment.json names, or use --restart"
            ) from None
