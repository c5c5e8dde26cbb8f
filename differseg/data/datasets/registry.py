"""From a name to a published data set: ``mfnet:DIR`` on the command line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path

from differseg.data.datasets import (
    ade20k,
    camouflaged,
    cityscapes,
    dis5k,
    fmb,
    mfnet,
    polyps,
    pst900,
    rgbd_salient,
    rgbt_salient,
    video_salient,
)
from differseg.data.datasets.definition import DatasetInfo
from differseg.data.datasets.published import PublishedDataset
from differseg.data.folder import FolderDataset
from differseg.errors import InputError
from differseg.manifest import ClassSpec

DATASETS: dict[str, DatasetInfo] = {
    info.name: info
    for family in (
        mfnet, pst900, fmb, rgbt_salient, rgbd_salient, dis5k, camouflaged, polyps, video_salient,
        cityscapes, ade20k,
    )
    for info in family.DATASETS
}  # fmt: skip
"""Data sets by name."""


def list_datasets() -> tuple[DatasetInfo, ...]:
    """Return every data set whose layout is known."""
    return tuple(DATASETS.values())


def find_dataset(name: str) -> DatasetInfo:
    """Return a data set by name; upper and lower case play no part.

    Raises:
        InputError: There is none of that name; names the nearest.
    """
    info = DATASETS.get(name.lower())
    if info is None:
        near = difflib.get_close_matches(name.lower(), DATASETS, n=1)
        hint = f"did you mean '{near[0]}'? " if near else ""
        raise InputError(f"there is no data set '{name}'; {hint}'differseg datasets' lists them")
    return info


def parse_data(data: str | Path) -> tuple[DatasetInfo | None, Path]:
    """Read what ``--data`` says: ``mfnet:DIR`` is a data set by name, ``DIR`` a plain folder.

    Raises:
        InputError: A name that is not known, or none of a folder behind it.
    """
    text = str(data)
    name, colon, folder = text.partition(":")
    # A drive letter is no name, and a folder may have a colon in its own.
    if not colon or not re.fullmatch(r"[\w.-]{2,}", name) or Path(text).exists():
        return None, Path(text)
    try:
        info = find_dataset(name)
    except InputError as error:
        raise InputError(f"--data {text}: {error}; a plain folder is given as DIR") from None
    if not folder:
        raise InputError(f"--data {text}: name the folder of the data set: {info.name}:DIR")
    return info, Path(folder).expanduser()


def resolved_data(text: str) -> str:
    """Return what ``--data`` says with the whole path of the folder, for records.

    Raises:
        InputError: A name that is not known, or none of a folder behind it.
    """
    info, root = parse_data(text)
    path = str(root.resolve())
    return path if info is None else f"{info.name}:{path}"


def open_dataset(
    data: str,
    split: str | None = None,
    modalities: Sequence[str] = (),
    *,
    label_rule: str = "auto",
    classes: Sequence[ClassSpec] = (),
) -> FolderDataset:
    """Open what ``--data`` says, to judge, calibrate or look at.

    Args:
        data: ``NAME:DIR``, or a plain folder as :class:`FolderDataset` reads it.
        split: Which split of a data set; None takes the one that is judged by default.  A plain
            folder has none.
        modalities: What to read; none takes the data set's usual ones (``rgb``, ``thermal`` of a
            plain folder).
        label_rule: See :mod:`differseg.data.labels`; ``auto`` takes the data set's own.
        classes: The network's classes; none takes the data set's own.

    Raises:
        InputError: An unknown name or split, or a folder that does not hold the data set.
    """
    info, root = parse_data(data)
    if info is None:
        if split is not None:
            raise InputError(
                f"--split {split}: {root} is a plain folder, which has no splits; leave it away, "
                f"or name the data set: --data NAME:{root}"
            )
        usual = tuple(modalities) or ("rgb", "thermal")
        return FolderDataset(root, usual, label_rule=label_rule, classes=classes)
    if split is None and info.judged is None:
        raise InputError(
            f"--data {data}: {info.name} is to learn from and has only {', '.join(info.splits)}; "
            f"judge on {', '.join(info.tests)}, or give --split"
        )
    return PublishedDataset(
        info,
        root,
        split or str(info.judged),
        modalities,
        label_rule=label_rule,
        classes=classes,
    )
