"""From opset 18, the oldest that PyTorch's exporter writes, down to 17.

17 is the newest opset that the TensorRT 8.5 and 8.6 parsers of JetPack 5 and 6.0 read, and its
GridSample has the spelling that every TensorRT understands.  Few operators differ between the two;
ONNX's own schemas say which, and one that differs and has no rule here is refused, so a wrong graph
cannot pass silently.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir

from differseg.errors import InputError

OPSETS = (17, 18)
"""Opsets that the exporter can write."""

IR_VERSION = 8
"""Version of the file format that belongs to opset 17; every reader in use knows it."""


def convert_opset(model: ir.Model, opset: int) -> None:
    """Bring an opset-18 graph with constant axes and sizes to ``opset``, in place.

    Raises:
        InputError: The opset is not in ``OPSETS``, or a node has no form in it.
    """
    if opset not in OPSETS:
        raise InputError(f"opset: expected one of {', '.join(map(str, OPSETS))}, got {opset}")
    current = model.opset_imports.get("", opset)
    if current not in OPSETS:
        raise InputError(f"opset: the traced graph is opset {current}, expected 18")
    if opset < current:
        for node in list(model.graph):
            _convert(model.graph, node)
    model.opset_imports[""] = opset
    model.ir_version = IR_VERSION


def _convert(graph: ir.Graph, node: ir.Node) -> None:
    if node.domain not in ("", "ai.onnx") or not _differs(node.op_type):
        return
    rule = _RULES.get(node.op_type)
    if rule is None:
        raise InputError(
            f"opset 17: {node.op_type} (node {node.name!r}) exists from opset 18 only; "
            "export with opset=18, or write the module with other operations"
        )
    rule(graph, node)


def _differs(op_type: str) -> bool:
    """Whether the operator's definition changed, or first came, with opset 18."""
    try:
        older = onnx.defs.get_schema(op_type, max_inclusive_version=17).since_version
    except onnx.defs.SchemaError:
        return True
    return older != onnx.defs.get_schema(op_type, max_inclusive_version=18).since_version


def _reduce(graph: ir.Graph, node: ir.Node) -> None:
    """``axes`` is an attribute in opset 17 and an input in 18."""
    node.attributes.pop("noop_with_empty_axes", None)
    if len(node.inputs) > 1 and node.inputs[1] is not None:
        axes = _constant(node, 1)
        node.attributes.add(ir.AttrInt64s("axes", [int(axis) for axis in axes]))
    node.resize_inputs(1)


def _split(graph: ir.Graph, node: ir.Node) -> None:
    """Opset 17 has no ``num_outputs``: say the sizes of unequal parts instead."""
    node.attributes.pop("num_outputs", None)
    source = node.inputs[0]
    if len(node.inputs) > 1 or source is None or source.shape is None:
        return
    extent = source.shape[node.attributes.get_int("axis", 0)]
    parts = len(node.outputs)
    if isinstance(extent, int) and extent % parts:
        chunk = -(-extent // parts)
        sizes = [chunk] * (parts - 1) + [extent - chunk * (parts - 1)]
        node.resize_inputs(2)
        node.replace_input_with(1, _new_constant(graph, f"{node.outputs[0].name}_sizes", sizes))


def _pad(graph: ir.Graph, node: ir.Node) -> None:
    """Opset 17 has no ``axes``: spell the pads of every axis."""
    if len(node.inputs) < 4 or node.inputs[3] is None:
        node.resize_inputs(min(3, len(node.inputs)))
        return
    source = node.inputs[0]
    if source is None or source.shape is None:
        raise InputError(
            f"opset 17: Pad (node {node.name!r}) has axes and an input of unknown rank"
        )
    rank = len(source.shape)
    axes, pads = _constant(node, 3) % rank, _constant(node, 1)
    full = np.zeros(2 * rank, dtype=np.int64)
    full[axes], full[axes + rank] = pads[: len(axes)], pads[len(axes) :]
    node.resize_inputs(3)
    name = f"{node.outputs[0].name}_pads"
    node.replace_input_with(1, _new_constant(graph, name, full.tolist()))


def _resize(graph: ir.Graph, node: ir.Node) -> None:
    """Drop the attributes of opset 18 where they say what opset 17 does anyway."""
    antialias = node.attributes.get_int("antialias", 0)
    policy = node.attributes.get_string("keep_aspect_ratio_policy", "stretch")
    if antialias or policy != "stretch" or "axes" in node.attributes:
        raise InputError(
            f"opset 17: Resize (node {node.name!r}) has antialias={antialias}, "
            f"keep_aspect_ratio_policy={policy} or axes, which exist from opset 18 only; "
            "resize without antialias"
        )
    for name in ("antialias", "keep_aspect_ratio_policy"):
        node.attributes.pop(name, None)


def _scatter(graph: ir.Graph, node: ir.Node) -> None:
    reduction = node.attributes.get_string("reduction", "none")
    if reduction not in ("none", "add", "mul"):
        raise InputError(
            f"opset 17: {node.op_type} (node {node.name!r}) has reduction {reduction}, "
            "expected none, add or mul"
        )


_RULES: Mapping[str, Callable[[ir.Graph, ir.Node], None]] = {
    "Pad": _pad,
    "Resize": _resize,
    "ScatterElements": _scatter,
    "ScatterND": _scatter,
    "Split": _split,
} | dict.fromkeys(
    (
        "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean",
        "ReduceMin", "ReduceProd", "ReduceSumSquare",
    ),
    _reduce,
)  # fmt: skip


def _constant(node: ir.Node, index: int) -> npt.NDArray[np.int64]:
    value = node.inputs[index]
    if value is None or value.const_value is None:
        raise InputError(
            f"opset 17: input {index} of {node.op_type} (node {node.name!r}) must be constant; "
            "export with static shapes"
        )
    return np.atleast_1d(value.const_value.numpy().astype(np.int64))


def _new_constant(graph: ir.Graph, name: str, numbers: list[int]) -> ir.Value:
    tensor = ir.tensor(np.asarray(numbers, dtype=np.int64), name=name)
    value = ir.Value(name=name, const_value=tensor, shape=ir.Shape([len(numbers)]))
    value.type = ir.TensorType(ir.DataType.INT64)
    graph.register_initializer(value)
    return value
