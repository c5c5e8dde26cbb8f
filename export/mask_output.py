"""A graph that gives the mask itself, so that one byte a pixel comes back and not K probabilities.

The decision is the runtime's own at the network's size: the threshold of two classes, else the most
probable class, the first of equals.  What follows the network stays exact: of several classes the
logits are compared, whose order a softmax keeps.  A second output is the mean of what was compared,
which NaN and infinity spoil: without it a NaN, which is above no threshold, would be background.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from differseg.errors import InputError
from differseg.export.modelfile import manifest_of
from differseg.export.precision import set_manifest
from differseg.manifest import Decision, OutputSpec

MASK, MEAN = "mask", "mean"
"""Names of the outputs: (N, 1, H, W) uint8, the place of a pixel's class in the manifest, and
(N, 1, 1, 1) float32."""

_REASON = "decided in the graph: one byte a pixel leaves the device"


def with_mask_output(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model with outputs ``mask`` and ``mean`` in place of its probabilities.

    Args:
        model: A typed or float32 file of ours, opset 13 to 19; left as it is.

    Raises:
        InputError: It has no manifest, or its output is no probability.
    """
    manifest = manifest_of(model)
    if manifest is None:
        raise InputError("mask output: the file has no differseg manifest; export it again")
    spec = manifest.outputs[0]
    if len(manifest.outputs) != 1 or spec.kind not in ("probability", "class_probability"):
        names = ", ".join(output.name for output in manifest.outputs)
        raise InputError(
            f"mask output: expected one output of probabilities, the file has {names}; start from "
            "the file that was exported"
        )
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    if spec.kind == "probability":
        compared = _as_float(graph, spec.name, spec.dtype)
        _threshold(graph, compared, manifest.threshold)
    else:
        compared = _as_float(graph, _logits(graph, spec.name), spec.dtype)
        _most_probable(graph, compared)
    _mean(graph, compared, _opset(result))
    batch, _, height, width = spec.shape
    outputs = (
        OutputSpec(MASK, "mask", (batch, 1, height, width), "uint8"),
        OutputSpec(MEAN, "mean", (batch, 1, 1, 1)),
    )
    _replace_outputs(graph, outputs)
    decision = Decision("output", "mask", _REASON)
    set_manifest(
        result,
        replace(manifest, outputs=outputs, decisions=(*manifest.decisions, decision), parity=None),
    )
    return result


def _opset(model: onnx.ModelProto) -> int:
    return next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))


def _add(graph: onnx.GraphProto, op_type: str, inputs: list[str], output: str, **kw: Any) -> str:
    graph.node.append(helper.make_node(op_type, inputs, [output], name=f"mask/{output}", **kw))
    return output


def _constant(graph: onnx.GraphProto, name: str, values: object, dtype: type) -> str:
    graph.initializer.append(numpy_helper.from_array(np.asarray(values, dtype), name))
    return name


def _logits(graph: onnx.GraphProto, name: str) -> str:
    """Return what the softmax over the classes reads, where one makes the output.

    The softmax is then read by nobody, and goes.
    """
    node = next(node for node in graph.node if name in node.output)
    axis = next((a.i for a in node.attribute if a.name == "axis"), -1)
    if node.op_type != "Softmax" or axis not in (1, -3):
        return name
    graph.node.remove(node)
    return str(node.input[0])


def _as_float(graph: onnx.GraphProto, name: str, dtype: str) -> str:
    """Return the tensor in float32, in which the mean does not overflow."""
    if dtype == "float32":
        return name
    return _add(graph, "Cast", [name], "mask/compared", to=TensorProto.FLOAT)


def _threshold(graph: onnx.GraphProto, name: str, threshold: float) -> None:
    limit = _constant(graph, "mask/threshold", threshold, np.float32)
    _add(graph, "GreaterOrEqual", [name, limit], "mask/foreground")
    _to_byte(graph, "mask/foreground")


def _most_probable(graph: onnx.GraphProto, name: str) -> None:
    _add(graph, "ArgMax", [name], "mask/class", axis=1, keepdims=1, select_last_index=0)
    _to_byte(graph, "mask/class")


def _to_byte(graph: onnx.GraphProto, name: str) -> None:
    """Cast through float32: TensorRT makes uint8 of floating-point numbers alone."""
    _add(graph, "Cast", [name], "mask/number", to=TensorProto.FLOAT)
    _add(graph, "Cast", ["mask/number"], MASK, to=TensorProto.UINT8)


def _mean(graph: onnx.GraphProto, name: str, opset: int) -> None:
    axes = [1, 2, 3]
    if opset < 18:
        _add(graph, "ReduceMean", [name], MEAN, axes=axes, keepdims=1)
    else:
        place = _constant(graph, "mask/axes", axes, np.int64)
        _add(graph, "ReduceMean", [name, place], MEAN, keepdims=1)


def _replace_outputs(graph: onnx.GraphProto, outputs: tuple[OutputSpec, ...]) -> None:
    """Declare the outputs; the former one stays known as a tensor within the graph."""
    kept = list(graph.output)
    made = {name for node in graph.node for name in node.output}
    del graph.output[:]
    graph.value_info.extend(value for value in kept if value.name in made)
    types = {"uint8": TensorProto.UINT8, "float32": TensorProto.FLOAT}
    for spec in outputs:
        shape = [size if size > 0 else f"{spec.name}_{i}" for i, size in enumerate(spec.shape)]
        graph.output.append(helper.make_tensor_value_info(spec.name, types[spec.dtype], shape))
