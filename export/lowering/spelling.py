"""Write the ``differseg::`` nodes of a graph in one of three spellings.

``portable``: standard operators in the node's place.  ``function``: the node stays and calls a
local function of the same standard operators, for reading.  ``plugin``: the node stays bare where
the plugin library has a kernel for it, and says where TensorRT finds that; others become portable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir

from differseg.errors import InputError, ModelFileError
from differseg.export.lowering.file_nodes import file_refusal
from differseg.export.lowering.framework import DOMAIN, VERSION, Builder, Call, Lowering, name_of
from differseg.export.lowering.plugin_nodes import (
    NAMESPACE_ATTRIBUTE,
    PLUGIN_NAMESPACE,
    PLUGIN_NODES,
    PLUGIN_VERSION,
    VERSION_ATTRIBUTE,
)
from differseg.export.lowering.registry import LOWERINGS
from differseg.export.naming import mark_operator, module_path
from differseg.manifest import Decision

FORMS = ("portable", "function", "plugin")
"""The spellings, by the names of ``--ops``."""

_PLUGIN_ATTRIBUTES = {VERSION_ATTRIBUTE: PLUGIN_VERSION, NAMESPACE_ATTRIBUTE: PLUGIN_NAMESPACE}

Finish = Callable[[ir.Model], None]
"""Simplifies a graph of standard operators and brings it to the wanted opset, in place."""


def lower(model: ir.Model, form: str) -> list[Decision]:
    """Rewrite, in place, every operator's node that does not stay in this form.

    Args:
        model: A traced graph with constants folded.
        form: One of ``FORMS``.

    Raises:
        InputError: A node has no portable form; says which, where it comes from and why.
    """
    decisions: dict[tuple[str, str], Decision] = {}
    for node, lowering in _own_nodes(model.graph):
        call = Call(node)
        _refuse(call, lowering)
        made = lowering.decisions(call)
        if form == "plugin" and node.op_type in PLUGIN_NODES:
            reason = lowering.kernel_refusal(call)
            if reason is None:
                continue
            made = [*made, Decision(node.op_type, "portable", reason)]
        for decision in made:
            decisions[decision.what, decision.value] = decision
        if form == "function":
            continue
        _replace(model.graph, call, lowering)
    if _holds_own(model.graph):
        model.graph.opset_imports[DOMAIN] = VERSION
    else:
        model.graph.opset_imports.pop(DOMAIN, None)
    return list(decisions.values())


def attach_functions(model: ir.Model, finish: Finish) -> None:
    """Give every bare node a local function that computes it, in place; constants lie in its body.

    Nodes of equal attributes and operand shapes share a function.  One function of an operator has
    the operator's name; further ones are told apart by the shape of their first operand.

    Args:
        model: A finished graph.
        finish: Applied to each body.
    """
    functions: dict[Any, ir.Function] = {}
    for node, lowering in _own_nodes(model.graph):
        call = Call(node)
        key = _signature(call, lowering)
        if key not in functions:
            taken = {function.name for function in functions.values()}
            functions[key] = _function(call, lowering, _function_name(call, taken), finish)
        node.op_type = functions[key].name
    for function in functions.values():
        model.functions[function.identifier()] = function


def mark_plugins(model: ir.Model) -> int:
    """Say on every bare node where TensorRT finds its plugin, in place; returns how many there are.

    TensorRT 10.15 and later look for a plugin first where a node has ``plugin_namespace``.
    """
    count = 0
    for node, _ in _own_nodes(model.graph):
        for name, text in _PLUGIN_ATTRIBUTES.items():
            node.attributes.add(ir.AttrString(name, text))
        count += 1
    return count


def _own_nodes(graph: ir.Graph) -> Iterator[tuple[ir.Node, Lowering]]:
    for node in list(graph):
        if node.domain == DOMAIN:
            if node.op_type not in LOWERINGS:
                raise InputError(
                    f"{node.op_type} (node {node.name!r}): differseg has no such operator; "
                    f"expected one of {', '.join(LOWERINGS)}"
                )
            yield node, LOWERINGS[node.op_type]


def _holds_own(graph: ir.Graph) -> bool:
    return any(node.domain == DOMAIN for node in graph)


def _refuse(call: Call, lowering: Lowering) -> None:
    reason = lowering.check(call)
    if reason is not None:
        where = module_path(call.node) or "the module itself"
        raise InputError(f"{call.node.op_type} (from {where}) has no ONNX form here: {reason}")


def _replace(graph: ir.Graph, call: Call, lowering: Lowering) -> None:
    """Put the standard operators in the node's place."""
    node, op = call.node, Builder()
    source = lowering.rewrite(op, call)
    for value in op.tape.initializers:
        value.name = _free_name(graph, f"{node.name}.{value.name}")
        graph.register_initializer(value)
    for step in op.tape.nodes:
        step.metadata_props.update(node.metadata_props)
        mark_operator(step, name_of(node.op_type))
    graph.insert_before(node, op.tape.nodes)
    result = node.outputs[0]
    source.type, source.shape = result.type, result.shape
    ir.convenience.replace_all_uses_with(result, source, replace_graph_outputs=True)
    if source.is_graph_output():
        source.name = result.name
    graph.remove(node, safe=True)


def _free_name(graph: ir.Graph, name: str) -> str:
    free, number = name, 0
    while free in graph.initializers:
        number += 1
        free = f"{name}.{number}"
    return free


def _signature(call: Call, lowering: Lowering) -> Any:
    """Return what a body depends on: attributes, types, shapes and fixed operands."""
    attributes = tuple(sorted((a.name, str(a.value)) for a in call.node.attributes.values()))
    operands = tuple((value.dtype, str(value.shape)) for value in call.inputs)
    numbers = (call.constant(index) for index in lowering.constant_operands)
    fixed = tuple(array.tobytes() for array in numbers if array is not None)
    return call.node.op_type, attributes, operands, fixed


def _function_name(call: Call, taken: set[str]) -> str:
    """Return the operator's name, then with its sizes, then with a number."""
    stem = call.node.op_type
    sized = f"{stem}_{'x'.join(map(str, call.sizes()))}"
    numbered = (f"{sized}_{number}" for number in range(2, len(taken) + 3))
    return next(name for name in (stem, sized, *numbered) if name not in taken)


def _function(call: Call, lowering: Lowering, name: str, finish: Finish) -> ir.Function:
    """Write a node's rewrite as a local function."""
    operands = [
        ir.Value(name=f"operand_{index}", shape=value.shape, type=value.type)
        for index, value in enumerate(call.inputs)
    ]
    for index in lowering.constant_operands:
        operands[index].const_value = ir.convenience.get_const_tensor(call.inputs[index])
    node = ir.Node(DOMAIN, call.node.op_type, operands, list(call.node.attributes.values()))
    result = node.outputs[0]
    result.name, result.type = "result", call.node.outputs[0].type
    result.shape = call.node.outputs[0].shape
    body = ir.Graph(operands, [result], nodes=[node], opset_imports={"": 18}, name=name)
    _replace(body, Call(node), lowering)
    scratch = ir.Model(body, ir_version=10)
    finish(scratch)
    _constants_into_body(body)
    attributes = [ir.Attr(a.name, a.type, None) for a in call.node.attributes.values()]
    return ir.Function(DOMAIN, name, "", graph=body, attributes=attributes)


def _constants_into_body(body: ir.Graph) -> None:
    """Turn initializers, which a function cannot have, into Constant nodes."""
    first = next(iter(body), None)
    for value in list(body.initializers.values()):
        constant = ir.node("Constant", [], attributes={"value": value.const_value})
        made = constant.outputs[0]
        made.name, made.type, made.shape = value.name, value.type, value.shape
        body.initializers.pop(str(value.name))
        ir.convenience.replace_all_uses_with(value, made)
        if first is not None:
            body.insert_before(first, constant)


def with_definitions(path: Path, finish: Finish) -> onnx.ModelProto | None:
    """Return a file's graph with a definition for every bare node; None where it has none.

    This is what a file of the plugin form computes, in a form that ONNX Runtime runs.  A file has
    the filters of its wavelets in float32, as the kernels do, so the planes that are made of them
    are rounded twice here and once in a portable file: 0.49999997 for Haar, not 0.5.

    Raises:
        ModelFileError: A node's attributes or shapes are not those of its operator.
    """
    model = ir.load(path)
    if model.functions or not _holds_own(model.graph):
        return None
    for node, lowering in _own_nodes(model.graph):
        reason = file_refusal(node, lowering)
        if reason is not None:
            raise ModelFileError(
                f"{path}: {node.op_type} (node {node.name!r}): {reason}; export the model again"
            )
    attach_functions(model, finish)
    return ir.to_proto(model)
