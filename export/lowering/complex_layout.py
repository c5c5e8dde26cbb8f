"""Shapes, slices and selections of complex numbers in real ones: a rule for each operator."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from differseg.export.lowering.complex_pair import PARTS, Order, Pair, numel
from differseg.export.lowering.complex_rules import Value, as_pair, aten, rule, unequal


def axis_of(z: Pair, dim: int) -> int:
    """Return an axis counted from the front."""
    return dim + z.ndim if dim < 0 else dim


def _removed(axes: Sequence[int]) -> Callable[[Order], Order]:
    """Return what happens to the labels when these logical axes go."""

    def change(order: Order) -> Order:
        return tuple(
            label - sum(axis < label for axis in axes) for label in order if label not in axes
        )

    return change


def _each(z: Pair, shape: Sequence[Any], step: Any, change: Any = None) -> Pair:
    """Do the same to both parts; zeros only take on the new shape."""
    if z.is_zero:
        return Pair.zeros(shape, z.dtype, z.device)
    return z.map(step, change)


@rule(
    *(aten.alias, aten.clone, aten.contiguous, aten.detach, aten.dropout, aten.lift_fresh),
    *(aten.lift_fresh_copy, aten.resolve_conj, aten.resolve_neg, aten.positive),
)
def _same(z: Pair, *_arguments: Any, **_options: Any) -> Pair:
    return z


@rule(aten._to_copy)
def to_copy(z: Any, *_arguments: Any, dtype: torch.dtype | None = None, **_: Any) -> Any:
    """Return the same in another type; the real part alone where that is real."""
    if not isinstance(z, Pair):
        assert dtype is not None, "a real tensor that becomes complex is told so"
        return Pair.split(z if z.dtype == dtype.to_real() else z.to(dtype.to_real()), None)
    if dtype is None or dtype == z.dtype.to_complex():
        return z
    if dtype == torch.bool:
        return unequal(z, 0)
    if not dtype.is_complex:
        return z.real.to(dtype)
    return _each(z, z.shape, lambda part, _: part.to(dtype.to_real()))


# Shapes.


@rule(aten.permute)
def permute(z: Pair, dims: Sequence[int]) -> Pair:
    """Reorder the logical axes; a packed pair is only relabelled."""
    axes = [axis_of(z, dim) for dim in dims]
    if not z.is_packed:
        return _each(z, [z.shape[axis] for axis in axes], lambda part, _: part.permute(axes))
    tensor, order = z.tensor_and_order()
    return Pair.packed(tensor, tuple(p if p == PARTS else axes.index(p) for p in order))


@rule(aten.transpose)
def _transpose(z: Pair, dim0: int, dim1: int) -> Pair:
    axes = list(range(z.ndim))
    axes[dim0], axes[dim1] = axes[dim1], axes[dim0]
    return permute(z, axes)


@rule(aten.t, aten.numpy_T, aten.mT)
def _matrix_transpose(z: Pair) -> Pair:
    return z if z.ndim < 2 else _transpose(z, -2, -1)


@rule(aten.view, aten._unsafe_view, aten.reshape)
def view(z: Pair, shape: Sequence[int]) -> Pair:
    """Return the same numbers in another shape, with as little transposition as possible."""
    if isinstance(shape, torch.dtype):
        raise NotImplementedError("its memory is not read as another type; use torch.view_as_real")
    if tuple(shape) == z.shape:
        return z
    if not z.is_packed:
        if z.is_zero:
            known = numel([extent for extent in shape if extent != -1])
            shape = [numel(z.shape) // known if extent == -1 else extent for extent in shape]
        return _each(z, shape, lambda part, _: part.reshape(shape))
    order = z.tensor_and_order()[1]
    before = [label for label in order[: order.index(PARTS)] if label != PARTS]
    cut = len(before) if before == list(range(len(before))) else z.ndim
    new_cut = _matching_cut(z.shape[cut:], shape)
    if new_cut is None:
        cut, new_cut = z.ndim, len(shape)
    ordered = z.arranged((*range(cut), PARTS, *range(cut, z.ndim)))
    tensor = ordered.reshape(*shape[:new_cut], 2, *shape[new_cut:])
    return Pair.packed(tensor, (*range(new_cut), PARTS, *range(new_cut, len(shape))))


def _matching_cut(behind: Sequence[Any], shape: Sequence[Any]) -> int | None:
    """Return where the new shape may be cut so that ``behind`` stays behind the parts."""
    if not all(isinstance(extent, int) for extent in behind):
        return None
    product = 1
    for cut in range(len(shape), -1, -1):
        if product == numel(behind):
            return cut
        if cut == 0 or not isinstance(shape[cut - 1], int) or shape[cut - 1] == -1:
            return None
        product *= shape[cut - 1]
    return None


@rule(aten.expand)
def expand(z: Pair, shape: Sequence[int], implicit: bool = False) -> Pair:
    """Broadcast to a shape."""
    z = z.raised(len(shape))
    sizes = [own if new == -1 else new for own, new in zip(z.shape, shape, strict=True)]
    if tuple(sizes) == z.shape:
        return z
    if not z.is_packed:
        return _each(z, sizes, lambda part, _: part.expand(sizes))
    tensor, order = z.tensor_and_order()
    return Pair.packed(tensor.expand([2 if p == PARTS else sizes[p] for p in order]), order)


@rule(aten.repeat)
def _repeat(z: Pair, repeats: Sequence[int]) -> Pair:
    z = z.raised(len(repeats))
    if not z.is_packed:
        sizes = [own * times for own, times in zip(z.shape, repeats, strict=True)]
        return _each(z, sizes, lambda part, _: part.repeat(repeats))
    tensor, order = z.tensor_and_order()
    return Pair.packed(tensor.repeat([1 if p == PARTS else repeats[p] for p in order]), order)


@rule(aten.unsqueeze)
def unsqueeze(z: Pair, dim: int) -> Pair:
    """Insert an axis of extent 1."""
    new = dim + z.ndim + 1 if dim < 0 else dim

    def change(order: Order) -> Order:
        at = order.index(new) if new < z.ndim else len(order)
        moved = [label + (label >= new) for label in order]
        return (*moved[:at], new, *moved[at:])

    shape = (*z.shape[:new], 1, *z.shape[new:])
    at = (lambda find: find(new)) if new < z.ndim else (lambda _: -1)
    return _each(z, shape, lambda part, find: part.unsqueeze(at(find)), change)


@rule(aten.squeeze)
def _squeeze(z: Pair, dims: int | Sequence[int] | None = None) -> Pair:
    if dims is None:
        dims = range(z.ndim)
    elif isinstance(dims, int):
        dims = [dims]
    gone = [axis for axis in (axis_of(z, dim) for dim in dims) if z.shape[axis] == 1]
    shape = [extent for axis, extent in enumerate(z.shape) if axis not in gone]
    return _each(
        z,
        shape,
        lambda part, find: part.squeeze(tuple(find(axis) for axis in gone)),
        _removed(gone),
    )


# Pieces.


def is_whole(start: Any, end: Any, step: int) -> bool:
    """Whether a slice takes everything, whatever the extent, which may be a symbol."""
    return start in (None, 0) and (end is None or end == sys.maxsize) and step == 1


@rule(aten.slice)
def part_along(z: Pair, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Pair:
    """Return ``z[start:end:step]`` along ``dim``."""
    axis = axis_of(z, dim)
    if is_whole(start, end, step):
        return z
    shape = list(z.shape)
    if z.is_zero:
        shape[axis] = len(range(*slice(start, end, step).indices(shape[axis])))
    return _each(z, shape, lambda part, find: aten.slice(part, find(axis), start, end, step))


@rule(aten.select)
def select(z: Pair, dim: int, index: int) -> Pair:
    """Return one element along an axis, which goes."""
    axis = axis_of(z, dim)
    shape = [extent for other, extent in enumerate(z.shape) if other != axis]
    return _each(z, shape, lambda part, find: part.select(find(axis), index), _removed([axis]))


@rule(aten.index_select)
def _index_select(z: Pair, dim: int, index: Tensor) -> Pair:
    axis = axis_of(z, dim)
    shape = (*z.shape[:axis], index.shape[0], *z.shape[axis + 1 :])
    return _each(z, shape, lambda part, find: part.index_select(find(axis), index))


@rule(aten.index)
def _index(z: Pair, indices: Sequence[Tensor | None]) -> Pair:
    given = [(axis, index) for axis, index in enumerate(indices) if index is not None]
    axis, index = given[0]
    if len(given) == 1 and index.ndim == 1 and index.dtype != torch.bool:
        return _index_select(z, axis, index)
    if not z.is_packed:
        return z.filled().map(lambda part, _: aten.index(part, indices))
    result = aten.index(z.arranged((*range(z.ndim), PARTS)), indices)
    return Pair.packed(result, (*range(result.ndim - 1), PARTS))


@rule(aten.split, aten.split_with_sizes)
def _split(z: Pair, sizes: int | Sequence[int], dim: int = 0) -> list[Pair]:
    extent = z.shape[axis_of(z, dim)]
    if isinstance(sizes, int):
        sizes = [min(sizes, extent - start) for start in range(0, extent, sizes)]
    ends = [sum(sizes[: index + 1]) for index in range(len(sizes))]
    pieces = zip(ends, sizes, strict=True)
    return [part_along(z, dim, end - size, end) for end, size in pieces]


@rule(aten.unbind)
def _unbind(z: Pair, dim: int = 0) -> list[Pair]:
    return [select(z, dim, index) for index in range(z.shape[dim])]


@rule(aten.cat, aten.concatenate)
def cat(tensors: Sequence[Value], dim: int = 0) -> Pair:
    """Return tensors behind each other, some of which may be real."""
    pairs = [as_pair(tensor) for tensor in tensors]
    axis = axis_of(pairs[0], dim)
    if any(pair.is_packed for pair in pairs):
        order = next(pair.tensor_and_order()[1] for pair in pairs if pair.is_packed)
        packed = [pair.arranged(order) for pair in pairs]
        return Pair.packed(torch.cat(packed, order.index(axis)), order)
    if all(pair.is_zero for pair in pairs):
        total = sum(pair.shape[axis] for pair in pairs)
        shape = (*pairs[0].shape[:axis], total, *pairs[0].shape[axis + 1 :])
        return Pair.zeros(shape, pairs[0].dtype, pairs[0].device)
    present = [any(pair.parts()[index] is not None for pair in pairs) for index in (0, 1)]
    return Pair.split(
        *(
            torch.cat([pair.part(index) for pair in pairs], axis) if present[index] else None
            for index in (0, 1)
        )
    )


@rule(aten.stack)
def _stack(tensors: Sequence[Value], dim: int = 0) -> Pair:
    pairs = [as_pair(tensor) for tensor in tensors]
    new = dim + pairs[0].ndim + 1 if dim < 0 else dim
    return cat([unsqueeze(pair, new) for pair in pairs], new)


@rule(aten.constant_pad_nd)
def pad(z: Pair, pad: Sequence[int], value: complex = 0) -> Pair:
    """Return a tensor with zeros around it; the sides of the last axis come first."""
    if value != 0:
        raise NotImplementedError("complex numbers are padded with zeros only")
    sides = {z.ndim - 1 - at: (pad[2 * at], pad[2 * at + 1]) for at in range(len(pad) // 2)}

    def step(part: Tensor, find: Callable[[int], int]) -> Tensor:
        physical = {find(axis): side for axis, side in sides.items()}
        lowest = min(physical)
        spread = [physical.get(axis, (0, 0)) for axis in range(part.ndim - 1, lowest - 1, -1)]
        return aten.constant_pad_nd(part, [number for side in spread for number in side])

    shape = [extent + sum(sides.get(axis, (0, 0))) for axis, extent in enumerate(z.shape)]
    return _each(z, shape, step)


@rule(aten.flip)
def _flip(z: Pair, dims: Sequence[int]) -> Pair:
    axes = [axis_of(z, dim) for dim in dims]
    return _each(z, z.shape, lambda part, find: part.flip([find(axis) for axis in axes]))


# Sums.


@rule(aten.sum)
def _sum(z: Pair, dims: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Pair:
    return reduced(z, torch.sum, dims, keepdim)


@rule(aten.mean)
def _mean(z: Pair, dims: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Pair:
    return reduced(z, torch.mean, dims, keepdim)


def reduced(z: Pair, reduce: Any, dims: Any, keepdim: bool) -> Pair:
    """Return sums or means over some axes, over all of them where ``dims`` names none."""
    if z.ndim == 0:
        return z
    wanted = range(z.ndim) if not dims and dims != 0 else [dims] if isinstance(dims, int) else dims
    axes = [axis_of(z, dim) for dim in wanted]
    return z.filled().map(
        lambda part, find: reduce(part, [find(axis) for axis in axes], keepdim),
        None if keepdim else _removed(axes),
    )
