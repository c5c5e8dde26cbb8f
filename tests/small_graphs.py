"""Small float32 graphs, written node by node, for tests of typed precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

FLOAT, HALF = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16


def model_of(
    nodes: Sequence[onnx.NodeProto],
    constants: Mapping[str, np.ndarray],
    shape: Sequence[int],
    *,
    opset: int = 17,
) -> onnx.ModelProto:
    """Return a model from ``x`` to ``y``; shapes in between are inferred."""
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [helper.make_tensor_value_info("x", FLOAT, list(shape))],
        [helper.make_tensor_value_info("y", FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    model = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    onnx.checker.check_model(model, full_check=True)
    return model


def node(op_type: str, inputs: str, output: str, **attributes: object) -> onnx.NodeProto:
    """Return a node that is named ``part/OP_OUTPUT``."""
    name = f"part/{op_type}_{output}"
    return helper.make_node(op_type, inputs.split(), [output], name=name, **attributes)


def run(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    """Return the first output in ONNX Runtime."""
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    result: np.ndarray = session.run(None, {"x": x})[0]
    return result


def tiny_network(seed: int = 0) -> onnx.ModelProto:
    """Return a convolution, a gate by a mean of the whole map, and a second convolution."""
    draw = np.random.default_rng(seed)
    constants = {
        "first.weight": draw.normal(size=(8, 3, 3, 3)).astype(np.float32) / 5,
        "second.weight": draw.normal(size=(1, 8, 1, 1)).astype(np.float32),
        "second.bias": np.zeros(1, np.float32),
    }
    nodes = [
        node("Conv", "x first.weight", "a", pads=[1, 1, 1, 1]),
        node("Relu", "a", "r"),
        node("ReduceMean", "r", "m", axes=[2, 3], keepdims=1),
        node("Sigmoid", "m", "g"),
        node("Mul", "r g", "s"),
        node("Conv", "s second.weight second.bias", "c"),
        node("Sigmoid", "c", "y"),
    ]
    return model_of(nodes, constants, (1, 3, 40, 48))
