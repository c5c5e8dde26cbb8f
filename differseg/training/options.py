"""Options of ``differseg train``: what they are, what they may be, and how to repeat them."""

from __future__ import annotations

import dataclasses
import math
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from differseg.errors import InputError
from differseg.options import option

_LARGEST_SEED = 2**32 - 1

_BOUNDS: dict[str, tuple[float, float]] = {
    "epochs": (1, math.inf),
    "batch": (1, math.inf),
    "synthetic_count": (1, math.inf),
    "workers": (0, math.inf),
    "weight_decay": (0, 1_000_000),
    "warmup": (0, 1_000_000),
    "snapshot_minutes": (0, math.inf),
    "seed": (0, _LARGEST_SEED),
    "largest_crop": (1, 3),
}
"""Least and greatest value of an option, both allowed."""


@dataclass(frozen=True)
class TrainOptions:
    """Train a network; the same command again resumes an interrupted run."""

    out: Path = option(metavar="RUN")
    """Folder of the run: config, metrics, pictures, snapshot and best weights."""
    model: str = "differseg-edge"
    """Name of the network, see 'differseg models'."""
    classes: str | None = option(None, metavar="NAMES")
    """Classes to learn, where a network lets one choose: binary, ade20k, cityscapes, mfnet, pst900,
    names with commas, or a text file with one name a line; its own when not given."""
    data: str = option("synthetic", metavar="DIR")
    """Folder with rgb/, thermal/ or depth/, and labels/; or the word synthetic."""
    synthetic_count: int = 2000
    """Synthetic samples to train on; a tenth as many more are held out."""
    synthetic_size: tuple[int, int] | None = None
    """Height and width that scenes are drawn at; the network's own when not given."""
    synthetic_cache: Path | None = option(None, metavar="DIR")
    """Folder that keeps drawn scenes, about 1.2 MB a sample; RUN/synthetic when not given."""
    label_rule: str = "auto"
    """How label files become a mask, see docs/training.md."""
    thermal_policy: Literal["percentile", "full"] | None = None
    """How thermal images become 0..1: by percentiles of each, or by all codes of 8 bits; as
    --init was trained when not given, without it percentile."""
    class_weights: str | None = option(None, metavar="W")
    """With more than two classes: weights of the classes in the loss, as numbers with commas, or
    'labels' for weights from the labels' frequencies; all weigh the same when not given."""
    holdout: float = 0.15
    """Share of a folder held out for validation, by whole sequences."""
    size: tuple[int, int] | None = None
    """Height and width to train at; the network's own when not given."""
    largest_crop: float = 1.4
    """Largest crop as a share of a picture's sides, beyond 1 with a mirrored margin; 1 where --size
    is smaller than the size of use, since objects are then shown small enough."""
    epochs: int = 30
    """Passes over the data."""
    batch: int = 8
    """Images a step."""
    lr: float = 5e-3
    """Highest learning rate."""
    weight_decay: float = 5e-4
    """AdamW's weight decay; norms and biases have none."""
    warmup: float = 1.0
    """Epochs of linear warm-up."""
    ema: float = 0.998
    """Decay of the averaged weights, which are validated and saved; 0 turns averaging off."""
    freeze_norm: bool | None = None
    """Keep the statistics of batch normalisation as they are; on with --init, off without."""
    seed: int = 0
    """Seed of weights, order, augmentation and synthetic scenes."""
    workers: int = 2
    """Processes that prepare data; 0 prepares it in the training process."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    precision: Literal["auto", "fp32", "amp"] = "auto"
    """amp is mixed precision on a GPU; auto takes it where there is one."""
    init: Path | None = option(None, metavar="CHECKPOINT")
    """Start from these weights instead of fresh ones; they are judged first, as epoch 0."""
    qat: Path | None = option(None, metavar="F.int8.onnx")
    """Train with the rounding of this file of 'differseg quantize'; needs --init, see
    docs/quantize.md."""
    snapshot_minutes: float = 5.0
    """Minutes between snapshots inside an epoch; one follows every epoch anyway."""
    resume: bool = False
    """Refuse to start anew: there must be a run in --out to go on with."""
    restart: bool = False
    """Delete the run in --out and start anew."""
    json: bool = False
    """Print the summary as one JSON document, last."""


def check_options(options: TrainOptions) -> None:
    """Check what can be checked without model and data.

    Raises:
        InputError: A value out of range, or options that exclude each other.
    """
    for name, (low, high) in _BOUNDS.items():
        value = getattr(options, name)
        if not low <= value <= high:
            upper = "or more" if high == math.inf else f"to {high}"
            raise InputError(f"{_flag(name)} {value}: expected {low} {upper}")
    if not 0 < options.lr < math.inf:
        raise InputError(f"--lr {options.lr}: expected a finite value above 0")
    if not 0 <= options.ema < 1:
        raise InputError(f"--ema {options.ema}: expected 0 <= ema < 1")
    if options.resume and options.restart:
        raise InputError("--resume and --restart exclude each other")
    if options.qat is not None and options.init is None:
        raise InputError(
            "--qat: the scales of a file are those of trained weights; give them with --init "
            "CHECKPOINT"
        )
    if options.freeze_norm and options.init is None:
        raise InputError(
            "--freeze-norm: fresh weights have no statistics to keep; give --init CHECKPOINT, or "
            "leave --freeze-norm away"
        )


def resume_command(options: TrainOptions) -> str:
    """Return the command line that goes on with a run of these options."""
    words = ["differseg", "train"]
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if value == field.default or field.name in ("resume", "restart", "json"):
            continue
        if isinstance(value, bool):
            words.append(_flag(field.name) if value else _flag("no_" + field.name))
            continue
        text = "x".join(map(str, value)) if isinstance(value, tuple) else str(value)
        words += [_flag(field.name), text]
    return shlex.join(words)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
