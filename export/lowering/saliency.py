"""The displacement towards saliency: one convolution for the moments and the mass around a pixel.

Computed in float32 whatever the saliency's own type: its smallest values underflow in float16, and
places need more digits than float16 has.
"""

from __future__ import annotations

import onnx_ir as ir

from differseg.export.lowering.framework import Builder, Call, Lowering
from differseg.export.lowering.sampling import as_coordinates, coordinate_dtype
from differseg.ops.saliency import SMALLEST_MASS, moment_kernels, unpinned


class LowerSaliencyDisplacement(Lowering):
    """Saliency ``(N, 1, H, W)`` to displacements ``(N, 2, H, W)``, x then y, in pixels."""

    op_type = "DiffersegSaliencyDisplacement"

    def rewrite(self, op: Builder, call: Call) -> ir.Value:
        """Append Pad, Conv, Split, Div and the mask that pins the border."""
        radius, fwhm = call.number("radius"), call.real("fwhm")
        _, height, width = call.sizes()
        dtype = coordinate_dtype(call.inputs[0])
        saliency = as_coordinates(op, call.inputs[0])
        pads = op.ints([0, 0, radius, radius] * 2, "pads")
        kernels = op.constant(moment_kernels(radius, fwhm).numpy(), "kernels", dtype)
        sums = op.Conv(
            op.Pad(saliency, pads, mode="reflect"), kernels, kernel_shape=[2 * radius + 1] * 2
        )  # (N, 3, H, W)
        moments, mass = op.Split(sums, op.ints([2, 1], "parts"), axis=1, outputs=2)
        mass = op.Add(mass, op.constant(SMALLEST_MASS, "smallest_mass", dtype))
        mask = op.constant(unpinned(height, width).numpy()[None], "unpinned", dtype)
        result: ir.Value = op.Mul(op.Div(moments, mass), mask)
        return result
