"""Batch normalisation in eval mode is an affine map per channel: fold it into the layer before.

Convention: a folded layer computes ``factor * (W x + b - mean) + beta`` with
``factor = gamma / sqrt(var + eps)``.  The products are taken in float64 and rounded once.

Folded before our operators are written out, so that every spelling of a graph has the same weights:
a convolution that stands for an operator takes nothing in.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from differseg.errors import InputError
from differseg.export.naming import is_parameter, mark_parameter, module_path
from differseg.manifest import Decision

Array = npt.NDArray[Any]

_FOLDABLE = ("Conv", "ConvTranspose", "Gemm")


def fold_batchnorm(model: ir.Model) -> tuple[int, int]:
    """Remove every BatchNormalization node, in place.

    One that follows a Conv, ConvTranspose or Gemm whose result nobody else reads is folded into
    its weights; any other becomes one Mul and one Add with constants.

    Returns:
        How many were folded, and how many became Mul and Add.

    Raises:
        InputError: One computes its statistics from the batch, so it is no fixed map.
    """
    folded = rewritten = 0
    for node in list(model.graph):
        if node.op_type != "BatchNormalization":
            continue
        factor, shift = _affine(node)
        producer = node.inputs[0].producer() if node.inputs[0] is not None else None
        if producer is not None and _can_absorb(producer):
            _absorb(model.graph, producer, factor, shift)
            source = producer.outputs[0]
            folded += 1
        else:
            source = _as_mul_add(model.graph, node, factor, shift)
            rewritten += 1
        _replace(model.graph, node, source)
    return folded, rewritten


def batchnorm_decisions(folded: int, rewritten: int) -> list[Decision]:
    """Say for the manifest what :func:`fold_batchnorm` did."""
    decisions = []
    if folded:
        reason = f"{folded} folded into the layer before, one rounding from float64"
        decisions.append(Decision("batch normalisation", "folded", reason))
    if rewritten:
        reason = f"{rewritten} follow no layer that could take them"
        decisions.append(Decision("batch normalisation", "multiply and add", reason))
    return decisions


def _affine(node: ir.Node) -> tuple[Array, Array]:
    """Return ``factor`` and ``shift`` of ``y = factor * x + shift``, each (C,) float64."""
    operands = node.inputs[1:5]
    if not all(value is not None and ir.convenience.get_const_tensor(value) for value in operands):
        raise InputError(
            f"batch normalisation {module_path(node) or node.name!r}: its scale, bias, mean and "
            "variance must be constant, got computed ones; give it running statistics "
            "(track_running_stats=True) or another normalisation"
        )
    gamma, beta, mean, variance = map(_constant, operands)
    factor = gamma / np.sqrt(variance + node.attributes.get_float("epsilon", 1e-5))
    return factor, beta - mean * factor


def _constant(value: ir.Value | None) -> npt.NDArray[np.float64]:
    assert value is not None
    tensor = ir.convenience.get_const_tensor(value)
    assert tensor is not None
    return tensor.numpy().astype(np.float64)


def _can_absorb(producer: ir.Node) -> bool:
    result = producer.outputs[0]
    plain_gemm = all(producer.attributes.get_float(name, 1.0) == 1.0 for name in ("alpha", "beta"))
    return (
        producer.op_type in _FOLDABLE
        and plain_gemm
        and len(result.uses()) == 1
        and not result.is_graph_output()
        and all(v is None or ir.convenience.get_const_tensor(v) for v in producer.inputs[1:])
    )


def _absorb(graph: ir.Graph, layer: ir.Node, factor: Array, shift: Array) -> None:
    """Scale the layer's weight per output channel and move its bias."""
    weight = layer.inputs[1]
    assert weight is not None
    values = _constant(weight)
    if layer.op_type == "ConvTranspose":  # (C_in, C_out / group, kh, kw), C_in in group order
        group = layer.attributes.get_int("group", 1)
        per_group = values.reshape(group, values.shape[0] // group, *values.shape[1:])
        tail = (1,) * (values.ndim - 2)
        scaled = (per_group * factor.reshape(group, 1, -1, *tail)).reshape(values.shape)
    elif layer.op_type == "Gemm" and not layer.attributes.get_int("transB", 0):  # (in, out)
        scaled = values * factor
    else:  # (C_out, ...)
        scaled = values * factor.reshape(-1, *(1,) * (values.ndim - 1))
    old_bias = layer.inputs[2] if len(layer.inputs) > 2 else None
    start = 0.0 if old_bias is None else _constant(old_bias)
    stem = (weight.name or "weight").removesuffix(".weight")
    layer.resize_inputs(3)
    _set_operand(graph, layer, 1, f"{stem}.weight", scaled)
    _set_operand(graph, layer, 2, f"{stem}.bias", start * factor + shift)


def _set_operand(graph: ir.Graph, node: ir.Node, index: int, name: str, values: Array) -> None:
    """Give the node this constant; one that other nodes read too keeps its old value for them."""
    old = node.inputs[index]
    rounded = values.astype(node.outputs[0].dtype.numpy())  # type: ignore[union-attr]
    if old is not None and is_parameter(old) and len(old.uses()) == 1:
        old.const_value = ir.tensor(np.ascontiguousarray(rounded), name=old.name)
    else:
        node.replace_input_with(index, _initializer(graph, name, rounded))


def _as_mul_add(graph: ir.Graph, node: ir.Node, factor: Array, shift: Array) -> ir.Value:
    source = node.inputs[0]
    assert source is not None
    rank = len(source.shape) if source.shape is not None else 4
    dtype = np.float32 if source.dtype is None else source.dtype.numpy()
    stem = (node.inputs[1].name or "batchnorm.weight").removesuffix(".weight")  # type: ignore[union-attr]
    value = source
    for op, role, constant in (("Mul", "factor", factor), ("Add", "shift", shift)):
        shaped = constant.astype(dtype).reshape(1, -1, *(1,) * (rank - 2))
        operand = _initializer(graph, f"{stem}.{role}", shaped)
        step = ir.node(op, [value, operand], metadata_props=dict(node.metadata_props))
        step.outputs[0].name = f"{node.outputs[0].name}_{role}"
        step.outputs[0].shape, step.outputs[0].type = source.shape, source.type
        graph.insert_before(node, step)
        value = step.outputs[0]
    return value


def _initializer(graph: ir.Graph, name: str, values: Array) -> ir.Value:
    """Register a constant under ``name``, or the nearest free name."""
    free, number = name, 1
    while free in graph.initializers:
        free, number = f"{name}_{number}", number + 1
    value = ir.Value(name=free, const_value=ir.tensor(np.ascontiguousarray(values), name=free))
    value.shape, value.type = ir.Shape(values.shape), ir.TensorType(value.const_value.dtype)  # type: ignore[union-attr]
    mark_parameter(value)
    graph.register_initializer(value)
    return value


def _replace(graph: ir.Graph, node: ir.Node, source: ir.Value) -> None:
    """Let everyone who read the node's result read ``source``; a graph output keeps its name."""
    result = node.outputs[0]
    source.shape, source.type = result.shape, result.type
    ir.convenience.replace_all_uses_with(result, source, replace_graph_outputs=True)
    if source.is_graph_output():
        source.name = result.name
    graph.remove(node, safe=False)
