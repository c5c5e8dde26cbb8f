"""What a run learns from and what it is judged by: batches of a folder or of synthetic scenes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from differseg.data.folder import FolderDataset
from differseg.data.loader import (
    EpochOrder,
    leave_group,
    make_loader,
    one_opencv_thread,
)
from differseg.data.sequences import split_by_sequence
from differseg.data.synthetic_dataset import SAMPLES_PER_SCENE, SyntheticDataset
from differseg.errors import InputError
from differseg.manifest import ThermalPolicy
from differseg.models.spec import ModelSpec
from differseg.schema import to_plain

SYNTHETIC = "synthetic"
"""The word that stands for synthetic scenes where a folder may be given."""

HELD_OUT_SEED = 1_000_000
"""Seed of the held-out synthetic scenes: the same for every run, so that runs compare."""

_HELD_OUT_SHARE = 0.1
_HELD_OUT_LEAST = 8

Samples = FolderDataset | SyntheticDataset


@dataclass(frozen=True)
class Loading:
    """How samples become batches."""

    size_hw: tuple[int, int]
    batch: int
    seed: int
    workers: int
    policy: ThermalPolicy


class TrainingData:
    """Samples to learn from and held-out samples, as batches.

    Attributes:
        train: Samples to learn from.
        held_out: Samples to judge by.
        description: Counts and a fingerprint of the names, as plain JSON values.
        checkpoint_notes: What a checkpoint records of its training data.
    """

    def __init__(
        self,
        train: Samples,
        held_out: Samples,
        spec: ModelSpec,
        loading: Loading,
        trained_on: str,
    ) -> None:
        self.train, self.held_out = train, held_out
        self._spec, self._loading = spec, loading
        order = EpochOrder(len(train), loading.batch, loading.seed, 0, True)
        self.batches_per_epoch = order.batches
        names = "\n".join([*train.stems, "", *held_out.stems])
        self.description = {
            "train": len(train),
            "held_out": len(held_out),
            "names_sha256": hashlib.sha256(names.encode()).hexdigest()[:16],
        }
        self.checkpoint_notes = {
            "thermal_policy": json.dumps(to_plain(loading.policy)),
            "trained_on": trained_on,
        }

    @property
    def held_out_stems(self) -> list[str]:
        """Names of the held-out samples, in the order of their batches."""
        return self.held_out.stems

    def training_batches(self, epoch: int, start_batch: int) -> Iterator[dict[str, Tensor]]:
        """Yield the batches of an epoch from ``start_batch`` on, shuffled and augmented."""
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
            start_batch=start_batch, policy=how.policy,
        )  # fmt: skip

    def draw_scenes(self, console: Console) -> None:
        """Draw what the cache of synthetic scenes lacks, so that no epoch has to wait for it."""
        for samples in (self.train, self.held_out):
            if isinstance(samples, SyntheticDataset):
                _draw_scenes(samples, self._loading.workers, console)


def open_synthetic(
    spec: ModelSpec,
    loading: Loading,
    *,
    count: int,
    size_hw: tuple[int, int],
    cache: Path,
) -> TrainingData:
    """Return synthetic scenes to learn from, and a tenth as many others held out.

    Args:
        spec: The network's inputs.
        loading: How samples become batches; its seed is that of the scenes to learn from.
        count: Samples to learn from.
        size_hw: Height and width that scenes are drawn at; batches are cut out of them.
        cache: Folder that keeps drawn samples.

    Raises:
        InputError: The network has an input that the scenes do not show.
    """
    lacking = {modality.name for modality in spec.modalities} - set(SyntheticDataset.modalities)
    if lacking:
        raise InputError(
            f"--data {SYNTHETIC}: the scenes have rgb and thermal, but {spec.name} needs "
            f"{', '.join(sorted(lacking))}; give a folder with it: --data DIR"
        )
    if loading.seed == HELD_OUT_SEED:
        raise InputError(
            f"--seed {HELD_OUT_SEED}: the held-out scenes have this seed; take another"
        )
    train = SyntheticDataset(count, loading.seed, size_hw, cache_dir=cache)
    held = max(_HELD_OUT_LEAST, round(_HELD_OUT_SHARE * count))
    held_out = SyntheticDataset(held, HELD_OUT_SEED, size_hw, cache_dir=cache)
    height, width = size_hw
    trained_on = f"{count} synthetic samples of seed {loading.seed}, drawn at {height}x{width}"
    return TrainingData(train, held_out, spec, loading, trained_on)


def open_folder(
    spec: ModelSpec, loading: Loading, root: Path, *, label_rule: str, holdout: float
) -> TrainingData:
    """Return a labelled folder, with a share held out by whole sequences.

    Args:
        spec: The network's inputs, which are the names of the folders.
        loading: How samples become batches.
        root: The folder.
        label_rule: How label files become masks, see :mod:`differseg.data.labels`.
        holdout: Share held out.

    Raises:
        InputError: The folder cannot be used, has no labels, or cannot be split.
    """
    names = [modality.name for modality in spec.modalities]
    samples = FolderDataset(root, names, label_rule=label_rule)
    if samples.rule is None:
        raise InputError(f"--data {root}: there is no labels/ folder, and training needs one")
    parts = split_by_sequence(samples.stems, holdout)
    trained_on = (
        f"{len(parts.train)} samples of folder {root.resolve().name}, labels by rule "
        f"'{samples.rule.name}'; {parts.reason}"
    )
    train, held_out = samples.select(parts.train), samples.select(parts.held_out)
    return TrainingData(train, held_out, spec, loading, trained_on)


class _Scenes(Dataset[int]):
    """One item per scene; taking it draws all samples of the scene into the cache."""

    def __init__(self, samples: SyntheticDataset) -> None:
        self._samples = samples

    def __len__(self) -> int:
        return -(-len(self._samples) // SAMPLES_PER_SCENE)

    def __getitem__(self, scene: int) -> int:
        self._samples[scene * SAMPLES_PER_SCENE]
        return scene


def _draw_scenes(samples: SyntheticDataset, workers: int, console: Console) -> None:
    scenes: DataLoader[Any] = DataLoader(
        _Scenes(samples),
        batch_size=None,
        num_workers=workers,
        worker_init_fn=leave_group,
        generator=torch.Generator().manual_seed(0),  # leave the run's own generator alone
    )
    with one_opencv_thread():
        drawn = iter(scenes)
    shown = track(
        drawn,
        f"synthetic scenes of seed {samples.seed}",
        total=len(scenes),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
    for _ in shown:
        pass
