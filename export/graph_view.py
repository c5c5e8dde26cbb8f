"""A node as a lint rule wants to see it: attributes, constant operands, types and shapes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

Shape = tuple["int | str", ...]


@dataclass
class GraphView:
    """Types, shapes and constants of one graph, subgraphs included."""

    opset: int
    constants: dict[str, onnx.TensorProto] = field(default_factory=dict)
    dtypes: dict[str, int] = field(default_factory=dict)
    shapes: dict[str, Shape] = field(default_factory=dict)

    @classmethod
    def of(cls, model: onnx.ModelProto) -> GraphView:
        """Collect what is known of a model's tensors, inferring what the file does not say."""
        view = cls(opset=opset_of(model))
        described = {info.name for info in (*model.graph.value_info, *model.graph.output)}
        if any(name not in described for node in model.graph.node for name in node.output[:1]):
            model = _with_shapes(model)
        view._collect(model.graph)
        return view

    def _collect(self, graph: onnx.GraphProto) -> None:
        for tensor in graph.initializer:
            self.constants[tensor.name] = tensor
            self.dtypes[tensor.name] = tensor.data_type
            self.shapes[tensor.name] = tuple(tensor.dims)
        for info in (*graph.input, *graph.value_info, *graph.output):
            self.dtypes[info.name] = info.type.tensor_type.elem_type
            if info.type.tensor_type.HasField("shape"):
                self.shapes[info.name] = shape_of(info)
        for node in graph.node:
            for attribute in node.attribute:
                if node.op_type == "Constant" and attribute.name == "value":
                    self.constants[node.output[0]] = attribute.t
                if attribute.type == onnx.AttributeProto.GRAPH:
                    self._collect(attribute.g)


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
                return value.decode() if isinstance(value, bytes) else value
        return default

    def has_input(self, index: int) -> bool:
        """Whether the operand is given."""
        return index < len(self.proto.input) and bool(self.proto.input[index])

    def constant(self, index: int) -> npt.NDArray[Any] | None:
        """Return the operand's values when they are constant."""
        if not self.has_input(index):
            return None
        tensor = self.graph.constants.get(self.proto.input[index])
        return None if tensor is None else np.atleast_1d(numpy_helper.to_array(tensor))

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


def all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Walk the nodes of a graph and of every subgraph in it, in order."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from all_nodes(attribute.g)


def _with_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    try:
        return onnx.shape_inference.infer_shapes(model)
    except (onnx.shape_inference.InferenceError, ValueError):
        return model  # the checker reports what is wrong; lint goes on with what is known
