"""Weights of the classes in the cross-entropy of more than two classes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from differseg.data.folder import FolderDataset
from differseg.data.labels import IGNORE
from differseg.errors import InputError
from differseg.manifest import ClassSpec, Decision
from differseg.training.samples import Samples

FROM_LABELS = "labels"
"""The word that stands for weights from the labels' frequencies."""

_OFFSET = 1.02  # bounds the weights to 1.4 .. 50.5
_LARGEST = 1e6


def choose_class_weights(
    asked: str | None, classes: Sequence[ClassSpec], train: Samples
) -> tuple[Decision, tuple[float, ...] | None]:
    """Return the weights of the classes with their reason; None where all weigh the same.

    Args:
        asked: None; ``labels`` for ``1 / ln(1.02 + share of the class's pixels)`` over the samples
            to learn from (Paszke et al., "ENet", arXiv 1606.02147); or one number for each class.
        classes: The network's classes, in its order.
        train: Samples to learn from.

    Raises:
        InputError: Weights for two classes, no such weights, or labels that are all ignored.
    """
    if asked is None:
        return Decision("class weights", "none", "every pixel weighs the same"), None
    if len(classes) == 2:
        raise InputError(
            f"--class-weights {asked}: the loss of two classes balances them itself; leave it away"
        )
    if asked == FROM_LABELS:
        weights, reason = _from_labels(classes, train)
    else:
        weights, reason = _numbers(asked, classes), "asked for"
    return Decision("class weights", ",".join(f"{w:g}" for w in weights), reason), weights


def _from_labels(classes: Sequence[ClassSpec], train: Samples) -> tuple[tuple[float, ...], str]:
    """Return the weights, and their reason with the classes that no label shows."""
    assert isinstance(train, FolderDataset)  # scenes are for two classes
    train.require_known_pixels()
    pixels = np.zeros(IGNORE + 1, np.int64)
    for index in range(len(train)):
        pixels += np.bincount(train.mask(index).ravel(), minlength=IGNORE + 1)
    shares = pixels[: len(classes)] / pixels[:IGNORE].sum()
    reason = "1 / ln(1.02 + share of the labels)"
    absent = [spec.name for spec, share in zip(classes, shares, strict=True) if share == 0]
    if absent:
        reason += f"; in no label to learn from: {', '.join(absent)}"
    return tuple(round(1 / math.log(_OFFSET + share), 4) for share in shares), reason


def _numbers(asked: str, classes: Sequence[ClassSpec]) -> tuple[float, ...]:
    try:
        weights = tuple(float(part) for part in asked.split(","))
    except ValueError:
        weights = ()
    if len(weights) != len(classes) or not all(0 <= w <= _LARGEST for w in weights):
        names = ", ".join(spec.name for spec in classes[:4])
        raise InputError(
            f"--class-weights {asked}: expected 'labels', or {len(classes)} numbers from 0 to "
            f"{_LARGEST:g} with commas, for {names}{' ...' if len(classes) > 4 else ''}"
        )
    if not any(weights):
        raise InputError(f"--class-weights {asked}: at least one class must weigh more than 0")
    return weights
