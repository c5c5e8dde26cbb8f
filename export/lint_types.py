"""Traps of element types and of quantisation on TensorRT."""

from __future__ import annotations

from collections.abc import Iterator

import onnx

from differseg.export.graph_view import NodeView
from differseg.export.lint_rule import MD_101, RTX, Predicate, Rule
from differseg.export.targets import TYPES_SOURCE, Target, element_types
from differseg.export.verdict import Verdict

_QUANTISE_86 = "onnx/onnx-tensorrt, QuantDequantLinearHelper at 8.6-GA"
_SYMMETRIC = "quantise symmetrically to int8, with an int8 zero point of 0"
_NUMBERS = "use float32, float16, int32 or int64"
_INT8, _UINT8 = onnx.TensorProto.INT8, onnx.TensorProto.UINT8
_QUANTISED = ("FLOAT8E4M3FN", "INT4", "FLOAT4E2M1")
"""Types that only QuantizeLinear makes and only DequantizeLinear reads."""
_OTHER_TYPES = (
    onnx.TensorProto.INT16, onnx.TensorProto.UINT16, onnx.TensorProto.UINT4,
    onnx.TensorProto.INT32, onnx.TensorProto.FLOAT8E5M2,
)  # fmt: skip
_QUANTISERS = ("QuantizeLinear", "DequantizeLinear")


def type_findings(model: onnx.ModelProto, target: Target) -> Iterator[Verdict]:
    """Yield an objection for each input, output and initializer of a type that a target lacks."""
    known = element_types(target.version)
    graph = model.graph
    typed = {
        "input": [(info.name, info.type.tensor_type.elem_type) for info in graph.input],
        "output": [(info.name, info.type.tensor_type.elem_type) for info in graph.output],
        "constant": [(tensor.name, tensor.data_type) for tensor in graph.initializer],
    }
    for kind, tensors in typed.items():
        for name, elem_type in tensors:
            if elem_type and type_name(elem_type) not in known:
                yield Verdict(
                    name, "", "no", f"the {kind} is {type_name(elem_type).lower()}, a type that "
                    f"{target.label} does not have", _NUMBERS, TYPES_SOURCE,
                )  # fmt: skip


def made_type_reason(node: NodeView, target: Target) -> str:
    """Return why a node's own element type is refused: what a Cast makes, what a Constant holds."""
    op = node.proto.op_type
    if op == "Cast":
        elem_type = node.attribute("to", 0)
    elif op == "Constant":
        elem_type = node.graph.dtypes.get(next(iter(node.proto.output), ""), 0)
    else:
        return ""
    name = type_name(elem_type) if isinstance(elem_type, int) else ""
    if not name or name == "UNDEFINED":
        return ""
    if name not in element_types(target.version):
        return f"makes {name.lower()}, a type that {target.label} does not have"
    if op == "Cast" and name in _QUANTISED:
        return f"only QuantizeLinear makes {name.lower()}"
    if op == "Cast" and type_name(node.dtype(0) or 0) in _QUANTISED:
        return f"only DequantizeLinear reads {type_name(node.dtype(0) or 0).lower()}"
    return ""


def type_verdict(node: NodeView, target: Target) -> Verdict | None:
    """Return an objection to the element type that a node makes, if there is one."""
    reason = made_type_reason(node, target)
    if not reason:
        return None
    return Verdict(node.proto.name, node.proto.op_type, "no", reason, _NUMBERS, TYPES_SOURCE)


def type_name(elem_type: int) -> str:
    """Return the name of a ``TensorProto`` element type, its number where it has none."""
    try:
        return str(onnx.TensorProto.DataType.Name(elem_type))
    except ValueError:
        return str(elem_type)


def _zero_point(node: NodeView) -> str:
    """Return what is wrong with the zero point: ``""``, ``computed`` or ``nonzero``."""
    if not node.has_input(2):
        return ""
    if not node.is_fixed(2):
        return "computed"
    values = node.constant(2)
    return "nonzero" if values is not None and bool((values != 0).any()) else ""


def _zero_point_is(what: str) -> Predicate:
    return lambda node: _zero_point(node) == what


def _scale_unfit(node: NodeView) -> bool:
    scale = node.constant(1)
    return scale is not None and not bool((scale > 0).all())  # refuses NaN as well


def _quantised_type(node: NodeView) -> int | None:
    """Return the element type that the node quantises to or from; None where it is not known."""
    if node.has_input(2):
        return node.dtype(2)
    if node.proto.op_type == "DequantizeLinear":
        return node.dtype(0)
    return node.attribute("output_dtype", 0) or _UINT8  # ONNX's own default


def _quantises_to(*types: int) -> Predicate:
    return lambda node: _quantised_type(node) in types


def _quantises_to_other_than(*types: int) -> Predicate:
    return lambda node: _quantised_type(node) not in (None, *types)


def _no_zero_point(node: NodeView) -> bool:
    return not node.has_input(2)


QUANTISATION_RULES: tuple[Rule, ...] = (
    Rule(
        _QUANTISERS, _zero_point_is("nonzero"), "no",
        "the zero point must be zero", "quantise symmetrically to int8", MD_101,
    ),
    Rule(
        _QUANTISERS, _zero_point_is("computed"), "no",
        "the zero point must be a constant of the file", _SYMMETRIC,
        "validateQDQInputs: 'zero_point is not an initializer', TensorRT-RTX 1.7.1",
    ),
    Rule(
        _QUANTISERS, _scale_unfit, "no",
        "scales must be above zero", "calibrate again: a scale of 0 comes from data without range",
        f"{_QUANTISE_86} and 10.1-GA",
    ),
    Rule(
        _QUANTISERS, _quantises_to_other_than(_INT8), "no",
        "the zero point must be int8; without one, ONNX quantises to uint8",
        _SYMMETRIC, _QUANTISE_86, until=(10, 0),
    ),
    Rule(
        _QUANTISERS, _no_zero_point, "no",
        "the zero point must be given", _SYMMETRIC, _QUANTISE_86, until=(10, 0),
    ),
    Rule(
        _QUANTISERS, _quantises_to(_UINT8), "no",
        "a zero point of uint8 (ONNX's default where none is given) is refused, or silently "
        "computed as int8", _SYMMETRIC,
        "onnxOpImporters.cpp at 10.10; built with TensorRT-RTX 1.7.1", since=(10, 0),
    ),
    Rule(
        _QUANTISERS, _quantises_to(*_OTHER_TYPES), "no",
        "quantised numbers of this type are refused", _SYMMETRIC,
        f"{MD_101}: INT8, FP8 and INT4; {RTX}", since=(10, 0),
    ),
)  # fmt: skip
"""Traps of QuantizeLinear and DequantizeLinear."""


def _moves_bytes(node: NodeView) -> bool:
    """Reads uint8 with an operator that only takes numbers."""
    return any(
        node.dtype(index) == _UINT8 and not node.is_fixed(index)
        for index in range(len(node.proto.input))
    )


def _keeps_bytes(node: NodeView) -> bool:
    """Makes uint8 that is no output of the graph."""
    makes = node.attribute("to") if node.proto.op_type == "Cast" else node.dtype(0)
    made = node.proto.output[:1]
    return makes == _UINT8 and not node.is_fixed(0) and not node.graph.outputs.issuperset(made)


_BYTES_ADVICE = (
    "cast the input to float first: x.float().permute(...) instead of x.permute(...).float()"
)
_BYTES_SOURCE = (
    "onnx/onnx-tensorrt, docs/operators.md: UINT8 is network input or output only; legalUINT8 in "
    "ModelImporter.cpp at 8.6-GA to 10.1-GA"
)
_MOVE_RULE = Rule(
    (), _moves_bytes, "no",
    "uint8 may only be a graph input or output, cast before anything else",
    _BYTES_ADVICE, _BYTES_SOURCE,
)  # fmt: skip
_KEEP_RULE = Rule(
    (), _keeps_bytes, "no",
    "uint8 may only be a graph input or output, not in between",
    "cast to int32 where whole numbers are meant, and to uint8 at the output only", _BYTES_SOURCE,
)  # fmt: skip


def bytes_rules(op_type: str) -> tuple[Rule, ...]:
    """Return the traps of uint8, into which nearly every operator can fall."""
    if op_type in ("Cast", "Identity"):
        return (_KEEP_RULE,)
    return () if op_type in (*_QUANTISERS, "Shape", "Size") else (_MOVE_RULE,)
