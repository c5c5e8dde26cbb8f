"""What is stated of a published data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from differseg.data.datasets.layout import Layout
from differseg.errors import InputError
from differseg.manifest import ClassSpec

TRAIN, VAL, TEST = "train", "val", "test"


@dataclass(frozen=True)
class DatasetInfo:
    """A data set as it was published.

    Attributes:
        name: What it is called on the command line.
        title: What it holds.
        modalities: Read where nothing else is asked for.
        classes: Its classes, with its colours where it has some.
        label_rules: Number of a network's classes to the rule of its labels, see
            :mod:`differseg.data.labels` and :mod:`differseg.data.class_labels`.
        layouts: How it may lie on disk, the published layout first.
        citation: Whom to cite.
        licence: Its terms as far as they are stated.
        facts: Where the layout was read from.
        more_modalities: Further ones that some copies hold.
        counts: Split to its published number of samples.
        judged: Split that is judged by default; None of a set to learn from alone.
        tests: Data sets that this one's networks are judged on, where ``judged`` is None.
        unit: What is held out of ``train`` together where no ``val`` is published: unrelated
            images, runs of frame numbers, or the folders of sequences.
        notes: What a user should know.
    """

    name: str
    title: str
    modalities: tuple[str, ...]
    classes: tuple[ClassSpec, ...]
    label_rules: Mapping[int, str]
    layouts: tuple[Layout, ...]
    citation: str
    licence: str
    facts: str
    more_modalities: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    judged: str | None = TEST
    tests: tuple[str, ...] = ()
    unit: Literal["images", "runs", "folders"] = "images"
    notes: str = ""

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits that one of the layouts has."""
        return tuple(dict.fromkeys(split for layout in self.layouts for split in layout.splits))

    def check_split(self, split: str) -> None:
        """Refuse a split that is not published.

        Raises:
            InputError: Names those that are.
        """
        if split not in self.splits:
            raise InputError(
                f"{self.name}: there is no split '{split}'; it has {', '.join(self.splits)}"
            )

    def check_modalities(self, modalities: Sequence[str]) -> None:
        """Refuse what the data set does not hold.

        Raises:
            InputError: Names what it holds.
        """
        held = (*self.modalities, *self.more_modalities)
        lacking = [name for name in modalities if name not in held]
        if lacking:
            raise InputError(
                f"{self.name}: holds {', '.join(held)}, but {', '.join(lacking)} is asked for; "
                "'differseg datasets' lists the data sets with what they hold"
            )

    def label_rule(self, classes: Sequence[ClassSpec]) -> str:
        """Return the rule that turns this set's labels into a network's classes.

        Raises:
            InputError: There is no evident one.
        """
        count = len(classes)
        rule = self.label_rules.get(count)
        if rule is None:
            fitting = " or ".join(map(str, sorted(self.label_rules)))
            raise InputError(
                f"{self.name}: its labels have an evident meaning for networks with {fitting} "
                f"classes, not {count}; take such a network, or say what the values mean with "
                f"--label-rule ('differseg datasets {self.name}' lists them)"
            )
        own = self.classes[-count:]  # without the background where the network has none
        for mine, theirs in zip(own, classes, strict=True):
            if count > 2 and _plain(mine.name) != _plain(theirs.name):
                raise InputError(
                    f"{self.name}: class {theirs.id} of the network is '{theirs.name}', of the "
                    f"labels '{mine.name}'; where both are the same, state --label-rule {rule}"
                )
        return rule


def _plain(name: str) -> str:
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split())
