"""Where a float32 graph is quantised to int8: which nodes, which of their operands, and why not.

The rules are those of TensorRT's explicit quantisation (NVIDIA's TensorRT guide, "Working with
quantized types", and NVIDIA's Model Optimizer, whose placement they agree with): operands of
convolutions and products with learned weights, never their results; of a sum that follows a
convolution the other operand, so that both are fused; one scale for what a Concat joins.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from differseg.export.lowering.registry import operator_in
from differseg.export.naming import PRODUCTS

Edge = tuple[str, int]
"""A node and the place of one of its operands."""

_WEIGHT_AXIS = {"Conv": 0, "ConvTranspose": 1}
_SMALL = 16
"""Products of fewer numbers, or to fewer channels, gain nothing from int8."""


@dataclass(frozen=True)
class Kernel:
    """A node that computes in int8.

    Attributes:
        node: Its name.
        data: The tensor that it reads.
        weight: Its constant, and ``axis`` the one with a scale for each entry; None for one scale.
        macs: Multiplications and additions of one image.
    """

    node: str
    data: str
    weight: str
    axis: int | None
    macs: int


@dataclass(frozen=True)
class Placement:
    """What is quantised.

    Attributes:
        kernels: Nodes that compute in int8, by name.
        edges: Operands that are read as int8, by tensor; those of the kernels, and of sums.
        shared: Groups of tensors that have one scale.
        excluded: Convolutions and products that stay as they are, with the reason.
    """

    kernels: dict[str, Kernel]
    edges: dict[str, tuple[Edge, ...]]
    shared: tuple[tuple[str, ...], ...]
    excluded: dict[str, str]


def place(model: ir.Model, without: frozenset[str] = frozenset()) -> Placement:
    """Decide what of a graph is quantised.

    Args:
        model: A finished float32 graph with shapes.
        without: Nodes that shall stay as they are, though they could be quantised.
    """
    graph = model.graph
    excluded = dict(_excluded(graph))
    kernels: dict[str, Kernel] = {}
    edges: dict[str, list[Edge]] = {}
    for node in graph:
        name = str(node.name)
        if node.op_type not in PRODUCTS or name in excluded:
            continue
        if name in without:
            excluded[name] = "asked for, or chosen by the search"
            continue
        data, weight = _operands(node)
        kernels[name] = Kernel(
            name, str(data.name), str(weight.name), _WEIGHT_AXIS.get(node.op_type), _macs(node)
        )
        edges.setdefault(str(data.name), []).append((name, list(node.inputs).index(data)))
    for tensor, edge in _residuals(graph, kernels):
        edges.setdefault(tensor, []).append(edge)
    tensors = {name: tuple(found) for name, found in edges.items()}
    return Placement(kernels, tensors, tuple(_groups(graph, tensors)), excluded)


def _excluded(graph: ir.Graph) -> Iterator[tuple[str, str]]:
    """Yield convolutions and products that are never quantised, the first reason first."""
    seen: set[str] = set()
    reasons = (
        (name, reason)
        for rule in (_not_learned, _heads, _positions, _too_small, _single_channel)
        for name, reason in rule(graph)
    )
    for name, reason in reasons:
        if name not in seen:
            seen.add(name)
            yield name, reason


def _kernels(graph: ir.Graph) -> Iterator[ir.Node]:
    return (node for node in graph if node.op_type in PRODUCTS)


def _operands(node: ir.Node) -> tuple[ir.Value, ir.Value]:
    """Return what a learned kernel reads and its weight."""
    first, second = node.inputs[0], node.inputs[1]
    assert first is not None
    assert second is not None
    return (second, first) if first.is_initializer() else (first, second)


def _not_learned(graph: ir.Graph) -> Iterator[tuple[str, str]]:
    names = {node.name for node in graph}  # what is no parameter is called after its first reader
    for node in _kernels(graph):
        name, operator = str(node.name), operator_in(str(node.name))
        constants = [v for v in node.inputs[:2] if v is not None and v.is_initializer()]
        if operator:
            yield name, f"part of {operator}: frequencies and places need more than 8 bits"
        elif len(constants) != 1:
            yield name, "both operands are computed"
        elif str(constants[0].name).rpartition(".")[0] in names:
            yield name, "its numbers are fixed: a filter or a transform, not a weight"
        elif constants[0].const_value is not None and constants[0].dtype != ir.DataType.FLOAT:
            yield name, f"its weight is {constants[0].dtype}"


def _behind(value: ir.Value | None, fixed: Collection[str]) -> Iterator[ir.Node]:
    """Yield the learned kernels whose results reach a value without another one in between."""
    todo, seen = [value], set()
    while todo:
        value = todo.pop()
        node = None if value is None else value.producer()
        if node is None or node in seen:
            continue
        seen.add(node)
        if node.op_type in PRODUCTS and str(node.name) not in fixed:
            yield node
        else:
            todo.extend(node.inputs)


def _heads(graph: ir.Graph) -> Iterator[tuple[str, str]]:
    fixed = dict(_not_learned(graph))
    for value in graph.outputs:
        for node in _behind(value, fixed):
            yield str(node.name), "makes the logits"


def _positions(graph: ir.Graph) -> Iterator[tuple[str, str]]:
    fixed = dict(_not_learned(graph))
    for sampler in graph:
        if sampler.op_type == "GridSample":
            for node in _behind(sampler.inputs[1], fixed):
                yield str(node.name), f"computes positions for '{sampler.name}'"


def _too_small(graph: ir.Graph) -> Iterator[tuple[str, str]]:
    for node in _kernels(graph):
        name, shape = str(node.name), node.outputs[0].shape
        constants = [v for v in node.inputs[:2] if v is not None and v.is_initializer()]
        if len(constants) != 1 or constants[0].shape is None or shape is None:
            continue
        sizes = [n if isinstance(n, int) else 0 for n in shape]
        pixels = int(np.prod(sizes[2:])) if "Conv" in node.op_type else int(np.prod(sizes[:-1]))
        if pixels <= 1:
            yield name, "works on one pixel: reading the weight is all its cost"
        elif _group(node) > 1 and node.op_type == "ConvTranspose":
            yield name, "a transposed convolution in groups: no int8 form is documented"
        elif min(_terms(node, constants[0]), _channels(node, constants[0])) < _SMALL and not (
            _depthwise(node, constants[0])
        ):
            yield name, f"fewer than {_SMALL} numbers or channels: int8 gains nothing"


def _single_channel(graph: ir.Graph) -> Iterator[tuple[str, str]]:
    """Yield the first convolutions of an image with one channel: its few levels are the signal."""
    for entry in graph.inputs:
        if entry.shape is None or len(entry.shape) != 4 or entry.shape[1] != 1:
            continue
        todo, seen = [use.node for use in entry.uses()], set()
        while todo:
            node = todo.pop()
            if node in seen:
                continue
            seen.add(node)
            if node.op_type in PRODUCTS:
                yield str(node.name), f"reads '{entry.name}', an image of one channel"
            else:
                todo.extend(use.node for value in node.outputs for use in value.uses())


def _group(node: ir.Node) -> int:
    return node.attributes["group"].as_int() if "group" in node.attributes else 1


def _shape(value: ir.Value) -> list[int]:
    assert value.shape is not None
    return [extent for extent in value.shape if isinstance(extent, int)]


def _terms(node: ir.Node, weight: ir.Value) -> int:
    """Return how many products make one result."""
    shape = _shape(weight)
    if node.op_type == "Conv":
        return int(np.prod(shape[1:]))
    if node.op_type == "ConvTranspose":
        return int(shape[0] // _group(node) * np.prod(shape[2:]))
    return shape[-2] if len(shape) > 1 else shape[0]


def _channels(node: ir.Node, weight: ir.Value) -> int:
    shape = _shape(weight)
    if node.op_type == "Conv":
        return shape[0]
    return shape[1] * _group(node) if node.op_type == "ConvTranspose" else shape[-1]


def _depthwise(node: ir.Node, weight: ir.Value) -> bool:
    return node.op_type == "Conv" and _group(node) == _shape(weight)[0] and _shape(weight)[1] == 1


def _macs(node: ir.Node) -> int:
    weight = _operands(node)[1]
    if node.op_type == "ConvTranspose":
        pixels = int(np.prod(_shape(_operands(node)[0])[2:]))
        return int(np.prod(_shape(weight))) * pixels
    return int(np.prod(_shape(node.outputs[0]))) * _terms(node, weight)


def _residuals(graph: ir.Graph, kernels: dict[str, Kernel]) -> Iterator[tuple[str, Edge]]:
    """Yield the other operand of every sum with the result of a kernel: then both are fused."""
    for node in graph:
        if node.op_type != "Add" or operator_in(str(node.name)):
            continue
        pair = [v for v in node.inputs if v is not None and not v.is_initializer()]
        if len(pair) != 2 or pair[0] is pair[1] or pair[0].shape != pair[1].shape:
            continue
        own = [_made_for(value, node, kernels) for value in pair]
        if any(own):
            other = pair[0] if own[1] else pair[1]  # of two kernels the later one is fused
            if not other.is_graph_input():
                yield str(other.name), (str(node.name), list(node.inputs).index(other))


def _made_for(value: ir.Value, reader: ir.Node, kernels: dict[str, Kernel]) -> bool:
    """Whether a kernel makes a value for one reader alone."""
    maker = value.producer()
    alone = [use.node for use in value.uses()] == [reader]
    return maker is not None and alone and str(maker.name) in kernels


def _groups(graph: ir.Graph, tensors: dict[str, tuple[Edge, ...]]) -> Iterator[tuple[str, ...]]:
    """Yield the quantised tensors that a Concat joins, with its result, where there are several."""
    parent = {name: name for name in tensors}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    for node in graph:
        if node.op_type != "Concat" or operator_in(str(node.name)):
            continue
        joined = [str(v.name) for v in (*node.inputs, *node.outputs) if v is not None]
        joined = [name for name in joined if name in tensors]
        for name in joined[1:]:
            parent[root(name)] = root(joined[0])
    groups: dict[str, list[str]] = {}
    for name in tensors:
        groups.setdefault(root(name), []).append(name)
    return (tuple(names) for names in groups.values() if len(names) > 1)
