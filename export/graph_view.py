"""A node as a lint rule wants to see it: attributes, constant operands, types and shapes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import inliner, numpy_helper

Shape = tuple["int | str", ...]

_UNREADABLE = (ValueError, TypeError, LookupError, OSError, onnx.checker.ValidationError)
"""What reading a tensor raises whose data is damaged, of an unknown type or not there."""
_COPYING = ("Cast", "Identity", "Transpose")


@dataclass
class GraphView:
    """Nodes, types, shapes and constants of one graph, subgraphs and local functions included.

    Attributes:
        opset: Version of the standard operators.
        nodes: Every node, in order; a call of a local function is replaced by the function's nodes.
        folder: Where external data lies; the current one by default.
        outputs: Names of the graph's outputs.
        constants: Name to tensor; None for one of a kind that no rule reads.
        derived: Name to the node that only copies, casts or transposes a constant into it.
        dtypes, shapes: By name, where known.
        sums: What :mod:`differseg.export.lint_sums` found in it.
    """

    opset: int
    nodes: tuple[onnx.NodeProto, ...] = ()
    folder: Path = Path()
    outputs: frozenset[str] = frozenset()
    constants: dict[str, onnx.TensorProto | None] = field(default_factory=dict)
    derived: dict[str, onnx.NodeProto] = field(default_factory=dict)
    dtypes: dict[str, int] = field(default_factory=dict)
    shapes: dict[str, Shape] = field(default_factory=dict)
    sums: dict[int, float] | None = None

    @classmethod
    def of(cls, model: onnx.ModelProto, folder: Path = Path()) -> GraphView:
        """Collect what is known of a model's tensors, inferring what the file does not say."""
        model = _inlined(model)
        outputs = frozenset(info.name for info in model.graph.output)
        view = cls(opset_of(model), tuple(all_nodes(model.graph)), folder, outputs)
        graphs = tuple(all_graphs(model.graph))
        described = {info.name for graph in graphs for info in (*graph.value_info, *graph.output)}
        if any(name not in described for node in view.nodes for name in node.output[:1]):
            model = _with_shapes(model)
        view._collect(model.graph)
        return view

    def _collect(self, graph: onnx.GraphProto) -> None:
        for tensor in graph.initializer:
            self._add_constant(tensor.name, tensor)
        for info in (*graph.input, *graph.value_info, *graph.output):
            self.dtypes[info.name] = info.type.tensor_type.elem_type
            if info.type.tensor_type.HasField("shape"):
                self.shapes[info.name] = shape_of(info)
        for node in graph.node:
            for name in node.output[:1]:
                if node.op_type == "Constant":
                    self._add_constant(name, _value_of(node))
                elif node.op_type in _COPYING and self.is_fixed(node.input[:1]):
                    self._add_derived(name, node)
            for attribute in node.attribute:
                if attribute.type == onnx.AttributeProto.GRAPH:
                    self._collect(attribute.g)

    def _add_constant(self, name: str, tensor: onnx.TensorProto | None) -> None:
        self.constants[name] = tensor
        if tensor is not None:
            self.dtypes[name] = tensor.data_type
            self.shapes[name] = tuple(tensor.dims)

    def _add_derived(self, name: str, node: onnx.NodeProto) -> None:
        if not self.is_fixed([name]):  # a second node of the same output could close a circle
            self.derived[name] = node

    def is_fixed(self, names: Sequence[str]) -> bool:
        """Whether there are such tensors and all are constant or derived from one constant."""
        return bool(names) and all(n in self.constants or n in self.derived for n in names)

    def values(self, name: str) -> npt.NDArray[Any] | None:
        """Return the values of a constant or of what is derived from one, where readable."""
        steps = []
        while name in self.derived:
            steps.append(NodeView(self.derived[name], self))
            name = steps[-1].proto.input[0]
        tensor = self.constants.get(name)
        if tensor is None:
            return None
        try:
            values = numpy_helper.to_array(tensor, str(self.folder))
            for step in reversed(steps):
                values = _derive(values, step)
        except _UNREADABLE:
            return None  # ONNX's checker says what is wrong with it
        return values


@dataclass(frozen=True)
class NodeView:
    """One node within its graph."""

    proto: onnx.NodeProto
    graph: GraphView

    @property
    def opset(self) -> int:
        """Opset of the standard operators in this model."""
        return self.graph.opset

    def attribute(self, name: str, default: Any = None) -> Any:
        """Return an attribute's value, text as ``str``."""
        for attribute in self.proto.attribute:
            if attribute.name == name:
                value = onnx.helper.get_attribute_value(attribute)
                if isinstance(value, bytes):
                    return value.decode(errors="replace")
                return default if value is None else value
        return default

    def has_input(self, index: int) -> bool:
        """Whether the operand is given."""
        return index < len(self.proto.input) and bool(self.proto.input[index])

    def is_constant(self, index: int) -> bool:
        """Whether the operand is given and lies in the file as a constant, readable or not."""
        return self.has_input(index) and self.proto.input[index] in self.graph.constants

    def is_fixed(self, index: int) -> bool:
        """Whether the operand is given and is constant or derived from a constant."""
        return self.has_input(index) and self.graph.is_fixed([self.proto.input[index]])

    def constant(self, index: int) -> npt.NDArray[Any] | None:
        """Return the operand's values when they are fixed and can be read."""
        values = self.graph.values(self.proto.input[index]) if self.has_input(index) else None
        return None if values is None else np.atleast_1d(values)

    def dtype(self, index: int) -> int | None:
        """Return the operand's ``TensorProto`` element type, where known."""
        return self.graph.dtypes.get(self.proto.input[index]) if self.has_input(index) else None

    def shape(self, index: int) -> Shape | None:
        """Return the operand's shape, where known."""
        return self.graph.shapes.get(self.proto.input[index]) if self.has_input(index) else None


def opset_of(model: onnx.ModelProto) -> int:
    """Return the version of the standard operators that a model imports; 0 without any."""
    versions = [o.version for o in model.opset_import if o.domain in ("", "ai.onnx")]
    return max(versions, default=0)


def shape_of(info: onnx.ValueInfoProto) -> Shape:
    """Return a value's shape; a dynamic axis is its name, or ``?``."""
    dims = info.type.tensor_type.shape.dim
    return tuple(d.dim_value if d.HasField("dim_value") else d.dim_param or "?" for d in dims)


def all_graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """Walk a graph and every subgraph in it."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from all_graphs(attribute.g)


def all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Walk the nodes of a graph and of every subgraph in it, in order."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from all_nodes(attribute.g)


def _derive(values: npt.NDArray[Any], step: NodeView) -> npt.NDArray[Any]:
    """Do to a constant what a copying node does."""
    if step.proto.op_type == "Transpose":
        return values.transpose(step.attribute("perm"))
    if step.proto.op_type == "Cast":
        with np.errstate(all="ignore"):  # float16 may overflow, as it will in the network
            return values.astype(onnx.helper.tensor_dtype_to_np_dtype(step.attribute("to")))
    return values


def _value_of(constant: onnx.NodeProto) -> onnx.TensorProto | None:
    """Return what a Constant node holds; None for text and sparse tensors, which no rule reads."""
    for attribute in constant.attribute:
        if attribute.name == "value":
            return attribute.t
        if attribute.name in ("value_int", "value_ints", "value_float", "value_floats"):
            kind = np.int64 if attribute.name.startswith("value_int") else np.float32
            values = np.asarray(onnx.helper.get_attribute_value(attribute), dtype=kind)
            return numpy_helper.from_array(values)
    return None


def _inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with the nodes of its local functions in place of their calls."""
    if not model.functions:
        return model
    try:
        return inliner.inline_local_functions(model)
    except Exception:  # native code raises several kinds; the calls stay, and lint refuses them
        return model


def _with_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    try:
        return onnx.shape_inference.infer_shapes(model)
    except (onnx.shape_inference.InferenceError, ValueError):
        return model  # the checker reports what is wrong; lint goes on with what is known
