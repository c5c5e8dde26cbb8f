"""One form of a model in a comparison: what it takes, what it gives, what it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from differseg.export.parity_result import Side
from differseg.manifest import InputSpec, Manifest

Arrays = Mapping[str, npt.NDArray[Any]]
"""Input name -> array as ``InputSpec`` describes it."""


class Runner(Protocol):
    """One form of a model, ready to run.

    Attributes:
        side: What it is, for tables and the report; ``side.threshold`` makes its mask.
        inputs: What it takes.
    """

    side: Side
    inputs: tuple[InputSpec, ...]

    def probability(self, arrays: Arrays) -> npt.NDArray[np.float32]:
        """Return the probability (1, 1, H, W), or (1, K, H, W), float32 of one image."""

    def close(self) -> None:
        """Give the memory back."""


def side_of(
    manifest: Manifest,
    *,
    name: str,
    kind: str,
    source: str,
    sha256: str | None,
    versions: dict[str, str],
) -> Side:
    """Describe a form for tables and the report, by the manifest of what it computes.

    Args:
        manifest: Of the form itself, or of the file that was made from it.
        name: What the tables call it.
        kind: What runs it, such as ``PyTorch``.
        source: The file, or where the weights are from.
        sha256: Of the file; None for weights that are in no file.
        versions: Package -> version of what runs it.
    """
    weights = manifest.weights
    trained_on = f", trained on {weights.trained_on}" if weights.trained_on else ""
    return Side(
        name=name,
        kind=kind,
        model=manifest.model,
        threshold=manifest.threshold,
        source=source,
        sha256=sha256,
        precision=manifest.precision,
        weights=weights.source + trained_on,
        versions=versions,
        classes=manifest.classes,
    )
