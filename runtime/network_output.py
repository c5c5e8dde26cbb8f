"""What a network's output buffers say about one frame: whether all is finite, and its mask.

A file gives probabilities, which are resized to the frame before anything is decided, or the mask
itself, decided in the graph at the network's size (:mod:`differseg.export.mask_output`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from differseg.errors import InputError
from differseg.manifest import Manifest
from differseg.runtime.decision import ArgmaxDecision, Decision, ThresholdDecision

Buffers = Mapping[str, npt.NDArray[Any]]
"""Output name -> (1, ...) buffer, filled by the engine."""


class NetworkOutput(Protocol):
    """The outputs of one set of buffers."""

    @property
    def probability(self) -> npt.NDArray[np.float32] | None:
        """(Hm, Wm) or (K, Hm, Wm) float32 in 0..1; None where the graph gives masks."""

    def is_finite(self) -> bool:
        """Whether the network gave neither NaN nor infinity; to be asked before :meth:`fill`."""

    def fill(self, mask: npt.NDArray[np.uint8]) -> list[float]:
        """Fill (H, W) uint8 with class ids; return each class's part of it, 0..1."""


class ProbabilityOutput:
    """Probabilities; see :class:`NetworkOutput`.

    Args:
        output: (Hm, Wm) or (K, Hm, Wm), float32 or float16.
        decision: Makes masks of them.
    """

    def __init__(self, output: npt.NDArray[Any], decision: Decision) -> None:
        self._output, self._decision = output, decision
        # A view where the network gives float32: its output buffer is the result's.
        self.probability: npt.NDArray[np.float32] = output.astype(np.float32, copy=False)

    def is_finite(self) -> bool:
        """One number tells NaN and infinity without a pass that allocates a boolean image."""
        if self._output.dtype != np.float32:
            np.copyto(self.probability, self._output)
        return math.isfinite(float(self.probability.sum(dtype=np.float32)))

    def fill(self, mask: npt.NDArray[np.uint8]) -> list[float]:
        """Decide at the size of the mask."""
        return self._decision.fill(self.probability, mask)


class MaskOutput:
    """A mask that the graph decided; see :class:`NetworkOutput`.

    Args:
        places: (Hm, Wm) uint8, the place of each pixel's class in the manifest.
        mean: Any number of float32 that are finite when all was.
        ids: Class id of each place.
    """

    def __init__(
        self, places: npt.NDArray[np.uint8], mean: npt.NDArray[np.float32], ids: Sequence[int]
    ) -> None:
        self.probability: npt.NDArray[np.float32] | None = None
        self._places, self._mean, self._count = places, mean, len(ids)
        self._table = np.zeros(256, np.uint8)
        self._table[: len(ids)] = ids
        self._renames = list(ids) != list(range(len(ids)))
        self._histogram = np.empty((256, 1), np.float32)

    def is_finite(self) -> bool:
        """The graph's own mean tells."""
        return bool(np.isfinite(self._mean).all())

    def fill(self, mask: npt.NDArray[np.uint8]) -> list[float]:
        """Take the nearest pixel of the graph's mask (classes are never mixed)."""
        if mask.shape == self._places.shape:
            np.copyto(mask, self._places)
        else:
            size_wh = (mask.shape[1], mask.shape[0])
            cv2.resize(self._places, size_wh, dst=mask, interpolation=cv2.INTER_NEAREST_EXACT)
        # Float32 counts whole numbers exactly up to 16.7 million pixels.
        cv2.calcHist([mask], [0], None, [256], [0, 256], hist=self._histogram)
        parts = [float(count) / mask.size for count in self._histogram[: self._count, 0]]
        if self._renames:
            cv2.LUT(mask, self._table, dst=mask)
        return parts


def output_reader(manifest: Manifest, threshold: float | None, buffers: Buffers) -> NetworkOutput:
    """Return what reads a set of output buffers.

    Args:
        manifest: Of the model file.
        threshold: As the user gave it, None for the manifest's.
        buffers: The engine's outputs.

    Raises:
        InputError: A threshold for a model that has none.
    """
    spec = manifest.outputs[0]
    ids = [entry.id for entry in manifest.classes]
    if threshold is not None and spec.kind != "probability":
        why = (
            "gives masks, decided in the graph"
            if spec.kind == "mask"
            else f"has {len(ids)} classes and takes the most probable one at every pixel"
        )
        raise InputError(f"threshold: {manifest.model} {why}; leave the threshold out")
    maps = buffers[spec.name][0]  # (1 or K, Hm, Wm)
    if spec.kind == "mask":
        mean = next(output.name for output in manifest.outputs if output.kind == "mean")
        return MaskOutput(maps[0], buffers[mean], ids)
    if spec.kind == "probability":
        limit = manifest.threshold if threshold is None else threshold
        return ProbabilityOutput(maps[0], ThresholdDecision(ids, limit))
    return ProbabilityOutput(maps, ArgmaxDecision(ids))


def as_probability(manifest: Manifest, buffers: Buffers) -> npt.NDArray[np.float32]:
    """Return a copy of the probability (1, 1, H, W), or (1, K, H, W), float32 of one frame.

    Of a graph that gives masks it is 0 or 1, and NaN everywhere where the network gave NaN or
    infinity.
    """
    spec, count = manifest.outputs[0], len(manifest.classes)
    if spec.kind != "mask":
        return buffers[spec.name].astype(np.float32)
    places = buffers[spec.name]
    shown = range(1, 2) if count == 2 else range(count)
    maps = np.concatenate([places == place for place in shown], axis=1).astype(np.float32)
    mean = next(output.name for output in manifest.outputs if output.kind == "mean")
    if not np.isfinite(buffers[mean]).all():
        maps.fill(np.nan)
    return maps
