"""Small ONNX graphs, each with one thing that some target refuses or minds."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, INT64, UINT8 = TensorProto.FLOAT, TensorProto.INT64, TensorProto.UINT8


def planted(
    op: str,
    *,
    shape=(1, 4, 8, 8),
    dtype: int = FLOAT,
    inputs=("x",),
    constants=(),
    opset: int = 17,
    domain: str = "",
    outputs=("y",),
    functions=(),
    **attributes,
) -> onnx.ModelProto:
    """Return a model of one node of this operator."""
    node = helper.make_node(
        op, list(inputs), list(outputs), name="net/planted", domain=domain, **attributes
    )
    free = [name for name in inputs if name and name not in dict(constants)]
    graph = helper.make_graph(
        [node],
        "planted",
        [helper.make_tensor_value_info(name, dtype, list(shape)) for name in free],
        [helper.make_tensor_value_info(outputs[0], dtype, list(shape))],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants],
    )
    opsets = [helper.make_opsetid("", opset)]
    if domain:
        opsets.append(helper.make_opsetid(domain, 1))
    return helper.make_model(graph, opset_imports=opsets, ir_version=9, functions=list(functions))


def dft() -> onnx.ModelProto:
    """Return a valid Fourier transform over height, which no TensorRT before 11.2 reads."""
    model = planted("DFT", shape=(1, 4, 8, 2), axis=1)
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", FLOAT, [1, 4, 8, 2]))
    return model


def doubling_function() -> onnx.FunctionProto:
    node = helper.make_node("Add", ["x", "x"], ["y"])
    opset = [helper.make_opsetid("", 17)]
    return helper.make_function("differseg", "Double", ["x"], ["y"], [node], opset)
