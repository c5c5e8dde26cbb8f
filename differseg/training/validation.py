"""Figures and pictures of the held-out samples, with the averaged weights, in float32."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from differseg.metrics import IGNORE, SegmentationMetrics
from differseg.pictures import Comparison
from differseg.training.interruption import StopRequest
from differseg.training.loop import Trainer

PICTURES = 4
"""Held-out samples that every epoch's picture grid shows, spread over the set."""


def validate(
    trainer: Trainer, batches: Iterable[dict[str, Tensor]], stems: list[str], stop: StopRequest
) -> tuple[dict[str, float], list[Comparison]] | None:
    """Score the averaged weights at the network's size.

    Args:
        trainer: Whose averaged weights are judged; its own come back afterwards.
        batches: Held-out samples in fixed order, as :meth:`Trainer.step` takes them.
        stems: Name of every held-out sample, in the same order.
        stop: Read between batches.

    Returns:
        Figures of :class:`SegmentationMetrics` and rows for the picture grid; None where a stop
        was asked for.
    """
    metrics = SegmentationMetrics(trainer.spec.threshold)
    shown = {round(i * (len(stems) - 1) / max(1, PICTURES - 1)) for i in range(PICTURES)}
    rows: list[Comparison] = []
    index = 0
    with trainer.average.applied_to(trainer.model), torch.inference_mode():
        trainer.model.eval()  # a step sets the mode that it needs
        for batch in batches:
            if stop.requested:
                return None
            logits = trainer.model(*trainer.inputs(batch))["logits"]
            probabilities = torch.sigmoid(logits.float()).cpu().numpy()  # (N, 1, H, W)
            for n, probability in enumerate(probabilities[:, 0]):
                label = _label(batch, n)
                scores = metrics.update(probability, label)
                if index in shown:
                    caption = f"{stems[index]}   iou {scores.iou:.3f}"
                    rows.append(
                        Comparison(caption, _pictures(trainer, batch, n), probability, label)
                    )
                index += 1
    return metrics.compute(), rows


def _label(batch: dict[str, Tensor], n: int) -> npt.NDArray[np.uint8]:
    """Return (H, W) uint8: 0, 1, 255 ignored."""
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
