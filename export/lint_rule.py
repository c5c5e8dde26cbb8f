"""What a rule of the lint is, and the predicates that several rules are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from differseg.export.graph_view import NodeView
from differseg.export.targets import Target, Version
from differseg.export.verdict import Level

Predicate = Callable[[NodeView], bool]

_ALL: Version = (0, 0)
_END: Version = (99, 0)

MD_101 = "onnx/onnx-tensorrt, docs/operators.md at 10.1-GA"
MD_85 = "onnx/onnx-tensorrt, docs/operators.md at 8.5-GA"
RTX = "refused by TensorRT-RTX 1.7.1"


@dataclass(frozen=True)
class Rule:
    """One trap.

    Attributes:
        ops: Operators that it is about.
        when: Whether a node falls into it.
        level: ``condition`` or ``no``.
        reason: What goes wrong.
        advice: What to do.
        source: Where it is known from.
        since: First TensorRT version that has it.
        until: First TensorRT version that has it no more.
        without_plugins: Whether it concerns only targets without NVIDIA's own plugin library.
    """

    ops: tuple[str, ...]
    when: Predicate
    level: Level
    reason: str
    advice: str
    source: str
    since: Version = _ALL
    until: Version = _END
    without_plugins: bool = False

    def concerns(self, op_type: str, target: Target) -> bool:
        """Whether the rule is about this operator on this target."""
        return (
            op_type in self.ops
            and self.since <= target.version < self.until
            and not (self.without_plugins and target.has_plugins)
        )


def always(_node: NodeView) -> bool:
    """Every node of the operator."""
    return True


def attribute_is(name: str, *values: int | str) -> Predicate:
    """The attribute is given and has one of the values."""
    return lambda node: node.attribute(name) in values


def not_constant(index: int) -> Predicate:
    """The operand is there and is not constant."""
    return lambda node: node.has_input(index) and not node.is_constant(index)
