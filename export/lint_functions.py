"""What a target does with the local functions of a file.

TensorRT's parser goes by a node's name alone: it takes its own operator of that name before any
local function, whatever the domain.  For plugins the order changed twice, see
:mod:`differseg.export.lint_plugins`.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx

from differseg.export.graph_view import all_nodes
from differseg.export.lint_plugins import function_hides_plugin
from differseg.export.targets import Target, supported_operators
from differseg.export.verdict import Verdict

_READS_FUNCTIONS = (9, 0)
_SOURCE = "onnx/onnx-tensorrt, ModelImporter.cpp at 8.5-GA, 8.6-GA, 10.3, 10.7 and 10.15"
_INLINE = "inline them: onnx.inliner.inline_local_functions"


def function_findings(model: onnx.ModelProto, target: Target) -> Iterator[Verdict]:
    """Yield what is to be said of the local functions that a file calls."""
    if target.engine != "tensorrt" or not model.functions:
        return
    calls = _calls(model)
    built_in = supported_operators(target.version)
    for domain, op in sorted({(c.domain, c.op_type) for c in calls if c.op_type in built_in}):
        yield Verdict(
            "", "", "no",
            f"the parser goes by the name alone and takes its own {op} for each call of the local "
            f"function {domain}::{op}",
            "give the function another name, or inline it: onnx.inliner.inline_local_functions",
            f"{_SOURCE}; built with TensorRT-RTX 1.7.1",
        )  # fmt: skip
    if not calls:
        return
    count = f"the file has {len(model.functions)} local functions, which"
    if target.version < _READS_FUNCTIONS:
        yield Verdict("", "", "no", f"{count} this parser ignores", _INLINE, _SOURCE)
        return
    hiding = sum(function_hides_plugin(call, target.version) for call in calls)
    if hiding == len(calls):
        yield Verdict(
            "", "", "condition", f"{count} hide plugins of the same name", _INLINE, _SOURCE
        )
        return
    where = f" in {len(calls) - hiding} of {len(calls)} calls" if hiding else ""
    yield Verdict(
        "", "", "condition", f"{count} a loaded plugin of the same name replaces{where}",
        f"load only a plugin library that computes the same, or {_INLINE}", _SOURCE,
    )  # fmt: skip


def _calls(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Return every node that calls a local function, those inside functions included."""
    functions = {(function.domain, function.name) for function in model.functions}
    graphs = (model.graph, *(onnx.GraphProto(node=f.node) for f in model.functions))
    nodes = (node for graph in graphs for node in all_nodes(graph))
    return [node for node in nodes if (node.domain, node.op_type) in functions]
