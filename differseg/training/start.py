"""The weights that a run starts from (the file of ``--init``), and what checkpoints say of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from differseg.checkpoints import CheckpointInfo, check_fit, load_checkpoint, read_info
from differseg.errors import CheckpointError, InputError
from differseg.file_hash import sha256_of
from differseg.manifest import Decision, ThermalPolicy
from differseg.models import create_model
from differseg.models.base import SegmentationModel
from differseg.models.spec import ModelSpec
from differseg.provenance import LearntData, TrainingRecord
from differseg.schema import to_plain

_DIGITS = 16
"""Of a hash: enough to tell the weights that a run started from."""


@dataclass(frozen=True)
class StartWeights:
    """A checkpoint to start from.

    Attributes:
        path: The file.
        sha256: First 16 hex digits of the hash of its bytes: what a run started from is known by
            its content, wherever the file lies.
        info: What it says of itself; None for a file that differseg did not write.
        fresh: Entries that it has for other classes, which therefore start anew.
    """

    path: Path
    sha256: str
    info: CheckpointInfo | None
    fresh: tuple[str, ...] = ()

    @property
    def trained_on(self) -> str | None:
        """What the file says of its data, in words."""
        return self.info.trained_on if self.info else None

    @property
    def training(self) -> TrainingRecord | None:
        """What the file says of its training, for programs."""
        return self.info.training if self.info else None

    def notes(self, policy: ThermalPolicy) -> dict[str, str]:
        """Return what a checkpoint of these weights as they are records.

        Args:
            policy: What maps thermal images in this run.
        """
        return _notes(policy, self.trained_on, self.training)


def trained_notes(
    policy: ThermalPolicy,
    size_hw: tuple[int, int],
    learnt: LearntData,
    in_words: str,
    start: StartWeights | None,
) -> dict[str, str]:
    """Return what a checkpoint of trained weights records.

    Args:
        policy: What maps thermal images in this run.
        size_hw: Height and width of the batches.
        learnt: The data of this run.
        in_words: The same for a person.
        start: The weights it started from, whose data are named behind; None for fresh ones.
    """
    if start is None:
        return _notes(policy, in_words, TrainingRecord(size_hw, (learnt,)))
    before = start.training
    record = TrainingRecord(
        size_hw,
        (learnt, *(before.data if before else ())),
        complete=before is not None and before.complete,
    )
    unknown = f"weights {start.path.name}, which do not say what they learnt from"
    return _notes(policy, f"{in_words}; from: {start.trained_on or unknown}", record)


def _notes(
    policy: ThermalPolicy, trained_on: str | None, training: TrainingRecord | None
) -> dict[str, str]:
    notes = {"thermal_policy": json.dumps(to_plain(policy))}
    if trained_on:
        notes["trained_on"] = trained_on
    if training:
        notes["training"] = json.dumps(to_plain(training))
    return notes


def choose_thermal_policy(
    asked: Literal["percentile", "full"] | None, spec: ModelSpec, start: StartWeights | None
) -> tuple[ThermalPolicy, Decision | None]:
    """Return what maps thermal images, with its reason; no reason for a network that sees none.

    Args:
        asked: A kind of policy; None for that of the start, or the default.
        spec: The network's inputs.
        start: The weights that the run starts from; None for fresh ones.

    Raises:
        InputError: A policy for a network without a thermal input.
    """
    if all(modality.name != "thermal" for modality in spec.modalities):
        if asked is not None:
            raise InputError(
                f"--thermal-policy {asked}: {spec.name} has no thermal input; leave it away"
            )
        return ThermalPolicy(), None
    if asked is not None:
        policy, reason = ThermalPolicy(kind=asked), "asked for"
    elif start is not None and start.info is not None and start.info.thermal_policy is not None:
        policy, reason = start.info.thermal_policy, "--init was trained with it"
    elif start is not None:
        policy, reason = ThermalPolicy(), "default: --init does not say what it was trained with"
    else:
        policy, reason = ThermalPolicy(), "default: works with any camera"
    return policy, Decision("thermal policy", policy.kind, reason)


def load_start(path: Path, model: SegmentationModel) -> StartWeights:
    """Fill a network with the weights of a checkpoint.

    Where the file is of the same network for classes of other names, as many or not, the entries
    that depend on the classes keep the network's values.

    Raises:
        CheckpointError: The file cannot be read, or is of another network.
    """
    info, spec = read_info(path), model.spec
    same = info is not None and info.model == spec.name
    if same and info.config.get("classes") != spec.config.get("classes"):  # type: ignore[union-attr]
        fresh = _load_for_other_classes(path, model, info)
    else:
        load_checkpoint(path, model)
        fresh = ()
    try:
        return StartWeights(path, sha256_of(path)[:_DIGITS], info, fresh)
    except OSError as error:
        raise CheckpointError(f"checkpoint {path}: cannot be read: {error}") from None


def _load_for_other_classes(
    path: Path, model: SegmentationModel, info: CheckpointInfo | None
) -> tuple[str, ...]:
    """Fill what does not depend on the classes; returns the names of the rest."""
    given, own = load_checkpoint(path), model.state_dict()
    if _class_names(given.spec) == _class_names(model.spec):  # a set's name, or its names in full
        fresh: tuple[str, ...] = ()
    else:
        fresh = _entries_by_class(model)
    tensors = {**given.state_dict(), **{key: own[key] for key in fresh}}
    check_fit(path, tensors, own, model.spec.name, info)
    model.load_state_dict(tensors)
    return fresh


def _entries_by_class(model: SegmentationModel) -> tuple[str, ...]:
    """Return the entries whose shape another number of classes changes."""
    spec, own = model.spec, model.state_dict()
    names = [str(place) for place in range(4 if len(spec.classes) == 3 else 3)]
    other = create_model(spec.name, **{**spec.config, "classes": names}).state_dict()
    return tuple(key for key in own if own[key].shape != other[key].shape)


def _class_names(spec: ModelSpec) -> list[str]:
    return [known.name for known in spec.classes]
