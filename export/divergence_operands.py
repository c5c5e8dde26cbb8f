"""Why a node may make an error: constants that differ, 8-bit steps that do not fit, overflow."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from differseg.export.divergence_graph import LayerGraph
from differseg.export.divergence_result import percent

_SAME = 1e-6
_FP16_LARGEST = 65504.0
_STEPS: dict[int, int] = {onnx.TensorProto.INT8: 127, onnx.TensorProto.UINT8: 255}


def differing_constants(graph: LayerGraph, index: int, other: LayerGraph | None) -> tuple[str, ...]:
    """Return which constants of a node differ from those of the node of its name, in words.

    Quantised weights are compared by what their Q/DQ pair makes of them.
    """
    node = graph.nodes[index]
    if other is None or node.name not in other.named:
        return ()
    partner = other.nodes[other.named[node.name]]
    told = []
    for name, partner_name in zip(node.input, partner.input, strict=False):
        ours, theirs = constant_value(graph, name), constant_value(other, partner_name)
        if ours is None or theirs is None or ours.dtype.kind != "f" or theirs.dtype.kind != "f":
            continue
        if ours.shape != theirs.shape:
            told.append(f"{partner_name} has the shape {list(ours.shape)}")
            continue
        a, b = theirs.astype(np.float64), ours.astype(np.float64)
        power, error = float(np.linalg.norm(a)), float(np.linalg.norm(b - a))
        if error > _SAME * power:
            told.append(f"{partner_name} differs by {percent(error / power if power else np.inf)}")
    return tuple(told)


def constant_value(graph: LayerGraph, name: str) -> npt.NDArray[Any] | None:
    """Return a constant, or what a Cast or DequantizeLinear makes of one; None of anything else."""
    if name in graph.constants:
        return np.asarray(numpy_helper.to_array(graph.constants[name]))
    if name not in graph.producers:
        return None
    node = graph.nodes[graph.producers[name]]
    attributes = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
    if node.op_type == "Constant" and "value" in attributes:
        return np.asarray(numpy_helper.to_array(attributes["value"]))
    if node.op_type not in ("Cast", "Identity", "DequantizeLinear"):
        return None
    values = [constant_value(graph, operand) for operand in node.input]
    if any(value is None for value in values):
        return None
    if node.op_type == "DequantizeLinear":
        return _dequantized(values, attributes.get("axis", 1))
    value = values[0]
    assert value is not None
    if node.op_type == "Cast":
        return value.astype(helper.tensor_dtype_to_np_dtype(attributes["to"]))
    return value


def _dequantized(values: list[npt.NDArray[Any] | None], axis: int) -> npt.NDArray[Any]:
    steps, scale = values[0], values[1]
    assert steps is not None
    assert scale is not None
    zero = values[2] if len(values) > 2 and values[2] is not None else np.zeros((), steps.dtype)
    shape = [1] * steps.ndim
    if scale.size > 1:
        shape[axis] = scale.size
        zero = np.broadcast_to(zero, scale.shape).reshape(shape)
    else:
        scale = scale.reshape(())
        zero = zero.reshape(())
    factor = scale.reshape(shape) if scale.size > 1 else scale
    return np.asarray((steps.astype(np.float32) - zero.astype(np.float32)) * factor)


def step_words(graph: LayerGraph, index: int, highest: float) -> tuple[str, ...]:
    """Say how the steps of a DequantizeLinear fit values up to ``highest``; nothing of others."""
    node = graph.nodes[index]
    if node.op_type != "DequantizeLinear" or len(node.input) < 2:
        return ()
    scale = constant_value(graph, node.input[1])
    most = _STEPS.get(graph.types.get(node.input[0], 0))
    if scale is None or scale.size != 1 or most is None:
        return ()
    reach = float(scale.reshape(())) * most
    said = f"its {most} steps of {float(scale.reshape(())):.3g} reach {reach:.4g}"
    return (f"{said}, the values {highest:.4g}",)


def overflow_words(dtype: str, nonfinite: int, highest: float) -> tuple[str, ...]:
    """Say that values are not finite, and whether they are beyond fp16."""
    if not nonfinite:
        return ()
    said = f"{nonfinite} values are NaN or infinite"
    if dtype == "float16" and highest > _FP16_LARGEST:
        said += f"; the other side reaches {highest:.4g}, fp16 holds 65504"
    return (said,)
