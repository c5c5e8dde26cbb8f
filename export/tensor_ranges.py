"""What numbers every tensor of a network holds on real images, and what float16 makes of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import onnx

from differseg.export.tensor_values import Array, Feed, float_tensors, tensor_values

HALF_MAX = 65504.0
"""The largest number of float16."""
_SAMPLED = 1 << 16
"""Numbers of a tensor that are rounded in a run; all of them count for the range."""


@dataclass
class TensorRange:
    """The numbers of one tensor over all images.

    Attributes:
        name: The tensor.
        low: Smallest number.
        high: Largest one.
        count: How many numbers were seen.
        nonfinite: How many of them are NaN or infinite.
        sampled: How many finite ones were rounded: of a large tensor a part, evenly spread.
        flushed: How many of these are not zero and become zero in float16.
        power: Sum of their squares.
        half_error_power: Sum of the squared differences that rounding to float16 makes.
    """

    name: str
    low: float = np.inf
    high: float = -np.inf
    count: int = 0
    nonfinite: int = 0
    sampled: int = 0
    flushed: int = 0
    power: float = 0.0
    half_error_power: float = 0.0

    @property
    def largest(self) -> float:
        """Largest absolute value; 0 of a tensor without finite numbers."""
        return max(abs(self.low), abs(self.high)) if self.count > self.nonfinite else 0.0

    @property
    def rms(self) -> float:
        """Root of the mean square."""
        return float(np.sqrt(self.power / max(1, self.sampled)))

    @property
    def half_error(self) -> float:
        """What rounding to float16 does: rms of the difference, of the rms of the numbers.

        About 2.8e-4 for numbers of any size that float16 holds with its full precision; 1 where
        all become zero; infinite where one becomes infinite.
        """
        if self.largest > HALF_MAX:
            return float("inf")
        if self.half_error_power == 0:
            return 0.0
        return float(np.sqrt(self.half_error_power / self.power))

    def add(self, values: Array) -> None:
        """Take in the tensor of one run."""
        values = values.astype(np.float32, copy=False).ravel()
        self.count += values.size
        low, high = (values.min(), values.max()) if values.size else (np.nan, np.nan)
        finite = values
        if not np.isfinite(low + high):  # NaN goes through both
            finite = values[np.isfinite(values)]
            self.nonfinite += values.size - finite.size
            if not finite.size:
                return
            low, high = finite.min(), finite.max()
        self.low, self.high = min(self.low, float(low)), max(self.high, float(high))
        step = max(1, finite.size // _SAMPLED) | 1  # odd: no column of an image alone
        part = np.ascontiguousarray(finite[::step])
        with np.errstate(over="ignore"):
            rounded = part.astype(np.float16).astype(np.float64)
        self.sampled += part.size
        self.flushed += int(np.count_nonzero((rounded == 0) & (part != 0)))
        wide = part.astype(np.float64)
        self.power += float(np.square(wide).sum())
        difference = np.where(np.isfinite(rounded), rounded, 0) - wide
        self.half_error_power += float(np.square(difference).sum())


def tensor_ranges(
    model: onnx.ModelProto, feeds: Iterable[Feed], *, threads: int = 0
) -> dict[str, TensorRange]:
    """Return the range of every floating-point tensor that a node makes.

    Args:
        model: A float32 graph with shapes.
        feeds: Inputs; read several times.
        threads: Of ONNX Runtime; 0 takes one per core.

    Raises:
        DifferSegError: ONNX Runtime cannot run the graph.
    """
    names = float_tensors(model)
    ranges = {name: TensorRange(name) for name in names}
    for _, found in tensor_values(model, names, feeds, threads=threads):
        for name, values in found.items():
            ranges[name].add(values)
    return ranges
