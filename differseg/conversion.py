"""A published checkpoint as a file of ours, every entry accounted for.

The file's names and shapes say which network it is; the named configuration must agree with them.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from differseg.authors_names.layout import LAYOUTS
from differseg.checkpoint_files import Snapshot, read_snapshot
from differseg.checkpoints import check_fit, read_info, save_checkpoint
from differseg.errors import CheckpointError, InputError
from differseg.file_hash import sha256_of
from differseg.manifest import ThermalPolicy
from differseg.models.base import SegmentationModel
from differseg.models.registry import create_model, find_model
from differseg.models.spec import Task
from differseg.published_models import choose_model
from differseg.published_weights import Translation, numbers, translate
from differseg.schema import to_plain

if TYPE_CHECKING:
    from differseg.convert import ConvertOptions

_COUNTER = ".num_batches_tracked"
"""Entries that old files lack; they count training steps and change no output."""
_AUTHORS_THERMAL = ThermalPolicy(kind="full")
"""All published networks read thermal images as 8 bit and divide by 255."""


@dataclass(frozen=True)
class ConvertReport:
    """What was read, what it is, and what became of every entry.

    Attributes:
        file: The authors' file, and ``sha256`` its fingerprint.
        out: The file that was written.
        model: Name of the network; with ``config`` it rebuilds it.
        place: The key that held the weights, "" for a bare state dict.
        averaged: Whether averaged weights were taken; ``average`` is the key of those there are.
        mapped: Published name -> ours.
        dropped: Published name -> why it has no counterpart.
        missed: Our names that the file lacks; they are counters, and start at 0.
        kinds: Kinds of numbers in the file; float32 is written.
    """

    file: str
    sha256: str
    out: str
    model: str
    config: dict[str, Any]
    place: str
    average: str
    averaged: bool
    mapped: dict[str, str]
    dropped: dict[str, str]
    missed: tuple[str, ...]
    kinds: tuple[str, ...]


def convert(options: ConvertOptions) -> ConvertReport:
    """Convert a published checkpoint; the output appears complete or stays as it was.

    Raises:
        InputError: Another suffix of the output, an unknown model, or weights that fit several.
        CheckpointError: An unsafe, damaged or unknown file, or the weights of another network.
        MissingComponentError: The network needs a package that is absent.
    """
    path, out = Path(options.file), Path(options.out)
    if out.suffix != ".safetensors":
        raise InputError(f"--out {out}: checkpoints are written as .safetensors")
    snapshot = read_snapshot(path, averaged=options.averaged)
    if out.exists() and out.samefile(path):
        raise InputError(f"--out {out}: is the file to convert; name another one")
    _refuse_own(path)
    name, settings = _identified(path, snapshot, options.model, options.task)
    model = _hollow(path, name, settings)
    translation, missed = _fitted(path, snapshot.tensors, model)
    model.load_state_dict(translation.tensors, strict=True, assign=True)
    digest = sha256_of(path)
    notes = {"converted_from": path.name, "converted_sha256": digest}
    if any(modality.name == "thermal" for modality in model.spec.modalities):
        notes["thermal_policy"] = json.dumps(to_plain(_AUTHORS_THERMAL))
    save_checkpoint(out, model, extra=notes)
    return ConvertReport(
        file=str(path),
        sha256=digest,
        out=str(out),
        model=name,
        config=model.spec.config,
        place=snapshot.place,
        average=snapshot.average,
        averaged=options.averaged,
        mapped=translation.names,
        dropped=translation.dropped,
        missed=missed,
        kinds=tuple(sorted({str(v.dtype)[6:] for v in snapshot.tensors.values()})),
    )


def _hollow(path: Path, name: str, settings: dict[str, Any]) -> SegmentationModel:
    """Return the network without weights, which the file has."""
    try:
        with torch.device("meta"):
            return create_model(name, **settings)
    except InputError as error:
        raise CheckpointError(f"checkpoint {path}: {error}") from None


def _refuse_own(path: Path) -> None:
    info = read_info(path)
    if info is not None:
        raise CheckpointError(
            f"checkpoint {path}: differseg wrote it, as '{info.model}'; use it as it is"
        )


def _identified(
    path: Path, snapshot: Snapshot, wanted: str | None, task: Task | None
) -> tuple[str, dict[str, Any]]:
    """Return a model's name and settings that fit the weights."""
    if wanted is not None:
        find_model(wanted)  # before the file is judged: a misspelt name is the user's first mistake
    system, settings = _detected(path, snapshot)
    if system is None:
        if wanted is None:
            first = ", ".join(f"'{key}'" for key in list(snapshot.tensors)[:3])
            raise CheckpointError(
                f"checkpoint {path}: of no network that differseg knows ({', '.join(LAYOUTS)}); "
                f"its first entries are {first}"
            )
        return wanted, {} if task is None else {"task": task}
    try:
        return choose_model(system, settings, wanted, task)
    except InputError as error:
        raise InputError(f"checkpoint {path}: {error}") from None
    except CheckpointError as error:
        raise CheckpointError(f"checkpoint {path}: {error}") from None


def _detected(path: Path, snapshot: Snapshot) -> tuple[str | None, dict[str, Any]]:
    """Return the system and the settings that names and shapes tell; None for no system."""
    shapes = {key: tuple(value.shape) for key, value in snapshot.tensors.items()}
    if any(key.startswith("image_encoder.trunk.") for key in shapes):
        raise CheckpointError(
            f"checkpoint {path}: SAM 2's image trunk, not a whole network; it is loaded from "
            "Python, with differseg.checkpoints.load_sam2_trunk"
        )
    for system, layout in LAYOUTS.items():
        try:
            settings = layout.detect(shapes)
            if settings is not None:
                return system, {**settings, **layout.stored(snapshot.settings, settings)}
        except CheckpointError as error:
            raise CheckpointError(f"checkpoint {path}: {error}") from None
    return None, {}


def _fitted(
    path: Path, tensors: Mapping[str, Tensor], model: SegmentationModel
) -> tuple[Translation, tuple[str, ...]]:
    """Return the tensors as the network takes them, and the names that the file lacks."""
    own = model.state_dict()
    found = translate(path, model.spec.system, tensors, own)
    missed = tuple(key for key in own if key not in found.tensors and key.endswith(_COUNTER))
    ready = {**found.tensors, **{key: torch.zeros((), dtype=torch.int64) for key in missed}}
    check_fit(path, ready, own, model.spec.name, None)
    return dataclasses.replace(found, tensors=numbers(path, model.spec.system, ready, own)), missed
