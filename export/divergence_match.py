"""Which tensors of two forms of a network are the same one.

Nodes are called by their module and operator (:mod:`differseg.export.naming`), and a typed graph
keeps the names of the nodes that it had: the tensor is the one that the node of that name makes,
before any Cast or Q/DQ behind it.  What such a Cast or Q/DQ pair hands on is compared too, with the
tensor that it hands on, so that a wrong scale is told from a wrong node.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import onnx

from differseg.export.divergence_graph import PASSING, LayerGraph, is_traced, module_of

_QUANTIZING = ("QuantizeLinear", "DequantizeLinear")


@dataclass(frozen=True)
class Row:
    """A tensor of a graph, and its name on the other side.

    Attributes:
        tensor: In the graph.
        other: On the other side: a tensor, a graph input or a module.
        index: Of the node that makes it.
        of: For what a Cast or DequantizeLinear hands on: the node, or input, that it comes from.
    """

    tensor: str
    other: str
    index: int
    of: str = ""


@dataclass
class Matched:
    """Rows in the order of the graph, and what has no partner, with the reason."""

    rows: list[Row] = field(default_factory=list)
    unmatched: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class ModuleTensor:
    """A module's result: its path without the wrapper's prefix, its shape, how often it ran."""

    path: str
    shape: tuple[int, ...]
    calls: int = 1


def match_graphs(graph: LayerGraph, other: LayerGraph) -> Matched:
    """Pair the tensors of two ONNX graphs by the names of their nodes."""
    found = Matched()
    for index, node in enumerate(graph.nodes):
        partner = other.nodes[other.named[node.name]] if node.name in other.named else None
        for place, tensor in enumerate(node.output):
            if node.op_type == "Constant" or not graph.is_float(tensor):
                continue
            if partner is None or node.name not in graph.named:
                continue
            if partner.op_type != node.op_type or place >= len(partner.output):
                found.unmatched.append(f"{node.name}: {partner.op_type} on the other side")
                continue
            name = partner.output[place]
            shapes = [side.shapes.get(t) for side, t in ((graph, tensor), (other, name))]
            if None not in shapes and shapes[0] != shapes[1]:
                found.unmatched.append(f"{node.name}: {shapes[1]} on the other side")
            elif other.is_float(name):
                found.rows.append(Row(tensor, name, index))
    matched = {graph.nodes[row.index].name for row in found.rows}
    found.unmatched += _without_partner(graph, other, matched)
    return _with_passed(graph, found, other.inputs)


def _without_partner(graph: LayerGraph, other: LayerGraph, matched: set[str]) -> list[str]:
    """Return the nodes with a float result that the other side has not, each with the reason."""
    told = []
    for side, partner in ((graph, other), (other, graph)):
        for node in side.nodes:
            wanted = node.op_type not in (*PASSING, "Constant") and node.name not in matched
            if wanted and node.name not in partner.named and any(map(side.is_float, node.output)):
                told.append(f"{node.name or node.op_type}: no node of this name on the other side")
    return told


def match_modules(
    graph: LayerGraph, modules: Iterable[ModuleTensor], inputs: Iterable[str]
) -> Matched:
    """Pair the results of a network's modules with the last tensor under each module's path."""
    found, taken = Matched(), set()
    under = _by_module(graph)
    for module in modules:
        name = module.path or "the network"
        nodes = under.get(module.path, [])
        if not nodes:
            continue  # a module that computes nothing, such as dropout, or that was folded
        if module.calls > 1:
            found.unmatched.append(f"{name}: it runs {module.calls} times")
            continue
        tensor = _result_of(graph, nodes, module.shape)
        if tensor is None:
            found.unmatched.append(f"{name}: no tensor of its shape {list(module.shape)}")
        elif tensor not in taken:  # a container's result is that of its last module
            taken.add(tensor)
            found.rows.append(Row(tensor, module.path, graph.producers[tensor]))
    found.rows.sort(key=lambda row: row.index)
    return _with_passed(graph, found, inputs)


def match_tensors(graph: LayerGraph, tensors: Iterable[str]) -> Matched:
    """Pair tensors of an engine, which keeps the names of those that it shows."""
    found = Matched()
    for name in tensors:
        if name in graph.producers:
            found.rows.append(Row(name, name, graph.producers[name]))
        else:
            found.unmatched.append(f"{name}: no tensor of this name in the graph")
    found.rows.sort(key=lambda row: row.index)
    return found


def _by_module(graph: LayerGraph) -> dict[str, list[int]]:
    """Return the places of the nodes under every module path, those of its children included.

    What a conversion put in between is of no module.
    """
    under: dict[str, list[int]] = {}
    for index, node in enumerate(graph.nodes):
        if node.op_type in _QUANTIZING or (node.op_type == "Cast" and not is_traced(node)):
            continue
        path = module_of(node.name)
        while True:
            under.setdefault(path, []).append(index)
            if not path:
                break
            path = path.rpartition(".")[0]
    return under


def _result_of(graph: LayerGraph, nodes: Sequence[int], shape: tuple[int, ...]) -> str | None:
    """Return the last tensor of a shape that these nodes hand to others."""
    own = set(nodes)
    for index in reversed(nodes):
        for tensor in graph.nodes[index].output:
            readers = graph.readers.get(tensor, set())
            handed = tensor in graph.outputs or not readers <= own or not readers
            if graph.is_float(tensor) and graph.shapes.get(tensor) == shape and handed:
                return tensor
    return None


def _with_passed(graph: LayerGraph, found: Matched, inputs: Iterable[str]) -> Matched:
    """Add what Casts to fp16 and Q/DQ pairs, which the other side has not, hand on."""
    known: Mapping[str, str] = {
        **{name: name for name in inputs if name in graph.inputs},
        **{row.tensor: row.other for row in found.rows},
    }
    matched = {row.index for row in found.rows}
    for index, node in enumerate(graph.nodes):
        if index in matched or not _rounds(node) or not graph.is_float(node.output[0]):
            continue
        source = node.input[0]
        while source not in known and source in graph.producers:
            behind = graph.nodes[graph.producers[source]]
            if behind.op_type not in PASSING:
                break
            source = behind.input[0]
        if source in known:
            made = graph.producers.get(source)
            of = source if made is None else graph.nodes[made].name or source
            found.rows.append(Row(node.output[0], known[source], index, of))
    found.rows.sort(key=lambda row: row.index)
    return found


def _rounds(node: onnx.NodeProto) -> bool:
    """Whether what the node hands on has lost digits."""
    if node.op_type == "Cast":
        kinds = {attribute.name: attribute.i for attribute in node.attribute}
        return kinds.get("to") == onnx.TensorProto.FLOAT16
    return bool(node.op_type == "DequantizeLinear")


def read_rows(graph: LayerGraph, rows: Sequence[Row]) -> dict[str, tuple[str, ...]]:
    """Return which compared tensors each compared tensor is made of, by tensor."""
    compared = {row.tensor for row in rows}
    found: dict[str, tuple[str, ...]] = {}
    for row in rows:
        reads: dict[str, None] = {}
        waiting, seen = graph.reads(row.index), set()
        while waiting:
            name = waiting.pop(0)
            if name in seen:
                continue
            seen.add(name)
            if name in compared:
                reads[name] = None
            elif name in graph.producers:
                waiting += graph.reads(graph.producers[name])
        found[row.tensor] = tuple(reads)
    return found
