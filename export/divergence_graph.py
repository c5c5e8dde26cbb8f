"""An ONNX graph whose tensors can be asked for, in parts small enough for memory.

A part is a model of its own: the nodes that some tensors need, back to the graph's inputs or to
tensors at which it is cut.  Cut tensors become inputs, so a node can run on values from elsewhere;
a cut tensor that is also asked for is given out under another name (:data:`OWN`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import onnx
from onnx import TensorProto, helper

OWN = "::own"
"""Behind the name of a tensor that a part both reads and makes."""

FLOATS: dict[int, str] = {
    TensorProto.FLOAT: "float32",
    TensorProto.FLOAT16: "float16",
    TensorProto.DOUBLE: "float64",
}
"""Types of the tensors that are compared."""

PASSING = ("Cast", "QuantizeLinear", "DequantizeLinear", "Identity")
"""Operators that hand on what they read, up to rounding."""


@dataclass(frozen=True)
class Part:
    """A model that computes some tensors.

    Attributes:
        model: Its outputs are still to be marked.
        outputs: Name in the part by name in the graph.
        inputs: The graph's own inputs that it reads.
        cuts: The cut tensors that it reads.
    """

    model: onnx.ModelProto
    outputs: dict[str, str]
    inputs: tuple[str, ...]
    cuts: tuple[str, ...]


class LayerGraph:
    """Nodes, types and shapes of one model.

    Args:
        model: A whole model; types and shapes that it does not say are inferred.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        graph = model.graph
        self.nodes = _in_order(graph.node)
        self.producers = {
            name: index for index, node in enumerate(self.nodes) for name in node.output if name
        }
        self.readers: dict[str, set[int]] = {}
        for index in range(len(self.nodes)):
            for name in self.reads(index):
                self.readers.setdefault(name, set()).add(index)
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        self.inputs = {
            info.name: info.type.tensor_type.elem_type
            for info in graph.input
            if info.name not in self.constants
        }
        self.outputs = tuple(info.name for info in graph.output)
        self.types: dict[str, int] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._infos: dict[str, onnx.ValueInfoProto] = {}
        self._note_types()
        self.named = _unique(self.nodes)

    def _note_types(self) -> None:
        graph = self.model.graph
        told = {info.name for info in (*graph.value_info, *graph.output)}
        if not told.issuperset(self.producers):
            inferred = onnx.shape_inference.infer_shapes(self.model, data_prop=True)
            graph = inferred.graph
        for info in (*graph.input, *graph.value_info, *graph.output):
            kind = info.type.tensor_type
            self.types[info.name] = kind.elem_type
            self._infos[info.name] = info
            sides = [dim.dim_value if dim.HasField("dim_value") else 1 for dim in kind.shape.dim]
            if kind.HasField("shape"):
                self.shapes[info.name] = tuple(sides)

    def is_known(self, tensor: str) -> bool:
        """Whether the tensor's type is known, so that a graph can be cut there."""
        return bool(self.types.get(tensor))

    def is_float(self, tensor: str) -> bool:
        """Whether the tensor's type is known and one that is compared."""
        return self.types.get(tensor) in FLOATS

    def bytes_of(self, tensor: str) -> int:
        """Return how much memory a tensor takes as float32."""
        size = 4
        for side in self.shapes.get(tensor, (1 << 18,)):
            size *= max(1, side)
        return size

    def reads(self, index: int) -> list[str]:
        """Return what a node reads, within its subgraphs too."""
        node = self.nodes[index]
        return [name for name in (*node.input, *_captured(node)) if name]

    def part(self, tensors: Sequence[str], cuts: Collection[str] = ()) -> Part:
        """Return the model that computes these tensors from the graph's inputs and the cuts."""
        needed: set[int] = set()
        used: set[str] = set()
        waiting = [self.producers[name] for name in tensors if name in self.producers]
        while waiting:
            index = waiting.pop()
            if index in needed:
                continue
            needed.add(index)
            for name in self.reads(index):
                used.add(name)
                if name in self.producers and name not in cuts:
                    waiting.append(self.producers[name])
        inputs = tuple(name for name in self.inputs if name in used)
        cut = tuple(name for name in cuts if name in used and name in self.producers)
        renamed = {name: name + OWN for name in cuts if name in self.producers}
        nodes = []
        for index in sorted(needed):
            node = onnx.NodeProto()
            node.CopyFrom(self.nodes[index])
            for place, name in enumerate(node.output):
                node.output[place] = renamed.get(name, name)
            nodes.append(node)
        outputs = {name: renamed.get(name, name) for name in tensors if name in self.producers}
        graph = helper.make_graph(
            nodes,
            "part",
            [self._info(name, name) for name in (*inputs, *cut)],
            [],
            [tensor for name, tensor in self.constants.items() if name in used],
            value_info=[
                self._info(name, part_name)
                for name, part_name in outputs.items()
                if name in self._infos
            ],
        )
        model = helper.make_model(
            graph,
            opset_imports=list(self.model.opset_import),
            functions=list(self.model.functions),
            ir_version=self.model.ir_version,
        )
        return Part(model, outputs, inputs, cut)

    def _info(self, tensor: str, name: str) -> onnx.ValueInfoProto:
        info = onnx.ValueInfoProto()
        info.CopyFrom(self._infos[tensor])
        info.name = name
        return info


def _in_order(nodes: Sequence[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """Return the nodes so that each stands behind what it reads, else in their own order.

    Some converters append nodes at the end, which ONNX Runtime bears with.
    """
    producers = {name: index for index, node in enumerate(nodes) for name in node.output if name}
    placed: dict[int, None] = {}
    for start in range(len(nodes)):
        waiting = [start]
        while waiting:
            index = waiting[-1]
            names = (*nodes[index].input, *_captured(nodes[index]))
            missing = [
                producers[name]
                for name in names
                if name in producers and producers[name] not in placed and producers[name] != index
            ]
            if missing and len(waiting) <= len(nodes):
                waiting += reversed(missing)
            else:
                placed[waiting.pop()] = None
    return [nodes[index] for index in placed]


def _unique(nodes: Sequence[onnx.NodeProto]) -> dict[str, int]:
    """Return the places of the nodes whose name no other node has."""
    places: dict[str, int] = {}
    twice: set[str] = set()
    for index, node in enumerate(nodes):
        if node.name in places:
            twice.add(node.name)
        places[node.name] = index
    return {name: place for name, place in places.items() if name and name not in twice}


def _captured(node: onnx.NodeProto) -> Iterator[str]:
    """Yield what a node's subgraphs read from outside (or make themselves, which does no harm)."""
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            for inner in attribute.g.node:
                yield from inner.input
                yield from _captured(inner)
            yield from (info.name for info in attribute.g.output)


def module_of(name: str) -> str:
    """Return the module of a node called ``path/Op`` or ``path/rfft2/Op``; '' where it has none."""
    return name.partition("/")[0] if "/" in name else ""


def is_traced(node: onnx.NodeProto) -> bool:
    """Whether a node came from the network: its name ends in its operator, and maybe a number."""
    return re.search(r"(?:^|/)" + re.escape(node.op_type) + r"(?:_\d+)?$", node.name) is not None
