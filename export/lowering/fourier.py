"""Fourier transforms as matrix products: no DFT operator, no complex numbers.

:mod:`differseg.export.lowering.fourier_plan` chooses the products; here its steps become nodes.
Every constant is computed in float64, its angles reduced to one turn while they are whole numbers,
and rounded once.

Convention: as :mod:`differseg.ops.fourier`.
"""

from __future__ import annotations

from abc import abstractmethod

import onnx_ir as ir

from differseg.export.lowering.fourier_plan import (
    fft_plan,
    irfft2_plan,
    irfft_plan,
    rfft2_plan,
    rfft_plan,
)
from differseg.export.lowering.fourier_steps import Plan, Product, Reshape, Step, Take
from differseg.export.lowering.framework import Builder, Call, Lowering
from differseg.manifest import Decision


class _LowerFourier(Lowering):
    """Write a plan's steps one after the other."""

    def decisions(self, call: Call) -> list[Decision]:
        """Return how each axis is transformed."""
        plan = self._plan(call)
        sizes = "x".join(map(str, call.sizes()))
        return [Decision(f"{self.op_type} of {sizes}", plan.choice, plan.reason)]

    def rewrite(self, op: Builder, call: Call) -> ir.Value:
        """Append the plan."""
        value = call.inputs[0]
        shape = tuple(1 if extent is None else extent for extent in call.shape())
        for step in self._plan(call).steps:
            shape = step.shape_after(shape)
            value = _append(op, call, value, step, len(shape))
        return value

    @abstractmethod
    def _plan(self, call: Call) -> Plan:
        """Return the plan of a node."""


class LowerRfft2(_LowerFourier):
    """``(N, C, H, W)`` to ``(N, C, 2, H, W // 2 + 1)``."""

    op_type = "DiffersegRfft2"

    def _plan(self, call: Call) -> Plan:
        channels, height, width = call.sizes()
        return rfft2_plan(channels, (height, width), call.text("norm"))


class LowerIrfft2(_LowerFourier):
    """``(N, C, 2, H, W // 2 + 1)`` to ``(N, C, H, W)``."""

    op_type = "DiffersegIrfft2"

    def check(self, call: Call) -> str | None:
        """Refuse sizes that are not numbers, and a width with another number of bins."""
        reason = super().check(call)
        if reason is None and call.number("width") // 2 + 1 != call.sizes()[-1]:
            bins, width = call.sizes()[-1], call.number("width")
            return (
                f"its width is {width}, expected {2 * bins - 2} or {2 * bins - 1} for {bins} bins"
            )
        return reason

    def _plan(self, call: Call) -> Plan:
        channels, _, height, _ = call.sizes()
        return irfft2_plan(channels, (height, call.number("width")), call.text("norm"))


class LowerRfft(_LowerFourier):
    """``(N, C, H, W)`` to spectra that are one-sided along one axis."""

    op_type = "DiffersegRfft"

    def _plan(self, call: Call) -> Plan:
        channels, height, width = call.sizes()
        return rfft_plan(channels, (height, width), call.number("axis"), call.text("norm"))


class LowerIrfft(_LowerFourier):
    """Spectra that are one-sided along one axis to ``(N, C, H, W)``."""

    op_type = "DiffersegIrfft"

    def _plan(self, call: Call) -> Plan:
        channels, _, *size = call.sizes()
        axis = call.number("axis")
        size[axis] = call.number("length")
        return irfft_plan(channels, (size[0], size[1]), axis, call.text("norm"))


class LowerFft(_LowerFourier):
    """``(N, C, 2, H, W)`` to the same shape, along one axis."""

    op_type = "DiffersegFft"

    def _plan(self, call: Call) -> Plan:
        channels, _, height, width = call.sizes()
        inverse = bool(call.number("inverse"))
        size_hw = (height, width)
        return fft_plan(channels, size_hw, call.number("axis"), inverse, call.text("norm"))


def _append(op: Builder, call: Call, value: ir.Value, step: Step, rank: int) -> ir.Value:
    """Append one step, whose result has so many axes."""
    result: ir.Value
    if isinstance(step, Reshape):
        result = op.reshape(value, *step.shape)
    elif isinstance(step, Take):
        result = op.Gather(value, op.ints(step.rows, "rows"), axis=-2)
    elif isinstance(step, Product):
        matrix = op.constant(step.matrix, "fourier", call.dtype)
        result = op.MatMul(matrix, value) if step.left else op.MatMul(value, matrix)
    else:
        order = [*range(rank - 2), rank - 1, rank - 2]
        result = op.Transpose(value, perm=order)
    return result
