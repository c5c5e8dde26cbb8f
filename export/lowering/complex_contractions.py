"""Matrix products of complex numbers in real ones: one real product for each complex one.

``[re(a); im(a)] @ [re(b), im(b)]`` holds all four products of parts, so weights keep their size
and a graph has one MatMul where four were needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from differseg.export.lowering.complex_layout import (
    expand,
    permute,
    reduced,
    select,
    unsqueeze,
    view,
)
from differseg.export.lowering.complex_pair import PARTS, Pair, numel
from differseg.export.lowering.complex_rules import (
    Value,
    add,
    as_pair,
    aten,
    multiply,
    rule,
    swapped,
    with_signs,
)
from differseg.export.lowering.einsum import extents, parsed


@rule(aten.mm, aten.bmm, aten.matmul, aten.mv, aten.dot)
def matmul(a: Value, b: Value) -> Pair:
    """Return the matrix product over the last axis of ``a`` and the last but one of ``b``."""
    first, second = as_pair(a).filled(), as_pair(b).filled()
    if second.ndim == 1:
        return select(matmul(first, unsqueeze(second, 1)), -1, 0)
    if first.ndim == 1:
        return select(matmul(unsqueeze(first, 0), second), -2, 0)
    rows, columns, inner = first.shape[-2], second.shape[-1], first.shape[-1]
    left, right = first.real, second.real
    if not first.is_real:
        tensor = first.arranged((*range(first.ndim - 2), PARTS, first.ndim - 2, first.ndim - 1))
        left = tensor.reshape(*tensor.shape[:-3], 2 * rows, inner)
    if not second.is_real:
        tensor = second.arranged((*range(second.ndim - 1), PARTS, second.ndim - 1))
        right = tensor.reshape(*tensor.shape[:-2], 2 * columns)
    product = left @ right  # (..., [2] rows, [2] columns)
    batch = product.shape[:-2]
    rank = product.ndim
    by_row = (*range(rank - 2), PARTS, rank - 2, rank - 1)
    by_column = (*range(rank - 1), PARTS, rank - 1)
    if first.is_real and second.is_real:
        return Pair.split(product, None)
    if second.is_real:
        return Pair.packed(product.reshape(*batch, 2, rows, columns), by_row)
    if first.is_real:
        return Pair.packed(product.reshape(*batch, rows, 2, columns), by_column)
    both = product.reshape(*batch, 2, rows, 2, columns)
    of_real, of_imaginary = both.select(-4, 0), both.select(-4, 1)  # (..., rows, 2, columns)
    turned = with_signs(swapped(of_imaginary, by_column), by_column, -1.0, 1.0)
    return Pair.packed(of_real + turned, by_column)


@rule(aten.linear)
def _linear(x: Value, weight: Value, bias: Value | None = None) -> Pair:
    product = matmul(x, permute(as_pair(weight), [1, 0]))
    return product if bias is None else add(product, bias)


@rule(aten.addmm, aten.addmv, aten.baddbmm)
def _addmm(bias: Value, a: Value, b: Value, *, beta: complex = 1, alpha: complex = 1) -> Pair:
    return add(multiply(matmul(a, b), alpha), multiply(as_pair(bias), beta))


@rule(aten.einsum)
def _einsum(equation: str, operands: Sequence[Value], path: Any = None) -> Pair:
    pairs = [as_pair(value) for value in operands]
    letters, wanted = parsed(equation, [pair.ndim for pair in pairs])
    longest = extents(letters, [pair.shape for pair in pairs])
    pairs = [
        expand(pair, [longest[letter] for letter in term])
        for pair, term in zip(pairs, letters, strict=True)
    ]
    total, have = pairs[0], letters[0]
    for index in range(1, len(pairs)):
        later = wanted + "".join(letters[index + 1 :])
        total, have = _contracted(total, have, pairs[index], letters[index], later)
    total, have = _without(total, have, wanted)
    result = permute(total, [have.index(letter) for letter in wanted])
    # Now, while it is small: truncated spectra are padded afterwards.  The batch comes first again.
    return result.settled()


def _contracted(a: Pair, of_a: str, b: Pair, of_b: str, later: str) -> tuple[Pair, str]:
    """Return the product of two operands, summed over what nothing later needs."""
    a, of_a = _without(a, of_a, later + of_b)
    b, of_b = _without(b, of_b, later + of_a)
    summed = [letter for letter in of_a if letter in of_b and letter not in later]
    shared = [letter for letter in of_a if letter in of_b and letter in later]
    only_a = [letter for letter in of_a if letter not in of_b]
    only_b = [letter for letter in of_b if letter not in of_a]
    if not summed:
        result = [*shared, *only_a, *only_b]
        return multiply(_spread(a, of_a, result), _spread(b, of_b, result)), "".join(result)
    left = permute(a, [of_a.index(letter) for letter in (*shared, *only_a, *summed)])
    right = permute(b, [of_b.index(letter) for letter in (*shared, *summed, *only_b)])
    batch, rows = left.shape[: len(shared)], left.shape[len(shared) : len(shared) + len(only_a)]
    columns, inner = right.shape[len(shared) + len(summed) :], left.shape[left.ndim - len(summed) :]
    product = matmul(
        view(left, (*batch, numel(rows), numel(inner))),
        view(right, (*batch, numel(inner), numel(columns))),
    )
    return view(product, (*batch, *rows, *columns)), "".join([*shared, *only_a, *only_b])


def _without(z: Pair, letters: str, needed: str) -> tuple[Pair, str]:
    """Sum over the axes that nothing needs."""
    gone = [axis for axis, letter in enumerate(letters) if letter not in needed]
    kept = "".join(letter for letter in letters if letter in needed)
    return (reduced(z, torch.sum, gone, False), kept) if gone else (z, letters)


def _spread(z: Pair, letters: str, result: Sequence[str]) -> Pair:
    """Bring the axes into the result's order, with extent 1 for those that are not there."""
    present = [letter for letter in result if letter in letters]
    z = permute(z, [letters.index(letter) for letter in present])
    for axis, letter in enumerate(result):
        if letter not in letters:
            z = unsqueeze(z, axis)
    return z
