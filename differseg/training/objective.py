"""What a step makes smaller: the losses of :mod:`differseg.losses`, or those of a recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from differseg.data.labels import IGNORE
from differseg.errors import InputError
from differseg.losses import (
    Counts,
    binary_cross_entropy,
    check_labels,
    class_cross_entropy,
    class_loss,
    deep_supervision_loss,
    edge_iou_loss,
    edge_weights,
    grown,
    pixel_weights,
)
from differseg.training.learning import LossSettings, Terms
from differseg.training.loss_terms import dice_loss, hardest_pixels_loss, sorted_errors_loss

Batch = dict[str, Tensor]

_OF_TWO = ("cross_entropy", "edge_iou")
_OF_MORE = ("cross_entropy", "dice", "sorted_errors", "hardest")
_WHOLE = ("dice", "sorted_errors", "hardest")


class Objective:
    """The loss of a network's outputs.

    Args:
        binary: Whether there are two classes.
        class_weights: Of more than two, (K,) float32 on the device; None for all the same.
        settings: Of a recipe; None for the losses of :mod:`differseg.losses`.

    Attributes:
        splits: Whether the losses of the parts of a batch sum to that of the whole.

    Raises:
        InputError: A term that such classes do not have.
    """

    def __init__(
        self, binary: bool, class_weights: Tensor | None, settings: LossSettings | None = None
    ) -> None:
        self._binary, self._class_weights, self._settings = binary, class_weights, settings
        self.splits = True
        for terms in (settings.terms, settings.side_terms) if settings else ():
            self._check(terms)

    def _check(self, terms: Terms | None) -> None:
        known = _OF_TWO if self._binary else _OF_MORE
        used = [name for name, weight in vars(terms).items() if weight] if terms else []
        wrong = [name for name in used if name not in known]
        if wrong:
            classes = "two classes" if self._binary else "more than two classes"
            raise InputError(
                f"recipe: loss term '{wrong[0]}' is not for {classes}; these have: "
                f"{', '.join(known)}"
            )
        self.splits = self.splits and not set(used) & set(_WHOLE)

    def counts(self, parts: Sequence[Batch]) -> Tensor:
        """Return images and known pixels (or their weights) of a step's parts, (2,) float64."""
        images = sum(len(part["mask"]) for part in parts)
        pixels = 0.0
        for part in parts:
            if self._binary:
                known = part["valid"]
            elif self._class_weights is None:
                known = part["mask"] != IGNORE
            else:
                known = pixel_weights(part["mask"].long(), self._class_weights.cpu())
            pixels += known.sum(dtype=torch.float64).item()
        return torch.tensor([images, pixels], dtype=torch.float64)

    def __call__(
        self,
        outputs: Mapping[str, Any],
        mask: Tensor,
        valid: Tensor | None,
        counts: Counts | None = None,
        epoch: int = 0,
    ) -> Tensor:
        """Return the loss, a scalar float32.

        Args:
            outputs: What the network returns in training mode.
            mask: Labels as :meth:`differseg.training.loop.Trainer.step` takes them.
            valid: Of two classes, 0 where the label is ignored.
            counts: Of the whole batch, where this is a part of one.
            epoch: Epochs that are finished.
        """
        if self._settings is None and self._binary:
            return deep_supervision_loss(outputs, mask, valid, counts)
        if self._settings is None:
            return class_loss(outputs, mask, self._class_weights, counts)
        how = self._settings
        main, sides = outputs["logits"], outputs.get("aux", ())
        if len(sides) > len(how.sides):
            raise InputError(
                f"recipe: loss.sides has {len(how.sides)} weights, but the network returns "
                f"{len(sides)} side outputs in training"
            )
        truth = self._truth(main, mask, valid)
        loss = how.main * self._output(main, truth, how.terms, counts)
        fall = min(1.0, epoch / how.sides_epochs) if how.sides_epochs else 0.0
        factor = 1 + (how.sides_end - 1) * fall
        for side, weight in zip(sides, how.sides, strict=False):
            term = self._output(grown(side, main), truth, how.side_terms or how.terms, counts)
            loss = loss + factor * weight * term
        return loss

    def _truth(self, main: Tensor, mask: Tensor, valid: Tensor | None) -> tuple[Tensor, ...]:
        check_labels(main, mask)
        if not self._binary:
            return (mask[:, 0].long(),)
        mask = mask.float()
        known = torch.ones_like(mask) if valid is None else valid
        return mask, known, edge_weights(mask, known)

    def _output(
        self, logits: Tensor, truth: tuple[Tensor, ...], terms: Terms, counts: Counts | None
    ) -> Tensor:
        logits = logits.float()
        if self._binary:
            return _loss_of_two(logits, truth, terms, counts)
        return _loss_of_more(logits, truth[0], terms, self._class_weights, counts)


def _loss_of_two(
    logits: Tensor, truth: tuple[Tensor, ...], terms: Terms, counts: Counts | None
) -> Tensor:
    mask, valid, weights = truth
    loss = logits.new_zeros(())
    if terms.cross_entropy:
        loss = loss + terms.cross_entropy * binary_cross_entropy(logits, mask, valid, counts)
    if terms.edge_iou:
        loss = loss + terms.edge_iou * edge_iou_loss(logits, mask, weights, counts)
    return loss


def _loss_of_more(
    logits: Tensor,
    target: Tensor,
    terms: Terms,
    weights: Tensor | None,
    counts: Counts | None,
) -> Tensor:
    share = 1.0 if counts is None else len(target) / counts.images
    loss = logits.new_zeros(())
    if terms.cross_entropy:
        term = class_cross_entropy(logits, target, weights, counts)
        loss = loss + terms.cross_entropy * term
    if terms.dice:
        loss = loss + share * terms.dice * dice_loss(logits, target, weights)
    if terms.sorted_errors:
        loss = loss + share * terms.sorted_errors * sorted_errors_loss(logits, target)
    if terms.hardest:
        loss = loss + share * terms.hardest * hardest_pixels_loss(logits, target, weights)
    return loss
