"""The network to export: built, filled with weights, and ready to run on raw camera frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from differseg.checkpoints import load_named, read_info
from differseg.errors import InputError
from differseg.file_hash import sha256_of
from differseg.manifest import ThermalPolicy, WeightsRecord
from differseg.models.deployment import DeploymentModule
from differseg.models.registry import create_model
from differseg.models.spec import ModelSpec
from differseg.models.system import LARGEST_PX, shipped_weights

RANDOM_SEED = 0
"""Seed of the weights of a network that has no trained ones."""


@dataclass
class NetworkSource:
    """A network with what is known of its weights.

    Attributes:
        module: The network with input normalisation and output head.
        weights: Where the weights came from.
        thermal_policy: What mapped thermal images in training, where the checkpoint says.
        parameters: Number of parameters.
    """

    module: DeploymentModule
    weights: WeightsRecord
    thermal_policy: ThermalPolicy | None
    parameters: int

    @property
    def spec(self) -> ModelSpec:
        """The network's contract."""
        return self.module.spec

    @property
    def is_random(self) -> bool:
        """Whether the weights are untrained."""
        return self.weights.source.startswith("random")


def load_network(
    name: str | None, checkpoint: Path | None, settings: Mapping[str, Any] | None = None
) -> NetworkSource:
    """Build a network with the best weights that there are.

    Args:
        name: A configuration; None takes the one that the checkpoint names.
        checkpoint: Weights; None takes the shipped ones, or seeded random ones.
        settings: What differs from ``name``, for weights that do not say which network they fill.

    Raises:
        InputError: Neither is given, there is no such configuration, or the checkpoint is of
            another one.
        CheckpointError: The weights do not fit.
    """
    if name is None and checkpoint is None:
        raise InputError("export: name a --model ('differseg models' lists them) or a --checkpoint")
    shipped = shipped_weights(name) if name is not None and checkpoint is None else None
    path = checkpoint or shipped
    info = read_info(path) if path is not None else None
    torch.manual_seed(RANDOM_SEED)
    if path is None:
        network = create_model(str(name))
        weights = WeightsRecord(source=f"random (seed {RANDOM_SEED})")
    else:
        network = load_named(path, name, settings)
        weights = WeightsRecord(
            source=f"shipped with differseg as {path.name}" if shipped else path.name,
            sha256=sha256_of(path),
            trained_on=info.trained_on if info else None,
        )
    return NetworkSource(
        module=DeploymentModule(network),
        weights=weights,
        thermal_policy=info.thermal_policy if info else None,
        parameters=sum(p.numel() for p in network.parameters()),
    )


def checked_size(spec: ModelSpec, size_hw: tuple[int, int] | None) -> tuple[int, int]:
    """Return the size to export at: ``size_hw``, or the configuration's own.

    Raises:
        InputError: A side is not a multiple of ``spec.multiple``, or too long; names the nearest
            valid sizes.
    """
    if size_hw is None:
        return spec.size_hw
    step = spec.multiple
    if all(0 < side <= LARGEST_PX and side % step == 0 for side in size_hw):
        return size_hw
    wanted = [min(max(side, step), LARGEST_PX) for side in size_hw]
    lower = [side // step * step for side in wanted]
    upper = [-(-side // step) * step for side in wanted]
    nearest = " or ".join(dict.fromkeys(f"{h}x{w}" for h, w in (lower, upper)))
    got = f"{size_hw[0]}x{size_hw[1]}"
    raise InputError(
        f"export: --size: {spec.name} takes multiples of {step} up to {LARGEST_PX} pixels, got "
        f"{got} (height x width); the nearest: {nearest}"
    )
