"""Figures and pictures of the held-out samples, with the averaged weights, in float32.

A network that learns to do without a camera is judged without it as well: ranked by clean samples
alone, the best epoch would be one that has not learnt it yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from differseg.data.labels import IGNORE
from differseg.data.modality_dropout import without_camera
from differseg.errors import InputError
from differseg.models.deployment import probability_of
from differseg.pictures import Picture
from differseg.scoring import Row, open_scorer
from differseg.training.interruption import StopRequest
from differseg.training.loop import Trainer

PICTURES = 4
"""Held-out samples that every epoch's picture grid shows, spread over the set."""


@dataclass(frozen=True)
class Judged:
    """What a validation found.

    Attributes:
        figures: Of all held-out samples, as JSON values.  Where cameras may be lost, ``lost`` has
            the figures without each of them.
        headline: The figure that ranks epochs: IoU, or mean IoU of more than two classes; where
            cameras may be lost its mean, weighted by how often training loses each, which stands
            in the figures as ``ranked_by``.
        picture: Grid of a few samples.
    """

    figures: dict[str, Any]
    headline: float
    picture: Picture


def validate(
    trainer: Trainer,
    batches: Iterable[dict[str, Tensor]],
    stems: list[str],
    stop: StopRequest,
    lost_cameras: Mapping[str, float] | None = None,
) -> Judged | None:
    """Score the averaged weights at the network's size.

    Args:
        trainer: Whose averaged weights are judged; its own come back afterwards.
        batches: Held-out samples in fixed order, as :meth:`Trainer.step` takes them.
        stems: Name of every held-out sample, in the same order.
        stop: Read between batches.
        lost_cameras: Cameras that training samples may lack, with their probabilities.

    Returns:
        Figures and pictures; None where a stop was asked for.

    Raises:
        InputError: All pixels of all labels are ignored, so that no figure says anything.
    """
    scorer = open_scorer(trainer.spec.classes, trainer.spec.threshold)
    without = {
        camera: open_scorer(trainer.spec.classes, trainer.spec.threshold)
        for camera in lost_cameras or {}
    }
    shown = {round(i * (len(stems) - 1) / max(1, PICTURES - 1)) for i in range(PICTURES)}
    rows: list[Row] = []
    index, known = 0, False
    with trainer.average.applied_to(trainer.model), torch.inference_mode():
        trainer.model.eval()  # a step sets the mode that it needs
        for batch in batches:
            if stop.requested:
                return None
            for camera, other in without.items():
                maps = _probabilities(trainer, without_camera(batch, camera))
                for n, probability in enumerate(maps):
                    other.score(probability, _label(batch, n))
            for n, probability in enumerate(_probabilities(trainer, batch)):
                label = _label(batch, n)
                known = known or bool((label != IGNORE).any())
                scored = scorer.score(probability, label)
                if index in shown:
                    rows.append(scorer.row(scored, stems[index], _pictures(trainer, batch, n)))
                index += 1
    if not known:
        raise InputError(
            f"--data: all label pixels of the {len(stems)} held-out samples ({stems[0]} to "
            f"{stems[-1]}) are ignored, so nothing can be judged; give them labels that name "
            "classes, or another --label-rule or --holdout"
        )
    figures = scorer.compute()
    headline = figures[scorer.headline]
    if lost_cameras:
        figures["lost"] = {camera: other.compute() for camera, other in without.items()}
        headline *= 1 - sum(lost_cameras.values())
        for camera, share in lost_cameras.items():
            headline += share * figures["lost"][camera][scorer.headline]
        figures["ranked_by"] = headline
    return Judged(figures, headline, scorer.grid(rows))


def _probabilities(trainer: Trainer, batch: dict[str, Tensor]) -> Iterable[npt.NDArray[np.float32]]:
    """Yield (H, W) of two classes, else (K, H, W), of each sample."""
    logits = trainer.network(*trainer.inputs(batch))["logits"]
    maps = probability_of(trainer.spec, logits.float()).cpu().numpy()  # (N, 1 or K, H, W)
    return maps[:, 0] if trainer.spec.binary else maps


def _label(batch: dict[str, Tensor], n: int) -> npt.NDArray[np.uint8]:
    """Return (H, W) uint8: places of classes (0 and 1 of two), 255 ignored."""
    if batch["mask"].dtype == torch.uint8:
        return np.asarray(batch["mask"][n, 0].numpy())
    label = (batch["mask"][n, 0] > 0.5).to(torch.uint8)
    label = torch.where(batch["valid"][n, 0] > 0, label, IGNORE)
    return np.asarray(label.numpy(), dtype=np.uint8)


def _pictures(
    trainer: Trainer, batch: dict[str, Tensor], n: int
) -> dict[str, npt.NDArray[np.generic]]:
    return {name: _image(batch[name][n]) for name in trainer.normalize.names}


def _image(plane: Tensor) -> npt.NDArray[np.generic]:
    """Return (H, W, 3) uint8 of a colour tensor (3, H, W) in 0..1, or (H, W) of one plane."""
    if plane.shape[0] == 1:
        return np.asarray(plane[0].numpy())
    return np.asarray((plane.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy())
