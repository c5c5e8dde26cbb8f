"""Figures and pictures of the held-out samples, with the averaged weights, in float32."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from differseg.data.labels import IGNORE
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
        figures: Of all held-out samples, as JSON values.
        headline: The figure that ranks epochs: IoU, or mean IoU of more than two classes.
        picture: Grid of a few samples.
    """

    figures: dict[str, Any]
    headline: float
    picture: Picture


def validate(
    trainer: Trainer, batches: Iterable[dict[str, Tensor]], stems: list[str], stop: StopRequest
) -> Judged | None:
    """Score the averaged weights at the network's size.

    Args:
        trainer: Whose averaged weights are judged; its own come back afterwards.
        batches: Held-out samples in fixed order, as :meth:`Trainer.step` takes them.
        stems: Name of every held-out sample, in the same order.
        stop: Read between batches.

    Returns:
        Figures and pictures; None where a stop was asked for.

    Raises:
        InputError: All pixels of all labels are ignored, so that no figure says anything.
    """
    scorer = open_scorer(trainer.spec.classes, trainer.spec.threshold)
    shown = {round(i * (len(stems) - 1) / max(1, PICTURES - 1)) for i in range(PICTURES)}
    rows: list[Row] = []
    index, known = 0, False
    with trainer.average.applied_to(trainer.model), torch.inference_mode():
        trainer.model.eval()  # a step sets the mode that it needs
        for batch in batches:
            if stop.requested:
                return None
            logits = trainer.network(*trainer.inputs(batch))["logits"]
            maps = probability_of(trainer.spec, logits.float()).cpu().numpy()  # (N, 1 or K, H, W)
            for n, probability in enumerate(maps[:, 0] if trainer.spec.binary else maps):
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
    return Judged(figures, figures[scorer.headline], scorer.grid(rows))


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
