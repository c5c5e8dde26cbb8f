"""Whether the network that a checkpoint says it holds is the one that is meant.

Strict loading compares tensors.  Settings without any, such as a thermal camera's statistics, the
names of classes or an attention without weights, would be lost silently; they are compared here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from differseg.errors import CheckpointError, InputError
from differseg.models.registry import find_model
from differseg.models.system import settings_of
from differseg.schema import to_plain

if TYPE_CHECKING:
    from differseg.checkpoints import CheckpointInfo
    from differseg.models.spec import ModelSpec

_OF_NO_WEIGHT = "size_hw"
"""Weights serve every size, so the one that a configuration was made for may be another."""


def check_settings(path: Path, info: CheckpointInfo, spec: ModelSpec) -> None:
    """Refuse to fill a network with the weights of one that has other settings.

    Args:
        path: Of the file, for the message.
        info: What the file says of itself.
        spec: Of the network that is to be filled.

    Raises:
        CheckpointError: Another system, or another value of a setting other than ``size_hw``.
    """
    holds = f"checkpoint {path}: holds '{info.model}'"
    system, config = _network_in(path, info)
    if system not in (None, spec.system):
        raise CheckpointError(
            f"{holds} of the system '{system}', the model '{spec.name}' is of '{spec.system}'; "
            f"name the model '{info.model}', or none"
        )
    key = _first_difference(config, spec.config)
    if key is not None:
        got = _shown(key, config)
        advice = f"build the model with {got}, or give none and the file's own is built"
        if info.model != spec.name:
            advice = f"name the model '{info.model}', or none"
        raise CheckpointError(
            f"{holds} with {got}, the model '{spec.name}' has {_shown(key, spec.config)}; {advice}"
        )


def check_name(path: Path, info: CheckpointInfo, name: str) -> None:
    """Refuse the name of a configuration that the network in a file is not of.

    Args:
        path: Of the file, for the message.
        info: What the file says of itself.
        name: Of a configuration, whose settings the file must have, or of a system.

    Raises:
        InputError: No such name, another system, or another value of a setting of ``name``.
        CheckpointError: The file's settings are none of its system.
    """
    named, pinned = find_model(name)
    holds = f"--model {name}: {path} holds '{info.model}'"
    system, config = _network_in(path, info)
    if system not in (None, named.name):
        raise InputError(
            f"{holds} of the system '{system}', '{name}' is of '{named.name}'; leave --model away"
        )
    key = _first_difference(config, pinned)
    if key is not None:
        raise InputError(
            f"{holds} with {_shown(key, config)}, '{name}' has {_shown(key, pinned)}; leave "
            "--model away"
        )


def _network_in(path: Path, info: CheckpointInfo) -> tuple[str | None, dict[str, Any]]:
    """Return system and complete settings; no system for a network that is not registered.

    An older file lacks the settings that came later: it means their defaults.
    """
    try:
        system, named = find_model(info.model)
    except InputError:
        return None, info.config
    try:
        settings = settings_of(info.model, system.config, {**named, **info.config})
        spec, _ = system.resolve(info.model, settings)
    except InputError as error:
        raise CheckpointError(f"checkpoint {path}: {error}") from None
    return system.name, spec.config


def _first_difference(config: Mapping[str, Any], other: Mapping[str, Any]) -> str | None:
    """Return the first setting that both have with two values; None where they agree."""
    for key, value in config.items():
        if key != _OF_NO_WEIGHT and key in other and to_plain(value) != to_plain(other[key]):
            return key
    return None


def _shown(key: str, config: Mapping[str, Any]) -> str:
    return f"{key}={config[key]!r:.80}"
