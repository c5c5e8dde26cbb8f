"""Equations of torch.einsum with every axis named, as TensorRT and the complex rules read them."""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_lowercase, ascii_uppercase
from typing import Any

import torch

_ATEN = torch.ops.aten


def parsed(equation: str, ranks: Sequence[int]) -> tuple[list[str], str]:
    """Return the letters of each operand and of the result, an ellipsis as letters of its own.

    Raises:
        NotImplementedError: An operand names an axis twice.
    """
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    spare = [letter for letter in ascii_uppercase[::-1] + ascii_lowercase if letter not in equation]
    spans = [
        rank - len(term.replace("...", "")) if "..." in term else 0
        for term, rank in zip(terms, ranks, strict=True)
    ]
    dots = "".join(spare[: max(spans)])
    letters = [
        term.replace("...", dots[len(dots) - span :])
        for term, span in zip(terms, spans, strict=True)
    ]
    if any(len(set(term)) < len(term) for term in letters):
        raise NotImplementedError(f"einsum {equation!r} takes a diagonal")
    every = "".join(letters)
    once = sorted(letter for letter in set(every) - set(dots) if every.count(letter) == 1)
    return letters, right.replace("...", dots) if arrow else dots + "".join(once)


def extents(letters: Sequence[str], shapes: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """Return how long each letter's axis is where operands of extent 1 are broadcast."""
    longest: dict[str, Any] = {}
    for term, shape in zip(letters, shapes, strict=True):
        for letter, extent in zip(term, shape, strict=True):
            if not _is_one(extent) or letter not in longest:
                longest[letter] = extent
    return longest


def _is_one(extent: Any) -> bool:
    return isinstance(extent, int) and extent == 1


def name_every_axis(program: torch.export.ExportedProgram) -> None:
    """Write every einsum without ellipsis, capitals and broadcasting, in place.

    TensorRT reads an ellipsis from 10.12 on, and lower-case letters only.
    """
    for node in program.graph.find_nodes(op="call_function", target=_ATEN.einsum.default):
        equation, operands = node.args[:2]
        shapes = [operand.meta["val"].shape for operand in operands]
        try:
            letters, wanted = parsed(equation, [len(shape) for shape in shapes])
        except NotImplementedError:  # a diagonal, which ONNX has a form for
            continue
        longest = extents(letters, shapes)
        if len(longest) > len(ascii_lowercase):
            continue
        with program.graph.inserting_before(node):
            node.args = (
                _in_lower_case(letters, wanted),
                [
                    _broadcast(program.graph, operand, [longest[letter] for letter in term])
                    for operand, term in zip(operands, letters, strict=True)
                ],
            )


def _in_lower_case(letters: Sequence[str], wanted: str) -> str:
    names = dict(zip(dict.fromkeys("".join(letters)), ascii_lowercase, strict=False))
    terms = ("".join(names[letter] for letter in term) for term in (*letters, wanted))
    *operands, result = terms
    return f"{','.join(operands)}->{result}"


def _broadcast(
    graph: torch.fx.Graph, operand: torch.fx.Node, shape: Sequence[Any]
) -> torch.fx.Node:
    value = operand.meta["val"]
    sizes = [
        new if _is_one(own) and isinstance(new, int) and new != 1 else -1
        for own, new in zip(value.shape, shape, strict=True)
    ]
    if set(sizes) <= {-1}:
        return operand
    node = graph.call_function(_ATEN.expand.default, (operand, sizes))
    node.meta = operand.meta | {"val": value.expand(sizes)}
    return node
