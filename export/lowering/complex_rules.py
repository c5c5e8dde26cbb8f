"""Arithmetic of complex numbers in real ones: a rule for each PyTorch operator.

A rule takes what the operator takes, with a :class:`~differseg.export.lowering.complex_pair.Pair`
in place of every complex tensor, and returns what the operator returns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from differseg.export.lowering.complex_pair import (
    PARTS,
    Order,
    Pair,
    beside,
    constant_pair,
    in_logical_order,
)

aten = torch.ops.aten
Value = Pair | Tensor | complex
Rule = Callable[..., Any]

RULES: dict[Any, Rule] = {}
"""Operator (all its overloads) to what computes it in real numbers."""


def rule(*operators: Any) -> Callable[[Rule], Rule]:
    """Register a function as the rule of these operators."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(operators, function))
        return function

    return register


def as_pair(value: Value, like: Pair | None = None) -> Pair:
    """Return a real tensor as a pair, or a number as one of the kind of ``like``."""
    if isinstance(value, Pair):
        return value
    if isinstance(value, Tensor):
        whole = not value.is_floating_point()
        dtype = like.dtype if like is not None else torch.get_default_dtype()
        return Pair.split(value.to(dtype) if whole else value, None)
    assert like is not None, "the sum or product of two numbers is no tensor"
    number = complex(value)
    if like.is_packed:
        return constant_pair(number, like.dtype, like.device)
    parts = (
        torch.tensor(part, dtype=like.dtype, device=like.device) if part else None
        for part in (number.real, number.imag)
    )
    return like.like(*parts)


def aligned(a: Pair, b: Pair) -> tuple[Tensor, Tensor, Order]:
    """Return both packed in one order of axes, ready to be broadcast, and that order."""
    rank = max(a.ndim, b.ndim)
    leading = b if a.constant or b.ndim > a.ndim else a
    order = leading.raised(rank).tensor_and_order()[1]
    return a.raised(rank).arranged(order), b.raised(rank).arranged(order), order


# Making pairs, and taking them apart.


@rule(aten.complex)
def _complex(real: Tensor, imaginary: Tensor) -> Pair:
    return Pair.split(real, imaginary)


@rule(aten.polar)
def polar(radius: Tensor, angle: Tensor) -> Pair:
    """Return ``radius * exp(i angle)``."""
    return Pair.split(radius * torch.cos(angle), radius * torch.sin(angle))


@rule(aten.view_as_complex)
def _view_as_complex(x: Tensor) -> Pair:
    return Pair.packed(x, (*range(x.ndim - 1), PARTS))


@rule(aten.view_as_real)
def _view_as_real(z: Pair) -> Tensor:
    return z.arranged((*range(z.ndim), PARTS))


@rule(aten.real)
def _real(z: Pair) -> Tensor:
    return z.real


@rule(aten.imag)
def _imag(z: Pair) -> Tensor:
    return z.imag


@rule(aten._conj, aten.conj, aten._conj_physical, aten.conj_physical)
def conj(z: Pair) -> Pair:
    """Return the complex conjugate."""
    if z.is_packed:
        tensor, order = z.tensor_and_order()
        return Pair.packed(with_signs(tensor, order, 1.0, -1.0), order)
    real, imaginary = z.parts()
    return z.like(real, None if imaginary is None else -imaginary)


def with_signs(tensor: Tensor, order: Order, real: float, imaginary: float) -> Tensor:
    """Multiply the two parts of a packed tensor by a number each."""
    behind = len(order) - 1 - order.index(PARTS)
    signs = torch.tensor([real, imaginary], dtype=tensor.dtype, device=tensor.device)
    return tensor * signs.view(2, *[1] * behind)


@rule(aten.abs)
def modulus(z: Pair) -> Tensor:
    """Return ``|z| = sqrt(re^2 + im^2)``, in the logical order of axes."""
    if not z.is_packed and (z.is_real or z.is_imaginary):
        return torch.abs(z.real if z.is_real else z.imag)
    tensor, order = z.tensor_and_order()
    size = torch.linalg.vector_norm(tensor, dim=order.index(PARTS))
    return in_logical_order(size, [label for label in order if label != PARTS])


@rule(aten.linalg_vector_norm)
def _vector_norm(
    z: Pair, ord: float = 2, dim: Any = None, keepdim: bool = False, **_: Any
) -> Tensor:
    return torch.linalg.vector_norm(modulus(z), ord, dim, keepdim)


@rule(aten.angle)
def angle(z: Pair) -> Tensor:
    """Return the argument in [-pi, pi]."""
    return torch.atan2(z.imag, z.real)


@rule(aten.sgn)
def _sgn(z: Pair) -> Pair:
    size = modulus(z)
    return divide(z, torch.where(size == 0, 1.0, size))


def unit(z: Pair) -> Pair:
    """Return ``exp(i angle(z))``, which is 1 where z is 0, without the angle."""
    if z.turn is None:
        size = modulus(z)
        nowhere = (size == 0).to(size.dtype)
        z.turn = divide(add(z, nowhere), size + nowhere)
    return z.turn


# Comparisons.


@rule(aten.ne)
def unequal(a: Value, b: Value) -> Tensor:
    """Return where two numbers differ; at least one is complex."""
    like = a if isinstance(a, Pair) else b if isinstance(b, Pair) else None
    first, second = as_pair(a, like), as_pair(b, like)
    return (first.real != second.real) | (first.imag != second.imag)


@rule(aten.eq)
def _equal(a: Value, b: Value) -> Tensor:
    return unequal(a, b).logical_not()


# Sums, products and powers.


@rule(aten.add)
def add(a: Value, b: Value, alpha: float = 1) -> Pair:
    """Return ``a + alpha * b``; at least one is complex."""
    like = a if isinstance(a, Pair) else b if isinstance(b, Pair) else None
    if like is None:
        like = as_pair(a if isinstance(a, Tensor) else b)
    a, b = as_pair(a, like), as_pair(b, like)
    if a.is_packed and b.is_packed:
        x, y, order = aligned(a, b)
        return Pair.packed(torch.add(x, y, alpha=alpha), order)
    parts = (_sum(x, y, alpha) for x, y in zip(a.parts(), b.parts(), strict=True))
    total = a.like(*parts)
    shape = torch.broadcast_shapes(a.shape, b.shape)
    if total.shape == shape:
        return total
    if total.is_zero:
        return Pair.zeros(shape, a.dtype, a.device)
    return total.map(lambda part, _: part.expand(shape))


def _sum(x: Tensor | None, y: Tensor | None, alpha: float) -> Tensor | None:
    if y is None:
        return x
    if x is None:
        return y if alpha == 1 else y * alpha
    return torch.add(x, y, alpha=alpha)


@rule(aten.sub, aten.subtract)
def subtract(a: Value, b: Value, alpha: float = 1) -> Pair:
    """Return ``a - alpha * b``; at least one is complex."""
    return add(a, b, -alpha)


@rule(aten.rsub)
def _rsub(a: Value, b: Value, alpha: complex = 1) -> Pair:
    return subtract(b, a, alpha)


@rule(aten.neg)
def negative(z: Pair) -> Pair:
    """Return ``-z``."""
    return z if z.is_zero else z.map(lambda part, _: -part)


@rule(aten.mul, aten.multiply)
def multiply(a: Any, b: Any) -> Pair:
    """Return ``a * b``; at least one is complex, a pair or a number."""
    if not isinstance(a, Pair) or (a.constant and isinstance(b, Pair)):
        a, b = b, a  # the first one is turned, which a constant does for nothing
    if not isinstance(a, Pair):
        number, tensor = (complex(a), b) if isinstance(b, Tensor) else (complex(b), a)
        like = as_pair(tensor)
        return like.like(*(like.real * part if part else None for part in _parts(number)))
    if isinstance(b, complex) and 0 in _parts(b):
        return scaled(a, b.real) if b.imag == 0 else _turned(scaled(a, b.imag))
    if not isinstance(b, Pair | complex):
        return scaled(a, b)
    b = as_pair(b, a)
    if a.is_packed and b.is_packed:
        return _packed_product(a, b)
    return _split_product(a, b)


def _parts(number: complex) -> tuple[float, float]:
    return number.real, number.imag


def scaled(z: Pair, factor: Tensor | float) -> Pair:
    """Return ``z`` times a real number or a real tensor."""
    if not isinstance(factor, Tensor):
        if z.is_zero or factor == 1:
            return z
        return z.map(lambda part, _: part * factor)
    if z.is_zero:
        shape = torch.broadcast_shapes(z.shape, factor.shape)
        return Pair.zeros(shape, torch.promote_types(z.dtype, factor.dtype), z.device)
    if not z.is_packed:
        return Pair.split(*(None if part is None else part * factor for part in z.parts()))
    tensor, order = z.raised(factor.ndim).tensor_and_order()
    return Pair.packed(tensor * beside(factor, order), order)


def _turned(z: Pair) -> Pair:
    """Return ``i * z``."""
    real, imaginary = z.parts()
    return z.like(None if imaginary is None else -imaginary, real)


def _packed_product(a: Pair, b: Pair) -> Pair:
    """Return ``a * re(b) + (a with its parts swapped) * (-im(b), im(b))``."""
    x, y, order = aligned(a, b)
    axis = order.index(PARTS)
    real, imaginary = y.narrow(axis, 0, 1), y.narrow(axis, 1, 1)
    turned = swapped(x, order) * torch.cat((-imaginary, imaginary), axis)
    return Pair.packed(x * real + turned, order)


def swapped(tensor: Tensor, order: Order) -> Tensor:
    """Return a packed tensor with its parts swapped."""
    return tensor.index_select(order.index(PARTS), torch.tensor([1, 0], device=tensor.device))


def _split_product(a: Pair, b: Pair) -> Pair:
    (ar, ai), (br, bi) = a.parts(), b.parts()
    real, minus = _times(ar, br), _times(ai, bi)
    if minus is not None:
        real = -minus if real is None else real - minus
    left, right = _times(ar, bi), _times(ai, br)
    imaginary = left if right is None else right if left is None else left + right
    if real is None and imaginary is None:
        return Pair.zeros(torch.broadcast_shapes(a.shape, b.shape), a.dtype, a.device)
    return Pair.split(real, imaginary)


def _times(x: Tensor | None, y: Tensor | None) -> Tensor | None:
    return None if x is None or y is None else x * y


def squared_modulus(z: Pair) -> Tensor:
    """Return ``re^2 + im^2``, in the logical order of axes."""
    real, imaginary = z.parts()
    squares = [part * part for part in (real, imaginary) if part is not None]
    return sum(squares[1:], squares[0])


@rule(aten.reciprocal)
def reciprocal(z: Pair) -> Pair:
    """Return ``1 / z = conj(z) / |z|^2``."""
    return divide(conj(z), squared_modulus(z))


@rule(aten.div, aten.divide, aten.true_divide)
def divide(a: Value, b: Value) -> Pair:
    """Return ``a / b``; at least one is complex."""
    if isinstance(b, Pair):
        return multiply(a, reciprocal(b))
    if isinstance(b, complex):
        return multiply(a, 1 / b)
    z = as_pair(a)
    if z.is_zero:
        return scaled(z, b)
    if not isinstance(b, Tensor):
        return z.map(lambda part, _: part / b)
    if not z.is_packed:
        return Pair.split(*(None if part is None else part / b for part in z.parts()))
    tensor, order = z.raised(b.ndim).tensor_and_order()
    return Pair.packed(tensor / beside(b, order), order)


@rule(aten.square)
def _square(z: Pair) -> Pair:
    return multiply(z, z)


@rule(aten.pow)
def power(z: Value, exponent: Any) -> Pair:
    """Return ``z`` to a whole power from -4 to 4."""
    whole = isinstance(exponent, int | float) and exponent == int(exponent)
    if not isinstance(z, Pair) or not whole or not 1 <= abs(exponent) <= 4:
        raise NotImplementedError("only whole powers from -4 to 4 of complex numbers")
    result = z
    for _ in range(int(abs(exponent)) - 1):
        result = multiply(result, z)
    return reciprocal(result) if exponent < 0 else result


@rule(aten.exp)
def exp(z: Pair) -> Pair:
    """Return ``exp(re) * (cos(im) + i sin(im))``."""
    real, imaginary = z.parts()
    if imaginary is None:
        return Pair.split(torch.exp(z.real), None)
    turn = Pair.split(torch.cos(imaginary), torch.sin(imaginary))
    return turn if real is None else scaled(turn, torch.exp(real))


@rule(aten.log)
def _log(z: Pair) -> Pair:
    return Pair.split(torch.log(modulus(z)), angle(z))
