"""Terms of the loss of several classes that recipes add to cross-entropy.

Each looks at a batch as a whole: cut into pieces or shared by processes, a batch gives other values
than in one piece.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from differseg.data.labels import IGNORE

_HARD = 0.7
_LEAST_HARD = 100_000


def dice_loss(logits: Tensor, target: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Mean over the classes of 1 - soft Dice over the whole batch, times the class's weight.

    With weights of more than 1 a class's term may exceed 1, as in the code it is taken from.

    Args:
        logits: (N, K, H, W) float32.
        target: (N, H, W) int64, 255 ignored.
        class_weights: (K,) float32.

    Source: the training code of RGB-thermal fusion.
    """
    probability, truth = _pairs(logits, target)
    both = (probability * truth).sum(dim=(0, 2, 3))  # (K,)
    dice = (2 * both + 1) / (probability.sum(dim=(0, 2, 3)) + truth.sum(dim=(0, 2, 3)) + 1)
    loss = 1 - dice
    return (loss if class_weights is None else loss * class_weights).mean()


def sorted_errors_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Errors of each class in falling order, each weighing by the share of the class still to come.

    The errors ``|truth - probability|`` are dotted with ``1 - cumsum(truth) / sum(truth)`` and
    divided by the pixels of one image; the mean is over the classes that the labels show.  The
    authors call it Lovász loss, whose extension of IoU it is not.

    Args:
        logits: (N, K, H, W) float32.
        target: (N, H, W) int64, 255 ignored.

    Source: the training code of RGB-thermal fusion.
    """
    probability, truth = _pairs(logits, target)
    pixels = target.shape[1] * target.shape[2]
    flat = truth.transpose(0, 1).flatten(1)  # (K, N * H * W)
    errors = (flat - probability.transpose(0, 1).flatten(1)).abs()
    ordered, places = errors.sort(dim=1, descending=True)
    sums = flat.sum(dim=1)
    weights = 1 - flat.gather(1, places).cumsum(dim=1) / sums.clamp_min(1)[:, None]
    present = (sums > 0).float()
    each = (ordered * weights).sum(dim=1) / pixels
    return (each * present).sum() / present.sum().clamp_min(1)


def hardest_pixels_loss(
    logits: Tensor, target: Tensor, class_weights: Tensor | None = None
) -> Tensor:
    """Mean cross-entropy of the pixels that the network is least sure of.

    Those whose greatest probability is below 0.7 count, and at least 100,000 (all, where there are
    fewer).  Online hard example mining: Shrivastava et al., arXiv 1604.03540.

    Args:
        logits: (N, K, H, W) float32.
        target: (N, H, W) int64, 255 ignored.
        class_weights: (K,) float32.
    """
    known = target != IGNORE
    with torch.no_grad():
        sure = logits.softmax(dim=1).amax(dim=1)[known]  # (M,)
        if sure.numel() == 0:
            return logits.sum() * 0
        count = min(sure.numel(), max(_LEAST_HARD, int((sure < _HARD).sum())))
        chosen = sure.topk(count, largest=False).indices
    per_pixel = F.cross_entropy(
        logits, target, weight=class_weights, ignore_index=IGNORE, reduction="none"
    )
    return per_pixel[known][chosen].mean()


def _pairs(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return probabilities and labels (N, K, H, W), both 0 where the label is ignored."""
    known = target != IGNORE
    places = target.where(known, torch.zeros_like(target))
    truth = F.one_hot(places, logits.shape[1]).permute(0, 3, 1, 2).float()
    inside = known[:, None].float()
    return logits.softmax(dim=1) * inside, truth * inside
