"""Whether a node of ours from a file, which anyone may have edited, can be written out.

Nodes of a trace need no such check: their operators' functions have checked the arguments.
"""

from __future__ import annotations

import onnx_ir as ir

from differseg.export.lowering.framework import Builder, Call, Lowering
from differseg.export.lowering.nodes import schema_of


def file_refusal(node: ir.Node, lowering: Lowering) -> str | None:
    """Return what is wrong with a node, None where it can be written out."""
    reason = _wrong_operands(node) or _wrong_attributes(node, lowering)
    if reason is not None:
        return reason
    call = Call(node)
    try:
        reason = lowering.check(call)
        if reason is None:
            lowering.rewrite(Builder(), call)
    except (ArithmeticError, LookupError, TypeError, ValueError):
        names = {a.name for a in schema_of(node.op_type).attributes.values()}
        given = ", ".join(f"{name} {node.attributes[name].value}" for name in sorted(names))
        shapes = " and ".join(str(value.shape) for value in call.inputs)
        return f"its attributes ({given}) do not go with operands of shape {shapes}"
    return reason


def _wrong_operands(node: ir.Node) -> str | None:
    expected = [operand.name for operand in schema_of(node.op_type).inputs]
    if len(node.inputs) != len(expected) or None in node.inputs:
        return f"it has {len(Call(node).inputs)} operands, expected {', '.join(expected)}"
    return None


def _wrong_attributes(node: ir.Node, lowering: Lowering) -> str | None:
    for name, formal in schema_of(node.op_type).attributes.items():
        attribute, kind = node.attributes.get(name), str(formal.type).rpartition(".")[2]
        if attribute is None:
            return f"the attribute {name!r} is missing, expected one of type {kind}"
        if attribute.type.name != kind:
            return f"the attribute {name!r} has the type {attribute.type.name}, expected {kind}"
        words = lowering.words.get(name)
        if words is not None and attribute.value not in words:
            return (
                f"the attribute {name!r} is {attribute.value!r}, expected one of {', '.join(words)}"
            )
    return None
