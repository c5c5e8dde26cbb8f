"""What ONNX itself objects to in a file: its checker, and shapes and types that contradict.

The checker alone passes a product of matrices that do not fit, and a sum of float32 and float16;
nothing can load such a file.  Shapes that a file *declares* are left out of the second pass:
TensorRT and ONNX Runtime compute their own, so a wrong declaration harms nobody.
"""

from __future__ import annotations

from pathlib import Path

import onnx

from differseg.export.graph_view import all_graphs, all_nodes
from differseg.export.modelfile import PROTOBUF_LIMIT

_STANDARD = ("", "ai.onnx")
_LARGE_BYTES = 4096
"""Tensors beyond this are weights; shape inference reads none of their numbers."""


def objection(model: onnx.ModelProto, path: Path) -> str:
    """Return what ONNX objects to, on one line; empty when it does not.

    Args:
        model: The file's content, without external data.
        path: The file.
    """
    try:
        onnx.checker.check_model(str(path) if path.stat().st_size < PROTOBUF_LIMIT else model)
    except onnx.checker.ValidationError as error:
        return _line(error, "the graph is not valid")
    except UnicodeDecodeError:
        return "the graph is not valid, and the names in the objection are damaged"
    return _contradiction(model)


def _line(error: Exception, otherwise: str) -> str:
    """Return the first two lines of a message: ONNX breaks its sentences after the first."""
    return " ".join(" ".join(str(error).split("\n")[:2]).split()) or otherwise


def _contradiction(model: onnx.ModelProto) -> str:
    functions = {(function.domain, function.name) for function in model.functions}
    graphs = (model.graph, *(onnx.GraphProto(node=f.node) for f in model.functions))
    for graph in graphs:
        for node in all_nodes(graph):
            if node.domain not in _STANDARD and (node.domain, node.op_type) not in functions:
                return ""  # what comes after an unknown operator cannot be inferred
    try:
        light = _without_weights(model)
        if light is not None:
            onnx.shape_inference.infer_shapes(light, check_type=True, strict_mode=True)
    except (onnx.shape_inference.InferenceError, ValueError) as error:  # ValueError: no text, type
        return _line(error, "shapes or types contradict")
    return ""


def _without_weights(model: onnx.ModelProto) -> onnx.ModelProto | None:
    """Return a copy without large tensors and declared shapes.

    None where a small tensor, which can be a shape, lies in another file.
    """
    graph = onnx.GraphProto(
        name=model.graph.name, node=model.graph.node, input=model.graph.input,
        output=model.graph.output,
    )  # fmt: skip
    for tensor in model.graph.initializer:
        kept = onnx.TensorProto(name=tensor.name, dims=tensor.dims, data_type=tensor.data_type)
        if tensor.ByteSize() <= _LARGE_BYTES:
            if tensor.data_location == onnx.TensorProto.EXTERNAL:
                return None
            kept.CopyFrom(tensor)
        graph.initializer.append(kept)
    for inner in all_graphs(graph):
        inner.ClearField("value_info")
        for info in inner.output:
            if info.type.HasField("tensor_type"):
                info.type.tensor_type.ClearField("shape")
    return onnx.ModelProto(
        ir_version=model.ir_version, opset_import=model.opset_import, graph=graph,
        functions=model.functions,
    )  # fmt: skip
