"""Traps of single operators on TensorRT: nodes that parse elsewhere and fail or go wrong here.

Each rule is data plus one small predicate.  ``no`` means that the parser refuses the node or
computes something else; ``condition`` means that it works under the stated condition.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import onnx

from differseg.export.graph_view import NodeView
from differseg.export.targets import Version

Level = Literal["yes", "condition", "no"]
Predicate = Callable[[NodeView], bool]

_ALL: Version = (0, 0)
_END: Version = (99, 0)


@dataclass(frozen=True)
class Rule:
    """One trap.

    Attributes:
        ops: Operators that it is about.
        when: Whether a node falls into it.
        level: ``condition`` or ``no``.
        reason: What goes wrong.
        advice: What to do.
        source: Where it is known from.
        since: First TensorRT version that has it.
        until: First TensorRT version that has it no more.
    """

    ops: tuple[str, ...]
    when: Predicate
    level: Level
    reason: str
    advice: str
    source: str
    since: Version = _ALL
    until: Version = _END


def _always(_node: NodeView) -> bool:
    return True


def _attribute_is(name: str, *values: int | str) -> Predicate:
    return lambda node: node.attribute(name) in values


def _not_constant(index: int) -> Predicate:
    """The operand is there and is not constant."""
    return lambda node: node.has_input(index) and not node.is_constant(index)


def _rank_is_not(*ranks: int) -> Predicate:
    def applies(node: NodeView) -> bool:
        shape = node.shape(0)
        return shape is not None and len(shape) not in ranks

    return applies


def _k_unfit(node: NodeView) -> bool:
    k = node.constant(1)
    return k is not None and (k.size != 1 or bool((k >= 3840).any()))


def _nonzero_point(node: NodeView) -> bool:
    zero_point = node.constant(2)
    return zero_point is not None and bool((zero_point != 0).any())


def _quantised_type(node: NodeView) -> int | None:
    """Return the element type that the node quantises to or from; None where it is not known."""
    if node.has_input(2):
        return node.dtype(2)
    if node.proto.op_type == "DequantizeLinear":
        return node.dtype(0)
    return node.attribute("output_dtype", 0) or onnx.TensorProto.UINT8  # ONNX's own default


def _quantises_to(*types: int) -> Predicate:
    return lambda node: _quantised_type(node) in types


def _quantises_to_other_than(*types: int) -> Predicate:
    return lambda node: _quantised_type(node) not in (None, *types)


def _no_zero_point(node: NodeView) -> bool:
    return not node.has_input(2)


def _grid_sample_20(node: NodeView) -> bool:
    return node.opset >= 20 and node.attribute("mode", "linear") != "nearest"


def _einsum_special(node: NodeView) -> bool:
    equation = str(node.attribute("equation", "")).replace(" ", "")
    terms = equation.split("->")[0].split(",")
    return "..." in equation or any(len(set(term)) != len(term) for term in terms)


def _second_output(node: NodeView) -> bool:
    return sum(bool(name) for name in node.proto.output) > 1


def _dilated(node: NodeView) -> bool:
    return any(step != 1 for step in node.attribute("dilations", ()))


def _reads_bytes(node: NodeView) -> bool:
    """Reads uint8 with anything but the cast or dequantisation that turns it into numbers."""
    return any(
        node.dtype(index) == onnx.TensorProto.UINT8 and not node.is_constant(index)
        for index in range(len(node.proto.input))
    )


_MD_101 = "onnx/onnx-tensorrt, docs/operators.md at 10.1-GA"
_MD_85 = "onnx/onnx-tensorrt, docs/operators.md at 8.5-GA"
_QUANTISE_86 = "onnx/onnx-tensorrt, QuantDequantLinearHelper at 8.6-GA"
_SYMMETRIC = "quantise symmetrically to int8, with an int8 zero point of 0"
_INT8 = onnx.TensorProto.INT8
_OTHER_TYPES = (
    onnx.TensorProto.INT16, onnx.TensorProto.UINT16, onnx.TensorProto.UINT4,
    onnx.TensorProto.INT32, onnx.TensorProto.FLOAT8E5M2,
)  # fmt: skip
_CHECKERS = "onnx/onnx-tensorrt, onnxOpCheckers.cpp at 10.10"

RULES: tuple[Rule, ...] = (
    Rule(
        ("GridSample",), _grid_sample_20, "no",
        "opset 20 spells the mode 'linear' or 'cubic'; the importer knows 'bilinear' and 'bicubic' "
        "only and silently samples the nearest pixel",
        "write the graph in opset 16 to 19",
        "onnx/onnx-tensorrt PR 1060, NVIDIA/TensorRT issue 4646",
    ),
    Rule(
        ("GridSample",), _rank_is_not(4), "no",
        "only images (rank 4) can be sampled",
        "reshape to (N, C, H, W) around the node",
        f"{_MD_101}; NVIDIA/TensorRT issues 2738 and 4618",
    ),
    Rule(
        ("Resize", "Upsample"), _attribute_is("antialias", 1), "no",
        "antialiased resizing is refused",
        "resize without antialias, or average-pool before resizing",
        _CHECKERS,
    ),
    Rule(
        ("Resize",),
        _attribute_is(
            "coordinate_transformation_mode", "half_pixel_symmetric", "tf_crop_and_resize"
        ),
        "no",
        "this coordinate mode is refused",
        "use half_pixel, asymmetric or align_corners",
        _CHECKERS,
    ),
    Rule(
        ("Resize",), _attribute_is("mode", "cubic"), "condition",
        "cubic is in the importer but not in NVIDIA's list of supported modes",
        "check the result on the device, or use linear",
        f"{_MD_101} against onnxOpImporters.cpp at 10.10",
    ),
    Rule(
        ("DFT",), _always, "condition",
        "runs through the cuFFT plugin library, which must be installed beside TensorRT",
        "write the transform as MatMul with constant cosines and sines",
        "release notes of NVIDIA/TensorRT 11.2", since=(11, 2),
    ),
    Rule(
        ("STFT",), _always, "condition",
        "real FP32 input and constant frame step, window and length only",
        "write the transform as a strided convolution",
        "release notes of NVIDIA/TensorRT 10.5",
    ),
    Rule(
        ("Einsum",), _einsum_special, "no",
        "ellipsis, diagonal and broadcast terms are refused",
        "write the product with MatMul, Transpose and Reshape",
        f"{_MD_85}; allowed since 10.12", until=(10, 12),
    ),
    Rule(
        ("DeformConv",), _always, "condition",
        "runs as the plugin ModulatedDeformConv2d: needs libnvinfer_plugin, FP32 or FP16, and "
        "symmetric padding",
        "load the plugin library, or sample with GridSample",
        _MD_101,
    ),
    Rule(
        ("NonZero", "NonMaxSuppression", "Compress"), _always, "condition",
        "the size of the result depends on the data, which needs an output allocator at run time",
        "keep such steps out of the network",
        "TensorRT developer guide, data-dependent shapes",
    ),
    Rule(
        ("If", "Loop", "Scan"), _always, "condition",
        "control flow stops fusion, and shapes must agree between branches",
        "export with fixed sizes, so that the branch is decided before",
        _MD_101,
    ),
    Rule(
        ("CumSum",), _not_constant(1), "no", "the axis must be constant",
        "export with a fixed axis", _MD_101,
    ),
    Rule(
        ("TopK",), _not_constant(1), "no", "K must be constant",
        "export with a fixed K", _MD_85, until=(10, 0),
    ),
    Rule(
        ("TopK",), _k_unfit, "no", "K must be one number below 3840",
        "reduce the number of candidates first", _MD_101,
    ),
    Rule(
        ("Slice",), _not_constant(3), "no", "axes must be constant",
        "export with fixed axes", _MD_101, until=(10, 3),
    ),
    Rule(
        ("Squeeze", "Unsqueeze"), _not_constant(1), "no", "axes must be constant",
        "export with fixed axes", _MD_101, until=(10, 7),
    ),
    Rule(
        ("Pad",), _not_constant(3), "no", "axes must be constant",
        "export with fixed axes", _MD_101, until=(10, 4),
    ),
    Rule(
        ("Pad",), _attribute_is("mode", "wrap"), "no", "wrap padding came with TensorRT 10",
        "concatenate slices of the input instead", _MD_101, until=(10, 0),
    ),
    Rule(
        ("InstanceNormalization",), lambda n: _not_constant(1)(n) or _not_constant(2)(n), "no",
        "scale and bias must be constant", "use fixed affine parameters",
        _MD_85, until=(10, 0),
    ),
    Rule(
        ("LayerNormalization", "MaxPool"), _second_output, "no",
        "only the first output is computed", "do not use the other outputs", _MD_101,
    ),
    Rule(
        ("AveragePool", "MaxPool", "LpPool"), _dilated, "no",
        "pooling cannot be dilated", "gather the pixels with strided slices", _MD_101,
    ),
    Rule(
        ("ScatterND",), lambda n: n.attribute("reduction", "none") != "none", "no",
        "reductions are refused", "use ScatterElements, or add the parts",
        f"{_MD_101}; the same at 11.1",
    ),
    Rule(
        ("QuantizeLinear", "DequantizeLinear"), _nonzero_point, "no",
        "the zero point must be zero", "quantise symmetrically to int8", _MD_101,
    ),
    Rule(
        ("QuantizeLinear", "DequantizeLinear"), _quantises_to_other_than(_INT8), "no",
        "the zero point must be int8; without one, ONNX quantises to uint8",
        _SYMMETRIC, _QUANTISE_86, until=(10, 0),
    ),
    Rule(
        ("QuantizeLinear", "DequantizeLinear"), _no_zero_point, "no",
        "the zero point must be given", _SYMMETRIC, _QUANTISE_86, until=(10, 0),
    ),
    Rule(
        ("QuantizeLinear", "DequantizeLinear"), _quantises_to(onnx.TensorProto.UINT8), "no",
        "a zero point of uint8 (ONNX's default where none is given) is refused, or silently "
        "computed as int8", _SYMMETRIC,
        "onnxOpImporters.cpp at 10.10; built with TensorRT-RTX 1.7.1", since=(10, 0),
    ),
    Rule(
        ("QuantizeLinear", "DequantizeLinear"), _quantises_to(*_OTHER_TYPES), "no",
        "quantised numbers of this type are refused", _SYMMETRIC,
        f"{_MD_101}: INT8, FP8 and INT4; refused by TensorRT-RTX 1.7.1", since=(10, 0),
    ),
)  # fmt: skip
"""Traps by operator."""

BYTES_RULE = Rule(
    (), _reads_bytes, "no",
    "uint8 may only be a graph input or output, cast before anything else",
    "cast the input to float first: x.float().permute(...) instead of x.permute(...).float()",
    "onnx/onnx-tensorrt, docs/operators.md: UINT8 is network input or output only",
)  # fmt: skip
"""The one trap that any operator but Cast, QuantizeLinear and DequantizeLinear can fall into."""


def rules_for(op_type: str, version: Version) -> list[Rule]:
    """Return the rules of an operator on a TensorRT version, the worst first."""
    found = [r for r in RULES if op_type in r.ops and r.since <= version < r.until]
    if op_type not in ("Cast", "QuantizeLinear", "DequantizeLinear"):
        found.append(BYTES_RULE)
    return sorted(found, key=lambda rule: rule.level != "no")
