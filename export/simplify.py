"""Make a traced graph small: nothing in it that its targets would have to optimise away.

In order: constants folded at any size, no-ops and dead nodes removed, equal constants and equal
computations shared, attributes that only repeat a default left out.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnx_ir.passes.common as common
from onnxscript import optimizer

_NO_LIMIT = 1 << 40
# The default limits leave large computed constants, such as the kernel of a resize, in the graph.
_LIMITS: dict[str, Any] = {"input_size_limit": _NO_LIMIT, "output_size_limit": _NO_LIMIT}


def fold_constants(model: ir.Model) -> None:
    """Compute, in place, whatever depends on constants alone, at any size."""
    optimizer.fold_constants(model, **_LIMITS)


def simplify(model: ir.Model) -> None:
    """Simplify in place."""
    fold_constants(model)
    optimizer.optimize_ir(model, num_iterations=4, **_LIMITS)
    _remove_noops(model.graph)
    _cast_bytes_first(model.graph)
    _bound_slices(model.graph)
    _share_equal_constants(model.graph)
    common.RemoveUnusedNodesPass()(model)
    common.CommonSubexpressionEliminationPass()(model)


def _share_equal_constants(graph: ir.Graph) -> None:
    """Let constants of the same type, shape and bytes be one; the first name stays."""
    first: dict[tuple[object, ...], ir.Value] = {}
    for value in list(graph.initializers.values()):
        if value.const_value is None or value.is_graph_output():
            continue
        array = value.const_value.numpy()
        digest = hashlib.sha256(np.ascontiguousarray(array).view(np.uint8).data).digest()
        same = first.setdefault((array.dtype, array.shape, digest), value)
        if same is not value:
            ir.convenience.replace_all_uses_with(value, same)
            graph.initializers.pop(str(value.name))


def strip_annotations(model: ir.Model) -> None:
    """Remove the exporter's notes and every attribute that equals its operator's default."""
    common.ClearMetadataAndDocStringPass()(model)
    opset = model.opset_imports[""]
    for node in model.graph:
        if node.domain not in ("", "ai.onnx"):
            continue
        schema = onnx.defs.get_schema(node.op_type, max_inclusive_version=opset, domain=node.domain)
        for name, attribute in list(node.attributes.items()):
            default = schema.attributes[name].default_value if name in schema.attributes else None
            if default is not None and default.type and _equals(attribute, default):
                node.attributes.pop(name)
        if node.op_type == "Reshape" and _has_no_zero(node.inputs[1]):
            node.attributes.pop("allowzero", None)


def _equals(attribute: ir.Attr, default: onnx.AttributeProto) -> bool:
    return bool(attribute.value == ir.serde.deserialize_attribute(default).value)


def _has_no_zero(shape: ir.Value | None) -> bool:
    """Whether ``allowzero`` cannot matter, because the target shape holds no zero."""
    return (
        shape is not None
        and shape.const_value is not None
        and bool(shape.const_value.numpy().all())
    )


def _remove_noops(graph: ir.Graph) -> None:
    """Remove nodes that return their input: same type, same static shape, nothing moved."""
    for node in list(graph):
        source = node.inputs[0] if node.inputs else None
        if source is None or not _is_noop(node, source):
            continue
        result = node.outputs[0]
        if result.is_graph_output():
            if source.producer() is None or source.is_graph_output():
                continue
            source.name = result.name
        ir.convenience.replace_all_uses_with(result, source, replace_graph_outputs=True)
        graph.remove(node, safe=True)


def _cast_bytes_first(graph: ir.Graph) -> None:
    """Turn ``uint8 -> Transpose -> Cast`` into ``uint8 -> Cast -> Transpose``.

    TensorRT reads uint8 at the graph's inputs only, and nothing but a Cast may take it from there.
    """
    for node in list(graph):
        source = node.inputs[0] if node.inputs else None
        if node.op_type != "Transpose" or source is None or source.dtype != ir.DataType.UINT8:
            continue
        casts = [user for user, _ in node.outputs[0].uses() if user.op_type == "Cast"]
        if len(casts) != 1 or len(node.outputs[0].uses()) != 1:
            continue
        cast = casts[0]
        moved, result = node.outputs[0], cast.outputs[0]
        if moved.is_graph_output():
            continue  # bytes are asked for
        graph.remove(cast)
        cast.replace_input_with(0, source)
        ir.convenience.replace_all_uses_with(result, moved, replace_graph_outputs=True)
        moved.type = result.type
        node.replace_input_with(0, result)
        result.shape = source.shape
        graph.insert_before(node, cast)


def _bound_slices(graph: ir.Graph) -> None:
    """Let a slice "to the end" end at the last element: TensorRT 8 warns of more than int32."""
    largest = np.iinfo(np.int32).max
    for node in graph:
        if node.op_type != "Slice" or len(node.inputs) < 4:
            continue
        source, ends, axes = node.inputs[0], node.inputs[2], node.inputs[3]
        if source is None or source.shape is None or ends is None or axes is None:
            continue
        if ends.const_value is None or axes.const_value is None:
            continue
        # An axis that varies has no last element to name; int32 ends it as well.
        extents = [extent if isinstance(extent, int) else largest for extent in source.shape]
        limits = np.array([extents[axis] for axis in axes.const_value.numpy()], dtype=np.int64)
        values = ends.const_value.numpy()
        if (values > largest).any():
            bounded = np.minimum(values, limits)
            name = f"{node.outputs[0].name}_ends"
            value = ir.Value(name=name, const_value=ir.tensor(bounded, name=name))
            value.shape, value.type = ir.Shape(bounded.shape), ir.TensorType(ir.DataType.INT64)
            graph.register_initializer(value)
            node.replace_input_with(2, value)


def _is_noop(node: ir.Node, source: ir.Value) -> bool:
    result = node.outputs[0]
    same_type = source.dtype is not None and source.dtype == result.dtype
    if node.op_type == "Identity":
        return True
    if node.op_type == "Cast":
        return same_type
    if not same_type or not _equal_shapes(source.shape, result.shape):
        return False
    if node.op_type == "Transpose":
        axes = node.attributes.get_ints("perm", [])
        return list(axes) == list(range(len(axes))) and bool(axes)
    if node.op_type == "Pad":  # pads of 1 and -1 keep the shape and move the picture
        return _all_equal(node, 1, 0)
    if node.op_type == "Slice":
        return _all_equal(node, 4, 1)
    if node.op_type == "Resize":
        cropped = node.attributes.get_string("coordinate_transformation_mode", "")
        return cropped != "tf_crop_and_resize" and _all_equal(node, 2, 1)
    return node.op_type in ("Reshape", "Expand", "Flatten", "Squeeze", "Unsqueeze", "Tile")


def _equal_shapes(one: ir.Shape | None, other: ir.Shape | None) -> bool:
    """Whether two shapes are known to be equal: numbers and names of extents, no open ones."""
    if one is None or other is None or one != other:
        return False
    return all(isinstance(extent, int) or extent.value is not None for extent in one)


def _all_equal(node: ir.Node, index: int, expected: int) -> bool:
    """Whether a constant operand holds only this number; an absent one does."""
    value = node.inputs[index] if len(node.inputs) > index else None
    if value is None:
        return True
    return value.const_value is not None and bool((value.const_value.numpy() == expected).all())
