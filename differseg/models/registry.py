"""All systems, and the two functions that list and build their networks."""

from __future__ import annotations

import difflib
import importlib
from typing import TYPE_CHECKING, Any

from differseg.errors import InputError
from differseg.extras import naming_the_extra
from differseg.models.configs.differseg import DIFFERSEG
from differseg.models.configs.fsanet import FSANET
from differseg.models.configs.rgbt_fusion import RGBT_FUSION
from differseg.models.configs.segnext import SEGNEXT
from differseg.models.configs.sfm import SFM
from differseg.models.system import ModelInfo, System, settings_of

if TYPE_CHECKING:
    from differseg.models.base import SegmentationModel

SYSTEMS: tuple[System, ...] = (DIFFERSEG, FSANET, RGBT_FUSION, SEGNEXT, SFM)
_MODELS = {info.name: (system, info) for system in SYSTEMS for info in system.models}


def list_models() -> list[ModelInfo]:
    """Return every named configuration, system by system, the edge ones first."""
    return [info for _, info in _MODELS.values()]


def create_model(name: str, /, **config: Any) -> SegmentationModel:
    """Build a network with fresh weights.

    Args:
        name: A named configuration of :func:`list_models`, or a system, such as ``differseg``.
        **config: Settings that differ from the named configuration; a system's settings are the
            fields of its dataclass in :mod:`differseg.models.configs`.

    Returns:
        A network in training mode with ``spec``.

    Raises:
        InputError: Unknown name, unknown key (nearest match named) or a value out of range.
        MissingComponentError: A package that the network needs is not installed.
    """
    system, named = find_model(name)
    config = {**named, **config}
    spec, settings = system.resolve(name, settings_of(name, system.config, config))
    # Here, not at the top: listing needs no torch.
    with naming_the_extra("create_model"):
        module = importlib.import_module(f"differseg.models.{system.name}")
    network: SegmentationModel = module.build(spec, settings)
    return network


def find_model(name: str) -> tuple[System, dict[str, Any]]:
    """Return the system of a name, and the settings that the name stands for.

    Args:
        name: A named configuration, or a system, whose name stands for no setting.

    Raises:
        InputError: There is no such name; the nearest one is named.
    """
    systems = {system.name: system for system in SYSTEMS}
    if name in _MODELS:
        system, info = _MODELS[name]
        return system, info.config
    if name in systems:
        return systems[name], {}
    near = difflib.get_close_matches(name, [*systems, *_MODELS], n=1)
    hint = f"did you mean '{near[0]}'?" if near else "'differseg models' lists them"
    raise InputError(f"create_model: there is no model '{name}'; {hint}")
