"""Published tensors under our names: renamed, and what is no weight checked and left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from differseg.authors_names.layout import LAYOUTS, PublishedLayout
from differseg.errors import CheckpointError

CONSTANT_TOLERANCE = 1e-6
"""Largest difference between a stored constant and its formula in the constant's kind of number."""
_VARIANCE = ".running_var"
"""Entries that are a mean of squares."""
_LARGEST_CONSTANT = 1 << 20
"""Most numbers of a constant; views in a file make any size out of a few bytes."""


@dataclass(frozen=True)
class Translation:
    """Tensors under our names and what became of every published one.

    ``names`` maps a published name to ours; ``dropped`` maps it to the reason why it has no
    counterpart.  A name that is neither stands in ``tensors`` as it is.
    """

    tensors: dict[str, Tensor]
    names: dict[str, str]
    dropped: dict[str, str]


def translate(
    path: Path, system: str, tensors: Mapping[str, Tensor], own: Iterable[str]
) -> Translation:
    """Rename a system's published tensors; names that are ours already stay.

    Args:
        path: Of the file, for messages.
        system: A system of the registry.
        tensors: By published name, in any spelling.
        own: The keys of our network.

    Raises:
        CheckpointError: Two entries are the same weight, or an entry that must be a constant
            holds other numbers.
    """
    layout = LAYOUTS.get(system)
    if layout is None:
        return Translation(dict(tensors), {key: key for key in tensors}, {})
    keys = list(own)
    ours = {key: key for key in keys} | {layout.name(key): key for key in keys}
    found = Translation({}, {}, {})
    for stored, value in tensors.items():
        name = layout.newest(stored)
        key = ours.get(name)
        if key is None and _is_constant(path, layout, name, value):
            found.dropped[stored] = "a constant, equal to its formula"
            continue
        key = name if key is None else key
        if key in found.tensors:
            raise CheckpointError(f"checkpoint {path}: entry '{stored}' is in the file twice")
        found.tensors[key] = value
        found.names[stored] = key
    return found


def _is_constant(path: Path, layout: PublishedLayout, name: str, value: Tensor) -> bool:
    """Say whether an entry is a constant of the network; refuse one with other numbers."""
    constant = layout.constant(name)
    if constant is None:
        return False
    if not value.is_floating_point():
        kind = str(value.dtype).removeprefix("torch.")
        raise CheckpointError(
            f"checkpoint {path}: '{name}' holds {kind} numbers, expected floating-point ones; save "
            "the weights before they are quantized"
        )
    # A file of half-precision numbers holds the formula's results as such numbers.
    expected = torch.tensor(constant, dtype=torch.float64).to(value.dtype).double()
    try:
        expected = expected.expand(value.shape)
    except RuntimeError:
        fits = False
    else:
        fits = value.numel() <= _LARGEST_CONSTANT
    if not fits:
        raise CheckpointError(
            f"checkpoint {path}: '{name}' has shape {list(value.shape)}, expected "
            f"{list(torch.tensor(constant).shape)}; the weights belong to another network"
        )
    error = (value.double() - expected).abs().max().item() if value.numel() else 0.0
    if not error <= CONSTANT_TOLERANCE:
        raise CheckpointError(
            f"checkpoint {path}: '{name}' is a constant, but differs from its formula by "
            f"{error:.2g} (at most {CONSTANT_TOLERANCE:g}); the weights belong to another network"
        )
    return True


def numbers(
    path: Path, system: str, tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return tensors in our network's kinds of number, each a copy in a memory of its own.

    Args:
        path: Of the file, for messages.
        system: A system of the registry.
        tensors: By our name, all of which ``own`` has.
        own: The state dict of our network.

    Raises:
        CheckpointError: NaN, infinite or impossible numbers, with the entry's name.
    """
    layout = LAYOUTS.get(system)
    ready = {}
    for key, value in tensors.items():
        least = 0.0 if key.endswith(_VARIANCE) else layout.least.get(key) if layout else None
        ready[key] = _numbers(path, key, value, own[key].dtype, least)
    return ready


def _numbers(
    path: Path, key: str, value: Tensor, dtype: torch.dtype, least: float | None
) -> Tensor:
    """Return an entry in the network's kind of number, or say which of its numbers are wrong."""
    try:
        # A copy of its own: entries of a file may share memory, which safetensors refuses.
        cast = value.to(dtype, copy=True).contiguous()
    except (NotImplementedError, RuntimeError):
        kinds = " to ".join(str(kind).removeprefix("torch.") for kind in (value.dtype, dtype))
        raise CheckpointError(
            f"checkpoint {path}: '{key}' cannot be turned from {kinds}; save the weights as float32"
        ) from None
    # A count of float kind would become any number at all, so it is looked at before.
    if not bool(torch.isfinite(cast if cast.is_floating_point() else value.double()).all()):
        raise CheckpointError(
            f"checkpoint {path}: '{key}' holds NaN or infinite numbers as "
            f"{str(dtype).removeprefix('torch.')}; take a snapshot of an earlier epoch"
        )
    if least is not None and cast.numel() and cast.min().item() < least:
        raise CheckpointError(
            f"checkpoint {path}: '{key}' holds {cast.min().item():g}, expected at least {least:g}; "
            "take another snapshot of the training"
        )
    return cast
