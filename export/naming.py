"""Readable, unique, stable names: ``freq_decoder.decoders.0.fuse/Conv``.

A TensorRT build pins precision, profiles and reports by layer name, and a layer takes its name from
the ONNX node, so a node is called by the module that made it and by its operator; a second one of
the same module and operator gets ``_1``.  A node that is part of a frequency operator's standard
form has that operator between the two: ``high_pass/rfft2/MatMul``.  Values are called after the
node that makes them, and constants after the parameter that they are, the few numbers that they
hold, or the node and the operand that they feed.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Sequence

import onnx
import onnx_ir as ir

_SCOPES_KEY = "pkg.torch.onnx.name_scopes"
_SPELLED_NUMBERS = 8
_PARAMETER, _STORED = "differseg.parameter", "differseg.stored"
_OPERATOR_KEY = "differseg.operator"

PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Operators that may compute in int8."""

Scopes = dict[str, str]
"""Value name -> path of the module that makes the value."""

Operators = dict[str, str]
"""Value name -> frequency operator whose standard form makes the value."""


def module_path(node: ir.Node) -> str | None:
    """Return the path of the module that made a traced node, '' for the outermost one."""
    text = node.metadata_props.get(_SCOPES_KEY)
    if text is None:
        return None
    scopes = ast.literal_eval(text)  # outermost module first, the traced operation last
    return str(scopes[-2]) if len(scopes) > 1 else ""


def record_scopes(model: ir.Model) -> Scopes:
    """Note the module of every value before nodes are rewritten; values keep their names."""
    return {
        value.name: path
        for node in model.graph
        if (path := module_path(node)) is not None
        for value in node.outputs
        if value.name is not None
    }


def mark_operator(node: ir.Node, operator: str) -> None:
    """Say of which operator's standard form a node is part, such as ``rfft2``."""
    node.metadata_props[_OPERATOR_KEY] = operator


def record_operators(model: ir.Model) -> Operators:
    """Note the operator of every value before nodes are rewritten; values keep their names."""
    return {
        value.name: node.metadata_props[_OPERATOR_KEY]
        for node in model.graph
        if _OPERATOR_KEY in node.metadata_props
        for value in node.outputs
        if value.name is not None
    }


def mark_parameter(value: ir.Value) -> None:
    """Let a constant keep its name: a module calls its learned parameter so."""
    value.meta[_PARAMETER] = True


def is_parameter(value: ir.Value) -> bool:
    """Whether the constant was marked as a parameter."""
    return bool(value.meta.get(_PARAMETER, False))


def mark_stored(value: ir.Value) -> None:
    """Let a parameter or buffer keep its name, but for the matrix or filter of a product.

    That is called after its reader: by the name calibration knows fixed filters from learned ones.
    """
    value.meta[_STORED] = True


def _own_name(value: ir.Value, reader: ir.Node) -> str | None:
    if is_parameter(value) or (value.meta.get(_STORED) and reader.op_type not in PRODUCTS):
        return value.name
    return None


def interface_of(graph: ir.Graph) -> tuple[list[str], list[str]]:
    """Return the names of the graph's inputs and outputs."""
    return [str(value.name) for value in graph.inputs], [str(v.name) for v in graph.outputs]


def keep_interface(graph: ir.Graph, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Give the graph's inputs and outputs these names, in place.

    A value has one name, so an output that is also an input, a constant or an earlier output
    becomes a value of its own, made by an Identity.
    """
    own: set[ir.Value] = set()
    for index, value in enumerate(graph.outputs):
        result = value
        if value.producer() is None or value in own:
            copy = ir.node("Identity", [value])
            result = copy.outputs[0]
            result.type = value.type
            result.shape = None if value.shape is None else value.shape.copy()
            graph.append(copy)
            graph.outputs[index] = result
        own.add(result)
    names = dict(zip((*graph.inputs, *graph.outputs), (*inputs, *outputs), strict=True))
    made = (value for node in graph for value in node.outputs)
    for value in (*graph.initializers.values(), *made):
        if value not in names and value.name in names.values():
            value.name = f"{value.name}.inner"
    for value, name in names.items():
        value.name = name


def assign_names(model: ir.Model, scopes: Scopes, operators: Operators, *, strip: str = "") -> None:
    """Name every node, value and constant, in place.

    Args:
        model: The finished graph; graph inputs and outputs keep their names.
        scopes: From :func:`record_scopes`, for nodes that a rewrite made.
        operators: From :func:`record_operators`, likewise.
        strip: A prefix left out of all names: the wrapper around the network.
    """
    graph = model.graph
    paths = _paths(graph, scopes)
    seen: Counter[str] = Counter()
    for node, path in paths.items():
        path = path.removeprefix(strip) if path + "." != strip else ""
        stem = "/".join(filter(None, (path, _operator(node, operators), node.op_type)))
        node.name = f"{stem}_{seen[stem]}" if seen[stem] else stem
        seen[stem] += 1
    _rename_values(graph, strip)


def _operator(node: ir.Node, operators: Operators) -> str:
    """Return a node's operator: its own record, its result's, or that of all around it."""
    own = _recorded(node, operators)
    if own:
        return own
    before = (value.producer() for value in node.inputs if value is not None)
    behind = (use.node for value in node.outputs for use in value.uses())
    around = {_recorded(other, operators) for other in (*before, *behind) if other is not None}
    return around.pop() if len(around) == 1 else ""


def _recorded(node: ir.Node, operators: Operators) -> str:
    own = node.metadata_props.get(_OPERATOR_KEY)
    if own is not None:
        return own
    return next((operators[v.name] for v in node.outputs if v.name in operators), "")


def _paths(graph: ir.Graph, scopes: Scopes) -> dict[ir.Node, str]:
    """Return each node's module: its own record, its result's, or that of what it reads."""
    paths: dict[ir.Node, str] = {}
    for node in graph:
        path = module_path(node)
        if path is None:
            path = next((scopes[v.name] for v in node.outputs if v.name in scopes), None)
        if path is None:
            makers = (value.producer() for value in node.inputs if value is not None)
            path = next((paths[maker] for maker in makers if maker in paths), "")
        paths[node] = path
    return paths


def _rename_values(graph: ir.Graph, strip: str) -> None:
    taken = {value.name for value in (*graph.inputs, *graph.outputs) if value.name}
    constants: dict[ir.Value, str] = {}
    for node in graph:
        for index, value in enumerate(node.inputs):
            if value is not None and value.is_initializer() and value not in constants:
                own = _own_name(value, node)
                name = own.removeprefix(strip) if own else _constant_name(node, index, value)
                constants[value] = _free(name, taken)
        for index, value in enumerate(node.outputs):
            if not value.is_graph_output():
                value.name = f"{node.name}_output_{index}"
    graph.initializers.clear()
    for value, name in constants.items():
        value.name = name
        if value.const_value is not None:
            value.const_value.name = name
        graph.register_initializer(value)


def _constant_name(node: ir.Node, index: int, value: ir.Value) -> str:
    """Return ``const/int64_0_-1`` for a few numbers, which nodes may share, else the operand."""
    tensor = value.const_value
    if tensor is None or tensor.size > _SPELLED_NUMBERS:
        return f"{node.name}.{_operand(node, index)}"
    values = tensor.numpy().ravel().tolist()
    numbers = [f"{value:.6g}" if isinstance(value, float) else str(value) for value in values]
    rank = [] if len(tensor.shape) else ["scalar"]
    return "_".join([f"const/{tensor.dtype.numpy().name}", *rank, *numbers])


def _free(name: str, taken: set[str]) -> str:
    free, number = name, 0
    while free in taken:
        number += 1
        free = f"{name}.{number}"
    taken.add(free)
    return free


def _operand(node: ir.Node, index: int) -> str:
    """Return the operator's own word for an input, such as ``shape`` or ``axes``."""
    try:
        formal = onnx.defs.get_schema(node.op_type, domain=node.domain).inputs
    except onnx.defs.SchemaError:
        return f"input_{index}"
    return str(formal[min(index, len(formal) - 1)].name)
