"""Real and imaginary parts that were one tensor, or become one: such a tensor is read as a pair.

Fusions, see :mod:`differseg.export.lowering.complex_fusions`.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, fx

from differseg.export.lowering.complex_fusions import Site, fusion, packet, part_of, source_of
from differseg.export.lowering.complex_pair import PARTS, Pair
from differseg.export.lowering.complex_rules import aten
from differseg.export.lowering.complex_transforms import resolved


@fusion(aten.complex)
def _halves_of_one(site: Site) -> Any:
    """``complex(x[..., 0], x[..., 1])`` and ``complex(*x.chunk(2, 1))`` are x, read as a pair."""
    return _read_as_pair(site, *site.arguments)


@fusion(aten.view_as_complex)
def _stacked_parts(site: Site) -> Any:
    """``view_as_complex(stack((a, b), -1))`` is ``complex(a, b)``."""
    stack = source_of(site.arguments[0])
    if packet(stack) is not aten.stack or len(stack.args[0]) != 2:
        return NotImplemented
    if stack.args[1:] not in ((-1,), (site.node.meta["val"].ndim,)):
        return NotImplemented
    first, second = stack.args[0]
    pair = _read_as_pair(site, first, second)
    if pair is not NotImplemented:
        return pair
    return Pair.split(site.values[first], site.values[second])


def _read_as_pair(site: Site, real: Any, imaginary: Any) -> Any:
    """Return the pair, deferred or not, or the one tensor that the two parts come from."""
    whole, other = part_of(real), part_of(imaginary)
    if whole and other and whole[0] is other[0] and (whole[1], other[1]) == (0, 1):
        return site.values[whole[0]]
    first, second = source_of(real), source_of(imaginary)
    selected, halved = _selected(first, second), _halved(first, second)
    if selected is None and halved is None:
        return NotImplemented
    source, axis = selected or halved or (None, 0)
    x = site.values[source]
    if not isinstance(x, Tensor):
        return NotImplemented
    if selected is None:
        x = x.reshape(*x.shape[:axis], 2, x.shape[axis] // 2, *x.shape[axis + 1 :])
    return Pair.packed(x, (*range(axis), PARTS, *range(axis, x.ndim - 1)))


def _selected(first: Any, second: Any) -> tuple[fx.Node, int] | None:
    """Return the tensor and its axis of extent 2 whose elements 0 and 1 the nodes are."""
    if packet(first) is aten.select and packet(second) is aten.select:
        (source, dim, index), (other, other_dim, other_index) = first.args, second.args
        source, other = source_of(source), source_of(other)
        shape = source.meta["val"].shape
        axis = dim % len(shape)
        same = source is other and other_dim % len(shape) == axis and shape[axis] == 2
        return (source, axis) if same and (index % 2, other_index % 2) == (0, 1) else None
    whole = _two_results(first, second, aten.unbind)
    if whole is None:
        return None
    dim = whole.args[1] if len(whole.args) > 1 else 0
    return whole.args[0], dim % whole.args[0].meta["val"].ndim


def _halved(first: Any, second: Any) -> tuple[fx.Node, int] | None:
    """Return the tensor and the axis whose two halves the nodes are."""
    for operator in (aten.split, aten.split_with_sizes, aten.chunk):
        whole = _two_results(first, second, operator)
        if whole is not None:
            dim = whole.args[2] if len(whole.args) > 2 else whole.kwargs.get("dim", 0)
            axis = dim % whole.args[0].meta["val"].ndim
            extents = [value.shape[axis] for value in whole.meta["val"]]
            return (whole.args[0], axis) if extents[0] == extents[1] else None
    if packet(first) is aten.slice and packet(second) is aten.slice:
        start, end = _cut(first), _cut(second)
        if start and end and start[:2] == end[:2]:
            source, axis, begin, middle = start
            count = source.meta["val"].shape[axis]
            if (begin, *end[2:]) == (0, middle, count) and 2 * middle == count:
                return source, axis
    return None


def _two_results(first: Any, second: Any, operator: Any) -> Any:
    """Return the node of this operator whose only two results the nodes are, in this order."""
    if not all(getattr(packet(node), "__name__", "") == "getitem" for node in (first, second)):
        return None
    (whole, index), (other, other_index) = first.args, second.args
    if packet(whole) is not operator or whole is not other or len(whole.meta["val"]) != 2:
        return None
    return whole if (index, other_index) == (0, 1) else None


def _cut(node: Any) -> tuple[Any, int, int, int] | None:
    """Return what a slice without a step is taken from, its axis, start and end."""
    given: tuple[Any, ...] = node.args
    source, dim, start, end, step = given + (None, 0, None, None, 1)[len(given) :]
    shape = source.meta["val"].shape
    axis = dim % len(shape)
    if step != 1 or not isinstance(shape[axis], int):
        return None
    begin, stop, _ = slice(start, end).indices(shape[axis])
    return source_of(source), axis, begin, stop


@fusion(aten.stack, aten.cat)
def _parts_of_one(site: Site) -> Any:
    """``stack((z.real, z.imag), dim)`` and ``cat((z.real, z.imag), dim)`` are z, read as real."""
    nodes, *rest = site.arguments
    parts = [part_of(node) for node in nodes]
    if len(parts) != 2 or parts[0] is None or parts[1] is None:
        return NotImplemented
    (origin, index), (other, other_index) = parts[0], parts[1]
    if origin is not other or (index, other_index) != (0, 1):
        return NotImplemented
    z = resolved(site.values[origin])
    stacked = packet(site.node) is aten.stack
    axis = (rest[0] if rest else 0) % (z.ndim + 1 if stacked else z.ndim)
    tensor = z.arranged((*range(axis), PARTS, *range(axis, z.ndim)))
    return tensor if stacked else tensor.flatten(axis, axis + 1)
