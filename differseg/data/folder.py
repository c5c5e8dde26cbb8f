"""A labelled folder: ``rgb/``, ``thermal/`` (``depth/``, ``flow/``), ``labels/``, by equal stem."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from differseg.data.class_labels import (
    ClassRule,
    choose_class_rule,
    names_classes,
    parse_class_rule,
)
from differseg.data.labels import (
    IGNORE,
    NO_LABELS,
    LabelRule,
    choose_label_rule,
    parse_label_rule,
)
from differseg.errors import InputError
from differseg.manifest import ClassSpec
from differseg.runtime.image_files import list_images, read_image

if TYPE_CHECKING:
    from typing_extensions import Self

LABELS = "labels"
"""Name of the folder of label images."""

Planes = dict[str, npt.NDArray[Any]]
Decoder = Callable[[Path, Sequence[str]], Planes]
"""From a file and what is asked of it (modalities, ``labels``) to arrays.

``rgb`` and ``flow`` (H, W, 3) uint8 RGB; ``thermal`` and ``depth`` (H, W) in the bit depth of the
file; ``labels`` (H, W) uint8 or uint16.
"""

_PROBED_LABELS = 48
_SHOWN = 3


def decode_camera(path: Path, wanted: Sequence[str]) -> Planes:
    """Read a file as a camera of its modality gives it, see ``read_image``.

    Raises:
        InputError: It cannot be read, or has other channels; names the file.
    """
    planes: Planes = {}
    for name in wanted:
        image = read_image(path, "label" if name == LABELS else name)
        planes[name] = np.ascontiguousarray(image[:, :, ::-1]) if image.ndim == 3 else image
    return planes


class FolderDataset:
    """Samples of a folder, read when asked for.

    A sample is a dict of arrays: ``rgb`` (H, W, 3) uint8 RGB; ``thermal`` or ``depth`` (H, W) in
    the bit depth of the file; ``flow`` (H, W, 3) uint8; ``mask`` (H, W) uint8 with 0, 1 (the
    places 0..K-1 of K > 2 classes) and 255 = ignore (absent without ``labels/``); and ``stem``.

    Attributes:
        root: The folder.
        modalities: Names of the image folders, in the order given.
        stems: Names of the samples, sorted.
        rule: How labels become masks; None without labels.
    """

    def __init__(
        self,
        root: str | Path,
        modalities: Sequence[str] = ("rgb", "thermal"),
        *,
        label_rule: str = "auto",
        stems: Sequence[str] | None = None,
        classes: Sequence[ClassSpec] = (),
    ) -> None:
        """Index the folder; images themselves are read later.

        Args:
            root: Folder that holds one folder for each modality.
            modalities: Which of rgb, thermal, depth and flow to read.
            label_rule: See :mod:`differseg.data.labels`, for more than two classes
                :mod:`differseg.data.class_labels`; ``none`` leaves ``labels/`` unread.
            stems: Take only these samples, in this order.
            classes: The network's classes; with up to two of them masks are binary, and the rules
                of both modules serve.

        Raises:
            InputError: A folder is missing or empty, stems do not match, an unknown label rule.
        """
        self.root = Path(root)
        self.modalities = tuple(modalities)
        self._labelled = label_rule != NO_LABELS
        self._decode: Decoder = decode_camera
        self._files = self._index()
        self.stems = sorted(self._files[self.modalities[0]])
        if stems is not None:
            missing = [stem for stem in stems if stem not in self._files[self.modalities[0]]]
            if missing:
                raise InputError(
                    f"data {self.root}: no sample '{missing[0]}' ({len(missing)} of {len(stems)} "
                    "asked for are missing); names are file names without their ending"
                )
            self.stems = list(stems)
        self._classes = tuple(classes) if len(classes) > 2 else ()
        self.rule: LabelRule | ClassRule | None = None
        by_class = self._classes or (classes and names_classes(label_rule))
        if not self._labelled:
            pass
        elif label_rule != "auto" and by_class:
            self.rule = parse_class_rule(label_rule, classes)
        elif label_rule != "auto":
            self.rule = parse_label_rule(label_rule)
        elif self.has_labels:
            self.rule = self._guess_rule()
        if not self.has_labels:
            self.rule = None

    @property
    def has_labels(self) -> bool:
        """Whether samples have a mask."""
        return LABELS in self._files

    @property
    def files(self) -> Mapping[str, Mapping[str, Path]]:
        """Modality, or ``labels``, to the file of each sample; one file may hold several."""
        return self._files

    def __len__(self) -> int:
        return len(self.stems)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Read one sample, each of its files once.

        Raises:
            InputError: An image cannot be read, has the wrong channels, or another size than its
                partner; names the file.
        """
        stem = self.stems[index]
        wanted = [*self.modalities, *([LABELS] if self.rule is not None else [])]
        planes = self.decode(stem, wanted)
        sample: dict[str, Any] = {"stem": stem} | {name: planes[name] for name in self.modalities}
        if self.rule is not None:
            sample["mask"] = self.rule.apply(planes[LABELS], str(self._files[LABELS][stem]))
        self._check_sizes(sample)
        return sample

    def decode(self, stem: str, wanted: Sequence[str]) -> Planes:
        """Read some of a sample's images, each file once; ``labels`` are as they stand there.

        Args:
            stem: Name of the sample.
            wanted: Modalities of this data set, and ``labels`` where it has some.

        Raises:
            InputError: A file cannot be read, or has the wrong channels; names it.
        """
        by_file: dict[Path, list[str]] = {}
        for what in wanted:
            by_file.setdefault(self._files[what][stem], []).append(what)
        planes: Planes = {}
        for path, held in by_file.items():
            planes |= self._decode(path, held)
        return planes

    def mask(self, index: int) -> npt.NDArray[np.uint8]:
        """Read the label of one sample alone; the data set is read with labels.

        Raises:
            InputError: It cannot be read, or holds a value outside the rule; names the file.
        """
        assert self.rule is not None
        stem = self.stems[index]
        labels = self.decode(stem, (LABELS,))[LABELS]
        return self.rule.apply(labels, str(self._files[LABELS][stem]))

    def require_known_pixels(self) -> None:
        """Refuse labels that hold nothing to learn from or judge by; reads up to the first pixel.

        Raises:
            InputError: There are no samples, or every pixel of every label is ignored.
        """
        if any((self.mask(index) != IGNORE).any() for index in range(len(self))):
            return
        assert self.rule is not None
        raise InputError(
            f"data {self.root}: all label pixels of {len(self)} samples are ignored by rule "
            f"'{self.rule.name}'{f' (first: {self.stems[0]})' if self.stems else ''}; give labels "
            "that name classes, or another --label-rule or --holdout"
        )

    def select(self, stems: Sequence[str]) -> Self:
        """Return the same data set with only these samples, in this order, by the same rule."""
        part = copy.copy(self)
        part.stems = list(stems)
        return part

    def _index(self) -> dict[str, dict[str, Path]]:
        expected = [*self.modalities, *([LABELS] if self._labelled else [])]
        if not self.root.is_dir():
            raise InputError(
                f"data {self.root}: there is no such folder; "
                f"it should hold {', '.join(f'{name}/' for name in expected)}"
            )
        missing = [name for name in self.modalities if not (self.root / name).is_dir()]
        if missing:
            raise InputError(
                f"data {self.root}: folder {missing[0]}/ is missing; it should hold "
                f"{', '.join(f'{name}/' for name in expected)} with equal file names"
            )
        names = [name for name in expected if (self.root / name).is_dir()]
        files = {name: list_images(self.root / name) for name in names}
        self._check_stems(files)
        return files

    def _check_stems(self, files: dict[str, dict[str, Path]]) -> None:
        common = set.intersection(*(set(found) for found in files.values()))
        if all(len(found) == len(common) for found in files.values()):
            return
        counts = ", ".join(f"{name}/ {len(found)}" for name, found in files.items())
        parts = []
        for name, found in files.items():
            alone = sorted(set(found) - common)
            if alone:
                more = f" and {len(alone) - _SHOWN} more" if len(alone) > _SHOWN else ""
                parts.append(f"{name}/ {', '.join(alone[:_SHOWN])}{more}")
        raise InputError(
            f"data {self.root}: stems do not match ({counts}; {len(common)} complete); without a "
            f"partner: {'; '.join(parts)}; rename, add or move away these files"
        )

    def _check_sizes(self, sample: dict[str, Any]) -> None:
        names = [*self.modalities, *(["mask"] if "mask" in sample else [])]
        sizes = {name: sample[name].shape[:2] for name in names}
        if len(set(sizes.values())) > 1:
            listed = ", ".join(f"{name} {w}x{h}" for name, (h, w) in sizes.items())
            raise InputError(
                f"data {self.root}: sample '{sample['stem']}' has images of different size "
                f"({listed}); register or resize them to one size"
            )

    def _guess_rule(self) -> LabelRule | ClassRule:
        # of the whole folder, so that every part of it has the same rule
        stems = sorted(self._files[LABELS])
        count = min(len(stems), _PROBED_LABELS)
        spread = np.linspace(0, len(stems) - 1, count).round().astype(int)
        values: set[int] = set()
        for index in spread:
            label = self.decode(stems[int(index)], (LABELS,))[LABELS]
            values.update(int(value) for value in np.unique(label))
        where = f"data {self.root / LABELS}, {count} files read"
        if self._classes:
            return choose_class_rule(values, self._classes, where)
        return choose_label_rule(values, where)
