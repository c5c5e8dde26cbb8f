"""What every layer of an ONNX file computes and moves, with the fusions that engines make.

A *layer* is what an engine runs as one kernel: nodes whose intermediate tensors never reach memory.
The rules, which TensorRT, OpenVINO and ONNX Runtime all follow in the main:

* Pointwise nodes join the layer that makes their input, so that convolution, bias and activation
  pass over memory once.  Behind a convolution or product one more tensor may be read (a residual);
  behind other layers any number.
* Views (Reshape and such), constants and whatever depends on constants alone cost nothing.
* A Dequantize node costs nothing: whoever reads its output reads the int8 numbers.  A Quantize node
  is pointwise.
* Every tensor that a layer reads is read once, weights too, and every tensor that another layer
  needs is written once.

A real engine does worse: it transposes between layouts, splits layers and reads tiles twice.  The
figures are therefore the least work, and what :mod:`differseg.bench.roofline` makes of them the
least time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import onnx

from differseg.bench.layer_flops import (
    PARTIAL_READS,
    POINTWISE,
    VIEWS,
    Kind,
    flops_of,
    kind_of,
    numel,
)
from differseg.errors import ModelFileError
from differseg.export.graph_view import GraphView, NodeView
from differseg.export.modelfile import read_model

Precision = Literal["fp32", "fp16", "int8"]
Units = Literal["matrix", "vector"]

_SHOWING = VIEWS | {"DequantizeLinear"}  # the output is the input's numbers, read otherwise
_WIDE_KINDS = ("convolution", "depthwise convolution", "product")
_HALVES = (onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
_BYTES = (onnx.TensorProto.INT8, onnx.TensorProto.UINT8)


@dataclass(frozen=True)
class Layer:
    """One kernel's work.

    Attributes:
        name: Name of its main node.
        op: Operator of its main node.
        kind: Kind of work of its main node.
        nodes: Names of all its nodes.
        makes: Names of the tensors that they make.
        precision: What its main node computes in.
        units: Matrix units (convolutions, products), or the vector units that do the rest.
        flops: Operations.
        bytes: Bytes read and written.
    """

    name: str
    op: str
    kind: Kind
    nodes: tuple[str, ...]
    makes: tuple[str, ...]
    precision: Precision
    units: Units
    flops: int
    bytes: int

    @property
    def intensity(self) -> float:
        """Operations a byte."""
        return self.flops / self.bytes if self.bytes else 0.0


def layers_of(model: onnx.ModelProto | Path | str) -> list[Layer]:
    """Return the layers of a graph, in its order.

    Raises:
        ModelFileError: The file cannot be read, or its shapes are not fixed.
    """
    if not isinstance(model, onnx.ModelProto):
        path, model = Path(model), read_model(model)
        return _Fusion(GraphView.of(model, path.parent), str(path)).layers()
    return _Fusion(GraphView.of(model), "the graph").layers()


@dataclass
class _Group:
    """Nodes that become one layer; the first is the main one."""

    nodes: list[NodeView] = field(default_factory=list)
    size: int = 0
    extra_reads: int = 0

    @property
    def kind(self) -> Kind:
        return kind_of(self.nodes[0])


class _Fusion:
    """Groups the nodes of one graph and adds up what each group costs."""

    def __init__(self, graph: GraphView, where: str) -> None:
        self.graph, self.where = graph, where
        self.fixed = set(graph.constants)
        self.source: dict[str, str] = {}  # a view's output -> the tensor that it shows
        self.maker: dict[str, int] = {}  # a tensor -> its group
        self.groups: list[_Group] = []

    def layers(self) -> list[Layer]:
        for proto in self.graph.nodes:
            self._place(NodeView(proto, self.graph))
        needed = self._needed()
        return [self._layer(number, needed) for number in range(len(self.groups))]

    def _place(self, node: NodeView) -> None:
        """Put a node into a layer, its own or one before it; note what costs nothing."""
        inputs = [name for name in node.proto.input if name]
        if all(name in self.fixed for name in inputs):  # true without any input, too
            self.fixed.update(node.proto.output)
        if inputs and node.proto.op_type in _SHOWING:
            self.source[node.proto.output[0]] = self._origin(inputs[0])
        if node.proto.op_type in _SHOWING or node.proto.output[0] in self.fixed:
            return
        size = numel(self.graph.shapes.get(node.proto.output[0]))
        if size == 0:
            raise ModelFileError(
                f"{self.where}: the shape of '{node.proto.output[0]}' is not fixed, so its work "
                "cannot be counted; export the model with --size HxW"
            )
        number = self._joined(node, inputs, size)
        if number is None:
            number = len(self.groups)
            self.groups.append(_Group(size=size))
        self.groups[number].nodes.append(node)
        self.maker.update(dict.fromkeys((name for name in node.proto.output if name), number))

    def _joined(self, node: NodeView, inputs: list[str], size: int) -> int | None:
        """Return the group that a pointwise node joins: the latest that makes one of its inputs.

        No other input can then depend on what this node makes, so that no circle arises.
        """
        if node.proto.op_type not in POINTWISE:
            return None
        read = {self._origin(name) for name in inputs if name not in self.fixed}
        makers = [self.maker[name] for name in read if name in self.maker]
        if not makers:
            return None
        group = self.groups[max(makers)]
        if group.size != size or group.kind == "unknown":
            return None
        extra = sum(self.maker.get(name, -1) != max(makers) for name in read)
        if group.kind in _WIDE_KINDS and group.extra_reads + extra > 1:
            return None
        group.extra_reads += extra
        return max(makers)

    def _origin(self, name: str) -> str:
        return self.source.get(name, name)

    def _needed(self) -> dict[str, set[int]]:
        """Return tensor -> groups that read it; -1 stands for the world outside."""
        readers: dict[str, set[int]] = {}
        for number, group in enumerate(self.groups):
            for node in group.nodes:
                for name in node.proto.input:
                    readers.setdefault(self._origin(name), set()).add(number)
        for name in self.graph.outputs:
            readers.setdefault(self._origin(name), set()).add(-1)
        return readers

    def _layer(self, number: int, needed: dict[str, set[int]]) -> Layer:
        group = self.groups[number]
        main, names = group.nodes[0], [_name(node) for node in group.nodes]
        made = {name for node in group.nodes for name in node.proto.output if name}
        written = sum(self._bytes(name) for name in made if needed.get(name, set()) - {number})
        if main.proto.op_type in PARTIAL_READS:
            read = written
        else:
            reads = {self._origin(n) for node in group.nodes for n in node.proto.input if n}
            read = sum(self._bytes(name) for name in reads - made)
        kind, precision = group.kind, self._precision(main)
        return Layer(
            name=names[0],
            op=main.proto.op_type,
            kind=kind,
            nodes=tuple(names),
            makes=tuple(sorted(made)),
            precision=precision,
            units="matrix" if kind in ("convolution", "product") else "vector",
            flops=sum(
                flops_of(node, self.graph.shapes.get(node.proto.output[0])) for node in group.nodes
            ),
            bytes=read + written,
        )

    def _bytes(self, name: str) -> int:
        dtype = self.graph.dtypes.get(name)
        if not dtype:
            return 0
        return (
            numel(self.graph.shapes.get(name))
            * onnx.helper.tensor_dtype_to_np_dtype(dtype).itemsize
        )

    def _precision(self, node: NodeView) -> Precision:
        if kind_of(node) in _WIDE_KINDS:
            operands = [self.graph.dtypes.get(self._origin(n)) for n in node.proto.input[:2]]
            if all(dtype in _BYTES for dtype in operands):
                return "int8"
        dtype = self.graph.dtypes.get(node.proto.output[0])
        return "fp16" if dtype in _HALVES else "fp32"


def _name(node: NodeView) -> str:
    return node.proto.name or node.proto.output[0]


def totals(layers: Iterable[Layer]) -> tuple[int, int]:
    """Return the sums of operations and bytes."""
    layers = list(layers)
    return sum(layer.flops for layer in layers), sum(layer.bytes for layer in layers)
