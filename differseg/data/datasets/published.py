"""A split of a published data set, read as :class:`~differseg.data.folder.FolderDataset` reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from differseg.data.datasets.definition import DatasetInfo
from differseg.data.datasets.indexing import index_split
from differseg.data.folder import LABELS, FolderDataset
from differseg.manifest import ClassSpec


class PublishedDataset(FolderDataset):
    """Samples of a split of a published data set, in its own layout and label coding.

    Samples, attributes and checks are those of a folder; what differs is where the files lie and
    how one is decoded.  The names of samples in folders of their own begin with the folder.

    Attributes:
        info: The data set.
        split: The split.
        left_out: Samples that lack a file, in a layout that allows it (the last frame of a video
            has no optical flow).
    """

    def __init__(
        self,
        info: DatasetInfo,
        root: str | Path,
        split: str,
        modalities: Sequence[str] = (),
        *,
        label_rule: str = "auto",
        stems: Sequence[str] | None = None,
        classes: Sequence[ClassSpec] = (),
    ) -> None:
        """Index the split; images themselves are read later.

        Args:
            info: The data set.
            root: Its folder.
            split: One of ``info.splits``.
            modalities: What to read; none takes ``info.modalities``.
            label_rule: ``auto`` takes the data set's own rule for the classes.
            stems: Take only these samples, in this order.
            classes: The network's classes; none takes the data set's own.

        Raises:
            InputError: A split or a modality that the data set has not, another layout, missing
                files, or classes that its labels have no evident meaning for.
        """
        info.check_split(split)
        info.check_modalities(modalities)
        classes = tuple(classes) or info.classes
        if label_rule == "auto":
            label_rule = info.label_rule(classes)
        self.info, self.split, self.left_out = info, split, 0
        super().__init__(
            root,
            tuple(modalities) or info.modalities,
            label_rule=label_rule,
            stems=stems,
            classes=classes,
        )

    @property
    def name(self) -> str:
        """Name of the data set, whatever its folder is called."""
        return self.info.name

    def in_words(self) -> str:
        """Say how many samples there are, and how many were published."""
        published = self.info.counts.get(self.split)
        count = len(self._files[self.modalities[0]])
        text = f"{count} samples of {self.info.name}, split {self.split}"
        if published is not None:
            text += " (as published)" if published == count else f" ({published} were published)"
        if self.left_out:
            text += f", {self.left_out} without a file of each modality left out"
        return text

    def _index(self) -> dict[str, dict[str, Path]]:
        wanted = [*self.modalities, *([LABELS] if self._labelled else [])]
        index = index_split(self.info, self.root, self.split, wanted)
        self._decode, self.left_out = index.layout.decode, index.left_out
        return index.files
