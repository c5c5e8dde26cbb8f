"""Losses: of the DifferSeg paper for two classes, and cross-entropy for more.

Two classes: cross-entropy plus soft IoU weighted towards edges. Every output of the network gets
``mean BCE-with-logits + weighted soft IoU``; with deep supervision the losses of the main and the
side outputs are summed without weights. The weight of a pixel is ``w = 1 + 5 * |avg31(mask) -
mask|``: 1 deep inside a region, up to 6 next to an edge.

The cross-entropy is the plain mean: the authors write it as a weighted one, but the legacy
argument in their call reduces it to a scalar first, so that the weights cancel out.

More classes: mean cross-entropy, with weights of the classes where they are given, of the main
output, plus ``AUX_WEIGHT`` times the mean of that of the side outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from differseg.data.labels import IGNORE
from differseg.errors import InputError

AUX_WEIGHT = 0.4
"""Weight of the side outputs together, with more than two classes; the common choice for one."""

WINDOW_PX = 31
"""Side of the square window whose mean of the mask says how near an edge is."""

EDGE_GAIN = 5.0
"""How strongly pixels near an edge weigh in the IoU."""


@dataclass(frozen=True)
class Counts:
    """What a whole batch holds, of which a call sees a part: the divisors of its means.

    The losses of the parts, each with the whole batch's counts, then sum to the loss of the whole
    batch, and so do their gradients.

    Attributes:
        images: Images of the whole batch.
        pixels: Pixels that are not ignored, or the sum of their class weights.
    """

    images: float
    pixels: float


def _window_mean(image: Tensor) -> Tensor:
    """Mean over a 31x31 window, zeros outside the image counted.

    Two one-dimensional passes: equal to the square window up to rounding, and 15 times cheaper.
    """
    half = WINDOW_PX // 2
    rows = F.avg_pool2d(image, (WINDOW_PX, 1), stride=1, padding=(half, 0))
    return F.avg_pool2d(rows, (1, WINDOW_PX), stride=1, padding=(0, half))


def edge_weights(mask: Tensor, valid: Tensor | None = None) -> Tensor:
    """Return ``1 + 5 * |avg31(mask) - mask|``, and 0 where a pixel is ignored.

    Ignored pixels count neither for nor against their neighbours' mean: the window's mean is
    taken over its valid part.

    Args:
        mask: (N, 1, H, W) float, label in 0..1.
        valid: (N, 1, H, W) float, 1 where the label counts and 0 where it is ignored.

    Returns:
        (N, 1, H, W) float in {0} or 1..6.

    Source: the training code of the paper's authors.
    """
    if valid is None:
        return 1 + EDGE_GAIN * (_window_mean(mask) - mask).abs()
    inside = _window_mean(torch.ones_like(valid[:1]))
    share = (_window_mean(valid) / inside).clamp_min(1e-6)
    mean = _window_mean(mask * valid) / share
    return valid * (1 + EDGE_GAIN * (mean - mask).abs())


def binary_cross_entropy(
    logits: Tensor, mask: Tensor, valid: Tensor | None = None, counts: Counts | None = None
) -> Tensor:
    """Mean binary cross-entropy over the pixels that are not ignored.

    Args:
        logits: (N, 1, H, W) float32.
        mask: (N, 1, H, W) float32, label in 0..1.
        valid: (N, 1, H, W) float32, 1 where the label counts and 0 where it is ignored.
        counts: Of the whole batch, where this is a part of one.
    """
    per_pixel = F.binary_cross_entropy_with_logits(logits, mask, reduction="none")
    if counts is not None:
        known = per_pixel if valid is None else per_pixel * valid
        return known.sum() / max(counts.pixels, 1.0)
    if valid is None:
        return per_pixel.mean()
    return (per_pixel * valid).sum() / valid.sum().clamp_min(1)


def edge_iou_loss(
    logits: Tensor, mask: Tensor, weights: Tensor, counts: Counts | None = None
) -> Tensor:
    """Mean over the images of 1 - soft IoU, with weights of the pixels.

    Args:
        logits: (N, 1, H, W) float32.
        mask: (N, 1, H, W) float32, label in 0..1.
        weights: (N, 1, H, W) float32, of :func:`edge_weights`.
        counts: Of the whole batch, where this is a part of one.
    """
    probability = torch.sigmoid(logits)
    both = (weights * probability * mask).sum(dim=(1, 2, 3))  # (N,)
    total = (weights * (probability + mask)).sum(dim=(1, 2, 3))  # (N,)
    iou_loss = 1 - (both + 1) / (total - both + 1)
    return iou_loss.mean() if counts is None else iou_loss.sum() / counts.images


def _output_loss(
    logits: Tensor,
    mask: Tensor,
    weights: Tensor,
    valid: Tensor | None,
    counts: Counts | None = None,
) -> Tensor:
    logits = logits.float()  # sums over 300,000 pixels overflow float16
    cross_entropy = binary_cross_entropy(logits, mask, valid, counts)
    return cross_entropy + edge_iou_loss(logits, mask, weights, counts)


def structure_loss(logits: Tensor, mask: Tensor, valid: Tensor | None = None) -> Tensor:
    """Mean binary cross-entropy plus edge-weighted soft IoU of one output.

    Args:
        logits: (N, 1, H, W) float of any precision; the loss is computed in float32.
        mask: (N, 1, H, W) float32, label in 0..1.
        valid: (N, 1, H, W) float32, 1 where the label counts and 0 where it is ignored.

    Returns:
        Scalar float32, >= 0.

    Raises:
        InputError: The shapes differ.

    Source: the training code of the paper's authors.
    """
    _check_shapes(logits, mask, valid)
    mask = mask.float()
    return _output_loss(logits, mask, edge_weights(mask, valid), valid)


def deep_supervision_loss(
    outputs: Mapping[str, Any],
    mask: Tensor,
    valid: Tensor | None = None,
    counts: Counts | None = None,
) -> Tensor:
    """Sum of :func:`structure_loss` over the main output and every side output.

    Args:
        outputs: What a network returns in training mode: ``logits`` (N, 1, H, W) and ``aux``, a
            list of side outputs of the same shape (absent or empty without deep supervision).
        mask: (N, 1, H, W) float32, label in 0..1.
        valid: (N, 1, H, W) float32, 1 where the label counts and 0 where it is ignored.
        counts: Of the whole batch, where this is a part of one.

    Returns:
        Scalar float32, >= 0.

    Raises:
        InputError: An output's shape differs from the mask's.
    """
    mask = mask.float()
    weights = edge_weights(mask, valid)
    terms = []
    for logits in (outputs["logits"], *outputs.get("aux", ())):
        _check_shapes(logits, mask, valid)
        terms.append(_output_loss(logits, mask, weights, valid, counts))
    return torch.stack(terms).sum()


def _check_shapes(logits: Tensor, mask: Tensor, valid: Tensor | None) -> None:
    for name, other in (("mask", mask), ("valid", valid)):
        if other is not None and other.shape != logits.shape:
            raise InputError(
                f"loss: {name} is {tuple(other.shape)} but the logits are {tuple(logits.shape)}; "
                "give both as (N, 1, H, W) at the network's size"
            )


def class_loss(
    outputs: Mapping[str, Any],
    labels: Tensor,
    class_weights: Tensor | None = None,
    counts: Counts | None = None,
) -> Tensor:
    """Cross-entropy of the main output plus ``AUX_WEIGHT`` times its mean over the side outputs.

    Args:
        outputs: What a network returns in training mode: ``logits`` (N, K, H, W) and ``aux``, a
            list of side outputs (N, K, h, w) of any size, which are resized bilinearly.
        labels: (N, 1, H, W) uint8, place of the class at every pixel, 255 ignored.
        class_weights: (K,) float32; a pixel weighs as its label's class, and the mean is taken by
            weight.  None weighs all the same.
        counts: Of the whole batch, where this is a part of one.

    Returns:
        Scalar float32, >= 0; 0 where all is ignored.

    Raises:
        InputError: The main output's size differs from the labels'.
    """
    main = outputs["logits"]
    check_labels(main, labels)
    target = labels[:, 0].long()  # (N, H, W)
    loss = class_cross_entropy(main, target, class_weights, counts)
    sides = outputs.get("aux", ())
    for side in sides:
        term = class_cross_entropy(grown(side, main), target, class_weights, counts)
        loss = loss + AUX_WEIGHT / len(sides) * term
    return loss


def check_labels(main: Tensor, labels: Tensor) -> None:
    """Check that labels (N, 1, H, W) lie on the pixels of logits (N, K, H, W).

    Raises:
        InputError: They do not.
    """
    if main.shape[2:] != labels.shape[2:] or labels.shape[1] != 1:
        raise InputError(
            f"loss: labels are {tuple(labels.shape)} but the logits are {tuple(main.shape)}; give "
            "labels as (N, 1, H, W) at the network's size"
        )


def grown(side: Tensor, main: Tensor) -> Tensor:
    """Return a side output (N, K, h, w) at the size of the main one, resized bilinearly."""
    if side.shape[2:] == main.shape[2:]:
        return side
    return F.interpolate(side.float(), size=main.shape[2:], mode="bilinear", align_corners=False)


def class_cross_entropy(
    logits: Tensor,
    target: Tensor,
    class_weights: Tensor | None = None,
    counts: Counts | None = None,
) -> Tensor:
    """Mean over the pixels that are not ignored, by weight; 0, not NaN, where there are none.

    Args:
        logits: (N, K, H, W) float of any precision.
        target: (N, H, W) int64, 255 ignored.
        class_weights: (K,) float32.
        counts: Of the whole batch, where this is a part of one.
    """
    logits = logits.float()  # sums over 300,000 pixels overflow float16
    total = F.cross_entropy(
        logits, target, weight=class_weights, ignore_index=IGNORE, reduction="sum"
    )
    if counts is not None:
        return total / max(counts.pixels, 1.0 if class_weights is None else 1e-6)
    known = target != IGNORE
    if class_weights is None:
        return total / known.sum().clamp_min(1)
    return total / pixel_weights(target, class_weights).sum().clamp_min(1e-6)


def pixel_weights(target: Tensor, class_weights: Tensor) -> Tensor:
    """Return the weight (N, H, W) float32 of every pixel's class, 0 where it is ignored."""
    known = target != IGNORE
    return class_weights[target.where(known, torch.zeros_like(target))] * known
