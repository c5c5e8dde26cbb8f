"""Learning from a teacher: its answers, softened, and one of its maps.

The student's logits follow the teacher's at a temperature (Hinton et al., arXiv 1503.02531): by
Kullback-Leibler divergence of several classes, of two by binary cross-entropy less the teacher's
own entropy, so that both are 0 where student and teacher agree.  A map inside the student may
follow one inside the teacher through a 1x1 convolution that learns with it (Romero et al., FitNets,
arXiv 1412.6550).  The teacher is frozen, in eval mode.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from differseg.checkpoints import load_checkpoint
from differseg.errors import InputError
from differseg.losses import Counts
from differseg.models import create_model
from differseg.models.base import SegmentationModel
from differseg.models.deployment import Normalize
from differseg.models.spec import ModelSpec

_SHOWN = 8


@dataclass(frozen=True)
class DistillationSettings:
    """How much of the teacher counts.

    Attributes:
        weight: Of the term on the logits.
        temperature: Divisor of both logits; the term is multiplied by its square.
        features: Paths of a module in the student and of one in the teacher; None without.
        feature_weight: Of the term on their maps.
    """

    weight: float = 1.0
    temperature: float = 2.0
    features: tuple[str, str] | None = None
    feature_weight: float = 1.0


def load_teacher(path: Path, name: str | None, student: ModelSpec) -> SegmentationModel:
    """Read a teacher for a student, frozen and in eval mode.

    Args:
        path: Its checkpoint.
        name: Its configuration, where the checkpoint does not say it.
        student: Whose inputs and classes it must share.

    Raises:
        InputError: It sees what the student does not, or other classes.
        CheckpointError: The file cannot be read, or is of another network.
    """
    if name is None:
        teacher = load_checkpoint(path)
    else:
        teacher = create_model(name)
        load_checkpoint(path, teacher)
    spec = teacher.spec
    own = {part.name for part in student.modalities}
    lacking = [part.name for part in spec.modalities if part.name not in own]
    if lacking:
        raise InputError(
            f"--teacher {path}: {spec.name} sees {', '.join(lacking)}, which {student.name} does "
            "not; take a teacher of the same inputs, or fewer"
        )
    theirs, ours = ([c.name for c in s.classes] for s in (spec, student))
    if len(theirs) != len(ours) or (len(ours) > 2 and theirs != ours):
        raise InputError(
            f"--teacher {path}: {spec.name} knows {len(theirs)} classes, and {student.name} "
            f"{len(ours)}, or of other names; both must know the same"
        )
    return teacher.eval().requires_grad_(False)


class Distillation:
    """The teacher's part of the loss.

    Args:
        student: The network that learns.
        teacher: Of :func:`load_teacher`.
        settings: How much of it counts.
        size_hw: Height and width of the batches.
        device: Where both compute.

    Attributes:
        spec: The teacher's.
        adapter: What leads from the student's map to the teacher's; None without features.

    Raises:
        InputError: The teacher does not take this size, or there is no such module.
    """

    def __init__(
        self,
        student: SegmentationModel,
        teacher: SegmentationModel,
        settings: DistillationSettings,
        size_hw: tuple[int, int],
        device: torch.device,
    ) -> None:
        self.spec = spec = teacher.spec
        if any(side % spec.multiple for side in size_hw):
            raise InputError(
                f"--size {size_hw[0]}x{size_hw[1]}: the teacher {spec.name} needs multiples of "
                f"{spec.multiple}"
            )
        self._settings, self._binary = settings, spec.binary
        # kept from the student's parts: it must neither learn nor be saved
        self._teacher = teacher.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._normalize = Normalize(spec).to(device)
        self._maps: dict[str, Tensor] = {}
        self.adapter: nn.Conv2d | None = None
        if settings.features is not None:
            self.adapter = self._adapter(student.to(device), settings.features, size_hw, device)

    def _adapter(
        self,
        student: SegmentationModel,
        paths: tuple[str, str],
        size_hw: tuple[int, int],
        device: torch.device,
    ) -> nn.Conv2d:
        for who, network, path in zip(
            ("student", "teacher"), (student, self._teacher), paths, strict=True
        ):
            parts = dict(network.named_modules())
            if not path or path not in parts:
                near = [name for name in parts if name.count(".") <= 1 and name]
                raise InputError(
                    f"--teacher-features: the {who} {network.spec.name} has no part '{path}'; "
                    f"some are {', '.join(near[:_SHOWN])}"
                )
            parts[path].register_forward_hook(self._keeper(who))
        was_training = student.training
        shapes = []
        with torch.no_grad():
            for who, network in (("student", student), ("teacher", self._teacher)):
                inputs = [
                    torch.zeros(1, part.channels, *size_hw, device=device)
                    for part in network.spec.modalities
                ]
                network.eval()(*inputs)
                found = self._maps.get(who)
                if found is None:
                    raise InputError(
                        f"--teacher-features: the {who}'s part gives no map (N, C, H, W); take "
                        "another one"
                    )
                shapes.append(found.shape)
        student.train(was_training)
        self._maps.clear()
        (ours, channels, *_), (theirs, wanted, *_) = shapes
        if ours != theirs:  # such as one part that sees both cameras in turn
            raise InputError(
                f"--teacher-features {'='.join(paths)}: of one image the student's part gives "
                f"{ours} maps and the teacher's {theirs}; take parts that give as many"
            )
        return nn.Conv2d(channels, wanted, 1).to(device)

    def _keeper(self, who: str) -> Any:
        def keep(_part: nn.Module, _inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.ndim == 4:
                self._maps[who] = output

        return keep

    def __call__(
        self, outputs: dict[str, Any], batch: dict[str, Tensor], counts: Counts | None
    ) -> Tensor:
        """Return the teacher's part of the loss, a scalar float32.

        Args:
            outputs: What the student returned for the batch.
            batch: Inputs in 0..1 as the trainer takes them, on any device.
            counts: Of the whole batch, where this is a part of one.
        """
        how, ours = self._settings, outputs["logits"].float()
        with torch.no_grad():
            moved = {
                name: batch[name].to(ours.device, memory_format=torch.channels_last)
                for name in self._normalize.names
            }
            theirs = self._teacher(*self._normalize(moved).values())["logits"].float()
            if theirs.shape[2:] != ours.shape[2:]:
                theirs = F.interpolate(
                    theirs, size=ours.shape[2:], mode="bilinear", align_corners=False
                )
        share = 1.0 if counts is None else len(ours) / counts.images
        loss = how.weight * softened_loss(ours, theirs, how.temperature, self._binary)
        if self.adapter is not None:
            mine, goal = self._maps["student"].float(), self._maps["teacher"].float()
            loss = loss + how.feature_weight * feature_loss(self.adapter(mine), goal)
        self._maps.clear()
        return share * loss


def softened_loss(ours: Tensor, theirs: Tensor, temperature: float, binary: bool) -> Tensor:
    """Mean over the pixels of the divergence of softened answers, times the temperature squared.

    Args:
        ours: Student's logits (N, K, H, W) float32, K = 1 of two classes.
        theirs: Teacher's logits of the same shape.
        temperature: Divisor of both.
        binary: Whether the logits are of two classes.
    """
    ours, theirs = ours / temperature, theirs / temperature
    if binary:
        goal = torch.sigmoid(theirs)
        cross = F.binary_cross_entropy_with_logits(ours, goal)
        loss = cross - F.binary_cross_entropy_with_logits(theirs, goal)
    else:
        each = F.kl_div(
            ours.log_softmax(dim=1), theirs.log_softmax(dim=1), reduction="none", log_target=True
        )
        loss = each.sum(dim=1).mean()
    return loss * temperature**2


def feature_loss(adapted: Tensor, goal: Tensor) -> Tensor:
    """Squared error of a map relative to the teacher's own square, mean over the images.

    Args:
        adapted: Student's map behind the adapter, (N, C, h, w) float32 of any size; it is resized
            bilinearly.
        goal: Teacher's map (N, C, H, W) float32.
    """
    if adapted.shape[2:] != goal.shape[2:]:
        adapted = F.interpolate(adapted, size=goal.shape[2:], mode="bilinear", align_corners=False)
    error = (adapted - goal).square().mean(dim=(1, 2, 3))  # (N,)
    return (error / goal.square().mean(dim=(1, 2, 3)).clamp_min(1e-6)).mean()
