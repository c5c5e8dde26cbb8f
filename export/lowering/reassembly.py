"""Content-aware reassembly in standard operators, in the form that is faster for its sizes.

At 64 channels, 64 x 64 to 128 x 128 and 5 x 5 taps, products of matrices take half the time of the
fastest sum of shifted maps in eager PyTorch, and in ONNX Runtime an eighth of shifted maps, a
seventh of a one-hot convolution and a thirteenth of an unfolded map (``benchmarks/reassembly.py``).
They win wherever a group has more than a few channels; below that, at scale 1, shifted maps do.

In TensorRT the order is another: it fuses shifted maps into a few kernels without scratch memory,
where products need some tens of MB.  Targets that have it take the plugin instead.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from differseg.export.lowering.framework import Builder, Call, Lowering
from differseg.export.lowering.reassembly_plan import Reassembly, Tiling
from differseg.export.lowering.reassembly_products import by_products
from differseg.export.lowering.reassembly_shifts import by_shifts
from differseg.manifest import Decision
from differseg.ops.reassembly_forms import log_hamming


class LowerReassemble(Lowering):
    """Normalise the kernels, then reassemble ``(N, C, h, w)`` to ``(N, C, s * h, s * w)``."""

    op_type = "DiffersegReassemble"

    def check(self, call: Call) -> str | None:
        """Refuse sizes that are not numbers, and kernels of another size than the map asks for."""
        reason = super().check(call)
        if reason is not None:
            return reason
        work, got = Reassembly.of(call), call.sizes(1)
        scale = work.scale
        expected = (work.groups * work.taps, scale * work.height, scale * work.width)
        if got != expected or call.sizes()[0] % work.groups:
            return f"kernels have the axes {got} behind the batch, expected {expected}"
        return None

    def decisions(self, call: Call) -> list[Decision]:
        """Say which form was chosen."""
        work = Reassembly.of(call)
        channels = work.groups * work.channels
        what = (
            f"reassembly of {channels}x{work.height}x{work.width}, "
            f"kernel {work.kernel_size}, scale {work.scale}"
        )
        if work.why_shifts is not None:
            return [Decision(what, "shifted maps", work.why_shifts)]
        tiling = Tiling.of(work)
        value = f"products of matrices, tiles of {tiling.tile} columns"
        return [Decision(what, value, "fewer passes over the map than one or two a tap")]

    def rewrite(self, op: Builder, call: Call) -> ir.Value:
        """Append the normaliser and the faster form."""
        x, kernels = call.inputs
        work = Reassembly.of(call)
        if call.text("normalize") != "none":
            kernels = _normalized(op, kernels, call, work)
        if work.why_shifts is not None:
            return by_shifts(op, x, kernels, work)
        return by_products(op, x, kernels, Tiling.of(work), call.dtype)


def _normalized(op: Builder, kernels: ir.Value, call: Call, work: Reassembly) -> ir.Value:
    """Append the softmax over the taps; a window is the addition of its logarithm before."""
    if call.text("normalize") == "hamming":
        window = np.tile(log_hamming(work.kernel_size), work.groups)[:, None, None]
        kernels = op.Add(kernels, op.constant(window, "log_window", call.dtype))
    if work.groups == 1:
        result: ir.Value = op.Softmax(kernels, axis=1)
        return result
    _, height, width = call.sizes(1)
    taps = op.Softmax(op.reshape(kernels, work.planes, work.taps, height, width), axis=1)
    return op.reshape(taps, work.batch, work.groups * work.taps, height, width)
