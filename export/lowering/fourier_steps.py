"""Steps of a Fourier plan: each is one standard operator, and computes itself in NumPy.

The first axis of every operand runs over planes (batch times channels), or the first two over
batch and channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from differseg.export.lowering.fourier_cost import product_ns, taken_ns, transposed_ns

Array = npt.NDArray[np.floating]
Matrix = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Reshape:
    """Another view of the same numbers; -1, at most once, is the batch or the number of planes."""

    shape: Shape

    def shape_after(self, shape: Shape) -> Shape:
        """Return the shape that the step makes of one."""
        known = -prod(self.shape)
        return tuple(prod(shape) // known if extent == -1 else extent for extent in self.shape)

    def apply(self, x: Array) -> Array:
        """Compute the step."""
        return x.reshape(self.shape)

    def cost_ns(self, shape: Shape) -> float:
        """Return the estimated time on an operand of this shape: nothing is moved."""
        return 0.0


@dataclass(frozen=True, eq=False)
class Product:
    """The matrix times the rows (``left``), or the rows of the last axes times the matrix."""

    matrix: Matrix
    left: bool = True

    def shape_after(self, shape: Shape) -> Shape:
        """Return the shape that the step makes of one."""
        batch = np.broadcast_shapes(shape[:-2], self.matrix.shape[:-2])
        if self.left:
            return (*batch, self.matrix.shape[-2], shape[-1])
        return (*batch, shape[-2], self.matrix.shape[-1])

    def apply(self, x: Array) -> Array:
        """Compute the step."""
        matrix = self.matrix.astype(x.dtype)
        return matrix @ x if self.left else x @ matrix

    def cost_ns(self, shape: Shape) -> float:
        """Return the estimated time on an operand of this shape."""
        *batch, rows, columns = self.shape_after(shape)
        if self.left:
            return product_ns(prod(batch), rows, shape[-2], columns)
        if self.matrix.ndim == 2:
            return product_ns(1, prod(batch) * rows, shape[-1], columns)
        return product_ns(prod(batch), rows, shape[-1], columns)


@dataclass(frozen=True, eq=False)
class Take:
    """Rows (the last axis but one) in another order, some of them twice or not at all."""

    rows: Indices

    def shape_after(self, shape: Shape) -> Shape:
        """Return the shape that the step makes of one."""
        return (*shape[:-2], len(self.rows), shape[-1])

    def apply(self, x: Array) -> Array:
        """Compute the step."""
        return np.take(x, self.rows, axis=-2)

    def cost_ns(self, shape: Shape) -> float:
        """Return the estimated time on an operand of this shape."""
        return taken_ns(prod(shape[:-2]) * len(self.rows), shape[-1])


@dataclass(frozen=True)
class Transpose:
    """The last two axes exchanged."""

    def shape_after(self, shape: Shape) -> Shape:
        """Return the shape that the step makes of one."""
        return (*shape[:-2], shape[-1], shape[-2])

    def apply(self, x: Array) -> Array:
        """Compute the step."""
        return x.swapaxes(-2, -1)

    def cost_ns(self, shape: Shape) -> float:
        """Return the estimated time on an operand of this shape."""
        return transposed_ns(prod(shape[:-2]), shape[-2], shape[-1])


Step = Reshape | Product | Take | Transpose
Steps = tuple[Step, ...]


@dataclass(frozen=True)
class Plan:
    """Steps from an operator's operand to its result.

    Attributes:
        steps: In order.
        choice: How each axis is transformed, such as "W 16 x 20, H whole".
        reason: The estimates behind it.
    """

    steps: Steps
    choice: str
    reason: str

    def apply(self, x: Array) -> Array:
        """Compute the plan in NumPy, in the precision of ``x``."""
        for step in self.steps:
            x = step.apply(x)
        return x


def cost_ns(steps: Steps, shape: Shape) -> float:
    """Return the estimated time of steps on an operand of this shape."""
    total = 0.0
    for step in steps:
        total += step.cost_ns(shape)
        shape = step.shape_after(shape)
    return total
