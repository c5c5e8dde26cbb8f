"""Reassembly as products of matrices: a tile's kernels, spread over its window, times the window.

The pixels of a tile (a few neighbouring columns of one row) read overlapping windows, so one matrix
does for all of them: ``(pixels, window)``, mostly zeros, times ``(window, channels)``.  More is
multiplied than needed, but a product of matrices costs a fraction of what a pass over the map does,
and a tap at a time is two such passes.  The matrix is made by a product, too: the kernels times a
constant of zeros and ones.

The windows are picked out of the map in blocks of rows, so no tensor is larger than the result
or the kernels.  The zeros are multiplied as well: a pixel that is not finite spoils whatever is
computed from its window, not only the pixels that have a tap on it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from differseg.export.lowering.framework import Builder
from differseg.export.lowering.reassembly_plan import Tiling


def by_products(
    op: Builder, x: ir.Value, kernels: ir.Value, tiling: Tiling, dtype: npt.DTypeLike
) -> ir.Value:
    """Append the reassembly of ``x`` with normalised kernels; returns ``(N, C, s * h, s * w)``."""
    work = tiling.work
    rows, scale, across = work.height, work.scale, work.scale * tiling.tile
    pixels = op.Transpose(
        op.reshape(x, work.planes, work.channels, rows * work.width), perm=[0, 2, 1]
    )  # (N*g, h*w, C/g)
    if not tiling.in_order:
        columns = op.constant(tiling.kernel_columns(), "columns", np.int32)
        kernels = op.Gather(kernels, columns, axis=3)
    kernels = op.Transpose(
        op.reshape(kernels, work.planes, work.taps, rows * scale * tiling.tiles, across),
        perm=[0, 2, 1, 3],
    )  # (N*g, s*h*tiles, k*k, s*tile)
    step = tiling.rows_per_block()
    blocks = []
    for top in range(0, rows, step):
        bottom = min(top + step, rows)
        taps = _rows(op, kernels, top, bottom, scale * tiling.tiles, tiling)
        bands = _bands(op, taps, bottom - top, tiling, dtype)
        y = op.MatMul(bands, _windows(op, pixels, top, bottom, tiling))
        blocks.append(_as_planes(op, y, bottom - top, tiling))
    y = blocks[0] if len(blocks) == 1 else op.Concat(*blocks, axis=2)  # (N*g, C/g, s*h*s*w)
    return op.reshape(y, work.batch, work.groups * work.channels, rows * scale, work.width * scale)


def _rows(
    op: Builder, value: ir.Value, top: int, bottom: int, per_row: int, tiling: Tiling
) -> ir.Value:
    """Return what belongs to some rows of the map, of which axis 1 holds ``per_row`` each."""
    if (top, bottom) == (0, tiling.work.height):
        return value
    return op.slice(value, 1, top * per_row, bottom * per_row)


def _bands(
    op: Builder, taps: ir.Value, rows: int, tiling: Tiling, dtype: npt.DTypeLike
) -> ir.Value:
    """Spread kernels ``(N*g, s*rows*tiles, k*k, s*tile)`` over windows.

    Returns:
        ``(N*g, rows, s, tiles, s*tile, k*window)``.
    """
    work, across = tiling.work, tiling.work.scale * tiling.tile
    lines = op.reshape(taps, -1, work.kernel_size * across)
    spread = op.constant(tiling.spread(), "spread", dtype)
    bands = op.reshape(
        op.MatMul(lines, spread),
        work.planes, rows, work.scale, tiling.tiles, work.kernel_size * tiling.window, across,
    )  # fmt: skip
    result: ir.Value = op.Transpose(bands, perm=[0, 1, 2, 3, 5, 4])
    return result


def _windows(op: Builder, pixels: ir.Value, top: int, bottom: int, tiling: Tiling) -> ir.Value:
    """Pick the windows of some rows out of the pixels ``(N*g, h*w, C/g)``.

    Returns:
        ``(N*g, rows, 1, tiles, k*window, C/g)``.
    """
    work = tiling.work
    read, index = tiling.reads(top, bottom)
    part = _rows(op, pixels, read.start, read.stop, work.width, tiling)
    if (index < 0).any():
        part = op.Pad(part, op.ints([0, 0, 0, 0, 1, 0], "pads"))  # a pixel of zeros
        index = np.where(index < 0, (read.stop - read.start) * work.width, index)
    picked = op.Gather(part, op.constant(index.ravel(), "window", np.int32), axis=1)
    shape = (bottom - top, 1, tiling.tiles, index.shape[-1], work.channels)
    return op.reshape(picked, work.planes, *shape)


def _as_planes(op: Builder, y: ir.Value, rows: int, tiling: Tiling) -> ir.Value:
    """Turn ``(N*g, rows, s, tiles, s*tile, C/g)`` to ``(N*g, C/g, rows * s * s * w)``."""
    work = tiling.work
    scale, columns = work.scale, work.scale * tiling.tile * tiling.tiles
    if not tiling.in_order:
        y = op.reshape(y, work.planes, rows * scale, columns, work.channels)
        order = op.constant(tiling.result_columns(), "order", np.int32)
        y, columns = op.Gather(y, order, axis=2), scale * work.width
    y = op.reshape(y, work.planes, rows * scale * columns, work.channels)
    result: ir.Value = op.Transpose(y, perm=[0, 2, 1])
    return result
