"""What the registry knows of a system without building it; standard library only."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from differseg.errors import InputError
from differseg.models.spec import ModelSpec, Task

LARGEST_PX = 8192
"""Longest side of an input."""

WIDEST = 1024
"""Most channels of a layer that a setting may ask for: a checkpoint must not ask for terabytes."""


@dataclass(frozen=True)
class ModelInfo:
    """One named configuration; ``params`` and ``gmacs`` are at ``size_hw``, batch 1."""

    name: str
    system: str
    task: Task
    summary: str
    inputs: tuple[str, ...]
    size_hw: tuple[int, int]
    params: int
    gmacs: float
    config: dict[str, Any] = field(default_factory=dict)

    @property
    def shipped_weights(self) -> Path | None:
        """Path of the weights in the package, or None."""
        return shipped_weights(self.name)


@dataclass(frozen=True)
class System:
    """One published network with its named configurations.

    Attributes:
        name: The module ``differseg.models.<name>`` has ``build(spec, config)``; also a name that
            ``create_model`` takes, with every setting at its default.
        config: Frozen dataclass of the settings; every field has a default.
        models: The named configurations.
        resolve: Takes a model's name and its settings, checks them, and returns what the network
            is and the settings with nothing left to fill in.
    """

    name: str
    config: type
    models: tuple[ModelInfo, ...]
    resolve: Callable[[str, Any], tuple[ModelSpec, Any]]


def shipped_weights(name: str) -> Path | None:
    """Return the path of the weights that the package ships for a configuration, or None."""
    path = Path(str(resources.files("differseg"))) / "weights" / f"{name}.safetensors"
    return path if path.is_file() else None


def settings_of(name: str, config: type, values: dict[str, Any]) -> Any:
    """Return the dataclass ``config`` with these values.

    Raises:
        InputError: A key that it has not; the nearest one is named.
    """
    fields = [f.name for f in dataclasses.fields(config)]
    for key in values:
        if key not in fields:
            near = difflib.get_close_matches(key, fields, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(fields)}"
            raise InputError(f"create_model('{name}'): there is no setting '{key}'; {hint}")
    return config(**values)


def plain(settings: Any) -> dict[str, Any]:
    """Return settings as what JSON gives back, for ``ModelSpec.config``."""
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in dataclasses.asdict(settings).items()
    }


def check_choice(name: str, key: str, value: Any, choices: tuple[Any, ...]) -> None:
    """Refuse a value that is none of the choices.

    Raises:
        InputError: Names model, setting, choices and value.
    """
    if value not in choices:
        shown = ", ".join(map(repr, choices))
        raise InputError(f"create_model('{name}'): {key}: expected one of {shown}; got {value!r}")


def integers(name: str, key: str, value: Any, count: int, *, multiple: int, most: int) -> Any:
    """Return ``value`` as a tuple of ``count`` positive multiples, or say what is wrong.

    Raises:
        InputError: Another number of values, or one that is no positive multiple up to ``most``.
    """
    values = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    good = all(
        isinstance(v, int) and not isinstance(v, bool) and 0 < v <= most and v % multiple == 0
        for v in values
    )
    if len(values) != count or not good:
        raise InputError(
            f"create_model('{name}'): {key}: expected {count} positive multiples of {multiple} "
            f"up to {most}, got {value!r:.80}"
        )
    return values
