"""Options of ``differseg train``: what they are, what they may be, and how to repeat them."""

from __future__ import annotations

import dataclasses
import math
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from differseg.errors import InputError
from differseg.options import option
from differseg.training.learning import Optimizer, Schedule

_PROGRAM = "differseg train"
_LARGEST_SEED = 2**32 - 1

_BOUNDS: dict[str, tuple[float, float]] = {
    "epochs": (1, math.inf),
    "batch": (1, math.inf),
    "accumulate": (1, math.inf),
    "synthetic_count": (1, math.inf),
    "workers": (0, math.inf),
    "weight_decay": (0, 1_000_000),
    "warmup": (0, 1_000_000),
    "snapshot_minutes": (0, math.inf),
    "seed": (0, _LARGEST_SEED),
    "largest_crop": (1, 3),
    "modality_dropout": (0, 1),
    "rgb_dropout": (0, 1),
    "teacher_weight": (0, 1_000_000),
    "teacher_temperature": (0.01, 1000),
    "feature_weight": (0, 1_000_000),
}
"""Least and greatest value of an option, both allowed."""


@dataclass(frozen=True)
class TrainOptions:
    """Train a network; the same command again resumes an interrupted run."""

    out: Path = option(metavar="RUN", group="the run")
    """Folder of the run: config, metrics, pictures, snapshot and best weights."""
    recipe: str | None = option(None, metavar="NAME|F.toml")
    """Defaults of other options, and how to learn, from a file; differseg, fsanet, rgbt-fusion,
    segnext and sfm are those of the authors, see docs/training.md."""
    resume: bool = False
    """Refuse to start anew: there must be a run in --out to go on with."""
    restart: bool = False
    """Delete the run in --out and start anew."""
    snapshot_minutes: float = option(5.0, metavar="MIN")
    """Minutes between snapshots inside an epoch; one follows every epoch anyway."""
    tensorboard: bool = False
    """Also write events for TensorBoard to RUN/tensorboard."""
    json: bool = False
    """Print the summary as one JSON document, last."""
    model: str = option("differseg-edge", metavar="NAME", group="network")
    """Name of the network, see 'differseg models'."""
    classes: str | None = option(None, metavar="NAMES")
    """Classes to learn, where a network lets one choose: binary, ade20k, cityscapes, fmb, mfnet,
    pst900, names with commas, or a text file with one name a line; its own when not given."""
    init: Path | None = option(None, metavar="CHECKPOINT")
    """Start from these weights instead of fresh ones; they are judged first, as epoch 0."""
    qat: Path | None = option(None, metavar="F.int8.onnx")
    """Train with the rounding of this file of 'differseg quantize'; needs --init, see
    docs/quantize.md."""
    data: str = option("synthetic", metavar="DIR", group="data")
    """Folder with rgb/, thermal/ or depth/, and labels/; NAME:DIR of a published data set, see
    'differseg datasets'; or the word synthetic."""
    synthetic_count: int = option(2000, metavar="N")
    """Synthetic samples to train on; a tenth as many more are held out."""
    synthetic_size: tuple[int, int] | None = None
    """Height and width that scenes are drawn at; the network's own when not given."""
    synthetic_cache: Path | None = option(None, metavar="DIR")
    """Folder that keeps drawn scenes, about 1.2 MB a sample; RUN/synthetic when not given."""
    label_rule: str = option("auto", metavar="RULE")
    """How label files become a mask, see docs/training.md."""
    thermal_policy: Literal["percentile", "full"] | None = None
    """How thermal images become 0..1: by percentiles of each, or by all codes of 8 bits; as
    --init was trained when not given, without it percentile."""
    holdout: float = option(0.15, metavar="SHARE")
    """Share of a folder held out for validation, by whole sequences."""
    size: tuple[int, int] | None = None
    """Height and width to train at; the network's own when not given."""
    largest_crop: float = option(1.4, metavar="SHARE")
    """Largest crop as a share of a picture's sides, beyond 1 with a mirrored margin; 1 where --size
    is smaller than the size of use, since objects are then shown small enough."""
    modality_dropout: float = option(0.0, metavar="P")
    """Probability that a sample's thermal, depth or flow is lost, as when that camera fails."""
    rgb_dropout: float = option(0.0, metavar="P")
    """Probability that a sample's RGB is lost; never both."""
    workers: int | None = option(None, metavar="N")
    """Processes that prepare data, 0 to prepare it in the training process; chosen by device and
    cores when not given."""
    epochs: int = option(30, metavar="N", group="how it learns")
    """Passes over the data."""
    patience: int | None = option(None, metavar="N")
    """End after this many epochs without a better one."""
    batch: int = option(8, metavar="N")
    """Images at a time."""
    accumulate: int = option(1, metavar="N")
    """Batches whose gradients make one step: as a larger batch, in the memory of a small one."""
    optimizer: Optimizer = "adamw"
    """Optimiser; adaxw is that of FSANet's authors."""
    lr: float = option(5e-3, metavar="RATE")
    """Highest learning rate."""
    schedule: Schedule = "cosine"
    """How the learning rate falls."""
    warmup: float = option(1.0, metavar="EPOCHS")
    """Epochs of linear warm-up."""
    weight_decay: float = option(5e-4, metavar="W")
    """Weight decay; norms and biases have none."""
    class_weights: str | None = option(None, metavar="W")
    """With more than two classes: weights of the classes in the loss, as numbers with commas, or
    'labels' for weights from the labels' frequencies; all weigh the same when not given."""
    ema: float = option(0.998, metavar="DECAY")
    """Decay of the averaged weights, which are validated and saved; 0 turns averaging off."""
    freeze_norm: bool | None = None
    """Keep the statistics of batch normalisation as they are; on with --init, off without."""
    seed: int = option(0, metavar="N")
    """Seed of weights, order, augmentation and synthetic scenes."""
    teacher: Path | None = option(None, metavar="CHECKPOINT", group="a teacher")
    """Also learn from this trained network, see docs/training.md."""
    teacher_model: str | None = option(None, metavar="NAME")
    """Its configuration, where the checkpoint does not say it."""
    teacher_weight: float = option(1.0, metavar="W")
    """Weight of the term on the logits."""
    teacher_temperature: float = option(2.0, metavar="T")
    """Divisor of both logits, which softens the answers."""
    teacher_features: str | None = option(None, metavar="PART=PART")
    """Parts of student and teacher whose maps shall agree, through a 1x1 convolution; as in
    encoder.stages.3=encoder."""
    feature_weight: float = option(1.0, metavar="W")
    """Weight of the term on the maps."""
    device: str = option("auto", metavar="DEVICE", group="device and numbers")
    """auto, cpu, cuda or cuda:N."""
    precision: Literal["auto", "fp32", "amp", "bf16", "fp16"] = "auto"
    """amp is mixed precision on a GPU, bf16 where it has it, else fp16; auto takes it where there
    is a GPU."""
    compile: bool = False
    """Compile the network with torch.compile: a slow start, then faster steps."""
    deterministic: bool = False
    """Refuse what a GPU does not compute the same way twice; slower there."""
    sync_norm: bool = False
    """Several GPUs: take the statistics of batch normalisation over all of them."""


_DEFAULTS = {field.name: field.default for field in dataclasses.fields(TrainOptions)}
_OF_TEACHER = (
    "teacher_model", "teacher_features", "teacher_weight", "teacher_temperature", "feature_weight",
)  # fmt: skip


def check_options(options: TrainOptions) -> None:
    """Check what can be checked without model and data.

    Raises:
        InputError: A value out of range, or options that exclude each other.
    """
    for name, (low, high) in _BOUNDS.items():
        value = getattr(options, name)
        if value is not None and not low <= value <= high:
            upper = "or more" if high == math.inf else f"to {high}"
            raise InputError(f"{flag_of(name)} {value}: expected {low} {upper}")
    if not 0 < options.lr < math.inf:
        raise InputError(f"--lr {options.lr}: expected a finite value above 0")
    if not 0 <= options.ema < 1:
        raise InputError(f"--ema {options.ema}: expected 0 <= ema < 1")
    if options.patience is not None and options.patience < 1:
        raise InputError(f"--patience {options.patience}: expected 1 or more")
    if options.modality_dropout + options.rgb_dropout > 1:
        raise InputError(
            f"--modality-dropout {options.modality_dropout:g} --rgb-dropout "
            f"{options.rgb_dropout:g}: expected at most 1 together, since never both are lost"
        )
    if options.resume and options.restart:
        raise InputError("--resume and --restart exclude each other")
    if options.qat is not None and options.init is None:
        raise InputError(
            "--qat: the scales of a file are those of trained weights; give them with --init "
            "CHECKPOINT"
        )
    _check_teacher(options)
    if options.qat is not None and options.compile:
        raise InputError("--qat and --compile exclude each other")
    if options.freeze_norm and options.init is None:
        raise InputError(
            "--freeze-norm: fresh weights have no statistics to keep; give --init CHECKPOINT, or "
            "leave --freeze-norm away"
        )


def _check_teacher(options: TrainOptions) -> None:
    if options.teacher is None:
        given = [name for name in _OF_TEACHER if was_given(options, name)]
        if given:
            raise InputError(f"{flag_of(given[0])}: there is no teacher; give --teacher CHECKPOINT")
        return
    maps = options.teacher_features
    if maps is None and was_given(options, "feature_weight"):
        raise InputError(
            f"--feature-weight {options.feature_weight:g}: no maps are learnt; name them with "
            "--teacher-features PART=PART"
        )
    if options.teacher_weight == 0 and maps is None:
        raise InputError("--teacher-weight 0: the teacher would teach nothing; leave it away")
    if maps is not None and options.feature_weight == 0:
        raise InputError(
            "--feature-weight 0: no maps would be learnt; leave --teacher-features away"
        )
    if maps is not None and maps.count("=") != 1:
        raise InputError(
            f"--teacher-features {maps}: expected STUDENT=TEACHER, the names of two parts"
        )
    if maps is not None and options.compile:
        raise InputError("--teacher-features and --compile exclude each other")


def resume_command(
    options: TrainOptions, recipe_values: dict[str, Any] | None = None, program: str = _PROGRAM
) -> str:
    """Return the command line that goes on with a run of these options.

    Args:
        options: Of the run.
        recipe_values: Defaults that the recipe gives, by option.
        program: What the options are given to.
    """
    words = [program]
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        default = (recipe_values or {}).get(field.name, field.default)
        if value == default or field.name in ("resume", "restart", "json"):
            continue
        if isinstance(value, bool):
            words.append(flag_of(field.name) if value else flag_of("no_" + field.name))
            continue
        text = "x".join(map(str, value)) if isinstance(value, tuple) else str(value)
        words += [flag_of(field.name), shlex.quote(text)]
    return " ".join(words)


def was_given(options: TrainOptions, name: str) -> bool:
    """Return whether an option differs from its default."""
    return bool(getattr(options, name) != _DEFAULTS[name])


def flag_of(name: str) -> str:
    """Return how an option is written on the command line."""
    return "--" + name.replace("_", "-")
