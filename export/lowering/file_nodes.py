"""Whether a node of ours from a file, which anyone may have edited, can be written out.

Nodes of a trace need no such check: their operators' functions have checked the arguments.
"""

from __future__ import annotations

import onnx_ir as ir

from differseg.export.lowering.framework import Builder, Call, Lowering
from differseg.export.lowering.plugin_nodes import PLUGIN_ATTRIBUTES


def file_refusal(node: ir.Node, lowering: Lowering) -> str | None:
    """Return what is wrong with a node, None where it can be written out."""
    if node.op_type not in PLUGIN_ATTRIBUTES:
        return "the plugin library has no kernel for it, and the file no definition"
    given = {a.name: ir.to_proto(a) for a in node.attributes.values()}
    for name, expected in PLUGIN_ATTRIBUTES[node.op_type].items():
        wrong = expected.wrong(given.get(name))
        if wrong:
            return f"its plugin refuses the attribute {name}: {wrong}"
    call = Call(node)
    try:
        reason = lowering.check(call)
        if reason is None:
            lowering.rewrite(Builder(), call)
    except (ArithmeticError, LookupError, TypeError, ValueError):
        names = sorted(PLUGIN_ATTRIBUTES[node.op_type])
        attributes = ", ".join(f"{name} {node.attributes[name].value}" for name in names)
        shapes = " and ".join(str(value.shape) for value in call.inputs) or "no"
        return f"its attributes ({attributes}) do not go with operands of shape {shapes}"
    return reason
