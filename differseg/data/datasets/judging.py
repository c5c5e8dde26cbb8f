"""What a network is judged on: a split of a published data set, a folder, or its held-out share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from differseg.data.datasets.definition import TRAIN
from differseg.data.datasets.published import PublishedDataset
from differseg.data.datasets.registry import open_dataset
from differseg.data.datasets.training import hold_out
from differseg.data.folder import FolderDataset
from differseg.data.labels import NO_LABELS
from differseg.data.sequences import split_by_sequence
from differseg.errors import InputError
from differseg.manifest import ClassSpec


class JudgedParts(NamedTuple):
    """All samples of a split or folder, those that are judged, and what the data are called."""

    everything: FolderDataset
    judged: FolderDataset
    name: str


def open_judged(
    data: str,
    split: str | None,
    modalities: Sequence[str],
    *,
    label_rule: str = "auto",
    holdout: float = 0.0,
    classes: Sequence[ClassSpec] = (),
) -> JudgedParts:
    """Open labelled samples to judge a network on.

    Args:
        data: ``NAME:DIR``, or a plain folder.
        split: Of a data set by name; None takes the one that is judged by default.
        modalities: The network's inputs.
        label_rule: ``auto`` takes the data set's own.
        holdout: Judge only the share that training leaves out, as ``open_training`` and a folder
            choose it; 0 judges all.
        classes: The network's classes.

    Raises:
        InputError: The data cannot be used, have no labels or ignored ones alone, or have no
            held-out share.
    """
    everything = open_dataset(data, split, modalities, label_rule=label_rule, classes=classes)
    if everything.rule is None:
        left = label_rule == NO_LABELS
        missing = "--label-rule none leaves labels out" if left else "there is no labels/ folder"
        raise InputError(f"--data {data}: {missing}, so there is nothing to judge against")
    judged, name = everything, everything.root.resolve().name
    if isinstance(everything, PublishedDataset):
        name = everything.name
        if holdout:
            judged = everything.select(_held_out(everything, holdout))
    elif holdout:
        judged = everything.select(split_by_sequence(everything.stems, holdout).held_out)
    judged.require_known_pixels()
    return JudgedParts(everything, judged, name)


def _held_out(data: PublishedDataset, share: float) -> Sequence[str]:
    """Return the part of ``train`` that a run does not learn from.

    Raises:
        InputError: Another split, of which no run learns anything.
    """
    if data.split != TRAIN:
        raise InputError(
            f"--holdout {share:g}: is a share of split {TRAIN}, and {data.name} is judged on "
            f"{data.split}; leave --holdout away, or give --split {TRAIN}"
        )
    return hold_out(data.info, data.stems, share)[1]
