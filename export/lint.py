"""Hold every node of a graph against what a target's parser is known to accept."""

from __future__ import annotations

from collections.abc import Iterator

import onnx

from differseg.export.graph_view import GraphView, NodeView, opset_of, shape_of
from differseg.export.lint_functions import function_findings
from differseg.export.lint_plugins import own_verdict
from differseg.export.lint_rules import rules_for
from differseg.export.lint_sums import LARGEST_FLOAT16, overflowing_sums
from differseg.export.lint_types import type_findings, type_verdict
from differseg.export.lowering.plugin_nodes import PLUGIN_NAMESPACE
from differseg.export.targets import (
    OPERATORS_SOURCE,
    TARGETS,
    Target,
    operator_since,
    supported_operators,
)
from differseg.export.verdict import Level, Verdict

_STANDARD = ("", "ai.onnx")
_ONNXRUNTIME_DOMAINS = ("com.microsoft", "com.microsoft.nchwc", "ai.onnx.ml")
_INT64_NATIVE = (9, 0)


Functions = set[tuple[str, str]]
"""Domain and name of a file's local functions."""


def lint(
    model: onnx.ModelProto, target: Target, view: GraphView | None = None
) -> tuple[Verdict, ...]:
    """Return the graph's findings and one verdict per node, in the graph's order.

    The nodes of local functions are judged where they are called.

    Args:
        model: The graph.
        target: Where it shall run.
        view: Its nodes, types and shapes, when the caller has collected them already.
    """
    view = view or GraphView.of(model)
    functions = {(function.domain, function.name) for function in model.functions}
    nodes = [_node_verdict(NodeView(node, view), target, functions) for node in view.nodes]
    for index, gain in overflowing_sums(view).items():
        if nodes[index].level != "no":
            nodes[index] = _sum_verdict(nodes[index], gain)
    return (*_graph_verdicts(model, target), *nodes)


def worst(verdicts: tuple[Verdict, ...]) -> Level:
    """Return the worst level of all verdicts."""
    levels = {verdict.level for verdict in verdicts}
    return "no" if "no" in levels else "condition" if "condition" in levels else "yes"


def levels_by_target(model: onnx.ModelProto, view: GraphView | None = None) -> dict[str, Level]:
    """Return the worst level of a graph on every known target."""
    view = view or GraphView.of(model)
    return {name: worst(lint(model, target, view)) for name, target in TARGETS.items()}


def _graph_verdicts(model: onnx.ModelProto, target: Target) -> Iterator[Verdict]:
    opset = opset_of(model)
    if opset > target.max_opset:
        yield Verdict(
            "", "", "no",
            f"the graph is opset {opset}, {target.label} reads up to {target.max_opset}",
            "write it in opset 17, as 'differseg export' does", target.source,
        )  # fmt: skip
    if target.max_ir is not None and model.ir_version > target.max_ir:
        yield Verdict(
            "", "", "no",
            f"the file has format version (IR) {model.ir_version}, {target.label} reads up to "
            f"{target.max_ir}",
            f"set model.ir_version = {target.max_ir} in Python and save the file", target.source,
        )  # fmt: skip
    if target.engine != "tensorrt":
        return
    yield from function_findings(model, target)
    yield from type_findings(model, target)
    initializers = {tensor.name for tensor in model.graph.initializer}
    for kind, infos in (("input", model.graph.input), ("output", model.graph.output)):
        for info in infos:
            if info.name not in initializers:
                yield from _tensor_verdicts(kind, info, target)


def _sum_verdict(otherwise: Verdict, gain: float) -> Verdict:
    """Add to a node's verdict that its sums can overflow."""
    texts = (
        f"float16 sums of a gain of {gain:.0f} overflow where the mean of the input passes "
        f"{LARGEST_FLOAT16 / gain:.3g}",
        "use norm='ortho', whose gain is the square root, or keep the transform in float32",
        "IEEE 754 binary16 ends at 65504",
    )
    before = (otherwise.reason, otherwise.advice, otherwise.source)
    reason, advice, source = (
        "; ".join(filter(None, pair)) for pair in zip(before, texts, strict=True)
    )
    return Verdict(otherwise.node, otherwise.op, "condition", reason, advice, source)


def _tensor_verdicts(kind: str, info: onnx.ValueInfoProto, target: Target) -> Iterator[Verdict]:
    if info.type.tensor_type.elem_type == onnx.TensorProto.INT64:
        as_int32 = target.version < _INT64_NATIVE
        yield Verdict(
            info.name, "", "condition",
            f"the {kind} is int64, which this version "
            + ("turns into int32" if as_int32 else "really binds as int64"),
            f"give the application {'int32' if as_int32 else 'int64'} buffers, or use int32",
            "onnx/onnx-tensorrt, docs/operators.md at 8.6-GA and 9.0-GA",
        )  # fmt: skip
    dynamic = [extent for extent in shape_of(info) if isinstance(extent, str)]
    if kind == "input" and dynamic:
        yield Verdict(
            info.name, "", "condition",
            f"the input has dynamic axes ({', '.join(dynamic)})",
            "give an optimisation profile: trtexec --minShapes --optShapes --maxShapes",
            "TensorRT developer guide, dynamic shapes",
        )  # fmt: skip


def _node_verdict(node: NodeView, target: Target, functions: Functions) -> Verdict:
    proto = node.proto
    name, op = proto.name, proto.op_type
    if proto.domain not in _STANDARD:
        return _foreign_verdict(proto, target, functions)
    if target.engine == "onnxruntime":
        return Verdict(name, op, "yes")
    if op not in supported_operators(target.version):
        since = operator_since(op)
        later = f"; TensorRT {since[0]}.{since[1]} and later read it" if since else ""
        return Verdict(
            name, op, "no", f"{op} is not among the operators that this parser imports{later}",
            _ADVICE.get(op, "write the module with other operations"), OPERATORS_SOURCE,
        )  # fmt: skip
    wrong_type = type_verdict(node, target)
    if wrong_type is not None:
        return wrong_type
    for rule in rules_for(op, target):
        if rule.when(node):
            return Verdict(name, op, rule.level, rule.reason, rule.advice, rule.source)
    return Verdict(name, op, "yes")


def _foreign_verdict(proto: onnx.NodeProto, target: Target, functions: Functions) -> Verdict:
    """Judge a node of a domain other than ONNX's own."""
    label = f"{proto.domain}::{proto.op_type}"
    if (proto.domain, proto.op_type) in functions:
        if target.engine == "onnxruntime":
            return Verdict(proto.name, label, "yes")
        return Verdict(
            proto.name, label, "no",
            "a call of a local function that onnx.inliner cannot put in its place, so what it "
            "computes was not judged",
            "write the function in the opset of the graph, or export without functions",
            "differseg looks into functions of the graph's own opset only",
        )  # fmt: skip
    if proto.domain == PLUGIN_NAMESPACE:
        return own_verdict(proto, target)
    if target.engine == "onnxruntime" and proto.domain in _ONNXRUNTIME_DOMAINS:
        return Verdict(proto.name, label, "yes")
    return Verdict(
        proto.name, label, "no", "an operator of a custom domain, which needs a plugin library",
        "export with --ops portable", "onnx/onnx-tensorrt, ModelImporter.cpp",
    )  # fmt: skip


_ADVICE = {
    "DFT": "write the transform as MatMul with constant cosines and sines",
    "STFT": "write the transform as a strided convolution with constant cosines and sines",
    "LayerNormalization": "export for this target, which writes it in older operators",
    "GroupNormalization": "decompose it into Reshape, ReduceMean, Sub, Mul, Sqrt and Div",
    "Col2Im": "add shifted slices, or use ConvTranspose with an identity kernel",
    "DeformConv": "sample with GridSample, or load a plugin library",
    "MaxUnpool": "upsample with Resize or ConvTranspose",
    "AffineGrid": "compute the grid once and store it as a constant",
    "Gelu": "decompose it into Erf, Add and Mul (opset 17 does)",
    "QLinearConv": "quantise in Q/DQ form: QuantizeLinear and DequantizeLinear around Conv",
    "QLinearMatMul": "quantise in Q/DQ form: QuantizeLinear and DequantizeLinear around MatMul",
    "DynamicQuantizeLinear": "quantise with fixed scales in Q/DQ form",
}
