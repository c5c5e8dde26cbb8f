"""What a checkpoint says of the data it learnt from, and whether judged samples are among them.

A record travels with the weights: whoever trains on from a checkpoint writes its data behind the
own, so the last file of a chain names everything that its weights have seen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from differseg.data.sequences import split_by_sequence
from differseg.errors import InputError

_NAMES_KEPT = 16


@dataclass(frozen=True)
class LearntData:
    """One data set that weights learnt from.

    ``name`` is the folder's own name, or ``seed 0`` of synthetic scenes.  ``holdout`` is the share
    held out by sequence and ``names_sha256`` the fingerprint of both sides
    (:func:`names_fingerprint`); ``some_names`` are a few of the samples learnt from, spread over
    all of them.
    """

    kind: Literal["folder", "synthetic"]
    name: str
    samples: int
    names_sha256: str
    some_names: tuple[str, ...] = ()
    holdout: float | None = None


@dataclass(frozen=True)
class TrainingRecord:
    """How weights were trained.

    ``size_hw`` is the size of the last training; ``data`` names what was learnt from, newest
    first; ``complete`` is False where the weights that a training started from did not say what
    they had seen.
    """

    size_hw: tuple[int, int]
    data: tuple[LearntData, ...]
    complete: bool = True


def names_fingerprint(train: Sequence[str], held_out: Sequence[str]) -> str:
    """Return 16 hex digits that stand for the names on both sides of a split, in their order."""
    text = "\n".join([*train, "", *held_out])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def spread_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return up to 16 names, spread evenly over all of them."""
    count = min(len(names), _NAMES_KEPT)
    return tuple(names[i * len(names) // count] for i in range(count))


def seen_in_training(
    record: TrainingRecord, folder: str, stems: Sequence[str], judged: Sequence[str]
) -> str | None:
    """Say in one line that judged samples were, or may have been, trained on.

    Args:
        record: What the weights learnt from.
        folder: The folder's own name.
        stems: Names of all its samples.
        judged: Names of those that are judged.

    Returns:
        The line; None where there is no sign of it.
    """
    for data in record.data:
        if data.kind != "folder" or data.holdout is None:
            continue
        train = _same_split(data, data.holdout, stems)
        if train is not None:
            seen = len(train.intersection(judged))
            if seen:
                return (
                    f"{seen} of the {len(judged)} samples were trained on; judge the others alone "
                    f"with --holdout {data.holdout:g}"
                )
            continue
        found = len(set(data.some_names).intersection(judged))
        if found and (data.name == folder or 2 * found >= len(data.some_names)):
            return (
                f"some of the {len(judged)} samples may have been trained on: {data.samples} "
                f"samples of folder '{data.name}' were, and names such as "
                f"'{next(name for name in data.some_names if name in set(judged))}' are among them"
            )
    return None


def other_size(record: TrainingRecord | None, size_hw: tuple[int, int]) -> str | None:
    """Say in one line that weights are judged at another size than they were trained at.

    Args:
        record: What the weights learnt from; None where that is not known.
        size_hw: Height and width that they are judged at.
    """
    if record is None or record.size_hw == size_hw:
        return None
    (height, width), (at_height, at_width) = size_hw, record.size_hw
    return (
        f"judged at {height}x{width}, but trained at {at_height}x{at_width}; --size "
        f"{at_height}x{at_width} judges as it was trained"
    )


def _same_split(data: LearntData, holdout: float, stems: Sequence[str]) -> set[str] | None:
    """Return the names learnt from where the folder is the very one; None where it is not."""
    try:
        parts = split_by_sequence(stems, holdout)
    except InputError:  # too few samples: it was not split this way
        return None
    same = names_fingerprint(parts.train, parts.held_out) == data.names_sha256
    return set(parts.train) if same else None
