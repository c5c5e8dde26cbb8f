"""Weights in and out: safetensors that say which network they are, and published PyTorch files.

A file of ours holds the state dict and, in its metadata, which model rebuilds the network.  A
``.pt`` or ``.pth`` file is read with ``weights_only=True`` and nothing else: a pickle that wants
to call a function is refused.  Loading is strict and happens after every check has passed, so a
file that does not fit leaves the network as it was.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save
from torch import Tensor, nn

from differseg.authors_names import sam2_name
from differseg.checkpoint_files import metadata_of, read_tensors
from differseg.checkpoint_settings import check_name, check_settings
from differseg.errors import CheckpointError, DifferSegError, InputError
from differseg.manifest import ThermalPolicy
from differseg.models.base import SegmentationModel
from differseg.models.registry import create_model
from differseg.models.system import shipped_weights
from differseg.provenance import TrainingRecord
from differseg.published_weights import numbers, translate
from differseg.schema import from_plain, parse_json, to_plain

__all__ = [
    "CheckpointInfo",
    "load_checkpoint",
    "load_named",
    "load_sam2_trunk",
    "read_info",
    "save_checkpoint",
    "shipped_weights",
]

SCHEMA = 1
METADATA_KEY = "differseg"


@dataclass(frozen=True)
class CheckpointInfo:
    """What a checkpoint says of itself.

    ``create_model(model, **config)`` rebuilds the network; ``thermal_policy`` is what mapped
    thermal images in training; ``trained_on`` names the data in words and ``training`` for
    programs (None in files that were written before it was kept).
    """

    schema: int
    model: str
    config: dict[str, Any] = field(default_factory=dict)
    thermal_policy: ThermalPolicy | None = None
    trained_on: str | None = None
    training: TrainingRecord | None = None


def save_checkpoint(
    path: str | Path, model: SegmentationModel, *, extra: dict[str, str] | None = None
) -> None:
    """Write the network's weights; the file appears complete or not at all.

    Args:
        path: Ends in ``.safetensors``; its folder is made when absent.
        model: The network; its ``spec`` goes into the file.
        extra: ``thermal_policy`` and ``training`` (both as JSON) and ``trained_on`` enter the
            file's :class:`CheckpointInfo`; other entries are stored beside it as they are.

    Raises:
        InputError: Another suffix.
        CheckpointError: The file cannot be written.
        ManifestError: ``thermal_policy`` is not a policy, or ``training`` not a record.
    """
    path, others = Path(path), dict(extra or {})
    if path.suffix != ".safetensors":
        raise InputError(f"checkpoint {path}: checkpoints are written as .safetensors")
    policy, training = others.pop("thermal_policy", None), others.pop("training", None)
    info = CheckpointInfo(
        schema=SCHEMA,
        model=model.spec.name,
        config=model.spec.config,
        thermal_policy=from_plain(ThermalPolicy, json.loads(policy)) if policy else None,
        trained_on=others.pop("trained_on", None),
        training=from_plain(TrainingRecord, json.loads(training)) if training else None,
    )
    metadata = {**others, METADATA_KEY: json.dumps(to_plain(info))}
    tensors = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:  # save_file would let nobody else read it
            file.write(save(tensors, metadata))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except (OSError, SafetensorError) as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise CheckpointError(f"checkpoint {path}: cannot be written: {error}") from None


def load_checkpoint(path: str | Path, model: SegmentationModel | None = None) -> SegmentationModel:
    """Load weights into a network, strictly.

    Args:
        path: A ``.safetensors`` file, or a ``.pt`` or ``.pth`` file with a state dict, bare or
            in a training snapshot; the names may be ours or the authors'.
        model: The network to fill; None builds the one that the file names.  Its settings must
            be those of the file, all but ``size_hw``.

    Returns:
        ``model``, or the new network in training mode.

    Raises:
        CheckpointError: No file, a damaged or unsafe file, or the weights of another network.
        MissingComponentError: The network that the file names needs a package that is absent.
    """
    path = Path(path)
    tensors, info = read_tensors(path), read_info(path)
    if model is None:
        model = _model_of(path, info)
    elif info is not None:
        check_settings(path, info, model.spec)
    spec, own = model.spec, model.state_dict()
    if info is None:
        tensors = translate(path, spec.system, tensors, own).tensors
    check_fit(path, tensors, own, spec.name, info)
    if info is None:  # of a file of ours, training has seen to it
        tensors = numbers(path, spec.system, tensors, own)
    model.load_state_dict(tensors, strict=True)
    return model


def load_named(
    path: str | Path, name: str | None, settings: Mapping[str, Any] | None = None
) -> SegmentationModel:
    """Load the network of a file beside which a configuration may be named.

    A file that says which network it holds is believed in every setting; the name must agree.

    Args:
        path: As for :func:`load_checkpoint`.
        name: A configuration; None takes what the file says.
        settings: What differs from ``name``, for a file that does not say which network it holds.

    Raises:
        InputError: There is no such name, or the file is of another system or configuration.
        CheckpointError, MissingComponentError: As for :func:`load_checkpoint`.
    """
    path = Path(path)
    if name is None:
        return load_checkpoint(path)
    info = read_info(path)
    if info is None:
        return load_checkpoint(path, create_model(name, **(settings or {})))
    check_name(path, info, name)
    return load_checkpoint(path)


def load_sam2_trunk(path: str | Path, trunk: nn.Module) -> None:
    """Fill a Hiera trunk from a SAM 2 checkpoint of Meta's; adapters keep their weights.

    Args:
        path: ``sam2_hiera_large.pt`` or another size's file.
        trunk: From :func:`differseg.backbones.hiera.create_hiera_trunk`.

    Raises:
        CheckpointError: As for :func:`load_checkpoint`.
    """
    path, prefix = Path(path), "image_encoder.trunk."
    own = {key: value for key, value in trunk.state_dict().items() if sam2_name(key)}
    ours = {f"{prefix}{sam2_name(key)}": key for key in own}
    tensors = {
        ours.get(key, key): value
        for key, value in read_tensors(path).items()
        if key.startswith(prefix)
    }
    check_fit(path, tensors, own, "Hiera trunk", None)
    trunk.load_state_dict(tensors, strict=False)


def read_info(path: str | Path) -> CheckpointInfo | None:
    """Return what a checkpoint says of itself; None for a file that differseg did not write.

    Raises:
        CheckpointError: No such file, not a checkpoint, or metadata of another schema.
    """
    text = metadata_of(Path(path)).get(METADATA_KEY)
    if text is None:
        return None
    try:
        info = from_plain(CheckpointInfo, parse_json(text, "CheckpointInfo"))
    except DifferSegError as error:
        raise CheckpointError(f"checkpoint {path}: metadata '{METADATA_KEY}': {error}") from None
    if info.schema != SCHEMA:
        raise CheckpointError(
            f"checkpoint {path}: metadata schema {info.schema}, this differseg reads {SCHEMA}; "
            "update differseg"
        )
    return info


def _model_of(path: Path, info: CheckpointInfo | None) -> SegmentationModel:
    if info is None:
        raise CheckpointError(
            f"checkpoint {path}: does not say which model it is; name the model "
            "('differseg models' lists them)"
        )
    try:
        return create_model(info.model, **info.config)
    except InputError as error:
        raise CheckpointError(f"checkpoint {path}: {error}") from None


def check_fit(
    path: Path,
    tensors: Mapping[str, Tensor],
    own: Mapping[str, Tensor],
    name: str,
    info: CheckpointInfo | None,
) -> None:
    """Compare names, shapes and kinds of numbers of a file's tensors with a network's own.

    Args:
        path: Of the file, for messages.
        tensors: What the file holds, under our names.
        own: The network's state dict.
        name: Of the network.
        info: What the file says of itself.

    Raises:
        CheckpointError: One line that says how the file differs.
    """
    said = "" if info is None else f"; the file says it is '{info.model}'"
    missing = _first(key for key in own if key not in tensors)
    unexpected = _first(key for key in tensors if key not in own)
    if missing or unexpected:
        parts = [f"missing {missing}"] * bool(missing)
        parts += [f"unexpected {unexpected}"] * bool(unexpected)
        raise CheckpointError(
            f"checkpoint {path}: not of the model '{name}': {', '.join(parts)}{said}"
        )
    for key, value in own.items():
        if tensors[key].shape != value.shape:
            got, expected = list(tensors[key].shape), list(value.shape)
            raise CheckpointError(
                f"checkpoint {path}: '{key}' has shape {got}, the model '{name}' expects "
                f"{expected}{said}"
            )
        if value.is_floating_point() and not tensors[key].is_floating_point():
            got_dtype = str(tensors[key].dtype).removeprefix("torch.")
            raise CheckpointError(
                f"checkpoint {path}: '{key}' holds {got_dtype} numbers, the model '{name}' expects "
                f"floating-point weights{said}; save the weights before they are quantized"
            )


def _first(keys: Iterable[str]) -> str:
    """Name the first key and count the others; empty when there is none."""
    found = list(keys)
    if not found:
        return ""
    return f"'{found[0]}'" + (f" and {len(found) - 1} more" if len(found) > 1 else "")
