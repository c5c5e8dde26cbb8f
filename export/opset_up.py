"""From opset 17 up to 19, where QuantizeLinear and DequantizeLinear take float16.

JetPack 6's TensorRT 10.3 reads opsets up to 20.  Operators whose new definition reads an old node
as before are left as they are; the others have a rule here, or are refused.
"""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir

from differseg.errors import InputError

HALF_SCALES = 19
"""The first opset with float16 scales."""
_IR_VERSION = 9

_SAME = frozenset(
    "AveragePool Cast CastLike Constant DequantizeLinear Equal Identity LpPool Pad QuantizeLinear "
    "Reshape Resize ScatterElements ScatterND Shape Size".split()
)
"""New attributes, inputs or types, all with the old meaning where they are left away."""
_AXES_BECAME_AN_INPUT = frozenset(
    "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd "
    "ReduceSumSquare".split()
)


def raise_opset(model: ir.Model) -> None:
    """Bring an opset-17 graph to opset 19, in place; nodes keep their names.

    Raises:
        InputError: It is of another opset, or a node has no rule.
    """
    current = model.opset_imports.get("", 0)
    if current != 17:
        raise InputError(f"opset: expected a graph of opset 17, got {current}; export it again")
    graph = model.graph
    for node in list(graph):
        if node.domain not in ("", "ai.onnx") or not _differs(node.op_type):
            continue
        if node.op_type in _AXES_BECAME_AN_INPUT:
            _axes(graph, node)
        elif node.op_type == "Split":
            if len(node.inputs) < 2:
                node.attributes.add(ir.AttrInt64("num_outputs", len(node.outputs)))
        elif node.op_type not in _SAME:
            raise InputError(
                f"opset 19: {node.op_type} (node '{node.name}') changed since opset 17 and has no "
                "rule; keep the graph in float32"
            )
    model.opset_imports[""] = HALF_SCALES
    model.ir_version = _IR_VERSION


def _differs(op_type: str) -> bool:
    old, new = (
        onnx.defs.get_schema(op_type, max_inclusive_version=opset).since_version
        for opset in (17, HALF_SCALES)
    )
    return old != new


def _axes(graph: ir.Graph, node: ir.Node) -> None:
    attribute = node.attributes.pop("axes", None)
    if attribute is None:
        return
    name = f"{node.name}.axes"
    array = np.asarray(attribute.as_ints(), np.int64)
    tensor = ir.tensor(array, name=name)
    value = ir.Value(
        name=name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(array.shape), const_value=tensor
    )
    graph.register_initializer(value)
    node.resize_inputs(2)
    node.replace_input_with(1, value)
