"""What a run decides for the user, each with its reason, and by what it is known again."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from differseg.data.datasets.registry import resolved_data
from differseg.manifest import Decision, ThermalPolicy
from differseg.models.spec import ModelSpec
from differseg.schema import to_plain
from differseg.training.class_weights import choose_class_weights
from differseg.training.learning import Learning
from differseg.training.norms import choose_freeze_norm
from differseg.training.options import TrainOptions
from differseg.training.precision import choose_device, choose_precision
from differseg.training.processes import Processes
from differseg.training.run_folder import NOTES
from differseg.training.samples import SYNTHETIC, TrainingData
from differseg.training.start import StartWeights

_FREE_FIELDS = {
    "out", "recipe", "workers", "device", "synthetic_cache", "snapshot_minutes", "resume",
    "restart", "json", "qat", "tensorboard", "teacher",
}  # fmt: skip
"""Options that may differ when a run goes on: they do not define what is learnt. Files of ``--qat``
and ``--teacher``, and what a recipe says, are known by their content."""

_UNWRITTEN = {
    "patience", "accumulate", "optimizer", "schedule", "modality_dropout", "rgb_dropout",
    "compile", "deterministic", "sync_norm", "teacher_model", "teacher_weight",
    "teacher_temperature", "teacher_features", "feature_weight",
}  # fmt: skip
"""Options whose default is not written, so that runs from before there were these go on."""


@dataclasses.dataclass(frozen=True)
class Choices:
    """What is decided for the user, each with its reason."""

    device: Decision
    workers: Decision
    precision: Decision
    freeze_norm: Decision
    class_weights: Decision
    weight_values: tuple[float, ...] | None
    thermal_policy: Decision | None
    label_rule: Decision | None

    @property
    def lasting(self) -> list[Decision]:
        """All but device and data workers, which may be others when a run goes on."""
        of_data = (self.thermal_policy, self.label_rule)
        return [
            self.precision, self.freeze_norm, self.class_weights,
            *(choice for choice in of_data if choice is not None),
        ]  # fmt: skip


def device_of(options: TrainOptions, processes: Processes) -> Decision:
    """Return the device of this process.

    Raises:
        InputError: Not a device.
        MissingComponentError: A GPU that torch does not see.
    """
    if processes.device is None:
        return choose_device(options.device)
    reason = f"process {processes.rank + 1} of {processes.count}"
    return Decision("device", str(processes.device), reason)


def choose(
    options: TrainOptions,
    spec: ModelSpec,
    data: TrainingData,
    thermal_policy: Decision | None,
    device: Decision,
    workers: Decision,
) -> Choices:
    """Decide what the options leave open beside device and data workers.

    Raises:
        InputError: Numbers or weights that there are not.
    """
    weights, values = choose_class_weights(options.class_weights, spec.classes, data.train)
    return Choices(
        device,
        workers,
        choose_precision(options.precision, torch.device(device.value)),
        choose_freeze_norm(options.freeze_norm, options.init is not None),
        weights,
        values,
        thermal_policy,
        data.label_rule,
    )


def identity(
    options: TrainOptions,
    spec: ModelSpec,
    data: TrainingData,
    size_hw: tuple[int, int],
    start: StartWeights | None,
    choices: Choices,
    learning: Learning,
    processes: Processes,
) -> dict[str, Any]:
    """Return what must be equal for a run to go on, and notes on it, as plain JSON values."""
    asked = {
        field.name: getattr(options, field.name)
        for field in dataclasses.fields(options)
        if field.name not in _FREE_FIELDS
        and not (field.name in _UNWRITTEN and getattr(options, field.name) == field.default)
    }
    synthetic = options.data == SYNTHETIC
    document = {
        **asked,
        "data": SYNTHETIC if synthetic else resolved_data(options.data),
        "size": list(size_hw),
        "classes": [known.name for known in spec.classes],
        "init": start and f"sha256 {start.sha256}",
        "precision": choices.precision.value,
        "freeze_norm": choices.freeze_norm.value == "on",
        # The default is not written: runs from before there was a choice go on.
        "thermal_policy": None if data.policy == ThermalPolicy() else to_plain(data.policy),
        "samples": data.description,
        NOTES: {
            "init": start and str(start.path),
            "recipe": options.recipe,
            "decisions": [dataclasses.asdict(choice) for choice in choices.lasting],
        },
    }
    if learning != Learning():
        document["recipe"] = to_plain(learning)
    if processes.count > 1:
        document["processes"] = processes.count
    return document
