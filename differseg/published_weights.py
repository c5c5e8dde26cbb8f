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
