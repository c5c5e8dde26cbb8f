"""Constants, and what is written into complex numbers: a rule for each operator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from differseg.export.lowering.complex_layout import (
    axis_of,
    cat,
    expand,
    is_whole,
    pad,
    part_along,
    to_copy,
    unsqueeze,
    view,
)
from differseg.export.lowering.complex_pair import Pair, beside, numel
from differseg.export.lowering.complex_rules import Value, as_pair, aten, rule

# Constants.


@rule(
    *(aten.zeros, aten.new_zeros, aten.zeros_like),
    *(aten.empty, aten.new_empty, aten.empty_like),  # which may hold anything
)
def _zeros(*arguments: Any, dtype: torch.dtype | None = None, device: Any = None, **_: Any) -> Pair:
    like, *rest = arguments  # a tensor, or nothing but the shape
    if not isinstance(like, Pair | Tensor):
        assert dtype is not None, "complex zeros like nothing are told their type"
        return Pair.zeros(like, dtype.to_real(), torch.device(device or "cpu"))
    shape = rest[0] if rest else like.shape
    real = like.dtype if dtype is None else dtype.to_real()
    return Pair.zeros(shape, real, torch.device(device or like.device))


@rule(aten.ones, aten.new_ones, aten.ones_like)
def _ones(*arguments: Any, **options: Any) -> Pair:
    return _filled(_zeros(*arguments, **options), 1.0)


@rule(aten.full, aten.new_full, aten.full_like)
def _full(*arguments: Any, **options: Any) -> Pair:
    return _filled(_zeros(*arguments[:-1], **options), arguments[-1])


@rule(aten.fill)
def _filled(z: Pair, value: Value) -> Pair:
    if not isinstance(value, Pair | Tensor) and value == 0:
        return Pair.zeros(z.shape, z.dtype, z.device)
    return _copied(z, value)


@rule(aten.copy)
def _copied(z: Pair, value: Value, non_blocking: bool = False) -> Pair:
    """Return ``value`` in the type and shape of ``z``."""
    like = Pair.zeros(z.shape, z.dtype, z.device)
    return expand(to_copy(as_pair(value, like), dtype=z.dtype.to_complex()), z.shape)


# Replaced pieces.


@rule(aten.slice_scatter)
def _slice_scatter(
    z: Pair, source: Value, dim: int = 0, start: Any = None, end: Any = None, step: int = 1
) -> Pair:
    piece = as_pair(source, z)
    axis = axis_of(z, dim)
    if is_whole(start, end, step):
        return piece
    if step != 1:
        order = z.tensor_and_order()[1]
        tensors = (z.arranged(order), piece.arranged(order))
        written = aten.slice_scatter(*tensors, order.index(axis), start, end, step)
        return Pair.packed(written, order)
    extent = z.shape[axis]
    begin, stop, _ = slice(start, end).indices(extent)
    if (begin, stop) == (0, extent) or (z.is_zero and piece.is_zero):
        return piece if (begin, stop) == (0, extent) else z
    inner = [0, 0] * (z.ndim - 1 - axis)
    if z.is_zero:
        return pad(piece, [*inner, begin, extent - stop])
    if piece.is_zero and begin == 0:
        return pad(part_along(z, axis, stop, extent), [*inner, stop, 0])
    if piece.is_zero and stop == extent:
        return pad(part_along(z, axis, 0, begin), [*inner, 0, extent - begin])
    before = [part_along(z, axis, 0, begin)] if begin else []
    behind = [part_along(z, axis, stop, extent)] if stop < extent else []
    return cat([*before, piece, *behind], axis)


@rule(aten.select_scatter)
def _select_scatter(z: Pair, source: Value, dim: int, index: int) -> Pair:
    axis = axis_of(z, dim)
    start = index + z.shape[axis] if index < 0 else index
    return _slice_scatter(z, unsqueeze(as_pair(source, z), axis), axis, start, start + 1)


@rule(aten.where)
def _where(mask: Tensor, a: Value, b: Value) -> Pair:
    like = a if isinstance(a, Pair) else b
    assert isinstance(like, Pair)
    first, second = as_pair(a, like), as_pair(b, like)
    shape = torch.broadcast_shapes(mask.shape, first.shape, second.shape)
    if first.is_zero and second.is_zero:
        return Pair.zeros(shape, like.dtype, like.device)
    leading = second if first.is_zero or not (first.is_packed and first.ndim) else first
    order = leading.raised(len(shape)).tensor_and_order()[1]
    x, y = (
        torch.zeros((), dtype=like.dtype, device=like.device)
        if pair.is_zero
        else pair.raised(len(shape)).arranged(order)
        for pair in (first, second)
    )
    return expand(Pair.packed(torch.where(beside(mask, order), x, y), order), shape)


@rule(aten.masked_fill)
def _masked_fill(z: Pair, mask: Tensor, value: Value) -> Pair:
    return _where(mask, as_pair(value, z), z)


@rule(aten.index_put)
def _index_put(z: Pair, indices: Sequence[Tensor | None], values: Value) -> Pair:
    *whole, mask = indices
    number = as_pair(values, z)
    alone = all(index is None for index in whole) and numel(number.shape) == 1
    if mask is None or mask.dtype != torch.bool or not alone:
        raise NotImplementedError("complex elements are replaced by a mask and one number only")
    behind = z.ndim - len(whole) - mask.ndim
    spread = (..., *[None] * behind)
    return _where(mask[spread], view(number, [1] * z.ndim), z)
