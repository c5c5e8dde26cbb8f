"""What may be learnt from a published data set: its train split, judged by what is held out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from differseg.data.datasets.definition import TRAIN, VAL, DatasetInfo
from differseg.data.datasets.layout import SPLIT, read_names
from differseg.data.datasets.published import PublishedDataset
from differseg.data.datasets.registry import find_dataset, list_datasets
from differseg.data.sequences import split_by_sequence
from differseg.errors import InputError
from differseg.models.spec import ModelSpec


class TrainingParts(NamedTuple):
    """Samples to learn from, others to judge epochs by, and one line that says how they came."""

    train: PublishedDataset
    held_out: PublishedDataset
    description: str


def open_training(
    spec: ModelSpec,
    name: str,
    root: str | Path,
    *,
    label_rule: str = "auto",
    holdout: float = 0.15,
) -> TrainingParts:
    """Open the parts of a data set that a network may learn from, which no test split is.

    Held out is the published ``val``; where there is none, a share of ``train``: whole sequences of
    videos, whole runs of frame numbers of drives, and else images, each by a hash of its name.

    Args:
        spec: The network's name, inputs and classes.
        name: Of the data set.
        root: Its folder.
        label_rule: ``auto`` takes the data set's own.
        holdout: Share of ``train`` held out where no ``val`` is published.

    Raises:
        InputError: No training split, a folder that does not hold the data set, classes that do
            not fit, labels that are ignored everywhere, or too few samples.
    """
    info, root = find_dataset(name), Path(root)
    check_learnt(info)
    modalities = [modality.name for modality in spec.modalities]
    train = PublishedDataset(
        info, root, TRAIN, modalities, label_rule=label_rule, classes=spec.classes
    )
    _refuse_overlap(info, root, train)
    if train.rule is None:
        raise InputError(f"--label-rule {label_rule}: {info.name}: training needs labels")
    words = train.in_words()
    if VAL in info.splits:
        held_out = PublishedDataset(
            info, root, VAL, modalities, label_rule=label_rule, classes=spec.classes
        )
        reason = f"held out: {held_out.in_words()}"
    else:
        learnt, kept, reason = hold_out(info, train.stems, holdout)
        train, held_out = train.select(learnt), train.select(kept)
    for part in (train, held_out):
        part.require_known_pixels()
    assert train.rule is not None
    return TrainingParts(train, held_out, f"{words}; labels by rule '{train.rule.name}'; {reason}")


def check_learnt(info: DatasetInfo, advice: str = "") -> None:
    """Refuse a data set that has nothing to learn from, be it weights or ranges.

    Args:
        info: The data set.
        advice: What else to do.

    Raises:
        InputError: It has splits to judge on alone; names the data sets to learn from.
    """
    if TRAIN not in info.splits:
        raise InputError(
            f"{info.name}: has only {', '.join(info.splits)}, which is to judge on and not to "
            f"learn from{_instead(info)}{advice}"
        )


def _instead(info: DatasetInfo) -> str:
    others = [other.name for other in list_datasets() if info.name in other.tests]
    return f"; {' or '.join(others)} is to learn from" if others else ""


def _refuse_overlap(info: DatasetInfo, root: Path, train: PublishedDataset) -> None:
    """Refuse lists that name a sample of ``train`` in another split as well.

    Raises:
        InputError: They do.
    """
    learnt = set(train.stems)
    for layout in info.layouts:
        for split, folders in layout.splits.items():
            if layout.names is None or split == TRAIN:
                continue
            for folder in folders:
                listed = read_names(root, layout.names.replace(SPLIT, folder)) or []
                both = [stem for stem in listed if stem in learnt]
                if both:
                    raise InputError(
                        f"data {root}: {info.name}: {len(both)} samples of split train are in "
                        f"split {split} too (first: {both[0]}); mend the lists, since what is "
                        "judged must not be learnt from"
                    )


def hold_out(
    info: DatasetInfo, stems: Sequence[str], share: float
) -> tuple[Sequence[str], Sequence[str], str]:
    """Split the samples of ``train`` where no ``val`` is published.

    Args:
        info: The data set, whose unit says what stays together.
        stems: Names of the samples.
        share: Part to hold out, above 0 and below 1.

    Returns:
        Names to learn from, names held out (both sorted), and how they were chosen.

    Raises:
        InputError: A share that is none, or too few samples.
    """
    none = f"{info.name} publishes no {VAL}"
    in_folders = info.unit == "folders" and all("/" in stem for stem in stems)
    if info.unit != "images" and not in_folders:
        parts = split_by_sequence(stems, share)
        return parts.train, parts.held_out, f"{none}: {parts.reason}"
    if not 0 < share < 1:
        raise InputError(f"holdout share: expected more than 0 and less than 1, got {share}")
    groups: dict[str, list[str]] = {}
    for stem in stems:
        groups.setdefault(stem.rpartition("/")[0] if in_folders else stem, []).append(stem)
    if len(groups) < 2:
        raise InputError(
            f"{info.name}: {len(stems)} samples of {len(groups)} image or sequence cannot be "
            "split; give more of the data set"
        )
    kept: list[str] = []
    ordered = sorted(groups, key=lambda group: hashlib.sha256(group.encode()).digest())
    taken = 0
    while taken < len(ordered) - 1 and (not kept or len(kept) < share * len(stems)):
        kept += groups[ordered[taken]]
        taken += 1
    learnt = sorted(set(stems).difference(kept))
    what = f"{taken} of {len(groups)} whole sequences" if in_folders else "image"
    reason = f"{none}: {len(kept)} of {len(stems)} held out by {what}, by a hash of the name"
    return learnt, sorted(kept), reason
