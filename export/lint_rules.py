"""Traps of single operators on TensorRT: nodes that parse elsewhere and fail or go wrong here.

Each rule is data plus one small predicate.  ``no`` means that the parser refuses the node or
computes something else; ``condition`` means that it works under the stated condition.
"""

from __future__ import annotations

from differseg.export.graph_view import NodeView
from differseg.export.lint_rule import (
    MD_85,
    MD_101,
    RTX,
    Predicate,
    Rule,
    always,
    attribute_is,
    not_constant,
)
from differseg.export.lint_types import QUANTISATION_RULES, bytes_rules
from differseg.export.targets import Target


def _rank_is_not(*ranks: int) -> Predicate:
    def applies(node: NodeView) -> bool:
        shape = node.shape(0)
        return shape is not None and len(shape) not in ranks

    return applies


def _k_unfit(node: NodeView) -> bool:
    k = node.constant(1)
    return k is not None and (k.size != 1 or bool((k >= 3840).any()))


def _grid_sample_20(node: NodeView) -> bool:
    return node.opset >= 20 and node.attribute("mode", "linear") != "nearest"


def _reduces(node: NodeView) -> bool:
    return bool(node.attribute("reduction", "none") != "none")


def _einsum_special(node: NodeView) -> bool:
    equation = str(node.attribute("equation", "")).replace(" ", "")
    terms = equation.split("->")[0].split(",")
    return "..." in equation or any(len(set(term)) != len(term) for term in terms)


def _second_output(node: NodeView) -> bool:
    return sum(bool(name) for name in node.proto.output) > 1


def _dilated(node: NodeView) -> bool:
    return any(step != 1 for step in node.attribute("dilations", ()))


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
        f"{MD_101}; NVIDIA/TensorRT issues 2738 and 4618",
    ),
    Rule(
        ("Resize", "Upsample"), attribute_is("antialias", 1), "no",
        "antialiased resizing is refused",
        "resize without antialias, or average-pool before resizing",
        _CHECKERS,
    ),
    Rule(
        ("Resize",),
        attribute_is(
            "coordinate_transformation_mode", "half_pixel_symmetric", "tf_crop_and_resize"
        ),
        "no",
        "this coordinate mode is refused",
        "use half_pixel, asymmetric or align_corners",
        _CHECKERS,
    ),
    Rule(
        ("Resize",), attribute_is("mode", "cubic"), "condition",
        "cubic is in the importer but not in NVIDIA's list of supported modes",
        "check the result on the device, or use linear",
        f"{MD_101} against onnxOpImporters.cpp at 10.10",
    ),
    Rule(
        ("DFT",), always, "condition",
        "runs through the cuFFT plugin library, which must be installed beside TensorRT",
        "write the transform as MatMul with constant cosines and sines",
        "release notes of NVIDIA/TensorRT 11.2", since=(11, 2),
    ),
    Rule(
        ("STFT",), always, "condition",
        "real FP32 input and constant frame step, window and length only",
        "write the transform as a strided convolution",
        "release notes of NVIDIA/TensorRT 10.5",
    ),
    Rule(
        ("Einsum",), _einsum_special, "no",
        "ellipsis, diagonal and broadcast terms are refused",
        "write the product with MatMul, Transpose and Reshape",
        f"{MD_85}; allowed since 10.12", until=(10, 12),
    ),
    Rule(
        ("DeformConv",), always, "condition",
        "runs as the plugin ModulatedDeformConv2d: needs libnvinfer_plugin, FP32 or FP16, and "
        "symmetric padding",
        "load the plugin library, or sample with GridSample",
        MD_101,
    ),
    Rule(
        ("NonZero", "NonMaxSuppression", "Compress"), always, "condition",
        "the size of the result depends on the data, which needs an output allocator at run time",
        "keep such steps out of the network",
        "TensorRT developer guide, data-dependent shapes",
    ),
    Rule(
        ("If", "Loop", "Scan"), always, "condition",
        "control flow stops fusion, and shapes must agree between branches",
        "export with fixed sizes, so that the branch is decided before",
        MD_101,
    ),
    Rule(
        ("CumSum",), not_constant(1), "no", "the axis must be constant",
        "export with a fixed axis", MD_101,
    ),
    Rule(
        ("TopK",), not_constant(1), "no", "K must be constant",
        "export with a fixed K", MD_85, until=(10, 0),
    ),
    Rule(
        ("TopK",), _k_unfit, "no", "K must be one number below 3840",
        "reduce the number of candidates first", MD_101,
    ),
    Rule(
        ("Slice",), not_constant(3), "no", "axes must be constant",
        "export with fixed axes", MD_101, until=(10, 3),
    ),
    Rule(
        ("Squeeze", "Unsqueeze"), not_constant(1), "no", "axes must be constant",
        "export with fixed axes", MD_101, until=(10, 7),
    ),
    Rule(
        ("Pad",), not_constant(3), "no", "axes must be constant",
        "export with fixed axes", MD_101, until=(10, 4),
    ),
    Rule(
        ("Pad",), attribute_is("mode", "wrap"), "no", "wrap padding came with TensorRT 10",
        "concatenate slices of the input instead", MD_101, until=(10, 0),
    ),
    Rule(
        ("InstanceNormalization",), lambda n: not_constant(1)(n) or not_constant(2)(n), "no",
        "scale and bias must be constant", "use fixed affine parameters",
        MD_85, until=(10, 0),
    ),
    Rule(
        ("LayerNormalization", "MaxPool"), _second_output, "no",
        "only the first output is computed", "do not use the other outputs", MD_101,
    ),
    Rule(
        ("AveragePool", "MaxPool", "LpPool"), _dilated, "no",
        "pooling cannot be dilated", "gather the pixels with strided slices", MD_101,
    ),
    Rule(
        ("ScatterND",), _reduces, "no",
        "reductions are refused", "use ScatterElements, which can add from TensorRT 10 on, or add "
        "the parts",
        f"{MD_101}; the same at 11.1",
    ),
    Rule(
        ("ScatterElements",), _reduces, "no",
        "reductions came with TensorRT 10; this importer overwrites without a word",
        "add the parts", "builtin_op_importers.cpp at 8.6-GA and 10.1-GA", until=(10, 0),
    ),
    Rule(
        ("ScatterElements",), _reduces, "condition",
        "a reduction runs as a plugin, which needs libnvinfer_plugin",
        "load the plugin library, or add the parts", "builtin_op_importers.cpp at 10.1-GA",
        since=(10, 0),
    ),
    Rule(
        ("ScatterElements",), _reduces, "no",
        "a reduction runs as a plugin, and this target has no plugin library",
        "add the parts", RTX, without_plugins=True,
    ),
    Rule(
        ("DeformConv", "NonMaxSuppression", "NonZero", "RoiAlign"), always, "no",
        "runs as a plugin, and this target has no plugin library",
        "keep such steps out of the network, or write them with other operations",
        RTX, without_plugins=True,
    ),
    *QUANTISATION_RULES,
)  # fmt: skip
"""Traps by operator."""


def rules_for(op_type: str, target: Target) -> list[Rule]:
    """Return the rules of an operator on a target with TensorRT, the worst first."""
    found = [rule for rule in RULES if rule.concerns(op_type, target)]
    found.extend(bytes_rules(op_type))
    return sorted(found, key=lambda rule: rule.level != "no")
