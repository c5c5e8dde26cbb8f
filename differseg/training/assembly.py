"""The parts of a run, made from its options."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import torch

from differseg.data.datasets.registry import parse_data
from differseg.data.loader import Share
from differseg.data.modality_dropout import ModalityDropout
from differseg.data.transforms import Augmentation
from differseg.errors import InputError
from differseg.manifest import ThermalPolicy
from differseg.models.base import SegmentationModel
from differseg.models.spec import ModelSpec
from differseg.training.choices import Choices
from differseg.training.data_workers import drawing_workers
from differseg.training.learning import Learning
from differseg.training.loop import Recipe
from differseg.training.options import TrainOptions
from differseg.training.processes import Processes
from differseg.training.samples import (
    SYNTHETIC,
    Loading,
    TrainingData,
    open_folder,
    open_published,
    open_synthetic,
)
from differseg.training.start import StartWeights

if TYPE_CHECKING:
    from differseg.training.distillation import Distillation


def open_data(
    options: TrainOptions,
    spec: ModelSpec,
    size_hw: tuple[int, int],
    policy: ThermalPolicy,
    start: StartWeights | None,
    learning: Learning,
    processes: Processes,
    workers: int,
) -> TrainingData:
    """Open what is learnt from and judged by.

    Raises:
        InputError: The data cannot be used by this network.
    """
    lost = ModalityDropout(options.modality_dropout, options.rgb_dropout)
    if lost != ModalityDropout() and len(spec.modalities) < 2:
        raise InputError(
            f"--modality-dropout: {spec.name} sees one camera, which is never lost; leave it and "
            "--rgb-dropout away"
        )
    augmentation = learning.augmentation or Augmentation()
    loading = Loading(
        size_hw, options.batch, options.seed, workers, drawing_workers(options.workers), policy,
        dataclasses.replace(augmentation, largest_crop=options.largest_crop),
        None if lost == ModalityDropout() else lost,
        Share(options.accumulate, processes.count, processes.rank),
    )  # fmt: skip
    if options.data != SYNTHETIC:
        info, root = parse_data(options.data)
        if info is not None:
            return open_published(
                spec, loading, info.name, root, label_rule=options.label_rule,
                holdout=options.holdout, start=start,
            )  # fmt: skip
        return open_folder(
            spec, loading, root, label_rule=options.label_rule,
            holdout=options.holdout, start=start,
        )  # fmt: skip
    return open_synthetic(
        spec, loading, count=options.synthetic_count,
        size_hw=options.synthetic_size or spec.size_hw,
        cache=options.synthetic_cache or options.out / SYNTHETIC, start=start,
    )  # fmt: skip


def recipe_of(
    options: TrainOptions,
    data: TrainingData,
    choices: Choices,
    start: StartWeights | None,
    learning: Learning,
) -> Recipe:
    """Return the numbers that a step needs."""
    return Recipe(
        learning_rate=options.lr,
        weight_decay=options.weight_decay,
        ema_decay=options.ema,
        warmup_steps=round(options.warmup * data.batches_per_epoch),
        total_steps=options.epochs * data.batches_per_epoch,
        trained_start=start is not None and not start.fresh,
        freeze_norm=choices.freeze_norm.value == "on",
        class_weights=choices.weight_values,
        steps_per_epoch=data.batches_per_epoch,
        optimizer=options.optimizer,
        schedule=options.schedule,
        learning=learning,
        seed=options.seed,
    )


def teacher_of(options: TrainOptions, spec: ModelSpec) -> SegmentationModel | None:
    """Read the teacher; None without one.

    Raises:
        InputError: It sees or knows what the network does not.
        CheckpointError: The file cannot be used.
    """
    if options.teacher is None:
        return None
    from differseg.training.distillation import load_teacher

    return load_teacher(options.teacher, options.teacher_model, spec)


def distillation_of(
    options: TrainOptions,
    model: SegmentationModel,
    teacher: SegmentationModel | None,
    size_hw: tuple[int, int],
    device: torch.device,
) -> Distillation | None:
    """Return the teacher's part of the loss; None without a teacher.

    Raises:
        InputError: It does not take this size, or there is no such part.
    """
    if teacher is None:
        return None
    from differseg.training.distillation import Distillation, DistillationSettings

    features = None
    if options.teacher_features is not None:
        student_part, _, teacher_part = options.teacher_features.partition("=")
        features = (student_part, teacher_part)
    settings = DistillationSettings(
        options.teacher_weight, options.teacher_temperature, features, options.feature_weight
    )
    return Distillation(model, teacher, settings, size_hw, device)
