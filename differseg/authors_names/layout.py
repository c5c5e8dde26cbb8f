"""What is known of each system's published checkpoints, in one table; standard library only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from differseg.authors_names import differseg, fsanet, rgbt_fusion, segnext

Shapes = Mapping[str, Sequence[int]]
"""The publisher's name of every tensor, with its shape."""


def _same(name: str) -> str:
    return name


def _no_constant(name: str) -> None:
    return None


def _nothing_stored(config: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    return {}


@dataclass(frozen=True)
class PublishedLayout:
    """How a publisher names a network's weights.

    Attributes:
        name: From one of our keys to the publisher's, one to one.
        detect: From names and shapes to the settings for ``create_model`` that they tell; None
            for another system's weights; raises CheckpointError for this system with something
            that differseg has not.  A ``task`` that the tensors leave open is not in it.
        newest: From any published spelling to the newest one.
        constant: The numbers that an entry without a counterpart must hold, as nested lists
            that broadcast to its shape; None for a weight.
        stored: From the arguments that the file keeps under ``config``, and the settings that
            the tensors tell, to further settings; raises CheckpointError where they disagree.
        least: The least number that one of our entries may hold.
    """

    name: Callable[[str], str]
    detect: Callable[[Shapes], dict[str, Any] | None]
    newest: Callable[[str], str] = _same
    constant: Callable[[str], list[Any] | None] = _no_constant
    stored: Callable[[Mapping[str, Any], Mapping[str, Any]], dict[str, Any]] = _nothing_stored
    least: Mapping[str, float] = field(default_factory=dict)


def _lowpass_constant(name: str) -> list[list[float]] | None:
    return rgbt_fusion.lowpass_kernel() if rgbt_fusion.LOWPASS_KERNEL.match(name) else None


LAYOUTS: dict[str, PublishedLayout] = {
    "differseg": PublishedLayout(differseg.differseg_name, differseg.detect),
    "fsanet": PublishedLayout(
        fsanet.fsanet_name, fsanet.detect, newest=fsanet.newest_name, least=fsanet.LEAST
    ),
    "rgbt_fusion": PublishedLayout(
        rgbt_fusion.rgbt_fusion_name,
        rgbt_fusion.detect,
        constant=_lowpass_constant,
        stored=rgbt_fusion.stored,
    ),
    "segnext": PublishedLayout(
        segnext.segnext_name, segnext.detect, constant=segnext.segnext_constant
    ),
}
"""The systems whose authors' weights can be read."""
