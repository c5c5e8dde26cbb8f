"""Batches for training and validation, each a pure function of seed, epoch and position.

Order and augmentation of sample ``i`` in epoch ``e`` follow from ``(seed, e, i)`` alone, so a run
that is stopped and goes on at batch ``k`` sees exactly the batches it would have seen, whatever
the number of worker processes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from differseg.data.labels import IGNORE
from differseg.data.modality_dropout import ModalityDropout, drop_modality
from differseg.data.transforms import Augmentation, Planes, augment, fit
from differseg.errors import DifferSegError, InputError
from differseg.manifest import ThermalPolicy
from differseg.models.spec import ModelSpec
from differseg.runtime.preprocess import map_depth
from differseg.runtime.thermal import ThermalMapper


class SampleSource(Protocol):
    """A map-style data set: ``FolderDataset``, ``SyntheticDataset`` or anyone's own."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> dict[str, Any]: ...


class EpochOrder(Sampler[list[tuple[int, int]]]):
    """Batches of ``(epoch, index)``; a batch sampler that can begin in the middle.

    In training the order is random and the last batch is left out when it is not full; otherwise
    it is the data set's own and complete.  A data set with a ``group_size`` (samples that share
    a costly scene) is shuffled by groups, ``groups_mixed`` of them mixed at a time.
    """

    def __init__(
        self,
        count: int,
        batch: int,
        seed: int,
        epoch: int,
        train: bool,
        *,
        start_batch: int = 0,
        group_size: int = 1,
        groups_mixed: int = 1,
    ) -> None:
        """Lay down the order of an epoch; see the class."""
        self._epoch, self._batch, self._start = epoch, batch, start_batch
        self._order = np.arange(count)
        if train:
            self._order = _shuffled(count, seed, epoch, group_size, groups_mixed)
        full, rest = divmod(count, batch)
        self.batches = full if train and full else full + (rest > 0)

    def __len__(self) -> int:
        return max(0, self.batches - self._start)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for number in range(self._start, self.batches):
            part = self._order[number * self._batch : (number + 1) * self._batch]
            yield [(self._epoch, int(index)) for index in part]


@dataclass(frozen=True)
class Share:
    """Which part of every batch a process prepares, and in how many pieces.

    A batch of ``pieces * processes * batch`` samples in order is cut into runs of ``batch``; the
    processes take them in turn, so that together they see what one process with that batch sees.
    """

    pieces: int = 1
    processes: int = 1
    rank: int = 0


class Pieces(Sampler[list[tuple[int, int]]]):
    """The pieces of every batch of an order that one process takes, one after the other.

    Args:
        order: Whole batches.
        batch: Samples a piece.
        share: Whose pieces.
    """

    def __init__(self, order: EpochOrder, batch: int, share: Share) -> None:
        self._order, self._batch, self._share = order, batch, share

    def __len__(self) -> int:
        return len(self._order) * self._share.pieces

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        step = self._batch * self._share.processes
        for keys in self._order:
            for first in range(self._share.rank * self._batch, len(keys), step):
                yield keys[first : first + self._batch]


def _shuffled(
    count: int, seed: int, epoch: int, group_size: int, groups_mixed: int
) -> npt.NDArray[np.int64]:
    rng = np.random.default_rng([seed, 1, epoch])
    if group_size <= 1:
        return rng.permutation(count)
    groups = rng.permutation(-(-count // group_size))
    parts = []
    for first in range(0, len(groups), groups_mixed):
        chosen = groups[first : first + groups_mixed, None] * group_size
        members = (chosen + np.arange(group_size)[None, :]).ravel()
        parts.append(rng.permutation(members[members < count]))
    return np.concatenate(parts)


Batch = dict[str, Tensor]


@dataclass(frozen=True)
class _Refusal:
    """A user's mistake on its way out of a worker, which would wrap it in a traceback."""

    error: DifferSegError


class PreparedSamples(Dataset[Batch]):
    """Turns samples into tensors; the key of a sample is ``(epoch, index)``."""

    def __init__(
        self,
        source: SampleSource,
        spec: ModelSpec,
        size_hw: tuple[int, int],
        seed: int,
        augmentation: Augmentation | None,
        policy: ThermalPolicy,
        dropout: ModalityDropout | None = None,
    ) -> None:
        """Keep what is needed; ``augmentation`` None only stretches to ``size_hw``."""
        self._source, self._seed, self._size_hw = source, seed, size_hw
        self._names, self._binary = [modality.name for modality in spec.modalities], spec.binary
        self._augmentation, self._dropout = augmentation, dropout
        self._mapper = ThermalMapper(policy)

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, key: tuple[int, int]) -> Batch:
        """Return one sample as :func:`to_tensors` does, without the batch axis."""
        epoch, index = key
        sample = self._source[index]
        planes = self._planes(sample)
        if self._augmentation is None:
            planes = fit(planes, self._size_hw)
        else:
            rng = np.random.default_rng([self._seed, 2, epoch, index])
            planes = augment(planes, self._size_hw, self._augmentation, rng)
        if self._dropout is not None:
            rng = np.random.default_rng([self._seed, 3, epoch, index])
            planes = drop_modality(planes, self._dropout, rng)
        return to_tensors(planes, binary=self._binary)

    def _planes(self, sample: dict[str, Any]) -> Planes:
        planes: Planes = {}
        for name in [*self._names, "mask"]:
            if name not in sample:
                raise InputError(
                    f"sample '{sample.get('stem', '?')}' has no {name}; this network trains on "
                    f"{', '.join(self._names)} and mask (folder labels/)"
                )
            planes[name] = sample[name]
        if "thermal" in planes:
            planes["thermal"] = self._mapper.map(planes["thermal"])
        if "depth" in planes:
            planes["depth"] = map_depth(planes["depth"])
        return planes


def to_tensors(planes: Planes, *, binary: bool = True) -> Batch:
    """Turn planes into tensors.

    Args:
        planes: A sample.
        binary: Whether its mask knows object and background, or several classes.

    Returns:
        Colour (3, H, W) and thermal or depth (1, H, W) float32 in 0..1, not normalised.  Binary:
        ``mask`` (1, H, W) float32, 0 or 1; ``valid`` (1, H, W) float32, 0 where the mask is
        ignored.  Several classes: ``mask`` (1, H, W) uint8, places of classes, 255 ignored.
    """
    tensors = {}
    for name, plane in planes.items():
        if name == "mask" and not binary:
            tensors["mask"] = torch.from_numpy(np.ascontiguousarray(plane, np.uint8))[None]
        elif name == "mask":
            valid = plane != IGNORE
            tensors["mask"] = torch.from_numpy(((plane > 0) & valid).astype(np.float32))[None]
            tensors["valid"] = torch.from_numpy(valid.astype(np.float32))[None]
        elif plane.ndim == 3:
            chw = np.ascontiguousarray(plane.transpose(2, 0, 1))
            tensors[name] = torch.from_numpy(chw).to(torch.float32).div_(255)
        else:
            tensors[name] = torch.from_numpy(np.ascontiguousarray(plane, np.float32))[None]
    return tensors


class _Guarded(Dataset[Batch | _Refusal]):
    """Hands a foreseen error on as a value."""

    def __init__(self, samples: PreparedSamples) -> None:
        self._samples = samples

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, key: tuple[int, int]) -> Batch | _Refusal:
        try:
            return self._samples[key]
        except DifferSegError as error:
            return _Refusal(error)


def _collate(samples: list[Batch | _Refusal]) -> Batch | _Refusal:
    refusal = next((sample for sample in samples if isinstance(sample, _Refusal)), None)
    return refusal or default_collate(samples)


@contextmanager
def one_opencv_thread() -> Iterator[None]:
    """Fork workers inside this block.

    OpenCV's threads do not survive a fork, and a worker that inherits their pool waits for them
    for ever as soon as it resizes the pool.  Inside the block there is none to inherit.
    """
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


def leave_group(_worker: int) -> None:
    """Prepare a worker process: the run alone decides when to stop, and then ends its workers.

    Ctrl-C signals the whole process group of the terminal; a worker that died of it would break
    the step that the run still wants to finish.  So a worker is a group of its own; SIGTERM keeps
    the handler that torch gives to workers, by which their parent ends them.
    """
    os.setpgrp()


def _end_workers(batches: Any) -> None:
    """End an epoch's workers here and not when its iterator is collected.

    Who stops a run may end its workers, too; torch then raises wherever the process is, and from a
    collected iterator that would be a traceback on the terminal.
    """
    with suppress(RuntimeError):
        if hasattr(batches, "_shutdown_workers"):
            batches._shutdown_workers()


class Batches:
    """The batches of one epoch; iterating raises the error of a sample that cannot be used."""

    def __init__(self, loader: DataLoader[Batch | _Refusal]) -> None:
        """Wrap a loader of guarded samples."""
        self._loader = loader

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Batch]:
        with one_opencv_thread():
            batches = iter(self._loader)
        try:
            for batch in batches:
                if isinstance(batch, _Refusal):
                    raise batch.error
                yield batch
        finally:
            _end_workers(batches)


def make_loader(
    dataset: SampleSource,
    spec: ModelSpec,
    size_hw: tuple[int, int],
    batch: int,
    seed: int,
    epoch: int,
    train: bool,
    workers: int,
    *,
    start_batch: int = 0,
    augmentation: Augmentation | None = None,
    policy: ThermalPolicy | None = None,
    dropout: ModalityDropout | None = None,
    share: Share | None = None,
) -> Batches:
    """Return the batches of one epoch.

    Args:
        dataset: Samples with the modalities of ``spec`` and a mask.
        spec: The network's inputs.
        size_hw: Height and width of the batches.
        batch: Samples a batch, or a piece of one.
        seed: Seed of order and augmentation.
        epoch: Number of the epoch; another epoch has another order and other changes.
        train: Shuffle, augment and leave out an incomplete last batch; otherwise the data set's
            order, stretched as the runtime does, complete.
        workers: Processes that prepare samples; 0 prepares them in this one.
        start_batch: Leave out this many batches of the epoch (they are not prepared).
        augmentation: Changes in training; the defaults of :class:`Augmentation` when None.
        policy: How thermal becomes 0..1; the defaults of :class:`ThermalPolicy` when None.
        dropout: How often a camera is lost in training; never when None.
        share: Cut batches into pieces, and give those of one process; ``start_batch`` still counts
            whole batches.  Whole batches when None.

    Returns:
        Batches as dicts: each modality (N, C, H, W) float32 in 0..1, not normalised, and the
        label as :func:`to_tensors` gives it, with a batch axis.

    Raises:
        InputError: The data set is empty; while iterating, a sample that cannot be used.
    """
    if len(dataset) == 0:
        raise InputError("data: there are no samples; give a folder with images")
    changes = (augmentation or Augmentation()) if train else None
    samples = PreparedSamples(
        dataset, spec, size_hw, seed, changes, policy or ThermalPolicy(), dropout if train else None
    )
    share = share or Share()
    whole = batch * share.pieces * share.processes
    order = EpochOrder(
        len(dataset), whole, seed, epoch, train, start_batch=start_batch,
        group_size=getattr(dataset, "group_size", 1),
        groups_mixed=getattr(dataset, "groups_mixed", 1),
    )  # fmt: skip
    loader = DataLoader(
        _Guarded(samples),
        collate_fn=_collate,
        batch_sampler=Pieces(order, batch, share),
        num_workers=workers,
        worker_init_fn=leave_group,
        pin_memory=torch.cuda.is_available(),
        # the loader draws a seed for its workers: from here, not from the run's own generator
        generator=torch.Generator().manual_seed(seed),
    )
    return Batches(loader)
