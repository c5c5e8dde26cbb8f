"""From a traced graph to the one that is written: lowered, simplified, converted and named."""

from __future__ import annotations

import functools

import onnx_ir as ir
import onnx_ir.passes.common as common

from differseg.errors import InputError
from differseg.export import naming
from differseg.export.batchnorm import batchnorm_decisions, fold_batchnorm
from differseg.export.lowering.constant_calls import fold_calls
from differseg.export.lowering.spelling import attach_functions, lower, mark_plugins
from differseg.export.opset import convert_opset
from differseg.export.simplify import fold_constants, simplify, strip_annotations
from differseg.manifest import Decision


def finish_graph(
    model: ir.Model, *, ops: str = "portable", opset: int = 17, strip: str = ""
) -> list[Decision]:
    """Lower, simplify, convert and name a traced graph in place; returns what was decided.

    Raises:
        InputError: It has a node without a form in this opset, an operator that cannot be lowered,
            or control flow.
    """
    interface = naming.interface_of(model.graph)
    for value in model.graph.initializers.values():
        naming.mark_stored(value)
    scopes = naming.record_scopes(model)
    fold_constants(model)
    while fold_calls(model.graph):
        fold_constants(model)
    decisions = batchnorm_decisions(*fold_batchnorm(model))
    decisions += lower(model, ops)
    operators = naming.record_operators(model)
    _standard(model, opset)
    naming.keep_interface(model.graph, *interface)
    naming.assign_names(model, scopes, operators, strip=strip)
    strip_annotations(model)
    if ops == "function":
        attach_functions(model, functools.partial(finish_body, opset=opset))
        if not model.functions:
            decisions.append(Decision("functions", "none", "the network calls no operator of ours"))
    elif ops == "plugin" and not mark_plugins(model):
        decisions.append(Decision("plugins", "none", "no operator of the graph has a kernel"))
    common.ShapeInferencePass()(model)
    assert naming.interface_of(model.graph) == interface, "a graph input or output was renamed"
    reason = "the newest that TensorRT 8.5 to 11 all read" if opset == 17 else "asked for"
    return [*decisions, Decision("opset", str(opset), reason)]


def finish_body(model: ir.Model, *, opset: int = 17) -> None:
    """Simplify and convert the body of a local function, in place."""
    _standard(model, opset)
    strip_annotations(model)


def _standard(model: ir.Model, opset: int) -> None:
    common.ShapeInferencePass()(model)
    simplify(model)
    _refuse_control_flow(model.graph)
    convert_opset(model, opset)


def _refuse_control_flow(graph: ir.Graph) -> None:
    for node in graph:
        if any(attribute.type == ir.AttributeType.GRAPH for attribute in node.attributes.values()):
            where = naming.module_path(node) or "the module itself"
            raise InputError(
                f"{graph.name}: control flow is not exported: {node.op_type} (node {node.name!r}, "
                f"from {where}), made by torch.cond or a loop; decide it before the export, or "
                "compute both branches and choose with torch.where"
            )
