"""Samplers as GridSample: warp, dynamic offsets, and the inversion of a displacement field.

Everything about places is computed in float32, whatever the map's own type (a grid rounded to
float16 is off by up to a pixel on large maps), and so is the sampling, which ONNX Runtime has for
float32 only; the result is rounded to the map's type.

Convention: pixel p of a map of size W lies at ``(2 p + 1) / W - 1`` of a grid (align_corners 0);
modes are spelled as before opset 20, which every TensorRT understands.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from differseg.export.lowering.framework import Builder, Call, Lowering
from differseg.ops.saliency import step_share


class LowerWarp(Lowering):
    """Read ``(N, C, H, W)`` at positions ``(N, 2, H', W')``."""

    op_type = "DiffersegWarp"

    def rewrite(self, op: Builder, call: Call) -> ir.Value:
        """Append the change of units and one GridSample."""
        x, positions = call.inputs
        _, height, width = call.sizes()
        moved = op.Transpose(as_coordinates(op, positions), perm=[0, 2, 3, 1])  # (N, H', W', 2)
        scale, shift = [2 / width, 2 / height], [1 / width - 1, 1 / height - 1]
        dtype = coordinate_dtype(positions)
        grid = op.Add(
            op.Mul(moved, op.constant(scale, "grid_scale", dtype)),
            op.constant(shift, "grid_shift", dtype),
        )
        return _as_map(op, _grid_sample(op, as_coordinates(op, x), grid), x)


class LowerSampleOffsets(Lowering):
    """Read ``(N, C, h, w)`` at every sub-pixel plus its offset: ``(N, C, s h, s w)``."""

    op_type = "DiffersegSampleOffsets"

    def rewrite(self, op: Builder, call: Call) -> ir.Value:
        """Append the interleaving of the offsets to a grid and one GridSample."""
        x, offsets = call.inputs
        channels, height, width = call.sizes()
        scale, groups = call.number("scale"), call.number("groups")
        large = scale * height, scale * width
        axes = op.reshape(
            as_coordinates(op, offsets), call.batch, 2, groups, scale, scale, height, width
        )  # (N, xy, G, sub-row, sub-column, h, w)
        moved = op.reshape(op.Transpose(axes, perm=[0, 2, 5, 3, 6, 4, 1]), -1, *large, 2)
        dtype = coordinate_dtype(offsets)
        grid = op.Add(
            op.Mul(moved, op.constant([2 / width, 2 / height], "grid_scale", dtype)),
            op.constant(_own_grid(*large, scale), "own_grid", dtype),
        )  # (N*G, s h, s w, 2)
        parts = op.reshape(as_coordinates(op, x), -1, channels // groups, height, width)
        y = op.reshape(_grid_sample(op, parts, grid), call.batch, channels, *large)
        return _as_map(op, y, x)


class LowerInvertDisplacement(Lowering):
    """Undo a displacement field ``(N, 2, H, W)`` by fixed-point steps, unrolled."""

    op_type = "DiffersegInvertDisplacement"

    def rewrite(self, op: Builder, call: Call) -> ir.Value:
        """Append one GridSample a step; between them the field is in units of the grid."""
        field = as_coordinates(op, call.inputs[0])
        dtype = coordinate_dtype(call.inputs[0])
        _, height, width = call.sizes()
        to_grid = np.array([2 / width, 2 / height]).reshape(2, 1, 1)
        own = op.constant(_own_grid(height, width, 1), "own_grid", dtype)  # (1, H, W, 2)
        field = op.Mul(field, op.constant(to_grid, "to_grid", dtype))
        inverse = op.Neg(field)  # the first step, from zero, with a share of 1
        for step in range(1, call.number("iterations")):
            grid = op.Add(op.Transpose(inverse, perm=[0, 2, 3, 1]), own)
            moved, share = _grid_sample(op, field, grid), step_share(step)
            if share == 1:
                inverse = op.Neg(moved)
                continue
            kept = op.Mul(inverse, op.constant(1 - share, "kept_share", dtype))
            inverse = op.Sub(kept, op.Mul(moved, op.constant(share, "share", dtype)))
        result: ir.Value = op.Mul(inverse, op.constant(1 / to_grid, "to_pixels", dtype))
        return result


def coordinate_dtype(value: ir.Value) -> npt.DTypeLike:
    """Return the type that places are computed in: float64 for float64, else float32."""
    return np.float64 if value.dtype == ir.DataType.DOUBLE else np.float32


def as_coordinates(op: Builder, value: ir.Value) -> ir.Value:
    """Return the value in the type that places are computed in."""
    wanted = ir.DataType.from_numpy(np.dtype(coordinate_dtype(value)))
    if value.dtype == wanted:
        return value
    result: ir.Value = op.Cast(value, to=wanted.value)
    return result


def _as_map(op: Builder, sampled: ir.Value, x: ir.Value) -> ir.Value:
    """Give what was sampled the type of the map."""
    assert x.dtype is not None, "the tracer gives every value a type"
    if x.dtype in (ir.DataType.FLOAT, ir.DataType.DOUBLE):
        return sampled
    result: ir.Value = op.Cast(sampled, to=x.dtype.value)
    return result


def _own_grid(height: int, width: int, scale: int) -> npt.NDArray[np.float64]:
    """Return where output pixel (Y, X) has its input pixel (Y // s, X // s): ``(1, H, W, 2)``."""
    rows = (2 * (np.arange(height) // scale) + 1) * scale / height - 1
    columns = (2 * (np.arange(width) // scale) + 1) * scale / width - 1
    return np.stack(np.broadcast_arrays(columns[None, :], rows[:, None]), axis=-1)[None]


def _grid_sample(op: Builder, x: ir.Value, grid: ir.Value) -> ir.Value:
    result: ir.Value = op.GridSample(
        x, grid, mode="bilinear", padding_mode="border", align_corners=0
    )
    return result
