"""Reassembly at scale 1 as a sum of shifted maps, each weighed by one channel of the kernels."""

from __future__ import annotations

import onnx_ir as ir

from differseg.export.lowering.framework import Builder
from differseg.export.lowering.reassembly_plan import Reassembly


def by_shifts(op: Builder, x: ir.Value, kernels: ir.Value, work: Reassembly) -> ir.Value:
    """Append the reassembly of ``x`` with normalised kernels; returns ``(N, C, h, w)``."""
    size = work.height, work.width
    if work.groups > 1:
        x = op.reshape(x, work.planes, work.channels, *size)
        kernels = op.reshape(kernels, work.planes, work.taps, *size)
    total: ir.Value | None = None
    for tap in range(work.taps):
        row, column = divmod(tap, work.kernel_size)
        offset = int(work.offsets[row]), int(work.offsets[column])
        if work.border == "zeros" and (abs(offset[0]) >= size[0] or abs(offset[1]) >= size[1]):
            continue  # reads nothing but zeros
        weight = op.slice(kernels, 1, tap, tap + 1) if work.taps > 1 else kernels
        part = op.Mul(shifted(op, x, offset, size, work.border), weight)
        total = part if total is None else op.Add(total, part)
    assert total is not None, "the tap in the centre always reads"
    if work.groups > 1:
        total = op.reshape(total, work.batch, work.groups * work.channels, *size)
    return total


def shifted(
    op: Builder, x: ir.Value, offset: tuple[int, int], size: tuple[int, int], border: str
) -> ir.Value:
    """Return ``x[..., y + offset[0], x + offset[1]]`` of the same size, beyond the border too.

    Cutting first and padding afterwards keeps every tensor as small as the map.
    """
    if offset == (0, 0):
        return x
    starts, ends, before, behind = [], [], [], []
    for step, extent in zip(offset, size, strict=True):
        lost = min(abs(step), extent - 1)
        starts.append(lost if step > 0 else 0)
        ends.append(extent - lost if step < 0 else extent)
        before.append(lost if step < 0 else 0)
        behind.append(lost if step > 0 else 0)
    cut = op.Slice(x, op.ints(starts, "starts"), op.ints(ends, "ends"), op.ints([2, 3], "axes"))
    pads = op.ints([0, 0, *before, 0, 0, *behind], "pads")
    result: ir.Value = op.Pad(cut, pads, mode="edge" if border == "edge" else "constant")
    return result
