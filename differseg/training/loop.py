"""One optimiser step, and everything that has to survive between two of them."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from differseg.errors import CheckFailedError, CheckpointError
from differseg.losses import Counts
from differseg.models.base import SegmentationModel
from differseg.models.deployment import Normalize
from differseg.training.averaging import WeightAverage
from differseg.training.compilation import compiled, naming_the_compiler
from differseg.training.dilated_depthwise import keep_in_float32
from differseg.training.fake_quantization import FakeQuantization
from differseg.training.norms import BatchStatistics, norms_with_statistics, set_training_mode
from differseg.training.objective import Batch, Objective
from differseg.training.optimizer import create_optimizer, set_learning_rate
from differseg.training.processes import Processes
from differseg.training.recipe import Recipe
from differseg.training.snapshot import random_state, read_snapshot, restore_random_state

if TYPE_CHECKING:
    from differseg.training.distillation import Distillation
    from differseg.training.qdq_file import QdqFile

__all__ = ["Position", "Recipe", "Trainer"]

_DETAIL = 160
"""Characters of a foreign error that a message repeats."""


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
        processes: Those that learn together; alone when None.
        compile_network: Learn with the network compiled by ``torch.compile``.
        distillation: A teacher's part of the loss; None without a teacher.

    Attributes:
        network: What is judged: the network, or its forward with the rounding of the file.
        distillation: As given.
    """

    def __init__(
        self,
        model: SegmentationModel,
        recipe: Recipe,
        device: torch.device,
        precision: str,
        qdq: QdqFile | None = None,
        processes: Processes | None = None,
        compile_network: bool = False,
        distillation: Distillation | None = None,
    ) -> None:
        self.model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if device.type == "cpu" and precision != "fp32":
            keep_in_float32(self.model)
        self.network = self.model if qdq is None else FakeQuantization(self.model, qdq)
        self.recipe, self.device, self.precision = recipe, device, precision
        self.processes = processes or Processes()
        self.spec = model.spec
        self.normalize = Normalize(self.spec).to(device)
        weights = recipe.class_weights
        class_weights = None if weights is None else torch.tensor(weights, device=device)
        self.objective = Objective(self.spec.binary, class_weights, recipe.learning.loss)
        self.optimizer = create_optimizer(
            model, recipe.learning_rate, recipe.weight_decay, kind=recipe.optimizer,
            settings=recipe.learning.learning, groups=recipe.learning.groups,
        )  # fmt: skip
        self.distillation = distillation
        self._beside = [] if self._adapter is None else list(self._adapter.parameters())
        if self._beside:
            self.optimizer.add_param_group({"params": self._beside, "weight_decay": 0.0})
        self._learnt = [*model.parameters(), *self._beside]
        self.average = WeightAverage(model, recipe.ema_decay, recipe.trained_start)
        self._statistics = BatchStatistics(model)
        self.frozen_norms = norms_with_statistics(model) if recipe.freeze_norm else []
        set_training_mode(model, self.frozen_norms)
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")
        self._learner: Any = compiled(self.network) if compile_network else self.network
        self._joined = self.processes.count == 1
        self._compiled = compile_network
        self.position = Position()

    def inputs(self, batch: Batch) -> list[Tensor]:
        """Return the network's positional inputs of a batch in 0..1, normalised, on the device."""
        moved = {
            name: batch[name].to(self.device, memory_format=torch.channels_last, non_blocking=True)
            for name in self.normalize.names
        }
        return list(self.normalize(moved).values())

    def step(self, *parts: Batch) -> float:
        """Learn from one batch and return its loss.

        The network is put into training mode first, whatever mode it was left in.

        Args:
            parts: The batch, or the parts of it whose gradients are summed; with several processes
                those of this one.  Each modality (N, C, H, W) float in 0..1.  Of two classes
                ``mask`` (N, 1, H, W) float and ``valid`` (N, 1, H, W) float, 0 where the label is
                ignored; of more ``mask`` (N, 1, H, W) uint8, 255 ignored.

        Returns:
            The loss of the whole batch, of all parts and processes.

        Raises:
            CheckFailedError: Loss or gradient are not finite; weights and batch statistics are as
                they were before the call.
        """
        set_training_mode(self.model, self.frozen_norms)
        self._statistics.keep()
        if not self._joined:
            self._join(parts[0])
        self.processes.seed_step(self.recipe.seed, self.position.step)
        set_learning_rate(self.optimizer, self.recipe.learning_rate_at(self.position.step))
        self.optimizer.zero_grad(set_to_none=True)
        counts = self._counts(parts)
        value = self._backward(parts, counts)
        self._require_finite("loss", value, parts)
        self.scaler.unscale_(self.optimizer)
        norm = self._clip()
        if not self.scaler.is_enabled():  # the scaler itself skips steps that overflow
            self._require_finite("gradient norm", norm, parts)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.average.update(self.model)
        images = len(parts[0]["mask"]) if counts is None else round(counts.images)
        self.position.step += 1
        self.position.batch += 1
        self.position.images += images
        self.position.loss_sum += value * images
        return value

    def _counts(self, parts: Sequence[Batch]) -> Counts | None:
        """Return what the whole batch holds; None where the one part is the whole."""
        if len(parts) == 1 and self.processes.count == 1:
            return None
        images, pixels = self.processes.total(self.objective.counts(parts)).tolist()
        return Counts(images, pixels)

    def _backward(self, parts: Sequence[Batch], counts: Counts | None) -> float:
        """Leave the gradient of the whole batch in the parameters; returns its loss."""
        value, count = 0.0, self.processes.count
        for number, part in enumerate(parts, start=1):
            with contextlib.ExitStack() as stack:
                if number < len(parts):
                    stack.enter_context(self.processes.keeping_gradients(self._learner))
                loss = self._loss(part, counts)
                value += loss.item()
                # the mean over the processes must be the sum over the parts
                self.scaler.scale(loss if count == 1 else loss * count).backward()
        if count == 1:
            return value
        self.processes.average_gradients(self._beside)
        return float(self.processes.total(torch.tensor(value, dtype=torch.float64)))

    def _join(self, part: Batch) -> None:
        """Let the gradients of the processes flow together from now on.

        One pass shows whether parameters are left without a gradient: waiting for those costs a
        look at the whole graph in each step.  It leaves nothing behind.  Network and adapter start
        with the values of the first process.
        """
        self._loss(part, None).backward()
        unused = any(p.requires_grad and p.grad is None for p in self.model.parameters())
        self.optimizer.zero_grad(set_to_none=True)
        self._statistics.take_back()
        self._learner = self.processes.joined(self._learner, self.processes.any(unused))
        self.processes.share_values(self._beside)
        self._joined = True

    def _loss(self, part: Batch, counts: Counts | None) -> Tensor:
        mask = part["mask"].to(self.device, non_blocking=True)
        reduced = torch.float16 if self.precision == "fp16" else torch.bfloat16
        mixed = self.precision != "fp32"
        naming = naming_the_compiler() if self._compiled else contextlib.nullcontext()
        with naming, torch.autocast(self.device.type, dtype=reduced, enabled=mixed):
            outputs = self._learner(*self.inputs(part))
        valid = part["valid"].to(self.device, non_blocking=True) if self.spec.binary else None
        loss = self.objective(outputs, mask, valid, counts, self.position.epoch)
        if self.distillation is None:
            return loss
        with torch.autocast(self.device.type, dtype=reduced, enabled=mixed):
            return loss + self.distillation(outputs, part, counts)

    def _clip(self) -> float:
        """Hold the gradient within its bounds; returns the norm that it had."""
        how = self.recipe.learning.learning
        bound = how.clip_norm or math.inf
        norm = nn.utils.clip_grad_norm_(self._learnt, bound)
        if how.clip_value:
            nn.utils.clip_grad_value_(self._learnt, how.clip_value)
        return float(norm.item())

    def _require_finite(self, what: str, value: float, parts: Sequence[Batch]) -> None:
        if math.isfinite(value):
            return
        self._statistics.take_back()
        lower = self.recipe.learning_rate / 3
        fp32 = "" if self.precision == "fp32" else " or --precision fp32"
        flags = [any(not part[name].isfinite().all() for part in parts) for name in parts[0]]
        found = self.processes.total(torch.tensor(flags, dtype=torch.float64)).tolist()
        broken = [name for name, flag in zip(parts[0], found, strict=True) if flag]
        advice = f"start again with --restart --lr {lower:.1e}{fp32}"
        if broken:
            advice = f"the batch holds NaN or infinite values in {', '.join(broken)}: mend the data"
        error = CheckFailedError(
            f"train: the {what} is {value} at step {self.position.step + 1} (epoch "
            f"{self.position.epoch + 1}, batch {self.position.batch + 1}); {advice}"
        )
        self.processes.refuse(error)

    @property
    def _adapter(self) -> nn.Module | None:
        return None if self.distillation is None else self.distillation.adapter

    def state(self) -> dict[str, Any]:
        """Return the whole state as tensors and plain values."""
        adapter = {} if self._adapter is None else {"adapter": self._adapter.state_dict()}
        return {
            **adapter,
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
        if self._adapter is not None:
            self._adapter.load_state_dict(state["adapter"])
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
