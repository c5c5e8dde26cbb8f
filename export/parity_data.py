"""Images to compare two forms of a model on: a folder, a data set by name, or synthetic scenes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from differseg.data.datasets.published import PublishedDataset
from differseg.data.datasets.registry import open_dataset
from differseg.data.folder import FolderDataset
from differseg.data.synthetic import SyntheticScene
from differseg.errors import InputError
from differseg.export.parity_result import Picture
from differseg.manifest import ClassSpec, InputSpec
from differseg.models.spec import BINARY_CLASSES
from differseg.runtime.preprocess import prepare_input

SYNTHETIC_SCENES = 8
"""Number of synthetic scenes."""

_FIRST_SEED = 7_000_001  # far from every seed that training takes
_TIME_S = 0.5


@dataclass(frozen=True)
class Sample:
    """One image, or one pair, with its label.

    Attributes:
        stem: Name without extension.
        images: Modality -> image as read: (H, W, 3) uint8 RGB or (H, W) of the camera's dtype.
        inputs: What ``arrays`` were prepared for.
        arrays: Input name -> array as the graph takes it.
        label: (H, W) uint8 {0, 1, 255 ignore}, with K > 2 classes 0..K-1 and 255, or None.
    """

    stem: str
    images: dict[str, npt.NDArray[Any]]
    inputs: tuple[InputSpec, ...]
    arrays: dict[str, npt.NDArray[Any]]
    label: npt.NDArray[np.uint8] | None

    def prepared_for(self, inputs: tuple[InputSpec, ...]) -> dict[str, npt.NDArray[Any]]:
        """Return the arrays for these inputs; prepared anew only where these differ.

        Two forms of a model whose manifests ask for different inputs (another thermal policy, for
        instance) get different arrays, as they would on the device.
        """
        if _asks(inputs) == _asks(self.inputs):
            return self.arrays
        return prepare(self.stem, self.images, inputs)

    @property
    def pictures(self) -> dict[str, Picture]:
        """Input name -> what the network sees: (H, W, 3) uint8, or (H, W) float32 in 0..1."""
        shown: dict[str, Picture] = {}
        for spec in self.inputs:
            array = self.arrays[spec.name][0]
            plane = array if spec.layout == "NHWC" else np.moveaxis(array, 0, -1)
            shown[spec.name] = plane[:, :, 0] if plane.shape[2] == 1 else plane
        return shown


def _asks(inputs: tuple[InputSpec, ...]) -> tuple[InputSpec, ...]:
    """Leave out what preparation does not read: the graph itself applies mean and std."""
    return tuple(
        replace(spec, mean=(0.0,) * spec.channels, std=(1.0,) * spec.channels) for spec in inputs
    )


def prepare(
    stem: str, images: Mapping[str, npt.NDArray[Any]], inputs: tuple[InputSpec, ...]
) -> dict[str, npt.NDArray[Any]]:
    """Turn images into graph inputs, with the code that runs on the device.

    Raises:
        InputError: An image that cannot be used (channels, dtype, NaN), by its stem.
    """
    try:
        return {spec.name: prepare_input(spec, images[spec.modality]) for spec in inputs}
    except InputError as error:
        raise InputError(f"parity: image '{stem}': {error}") from None


class Samples:
    """Samples read one at a time; iterating again reads them again.

    Attributes:
        description: What they are, in words.
    """

    def __init__(self, source: _Files | _Synthetic, inputs: tuple[InputSpec, ...]) -> None:
        self._source, self._inputs = source, inputs
        self.description = source.description

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that the inputs are read from, each once; none of synthetic scenes."""
        return self._source.files

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self._source)

    @property
    def stems(self) -> tuple[str, ...]:
        """Names of the samples, in order."""
        return self._source.stems

    def __iter__(self) -> Iterator[Sample]:
        """Yield the samples in the order of their names."""
        return map(self.read, range(len(self)))

    def read(self, index: int) -> Sample:
        """Return one sample by its place."""
        stem, images, label = self._source.read(index)
        arrays = prepare(stem, images, self._inputs)
        return Sample(stem, images, self._inputs, arrays, label)


Read = tuple[str, dict[str, npt.NDArray[Any]], "npt.NDArray[np.uint8] | None"]


def spread(total: int, limit: int | None) -> list[int]:
    """Return up to ``limit`` places spread evenly over ``total``, first and last included."""
    count = total if limit is None else min(limit, total)
    return [round(i * (total - 1) / max(1, count - 1)) for i in range(count)]


class Feeds:
    """What a file runs on: the inputs of some samples, read anew by every iteration.

    Args:
        samples: All samples.
        limit: How many of them at most, spread evenly.
    """

    def __init__(self, samples: Samples, limit: int) -> None:
        self._samples = samples
        self._indices = spread(len(samples), limit)

    def __len__(self) -> int:
        """Return the number of runs."""
        return len(self._indices)

    def __iter__(self) -> Iterator[dict[str, npt.NDArray[Any]]]:
        """Yield input name -> array."""
        return (self._samples.read(index).arrays for index in self._indices)


class _Synthetic:
    """Scenes by fixed seeds, day and night in turn.

    Scenes have RGB and thermal only.  For networks with depth or flow the thermal picture stands
    in: parity asks whether two forms of a network agree on a picture with structure, not whether
    the mask is right.  Labels are therefore given for RGB and thermal networks alone, and for two
    classes alone: the scenes know no others.
    """

    files: tuple[Path, ...] = ()

    def __init__(self, inputs: tuple[InputSpec, ...], count: int, binary: bool) -> None:
        self._modalities = [spec.modality for spec in inputs]
        self._binary = binary
        self._count = count
        self.stems = tuple(
            f"scene-{index + 1}{'-night' if index % 2 else '-day'}" for index in range(count)
        )
        self.description = f"{count} synthetic scenes, seeds from {_FIRST_SEED}"

    def __len__(self) -> int:
        return self._count

    def read(self, index: int) -> Read:
        scene = SyntheticScene(seed=_FIRST_SEED + index, night=index % 2 == 1)
        drawn = scene.sample(_TIME_S)
        thermal = drawn["thermal"]
        span = max(int(np.ptp(thermal)), 1)
        grey = ((thermal - thermal.min()) * (255.0 / span)).astype(np.uint8)
        available: dict[str, npt.NDArray[Any]] = {
            "rgb": drawn["rgb"],
            "thermal": thermal,
            "depth": grey,
            "flow": np.stack([grey, 255 - grey, np.roll(grey, 8, axis=1)], axis=-1),
        }
        images = {str(name): available[name] for name in self._modalities}
        judged = self._binary and set(images) <= {"rgb", "thermal"}
        label = np.asarray(drawn["mask"], dtype=np.uint8) if judged else None
        return self.stems[index], images, label


class _Files:
    """Images on disk: a folder by equal stem, or a split of a published data set."""

    def __init__(self, data: FolderDataset, limit: int | None) -> None:
        self._data = data
        total = len(data)
        # Evenly over all: the first images of a drive show the same street.
        self._indices = spread(total, limit)
        count = len(self._indices)
        self.stems = tuple(data.stems[index] for index in self._indices)
        of = f" of {total}" if count < total else ""
        labels = "no labels" if data.rule is None else f"labels by the rule {data.rule.name}"
        self.description = f"{count}{of} images {_place(data)}, {labels}"

    @property
    def files(self) -> tuple[Path, ...]:
        found = [
            self._data.files[what][stem] for what in self._data.modalities for stem in self.stems
        ]
        return tuple(dict.fromkeys(found))

    def __len__(self) -> int:
        return len(self._indices)

    def read(self, index: int) -> Read:
        item = self._data[self._indices[index]]
        stem = str(item.pop("stem"))
        label = item.pop("mask", None)
        return stem, item, label


def _place(data: FolderDataset) -> str:
    if isinstance(data, PublishedDataset):
        return f"of {data.name}, split {data.split}, in {data.root}"
    return f"in {data.root}"


def load_samples(
    inputs: tuple[InputSpec, ...],
    data: str | Path | None,
    limit: int | None,
    *,
    split: str | None = None,
    label_rule: str = "auto",
    classes: Sequence[ClassSpec] = (),
) -> Samples:
    """Return images prepared for these inputs.

    Args:
        inputs: The network's inputs.
        data: Folder with ``rgb/`` and ``thermal/``, ``depth/`` or ``flow/``, and ``labels/`` where
            there are any, by equal stem; ``NAME:DIR`` of a published data set; None takes
            synthetic scenes by fixed seeds.
        limit: Largest number of images, spread evenly over the data; None takes all.
        split: Of a data set given by name; None takes the one that figures are reported on.
        label_rule: How label values become 0 and 1, see :mod:`differseg.data.labels`; for more
            than two classes :mod:`differseg.data.class_labels`.
        classes: The network's classes; none stands for two.

    Raises:
        InputError: A limit below 1, no images, unmatched stems, an unknown data set or split;
            while iterating, an image that cannot be used.
    """
    if limit is not None and limit < 1:
        raise InputError(f"parity: limit: expected a number of at least 1, got {limit}")
    if data is None:
        if split is not None:
            raise InputError(
                f"--split {split}: names a split of a data set, and none is given; add --data "
                "NAME:DIR"
            )
        count = min(limit or SYNTHETIC_SCENES, SYNTHETIC_SCENES)
        return Samples(_Synthetic(inputs, count, binary=len(classes) <= 2), inputs)
    modalities = tuple(spec.modality for spec in inputs)
    opened = open_dataset(
        str(data), split, modalities, label_rule=label_rule, classes=classes or BINARY_CLASSES
    )
    return Samples(_Files(opened, limit), inputs)
