"""Write a placement and its scales into a graph, as QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from differseg.calibration.placement import Kernel, Placement
from differseg.calibration.scales import quantized_weight

_FLOAT, _INT8, _UINT8 = ir.DataType.FLOAT, ir.DataType.INT8, ir.DataType.UINT8


@dataclass(frozen=True)
class Form:
    """How it is spelled.

    Attributes:
        weights_as_codes: Weights are stored as int8 behind a DequantizeLinear; otherwise as
            float32 before a QuantizeLinear, as TensorRT 8 reads them.
        reduce_range: Weights have the codes -63..63 alone.
        half_scales: Scales are numbers that float16 holds.
        unsigned: Activations are uint8 with a zero point of 128, the same numbers as int8 with
            one of 0.  Processors multiply unsigned by signed bytes, and OpenVINO 2026.4.1 rounds
            signed ones wrongly around a Concat.
    """

    weights_as_codes: bool = True
    reduce_range: bool = False
    half_scales: bool = False
    unsigned: bool = False


def write_qdq(
    model: ir.Model, placement: Placement, scales: Mapping[str, float], form: Form
) -> None:
    """Quantise a graph in place.

    Args:
        model: The graph that the placement is of.
        placement: What is quantised.
        scales: By tensor.
        form: How it is spelled.
    """
    graph = model.graph
    values = {str(value.name): value for value in graph.inputs}
    values.update({str(v.name): v for node in graph for v in node.outputs})
    nodes = {str(node.name): node for node in graph}
    for name, edges in placement.edges.items():
        scale = np.float32(scales[name])
        if form.half_scales:
            scale = np.float32(_half_up(scale))
        read = _pair(graph, values[name], scale, min_place(graph, nodes, edges), form)
        for node, index in edges:
            nodes[node].replace_input_with(index, read)
    for kernel in placement.kernels.values():
        _weight(graph, nodes[kernel.node], kernel, form)


def min_place(
    graph: ir.Graph, nodes: Mapping[str, ir.Node], edges: tuple[tuple[str, int], ...]
) -> ir.Node:
    """Return the first of the nodes that read a tensor."""
    readers = {nodes[name] for name, _ in edges}
    return next(node for node in graph if node in readers)


def _half_up(scale: np.floating) -> np.float16:
    """Return the number of float16 from a scale on: a smaller one would cut the range."""
    half = np.float16(scale)
    return half if half >= scale else np.nextafter(half, np.float16(np.inf))


def _pair(
    graph: ir.Graph, value: ir.Value, scale: np.float32, before: ir.Node, form: Form
) -> ir.Value:
    """Put a pair of nodes behind a value; returns what comes out of it."""
    name = str(value.name)
    step = _constant(graph, f"{name}.scale", np.asarray(scale))
    zero_point = np.uint8(128) if form.unsigned else np.int8(0)
    zero = _constant(graph, f"{name}.zero_point", np.asarray(zero_point))
    maker = value.producer()
    stem = name if maker is None else str(maker.name)
    codes = ir.node("QuantizeLinear", [value, step, zero], name=f"{stem}/QuantizeLinear")
    wide = ir.node(
        "DequantizeLinear", [codes.outputs[0], step, zero], name=f"{stem}/DequantizeLinear"
    )
    dtype = _UINT8 if form.unsigned else _INT8
    _describe(codes.outputs[0], f"{name}.{dtype.name.lower()}", dtype, value.shape)
    _describe(wide.outputs[0], f"{name}.dequantized", _FLOAT, value.shape)
    graph.insert_before(before, [codes, wide])
    return wide.outputs[0]


def _weight(graph: ir.Graph, node: ir.Node, kernel: Kernel, form: Form) -> None:
    index = next(i for i, v in enumerate(node.inputs) if v is not None and v.name == kernel.weight)
    value = node.inputs[index]
    assert value is not None
    assert value.const_value is not None
    weight = value.const_value.numpy()
    codes, scale = quantized_weight(
        weight, kernel.axis, reduce_range=form.reduce_range,
        dtype=np.float16 if form.half_scales else np.float32,
    )  # fmt: skip
    name = kernel.weight  # its numbers are stored once, whoever reads them
    step = _constant(graph, f"{name}.scale", scale.astype(np.float32))
    zero = _constant(graph, f"{name}.zero_point", np.zeros(scale.shape, np.int8))
    axis = {} if kernel.axis is None else {"axis": kernel.axis}
    if form.weights_as_codes:
        stored = _constant(graph, f"{name}.int8", codes)
        made = []
    else:
        cut = ir.node(
            "QuantizeLinear", [value, step, zero], axis, name=f"{node.name}/weight/QuantizeLinear"
        )
        stored, made = cut.outputs[0], [cut]
        _describe(stored, f"{node.name}/weight.int8", _INT8, value.shape)
    wide = ir.node(
        "DequantizeLinear", [stored, step, zero], axis, name=f"{node.name}/weight/DequantizeLinear"
    )
    _describe(wide.outputs[0], f"{node.name}/weight.dequantized", _FLOAT, value.shape)
    graph.insert_before(node, [*made, wide])
    node.replace_input_with(index, wide.outputs[0])
    if not value.uses():
        graph.initializers.pop(name)


def _constant(graph: ir.Graph, name: str, array: np.ndarray) -> ir.Value:
    if name in graph.initializers:  # a weight that two nodes read
        return graph.initializers[name]
    tensor = ir.tensor(array, name=name)
    value = ir.Value(
        name=name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(array.shape), const_value=tensor
    )
    graph.register_initializer(value)
    return value


def _describe(value: ir.Value, name: str, dtype: ir.DataType, shape: ir.Shape | None) -> None:
    value.name, value.type, value.shape = name, ir.TensorType(dtype), shape
