"""What several operators together do to complex numbers, where that is shorter than each by itself.

A fusion looks at a node of the graph and at the nodes that it reads, and returns what the node
computes, or ``NotImplemented`` where it is not the last one of its pattern.  The ones here concern
results that are deferred, and angles; :mod:`differseg.export.lowering.complex_parts` has those of
real and imaginary parts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from differseg.export.lowering.complex_pair import Pair
from differseg.export.lowering.complex_rules import aten, modulus, multiply, scaled, unit
from differseg.export.lowering.complex_transforms import (
    Deferred,
    RealSpectrum,
    Rolled,
    Transformed,
    resolved,
    transformed,
)

NO_OPS = (aten.clone, aten.contiguous, aten.alias, aten.detach, aten.lift_fresh_copy)
"""Operators that return their operand."""


@dataclass(frozen=True)
class Site:
    """A node that is about to be computed, and what has been computed so far.

    Attributes:
        node: The node.
        values: The values of the nodes before it.
        constants: The nodes that depend on no input of the program.
    """

    node: fx.Node
    values: Mapping[Any, Any]
    constants: frozenset[fx.Node]

    @property
    def arguments(self) -> tuple[Any, ...]:
        """What the node takes: nodes and numbers."""
        return tuple(self.node.args)

    def value(self, index: int = 0) -> Any:
        """Return the value of an operand."""
        return self.values.get(self.arguments[index], self.arguments[index])


Fusion = Callable[[Site], Any]
FUSIONS: dict[Any, tuple[Fusion, ...]] = {}
"""Operator (all its overloads) of a pattern's last node to what may compute it."""


def fusion(*operators: Any) -> Callable[[Fusion], Fusion]:
    """Register a function for these operators."""

    def register(function: Fusion) -> Fusion:
        for operator in operators:
            FUSIONS[operator] = (*FUSIONS.get(operator, ()), function)
        return function

    return register


def packet(node: Any) -> Any:
    """Return the operator that a node calls, whichever its overload; None for any other node."""
    if not isinstance(node, fx.Node) or node.op != "call_function":
        return None
    return getattr(node.target, "overloadpacket", node.target)


def source_of(node: Any) -> Any:
    """Return the node that copies and the like start from."""
    while packet(node) in NO_OPS:
        node = node.args[0]
    return node


# Parts of deferred results.


@fusion(*NO_OPS)
def _passed_on(site: Site) -> Any:
    """A copy of a deferred result stays deferred."""
    value = site.value()
    return value if isinstance(value, Deferred) else NotImplemented


@fusion(aten.view_as_real)
def _taken_apart(site: Site) -> Any:
    """A view of which only single parts are used is never made."""
    return None if parts_used(site.node) else NotImplemented


@fusion(aten.select)
def _one_part(site: Site) -> Any:
    """Only the wanted part of a deferred result is computed."""
    view = site.arguments[0]
    if packet(view) is not aten.view_as_real or not parts_used(view):
        return NotImplemented
    z_node, index = view.args[0], site.arguments[2]
    z, uses = site.values[z_node], _parts_of_all_uses(z_node)
    if isinstance(z, Transformed) and uses == {0}:
        return z.real_part()
    if isinstance(z, RealSpectrum) and len(uses) == 1:
        return z.part(index)
    return resolved(z).part(index)


def parts_used(view: Any) -> set[int]:
    """Return which parts are selected from a view as real, none if it is used otherwise."""
    last = view.meta["val"].ndim - 1
    used: set[int] = set()
    for user in view.users:
        if packet(user) is not aten.select or user.args[1] not in (last, -1):
            return set()
        used.add(user.args[2] % 2)
    return used


def _parts_of_all_uses(z_node: fx.Node) -> set[int]:
    """Return which parts of a complex node are all that is used of it, none if more is."""
    used: set[int] = set()
    for user in z_node.users:
        if packet(user) in NO_OPS:
            parts = _parts_of_all_uses(user)
        else:
            parts = parts_used(user) if packet(user) is aten.view_as_real else set()
        if not parts:
            return set()
        used |= parts
    return used


# Transforms after transforms and rolls.


@fusion(aten._fft_c2c)
def _further_axes(site: Site) -> Any:
    """``fft(fft(x, dim=-1), dim=-2)`` of a real x is one two-sided transform over both axes."""
    _, dims, normalization, forward = site.arguments
    first = site.value()
    if isinstance(first, Rolled):
        return transformed(first, dims, normalization, forward)
    if not isinstance(first, RealSpectrum) or not forward:
        return NotImplemented
    axes = [dim % first.ndim for dim in dims]
    norm = ("backward", "ortho", "forward")[normalization]
    if norm != first.norm or set(axes) & set(first.dims):
        return NotImplemented
    return RealSpectrum(first.x, [*first.dims, *axes], norm)


@fusion(aten.roll)
def _rolled_again(site: Site) -> Any:
    """Two rolls are one, which is none for ``ifftshift(fftshift(z))``."""
    z = site.value()
    if not isinstance(z, Rolled) or len(site.arguments) < 3:
        return NotImplemented
    shifts, dims = ([n] if isinstance(n, int) else n for n in site.arguments[1:3])
    if not all(isinstance(shift, int) for shift in shifts):
        return NotImplemented
    total = dict(z.shifts)
    for shift, dim in zip(shifts, dims, strict=True):
        axis = dim % z.ndim
        total[axis] = (total.get(axis, 0) + shift) % z.shape[axis]
    return Rolled(z.z, total)


@fusion(aten.mul)
def _mask_of_rolled(site: Site) -> Any:
    """A constant factor of a shifted spectrum is shifted instead, which costs nothing."""
    first, second = site.arguments
    for node, other in ((first, second), (second, first)):
        z = site.values.get(node)
        if not isinstance(z, Rolled):
            continue
        if not isinstance(other, fx.Node):
            return Rolled(multiply(z.z, other), z.shifts)
        if other in site.constants:
            factor = _rolled_back(resolved(site.values[other]), z)
            return NotImplemented if factor is None else Rolled(multiply(z.z, factor), z.shifts)
    return NotImplemented


@fusion(aten.where, aten.masked_fill)
def _zeros_of_rolled(site: Site) -> Any:
    """So is a constant mask that sets bins of a shifted spectrum to zero."""
    if len(site.arguments) != 3:  # torch.where(mask) looks for indices
        return NotImplemented
    mask, first, second = site.arguments
    if packet(site.node) is aten.masked_fill:
        second, mask, first = site.arguments
    if mask not in site.constants:
        return NotImplemented
    for node, other, where_true in ((first, second, True), (second, first, False)):
        z = site.values.get(node)
        zero = site.values.get(other, other)
        if not isinstance(z, Rolled) or not _is_zero(zero):
            continue
        if isinstance(zero, Pair) and torch.broadcast_shapes(zero.shape, z.shape) != z.shape:
            return NotImplemented
        chosen = _rolled_back(site.values[mask], z)
        if chosen is None:
            return NotImplemented
        kept = chosen if where_true else chosen.logical_not()
        return Rolled(multiply(z.z, kept.to(z.dtype)), z.shifts)
    return NotImplemented


def _is_zero(value: Any) -> bool:
    return (
        value.is_zero if isinstance(value, Pair) else not isinstance(value, Tensor) and value == 0
    )


def _rolled_back(other: Any, z: Rolled) -> Any:
    """Roll an operand the other way along the axes in which it is not broadcast."""
    missing = z.ndim - other.ndim
    if missing < 0:
        return None
    back = {axis - missing: -shift for axis, shift in z.shifts.items() if axis >= missing}
    back = {axis: shift for axis, shift in back.items() if other.shape[axis] != 1}
    if isinstance(other, Pair):
        rolled = Rolled(other, back).compute()
        rolled.constant = True
        return rolled
    return other.roll(list(back.values()), list(back)) if back else other


@fusion(aten.abs)
def _size_of_rolled(site: Site) -> Any:
    """A rolled spectrum turns the phases of its inverse transform, not the amplitudes."""
    z = site.value()
    if not isinstance(z, Transformed) or not isinstance(z.z, Rolled):
        return NotImplemented
    if not set(z.z.shifts) <= set(z.dims):
        return NotImplemented
    return modulus(Transformed(z.z.z, z.dims, z.norm, inverse=z.inverse).resolved())


# Angles that only turn something.


@fusion(aten.cos, aten.sin)
def _cosine_of_angle(site: Site) -> Any:
    """``cos(angle(z)) = re(z) / |z|``, which needs no arc tangent and is more exact."""
    turn = _turn_of_angle(site, site.arguments[0])
    if turn is None:
        return NotImplemented
    return turn.part(0 if packet(site.node) is aten.cos else 1)


@fusion(aten.polar)
def _polar_of_angle(site: Site) -> Any:
    turn = _turn_of_angle(site, site.arguments[1])
    return NotImplemented if turn is None else scaled(turn, site.value())


@fusion(aten.exp)
def _exp_of_angle(site: Site) -> Any:
    """``exp(1j * angle(z)) = z / |z|``."""
    product = site.arguments[0]
    if packet(product) is not aten.mul or 1j not in product.args:
        return NotImplemented
    angle = next(other for other in product.args if other != 1j)
    turn = _turn_of_angle(site, angle)
    return NotImplemented if turn is None else turn


def _turn_of_angle(site: Site, node: Any) -> Pair | None:
    """Return ``exp(i node)`` where the node is the angle of a complex number."""
    node = source_of(node)
    origin = None
    if packet(node) is aten.angle:
        origin = source_of(node.args[0])
    elif packet(node) is aten.atan2:
        imaginary, real = (part_of(operand) for operand in node.args)
        if imaginary and real and (imaginary[1], real[1]) == (1, 0) and imaginary[0] is real[0]:
            origin = real[0]
    z = resolved(site.values[origin]) if origin is not None else None
    return unit(z) if isinstance(z, Pair) else None


def part_of(node: Any) -> tuple[fx.Node, int] | None:
    """Return the complex node and which of its parts the node is."""
    node = source_of(node)
    view = node.args[0] if packet(node) is aten.select else None
    if packet(view) is not aten.view_as_real or not parts_used(view):
        return None
    assert isinstance(view, fx.Node)
    return source_of(view.args[0]), node.args[2] % 2
