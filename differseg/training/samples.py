"""What a run learns from and what it is judged by: batches of a folder or of synthetic scenes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from torch import Tensor

from differseg.data.datasets.training import open_training
from differseg.data.folder import FolderDataset
from differseg.data.loader import EpochOrder, Share, make_loader
from differseg.data.modality_dropout import ModalityDropout
from differseg.data.sequences import split_by_sequence
from differseg.data.synthetic_dataset import SyntheticDataset
from differseg.data.transforms import Augmentation
from differseg.errors import InputError
from differseg.manifest import ClassSpec, Decision, ThermalPolicy
from differseg.models.spec import ModelSpec
from differseg.provenance import LearntData, names_fingerprint, spread_names
from differseg.training.drawing import draw_scenes
from differseg.training.interruption import StopRequest
from differseg.training.start import StartWeights, trained_notes

SYNTHETIC = "synthetic"
"""The word that stands for synthetic scenes where a folder may be given."""

HELD_OUT_SEED = 1_000_000
"""Seed of the held-out synthetic scenes: the same for every run, so that runs compare."""

JUDGED_SEED = 2_000_000
"""Seed of the scenes that ``differseg evaluate`` judges by: neither learnt from nor held out."""

_HELD_OUT_SHARE = 0.1
_HELD_OUT_LEAST = 8
_SMALLEST_SCENE_PX = 64

Samples = FolderDataset | SyntheticDataset


@dataclass(frozen=True)
class Loading:
    """How samples become batches.

    ``workers`` processes prepare them; ``drawing_workers`` draw scenes before that.
    """

    size_hw: tuple[int, int]
    batch: int
    seed: int
    workers: int
    drawing_workers: int
    policy: ThermalPolicy
    augmentation: Augmentation
    dropout: ModalityDropout | None = None
    share: Share | None = None


class TrainingData:
    """Samples to learn from and held-out samples, as batches.

    Attributes:
        train: Samples to learn from.
        held_out: Samples to judge by.
        description: Counts and a fingerprint of the names, as plain JSON values.
        checkpoint_notes: What a checkpoint records of its training data.
        policy: What maps thermal images.
        label_rule: How label files become masks, and why so; None for synthetic scenes.
    """

    def __init__(
        self,
        train: Samples,
        held_out: Samples,
        spec: ModelSpec,
        loading: Loading,
        notes: dict[str, str],
        cache: Path | None = None,
        label_rule: Decision | None = None,
    ) -> None:
        self.train, self.held_out, self.checkpoint_notes = train, held_out, notes
        self.policy, self.label_rule = loading.policy, label_rule
        self._spec, self._loading, self._cache = spec, loading, cache
        share = loading.share or Share()
        whole = loading.batch * share.pieces * share.processes
        if whole > loading.batch and len(train) < whole:
            raise InputError(
                f"--batch {loading.batch} --accumulate {share.pieces}: with {share.processes} "
                f"process(es) a step takes {whole} images, and there are {len(train)} to learn "
                "from; give smaller numbers"
            )
        self.batches_per_epoch = EpochOrder(len(train), whole, loading.seed, 0, True).batches
        self.description = {
            "train": len(train),
            "held_out": len(held_out),
            "names_sha256": names_fingerprint(train.stems, held_out.stems),
        }

    @property
    def lost_cameras(self) -> dict[str, float]:
        """Cameras that training samples may lack, with their probabilities."""
        dropout = self._loading.dropout
        if dropout is None:
            return {}
        return dropout.lost(modality.name for modality in self._spec.modalities)

    @property
    def held_out_stems(self) -> list[str]:
        """Names of the held-out samples, in the order of their batches."""
        return self.held_out.stems

    def training_batches(self, epoch: int, start_batch: int) -> Iterator[dict[str, Tensor]]:
        """Yield the batches of an epoch from ``start_batch`` on, shuffled and augmented.

        Where batches are accumulated or shared by processes, these are this process's pieces.
        """
        yield from self._batches(self.train, epoch, start_batch, train=True)

    def held_out_batches(self) -> Iterator[dict[str, Tensor]]:
        """Yield the held-out samples in order, stretched as the runtime does."""
        yield from self._batches(self.held_out, 0, 0, train=False)

    def _batches(
        self, samples: Samples, epoch: int, start_batch: int, train: bool
    ) -> Iterator[dict[str, Tensor]]:
        how = self._loading
        yield from make_loader(
            samples, self._spec, how.size_hw, how.batch, how.seed, epoch, train, how.workers,
            start_batch=start_batch, augmentation=how.augmentation, policy=how.policy,
            dropout=how.dropout, share=how.share if train else None,
        )  # fmt: skip

    def draw_scenes(self, console: Console, stop: StopRequest) -> bool:
        """Draw what the cache of synthetic scenes lacks, so that no epoch has to wait for it.

        Returns:
            False where a stop was asked for before all was drawn.

        Raises:
            InputError: The cache cannot be written.
        """
        for samples in (self.train, self.held_out):
            if isinstance(samples, SyntheticDataset) and self._cache is not None:
                workers = self._loading.drawing_workers
                if not draw_scenes(samples, self._cache, workers, console, stop):
                    return False
        return True


def open_synthetic(
    spec: ModelSpec,
    loading: Loading,
    *,
    count: int,
    size_hw: tuple[int, int],
    cache: Path,
    start: StartWeights | None,
) -> TrainingData:
    """Return synthetic scenes to learn from, and a tenth as many others held out.

    Args:
        spec: The network's inputs.
        loading: How samples become batches; its seed is that of the scenes to learn from.
        count: Samples to learn from.
        size_hw: Height and width that scenes are drawn at; batches are cut out of them.
        cache: Folder that keeps drawn samples.
        start: The weights that the run starts from; None for fresh ones.

    Raises:
        InputError: The network has an input or classes that the scenes do not show, the seed is
            kept for judging, or the scenes would be too small.
    """
    lacking = {modality.name for modality in spec.modalities} - set(SyntheticDataset.modalities)
    if lacking:
        raise InputError(
            f"--data {SYNTHETIC}: the scenes have rgb and thermal, but {spec.name} needs "
            f"{', '.join(sorted(lacking))}; give a folder with it: --data DIR"
        )
    refuse_classes(spec.name, spec.classes)
    for seed, use in ((HELD_OUT_SEED, "held-out scenes"), (JUDGED_SEED, "scenes of 'evaluate'")):
        if loading.seed == seed:
            raise InputError(f"--seed {seed}: the {use} have this seed; take another")
    height, width = size_hw
    if min(size_hw) < _SMALLEST_SCENE_PX:
        raise InputError(
            f"--synthetic-size {height}x{width}: expected sides of at least {_SMALLEST_SCENE_PX} "
            "pixels; --size may be smaller, batches are stretched to it"
        )
    train = SyntheticDataset(count, loading.seed, size_hw, cache_dir=cache)
    held = max(_HELD_OUT_LEAST, round(_HELD_OUT_SHARE * count))
    held_out = SyntheticDataset(held, HELD_OUT_SEED, size_hw, cache_dir=cache)
    learnt = LearntData(
        "synthetic", f"seed {loading.seed}", count, names_fingerprint(train.stems, held_out.stems)
    )
    in_words = f"{count} synthetic samples of seed {loading.seed}, drawn at {height}x{width}"
    notes = trained_notes(loading.policy, loading.size_hw, learnt, in_words, start)
    return TrainingData(train, held_out, spec, loading, notes, cache)


def refuse_classes(name: str, classes: Sequence[ClassSpec]) -> None:
    """Refuse synthetic scenes to networks with more than two classes.

    Raises:
        InputError: The network has more.
    """
    if len(classes) > 2:
        raise InputError(
            f"--data {SYNTHETIC}: the scenes know object and background alone, but {name} has "
            f"{len(classes)} classes; give a folder with labels of them: --data DIR"
        )


def open_folder(
    spec: ModelSpec,
    loading: Loading,
    root: Path,
    *,
    label_rule: str,
    holdout: float,
    start: StartWeights | None,
) -> TrainingData:
    """Return a labelled folder, with a share held out by whole sequences.

    Args:
        spec: The network's inputs, which are the names of the folders, and its classes.
        loading: How samples become batches.
        root: The folder.
        label_rule: How label files become masks, see :mod:`differseg.data.labels` and
            :mod:`differseg.data.class_labels`.
        holdout: Share held out.
        start: The weights that the run starts from; None for fresh ones.

    Raises:
        InputError: The folder cannot be used, has no labels, labels that are ignored everywhere in
            one of both parts, or cannot be split.
    """
    names = [modality.name for modality in spec.modalities]
    samples = FolderDataset(root, names, label_rule=label_rule, classes=spec.classes)
    if samples.rule is None:
        raise InputError(f"--data {root}: there is no labels/ folder, and training needs one")
    parts = split_by_sequence(samples.stems, holdout)
    name = root.resolve().name
    learnt = LearntData(
        "folder",
        name,
        len(parts.train),
        names_fingerprint(parts.train, parts.held_out),
        spread_names(parts.train),
        holdout,
    )
    in_words = (
        f"{len(parts.train)} samples of folder {name}, labels by rule '{samples.rule.name}'; "
        f"{parts.reason}"
    )
    notes = trained_notes(loading.policy, loading.size_hw, learnt, in_words, start)
    train, held_out = samples.select(parts.train), samples.select(parts.held_out)
    for part in (train, held_out):
        part.require_known_pixels()
    rule = _rule_with_reason(label_rule, samples.rule.name)
    return TrainingData(train, held_out, spec, loading, notes, label_rule=rule)


def open_published(
    spec: ModelSpec,
    loading: Loading,
    name: str,
    root: Path,
    *,
    label_rule: str,
    holdout: float,
    start: StartWeights | None,
) -> TrainingData:
    """Return what may be learnt from a published data set, and its val split or a share held out.

    Args:
        spec: The network's inputs and classes.
        loading: How samples become batches.
        name: Of the data set, see :mod:`differseg.data.datasets`.
        root: Its folder.
        label_rule: ``auto`` takes the data set's own.
        holdout: Share held out where no val split is published.
        start: The weights that the run starts from; None for fresh ones.

    Raises:
        InputError: The data set cannot be learnt from, or not by this network.
    """
    parts = open_training(spec, name, root, label_rule=label_rule, holdout=holdout)
    train, held_out = parts.train, parts.held_out
    learnt = LearntData(
        "folder",
        name,
        len(train),
        names_fingerprint(train.stems, held_out.stems),
        spread_names(train.stems),
        holdout,
    )
    notes = trained_notes(loading.policy, loading.size_hw, learnt, parts.description, start)
    assert train.rule is not None
    reason = f"auto: that of {name}" if label_rule == "auto" else "asked for"
    rule = Decision("label rule", train.rule.name, reason)
    return TrainingData(train, held_out, spec, loading, notes, label_rule=rule)


def _rule_with_reason(asked: str, name: str) -> Decision:
    if asked == "auto":
        chosen = name.removeprefix("auto: ")
        return Decision("label rule", chosen, "auto: a spread of label files holds such values")
    return Decision("label rule", name, "asked for")
