"""A float32 graph as a typed one: float16 but for the nodes that are named.

Every tensor has the type that its node computes in, and a Cast stands where two nodes differ: the
graph says itself where it is rounded, which is what strongly typed TensorRT networks take.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

import numpy as np
import onnx
import onnx_ir as ir

from differseg.errors import InputError
from differseg.export.tensor_ranges import HALF_MAX

InputsOutputs = Literal["fp32", "fp16"]

_FLOAT, _HALF = ir.DataType.FLOAT, ir.DataType.FLOAT16
_SUFFIX = {_FLOAT: "float32", _HALF: "float16"}
_FLOAT_ONLY = {"Resize": (1, 2)}
"""Operands (region and scales) that are float32 in every Resize."""


def has_half_form(node: ir.Node, opset: int) -> bool:
    """Whether an operator takes float16 in the place of float32, in all its float operands."""
    if node.domain not in ("", "ai.onnx"):
        return True  # ours: the plugin library's kernels take both
    schema = onnx.defs.get_schema(node.op_type, opset, "")
    types = {entry.type_param_str: entry.allowed_type_strs for entry in schema.type_constraints}
    for index, value in enumerate((*node.inputs, *node.outputs)):
        formals = schema.inputs if index < len(node.inputs) else schema.outputs
        place = index if index < len(node.inputs) else index - len(node.inputs)
        if value is None or value.dtype != _FLOAT or place in _FLOAT_ONLY.get(node.op_type, ()):
            continue
        formal = formals[min(place, len(formals) - 1)]
        allowed = types.get(formal.type_str, {formal.type_str})
        if "tensor(float16)" not in allowed:
            return False
    return True


def to_half(
    model: ir.Model, kept: Collection[str], *, inputs_outputs: InputsOutputs = "fp32"
) -> int:
    """Let every node but those named compute in float16, in place.

    Args:
        model: A finished float32 graph without local functions and subgraphs.
        kept: Names of the nodes that stay in float32.
        inputs_outputs: Type of the graph's floating-point inputs and outputs.

    Returns:
        How many nodes compute in float16.

    Raises:
        InputError: A constant that float16 cannot hold belongs to a node that is not kept.
    """
    graph, opset = model.graph, model.opset_imports[""]
    if inputs_outputs == "fp16":
        for value in graph.inputs:
            if value.dtype == _FLOAT:
                value.type = ir.TensorType(_HALF)
    casts = _Casts(graph)
    count = 0
    for node in list(graph):
        half = node.name not in kept and has_half_form(node, opset)
        floats = [v for v in (*node.inputs, *node.outputs) if v is not None and _is_float(v)]
        if not floats:
            continue
        count += half
        wanted = _HALF if half else _FLOAT
        for index, operand in enumerate(node.inputs):
            if operand is None or not _is_float(operand):
                continue
            fixed = index in _FLOAT_ONLY.get(node.op_type, ())
            node.replace_input_with(index, casts.typed(operand, _FLOAT if fixed else wanted, node))
        for value in node.outputs:
            if _is_float(value):
                value.type = ir.TensorType(wanted)
        if half and node.op_type == "Cast" and node.attributes["to"].as_int() == _FLOAT:
            node.attributes.add(ir.AttrInt64("to", int(_HALF)))
    _finish_outputs(graph, casts, _HALF if inputs_outputs == "fp16" else _FLOAT)
    casts.remove_unused()
    return count


def _is_float(value: ir.Value) -> bool:
    return value.dtype in (_FLOAT, _HALF)


class _Casts:
    """Gives values in another type: constants rounded, others cast, each once."""

    def __init__(self, graph: ir.Graph) -> None:
        self.graph = graph
        self._made: dict[tuple[ir.Value, ir.DataType], ir.Value] = {}
        self._originals: list[ir.Value] = []

    def typed(self, value: ir.Value, dtype: ir.DataType, before: ir.Node) -> ir.Value:
        """Return a value of this type; a new Cast stands before ``before``."""
        if value.dtype == dtype:
            return value
        key = (value, dtype)
        if key not in self._made:
            if value.is_initializer():
                self._made[key] = self._constant(value, dtype, before)
                self._originals.append(value)
            else:
                cast = self._cast(value, dtype)
                self.graph.insert_before(before, cast)
                self._made[key] = cast.outputs[0]
        return self._made[key]

    def _cast(self, value: ir.Value, dtype: ir.DataType) -> ir.Node:
        maker = value.producer()
        stem = value.name if maker is None else maker.name
        if maker is not None and len(maker.outputs) > 1:
            stem = value.name
        cast = ir.node("Cast", [value], {"to": int(dtype)}, name=f"{stem}/{_SUFFIX[dtype]}")
        made = cast.outputs[0]
        made.name = f"{value.name}.{_SUFFIX[dtype]}"
        made.type, made.shape = ir.TensorType(dtype), value.shape
        return cast

    def _constant(self, value: ir.Value, dtype: ir.DataType, before: ir.Node) -> ir.Value:
        assert value.const_value is not None
        array = value.const_value.numpy()
        largest = float(np.abs(array).max()) if array.size else 0.0
        if not largest <= HALF_MAX:
            raise InputError(
                f"constant '{value.name}' of node '{before.name}' holds {largest:.3g}, float16 "
                f"ends at {HALF_MAX:.0f}; keep the node in float32"
            )
        name = f"{value.name}.{_SUFFIX[dtype]}"
        tensor = ir.tensor(array.astype(dtype.numpy()), name=name)
        made = ir.Value(name=name, type=ir.TensorType(dtype), shape=value.shape, const_value=tensor)
        self.graph.register_initializer(made)
        return made

    def remove_unused(self) -> None:
        """Drop the float32 form of constants that are all used in float16, which take the name."""
        for value in self._originals:
            if value.uses() or value.is_graph_output():
                continue
            name = str(value.name)
            self.graph.initializers.pop(name)
            made = self._made[value, _HALF]
            self.graph.initializers.pop(str(made.name))
            made.name = name
            assert made.const_value is not None
            made.const_value.name = name
            self.graph.register_initializer(made)


def _finish_outputs(graph: ir.Graph, casts: _Casts, dtype: ir.DataType) -> None:
    """Give the graph's outputs this type under their own names."""
    for index, value in enumerate(graph.outputs):
        if not _is_float(value) or value.dtype == dtype:
            continue
        name = str(value.name)
        value.name = f"{name}.{_SUFFIX[value.dtype]}"  # type: ignore[index]
        cast = casts._cast(value, dtype)
        cast.outputs[0].name = name
        graph.append(cast)
        graph.outputs[index] = cast.outputs[0]
