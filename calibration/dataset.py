"""Calibration sets: what the network is fed while its ranges are measured.

The feeds are byte for byte what the device feeds: images of a folder or a published data set as
``run_images`` prepares them, frames of a recorded session as ``run_camera`` does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy.typing as npt

from differseg.calibration.session import RecordedSession, is_session
from differseg.data.datasets.definition import TRAIN
from differseg.data.datasets.registry import parse_data
from differseg.data.datasets.training import check_learnt
from differseg.data.folder import LABELS, FolderDataset
from differseg.errors import InputError
from differseg.export.parity_data import Sample, Samples, load_samples, spread
from differseg.file_hash import sha256_of
from differseg.manifest import ClassSpec, InputSpec

Feed = dict[str, npt.NDArray[Any]]
"""Input name -> array as the manifest's InputSpec describes it."""


class CalibrationSet:
    """Images to measure ranges on; iterating again reads them again, in the same order.

    Attributes:
        inputs: What the feeds are prepared for.
        description: Where they come from, in words.

    Example:
        >>> images = CalibrationSet.from_folder("data", manifest.inputs, 100)  # doctest: +SKIP
        >>> for feed in images:  # doctest: +SKIP
        ...     session.run(None, feed)
    """

    def __init__(self, source: _Source, inputs: tuple[InputSpec, ...]) -> None:
        self._source = source
        self._fingerprint: str | None = None
        self.inputs = inputs
        self.description = source.description

    @classmethod
    def open(
        cls,
        root: str | Path,
        inputs: tuple[InputSpec, ...],
        limit: int | None = None,
        *,
        split: str | None = None,
        label_rule: str = "auto",
        classes: Sequence[ClassSpec] = (),
    ) -> CalibrationSet:
        """Take data for what they are: a session where a folder holds ``registration.json``.

        Arguments and errors are those of :meth:`from_folder` and :meth:`from_session`; a session
        has no splits.
        """
        if split is None and is_session(root):
            session = RecordedSession.in_folder(root)
            return cls.from_session(session, inputs, limit, label_rule=label_rule, classes=classes)
        return cls.from_folder(
            root, inputs, limit, split=split, label_rule=label_rule, classes=classes
        )

    @classmethod
    def from_folder(
        cls,
        root: str | Path,
        inputs: tuple[InputSpec, ...],
        limit: int | None = None,
        *,
        split: str | None = None,
        label_rule: str = "auto",
        classes: Sequence[ClassSpec] = (),
    ) -> CalibrationSet:
        """Take the images of a folder or a published data set, each as a single image.

        Args:
            root: Folder with ``rgb/`` and ``thermal/``, ``depth/`` or ``flow/``, and ``labels/``
                where there are any, by equal stem; or ``NAME:DIR`` of a published data set.
            inputs: The network's inputs, from its manifest.
            limit: Largest number of images, spread evenly over the data; None takes all.
            split: Of a data set given by name; None takes ``train``.
            label_rule: See :mod:`differseg.data.labels`.
            classes: The network's classes; none stands for two.

        Raises:
            InputError: No such folder or data set, no images, unmatched stems, a data set to judge
                on alone without its split said, or a limit below 1.
        """
        samples = load_samples(
            inputs, root, limit,
            split=calibration_split(str(root), split), label_rule=label_rule, classes=classes,
        )  # fmt: skip
        return cls(_FolderSource(samples), inputs)

    @classmethod
    def from_session(
        cls,
        session: RecordedSession,
        inputs: tuple[InputSpec, ...],
        limit: int | None = None,
        *,
        label_rule: str = "auto",
        classes: Sequence[ClassSpec] = (),
    ) -> CalibrationSet:
        """Take the frames of a recorded session; all of it is read once to count them.

        Labels are read where the RGB frames are a folder with ``labels/`` beside it.

        Args:
            session: The recordings.
            inputs: The network's inputs, from its manifest.
            limit: Largest number of frames, spread evenly over the session; None takes all.
            label_rule: See :mod:`differseg.data.labels`.
            classes: The network's classes; none stands for two.

        Raises:
            InputError, SourceError: A recording or a label folder that cannot be used, a session
                without pairs, or a limit below 1.
        """
        labels = _session_labels(session, label_rule, classes)
        return cls(_SessionSource(session, inputs, limit, labels), inputs)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._source.names)

    def __iter__(self) -> Iterator[Feed]:
        """Yield the feeds."""
        for sample in self._source.samples():
            yield sample.arrays

    def samples(self) -> Iterator[Sample]:
        """Yield the feeds with their images as read, names and labels."""
        return self._source.samples()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the images, in order."""
        return self._source.names

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the data, for records: the same for the same images wherever they lie.

        Over the sorted SHA-256 of the files taken, as hexadecimal lines; of a session these are
        all of its files and the names of the frames taken from it.
        """
        if self._fingerprint is None:
            lines = sorted(sha256_of(path) for path in self._source.files())
            text = "\n".join([*lines, *self._source.taken])
            self._fingerprint = hashlib.sha256(text.encode()).hexdigest()
        return self._fingerprint


def calibration_split(data: str, split: str | None) -> str | None:
    """Return the split to measure ranges on: ``train``, so that no figure is made on its images.

    Args:
        data: What ``--data`` says.
        split: The split asked for; None where none is.

    Returns:
        A split of a data set given by name; of a plain folder what was asked for.

    Raises:
        InputError: An unknown data set, or one that has nothing to learn from.
    """
    info, _ = parse_data(data)
    if info is None or split is not None:
        return split
    check_learnt(info, f"; or give --split {info.judged}")
    return TRAIN


class _Source(Protocol):
    """Where samples come from."""

    description: str
    names: tuple[str, ...]
    taken: tuple[str, ...]

    def files(self) -> list[Path]:
        """Return the files whose bytes are fed."""

    def samples(self) -> Iterator[Sample]:
        """Yield the samples."""


class _FolderSource:
    taken: tuple[str, ...] = ()

    def __init__(self, samples: Samples) -> None:
        self._samples = samples
        self.description = samples.description
        self.names = samples.stems

    def files(self) -> list[Path]:
        return list(self._samples.files)

    def samples(self) -> Iterator[Sample]:
        return iter(self._samples)


class _SessionSource:
    def __init__(
        self,
        session: RecordedSession,
        inputs: tuple[InputSpec, ...],
        limit: int | None,
        labels: FolderDataset | None,
    ) -> None:
        if limit is not None and limit < 1:
            raise InputError(f"session: limit: expected a number of at least 1, got {limit}")
        self._session, self._inputs, self._labels = session, inputs, labels
        names = session.names()
        total = len(names)
        self._indices = spread(total, limit)
        count = len(self._indices)
        self.names = tuple(names[index] for index in self._indices)
        self.taken = self.names if count < total else ()
        of = f" of {total}" if count < total else ""
        self.description = f"{count}{of} frames of {session.description}"

    def files(self) -> list[Path]:
        return self._session.files()

    def samples(self) -> Iterator[Sample]:
        places = {} if self._labels is None else {n: k for k, n in enumerate(self._labels.stems)}
        for frame in self._session.frames(self._inputs, frozenset(self._indices)):
            label = None
            if self._labels is not None and frame.name in places:
                label = self._labels.mask(places[frame.name])
            yield Sample(frame.name, frame.images, self._inputs, frame.arrays, label)


def _session_labels(
    session: RecordedSession, label_rule: str, classes: Sequence[ClassSpec]
) -> FolderDataset | None:
    folder = Path(session.rgb)
    if folder.name != "rgb" or not (folder.parent / LABELS).is_dir():
        return None
    return FolderDataset(folder.parent, ("rgb",), label_rule=label_rule, classes=classes)
