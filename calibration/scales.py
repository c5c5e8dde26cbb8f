"""One scale for every tensor that is quantised, from what it holds on the images of a set.

Histograms, the entropy and the percentile method are ONNX Runtime's own (its calibration library);
symmetric, as TensorRT's int8 is: -127..127 and a zero point of 0.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Sequence
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import onnx
from onnxruntime.quantization import quant_utils
from onnxruntime.quantization.calibrate import HistogramCollector

from differseg.errors import CheckFailedError, InputError
from differseg.export.tensor_values import Feed, tensor_values

Method = Literal["min-max", "entropy", "percentile"]
"""How the largest number of a tensor that still has a code of its own is chosen."""

PERCENTILE = 99.99
_BINS = {"entropy": 512, "percentile": 2048}
"""Of a histogram. ONNX Runtime's default of 128 leaves its entropy method one choice, the whole
range; NVIDIA's 2048 take it minutes."""
_ENTROPY_BINS = 128
LEVELS, REDUCED_LEVELS = 127, 63
"""Largest code of int8, and of the 7 bits that processors without VNNI add without overflow."""


def tensor_scales(
    model: onnx.ModelProto,
    groups: Sequence[tuple[str, ...]],
    feeds: Iterable[Feed],
    *,
    method: Method = "entropy",
    threads: int = 0,
) -> dict[str, float]:
    """Return the scale of every tensor; those of a group have the largest one's.

    Args:
        model: A float32 graph with shapes.
        groups: The tensors, those with one scale together.
        feeds: Inputs of real images; read several times.
        method: See :data:`Method`.
        threads: Of ONNX Runtime; 0 takes one per core.

    Raises:
        InputError: An unknown method.
        CheckFailedError: A tensor holds NaN, infinity, or nothing but zeros, with its name.
    """
    if method not in get_args(Method):
        raise InputError(f"method: expected one of {', '.join(get_args(Method))}, got '{method}'")
    names = [name for group in groups for name in group]
    given = {entry.name for entry in model.graph.input}
    made = [name for name in names if name not in given]
    collector = _Collector(method)
    for _, found in tensor_values(model, made, feeds, threads=threads):
        for name, values in found.items():
            collector.add(name, values)
    read = given.intersection(names)
    if read:
        for feed in feeds:
            for name in read:
                collector.add(name, feed[name])
    limits = collector.limits()
    scales = {}
    for group in groups:
        largest = max(limits[name] for name in group)
        if not largest > 0:
            raise CheckFailedError(
                f"tensor '{group[0]}' is zero on every image of the calibration set, so it has no "
                "scale; take images that the network answers to"
            )
        scales.update({name: _scale(largest, LEVELS) for name in group})
    return scales


class _Collector:
    """Takes tensors image by image and gives the largest number that is kept of each."""

    def __init__(self, method: Method) -> None:
        self._method = method
        self._largest: dict[str, float] = {}
        self._histograms = _Histograms(
            method, True, _BINS.get(method, 0), _ENTROPY_BINS, PERCENTILE, "same"
        )

    def add(self, name: str, values: npt.NDArray[np.float32]) -> None:
        largest = float(np.abs(values).max()) if values.size else 0.0
        if not np.isfinite(largest):
            raise CheckFailedError(
                f"tensor '{name}' holds NaN or infinity on an image of the calibration set; look "
                "at the image, or at the network with 'differseg parity --layers'"
            )
        self._largest[name] = max(largest, self._largest.get(name, 0.0))
        if self._method == "entropy" and largest > 0:
            self._histograms.collect_value({name: values})
        elif self._method == "percentile":
            self._histograms.collect_absolute_value({name: values})

    def limits(self) -> dict[str, float]:
        if self._method == "min-max":
            return self._largest
        with contextlib.redirect_stdout(io.StringIO()):  # it tells of itself
            found = self._histograms.compute_collection_result()
        kept = {
            name: max(abs(float(low)), abs(float(high))) for name, (low, high, *_) in found.items()
        }
        # A tensor that is almost always 0 has a percentile of 0; its range is all that it has.
        return {name: kept.get(name) or largest for name, largest in self._largest.items()}


class _Histograms(HistogramCollector):
    """ONNX Runtime's, with bins of equal width: its own sorts the numbers of every later image.

    Where an image goes beyond the last bin, bins are joined, so their number stays.
    """

    def collect_absolute_value(self, name_to_arr: dict[str, npt.NDArray[np.float32]]) -> None:
        for name, values in name_to_arr.items():
            sizes = np.abs(values).ravel()
            largest = float(sizes.max(initial=0.0))
            known = self.histogram_dict.get(name)
            counts, top = np.zeros(self.num_bins, np.int64), largest
            if known is not None:
                counts, top = known[0], float(known[1][-1])
            if top == largest == 0:  # nothing but zeros so far
                counts[0] += sizes.size
            else:
                counts, top = _widened(counts, top, largest)
                counts = counts + np.histogram(sizes, self.num_bins, (0, top))[0]
            edges = np.linspace(0, top, self.num_bins + 1, dtype=np.float32)
            # Both ends of what was seen, between which ONNX Runtime keeps its result.
            self.histogram_dict[name] = (counts, edges, edges.dtype.type(-top), edges[-1])


def _widened(
    counts: npt.NDArray[np.int64], top: float, largest: float
) -> tuple[npt.NDArray[np.int64], float]:
    """Return the histogram up to at least a number, by joining bins."""
    if top == 0:
        return counts, largest
    factor = max(1, int(np.ceil(largest / top)))
    joined = np.add.reduceat(counts, np.arange(0, len(counts), factor))
    widened = np.zeros_like(counts)
    widened[: len(joined)] = joined
    return widened, top * factor


def _scale(largest: float, levels: int) -> float:
    _, scale = quant_utils.compute_scale_zp(
        np.float32(-largest), np.float32(largest), np.int8(-levels), np.int8(levels), True
    )
    return float(np.asarray(scale))


def quantized_weight(
    weight: npt.NDArray[np.float32],
    axis: int | None,
    *,
    reduce_range: bool = False,
    dtype: npt.DTypeLike = np.float32,
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.floating]]:
    """Return a weight's codes and its scale, or one scale for each entry of an axis.

    Args:
        weight: The numbers.
        axis: Whose entries have a scale each; None for one scale.
        reduce_range: Use the codes -63..63 alone.
        dtype: Of the scales; the codes are those of the rounded scale.

    Returns:
        int8 codes of the weight's shape, and the scale: () or (entries,).
    """
    levels = REDUCED_LEVELS if reduce_range else LEVELS
    others = tuple(i for i in range(weight.ndim) if i != axis)
    largest = np.abs(weight).max(axis=others if axis is not None else None)
    tiny = float(np.finfo(np.dtype(dtype)).tiny)  # of a channel of zeros
    scale = np.maximum(np.asarray(largest, np.float64) / levels, tiny).astype(dtype)
    wide = scale.astype(np.float64)
    if axis is not None:
        wide = wide.reshape([-1 if i == axis else 1 for i in range(weight.ndim)])
    codes = np.clip(np.rint(weight / wide), -levels, levels).astype(np.int8)
    return codes, scale
