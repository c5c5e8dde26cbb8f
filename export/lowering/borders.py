"""Extend a map beyond its border by an index list, in operators that every parser reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import onnx_ir as ir

from differseg.export.lowering.framework import Builder

_MAX_RUNS = 12
"""Beyond so many slices one Gather is cheaper."""


def extend(op: Builder, x: ir.Value, axis: int, index: Sequence[int], extent: int) -> ir.Value:
    """Return ``x`` with the elements ``index`` along ``axis``, which has ``extent`` elements.

    A border repeats the map forwards or backwards, so the list falls into few runs of neighbours,
    and each run is a Slice: slices and Concat run faster than Gather, whose cost is per element.
    """
    if list(index) == list(range(extent)):
        return x
    runs = list(_runs(index))
    if len(runs) > _MAX_RUNS:
        indices = op.ints(np.asarray(index), "indices")
        gathered: ir.Value = op.Gather(x, indices, axis=axis)
        return gathered
    parts = [_slice(op, x, axis, first, last, extent) for first, last in runs]
    if len(parts) == 1:
        return parts[0]
    joined: ir.Value = op.Concat(*parts, axis=axis)
    return joined


def _runs(index: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield (first, last) of the longest runs whose steps are all +1 or all -1."""
    start = 0
    while start < len(index):
        end = start + 1
        step = index[end] - index[start] if end < len(index) else 0
        if abs(step) == 1:
            while end < len(index) and index[end] - index[end - 1] == step:
                end += 1
        yield index[start], index[end - 1]
        start = end


def _slice(op: Builder, x: ir.Value, axis: int, first: int, last: int, extent: int) -> ir.Value:
    if (first, last) == (0, extent - 1):
        return x
    if first <= last:
        return op.slice(x, axis, first, last + 1)
    # Going backwards, the end before element 0 is spelled as one beyond the axis' start.
    return op.slice(x, axis, first, last - 1 if last else -extent - 1, step=-1)
