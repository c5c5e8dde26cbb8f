"""What each target's parser reads: versions, opsets and operators, with where that is known from.

Data only; :mod:`differseg.export.lint_rules` holds the traps of single operators, and
:mod:`differseg.export.lint` applies both.  Standard library only.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Literal

from differseg.errors import InputError

Version = tuple[int, int]

_OPERATORS_MD = "onnx/onnx-tensorrt, docs/operators.md"


@dataclass(frozen=True)
class Target:
    """One place where a model file shall run.

    Attributes:
        name: What the command line calls it.
        engine: Whose parser reads the file.
        label: The full name for people.
        version: Version of the parser; TensorRT-RTX 1.7 counts as the TensorRT 11.1 whose
            interface it has.
        max_opset: The newest opset that its documentation names.
        source: Where version and opset are known from.
        max_ir: The newest version of the file format itself that it reads, where one is known.
        has_plugins: Whether NVIDIA's own plugin library comes with it.
    """

    name: str
    engine: Literal["tensorrt", "onnxruntime"]
    label: str
    version: Version
    max_opset: int
    source: str
    max_ir: int | None = None
    has_plugins: bool = True


_BASE_OPERATORS = frozenset(
    "Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization "
    "Cast Ceil Celu Clip Concat Constant ConstantOfShape Conv ConvTranspose Cos Cosh CumSum "
    "DepthToSpace DequantizeLinear Div Dropout Einsum Elu Equal Erf Exp Expand EyeLike Flatten "
    "Floor GRU Gather GatherElements GatherND Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool "
    "Greater GreaterOrEqual GridSample HardSigmoid HardSwish Identity If InstanceNormalization "
    "IsNaN LRN LSTM LeakyRelu Less LessOrEqual Log LogSoftmax Loop LpNormalization LpPool MatMul "
    "Max MaxPool Mean MeanVarianceNormalization Min Mod Mul Neg NonMaxSuppression NonZero Not "
    "OneHot Or PRelu Pad Pow QuantizeLinear RNN RandomNormal RandomNormalLike RandomUniform "
    "RandomUniformLike Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax "
    "ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize "
    "ReverseSequence RoiAlign Round Scan ScatterElements ScatterND Selu Shape Shrink Sigmoid Sign "
    "Sin Sinh Size Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Tan "
    "Tanh ThresholdedRelu Tile TopK Transpose Trilu Unsqueeze Upsample Where Xor".split()
)
_ADDED_OPERATORS: dict[Version, tuple[str, ...]] = {
    (8, 6): ("GroupNormalization", "IsInf", "LayerNormalization"),
    (10, 0): ("CastLike", "Gelu", "Hardmax", "Mish"),
    (10, 1): ("DeformConv",),
    (10, 5): ("STFT",),
    (10, 15): ("BlackmanWindow", "HammingWindow", "HannWindow"),
    (11, 2): ("DFT",),
}
OPERATORS_SOURCE = (
    f"{_OPERATORS_MD} at 8.5-GA, 8.6-GA, 10.0-GA, 10.1-GA and 10.15; STFT and DFT: release "
    "notes of NVIDIA/TensorRT 10.5 and 11.2"
)


def supported_operators(version: Version) -> frozenset[str]:
    """Return the standard operators that this TensorRT version is known to import."""
    added = (ops for since, ops in _ADDED_OPERATORS.items() if since <= version)
    return _BASE_OPERATORS.union(*added)


def operator_since(op_type: str) -> Version | None:
    """Return the TensorRT version that first imports the operator; None when none is known."""
    if op_type in _BASE_OPERATORS:
        return (8, 5)
    return next((since for since, ops in _ADDED_OPERATORS.items() if op_type in ops), None)


_BASE_TYPES = frozenset("FLOAT FLOAT16 DOUBLE INT8 INT32 INT64 UINT8 BOOL".split())
_ADDED_TYPES: dict[Version, tuple[str, ...]] = {
    (9, 0): ("BFLOAT16", "FLOAT8E4M3FN"),
    (10, 0): ("INT4",),
    (10, 15): ("FLOAT4E2M1",),
}
TYPES_SOURCE = (
    "onnx/onnx-tensorrt, convertDtype and docs/operators.md at 8.5-GA to 10.1-GA and 10.15; "
    "TensorRT-RTX 1.7.1"
)


def element_types(version: Version) -> frozenset[str]:
    """Return the ``TensorProto`` element types that this TensorRT version has, by name."""
    added = (types for since, types in _ADDED_TYPES.items() if since <= version)
    return _BASE_TYPES.union(*added)


_OPSETS: tuple[tuple[Version, int, str], ...] = (
    ((8, 5), 17, f"{_OPERATORS_MD} at 8.5-GA and 8.6-GA"),
    ((10, 0), 20, f"{_OPERATORS_MD} at 10.0-GA and 10.1-GA"),
    ((10, 8), 22, f"{_OPERATORS_MD} at 10.8 to 10.10; nothing newer is documented up to 10.16"),
    ((11, 1), 24, f"{_OPERATORS_MD} at 11.1"),
)


def _opset_of(version: Version) -> tuple[int, str]:
    """Return the newest opset of a TensorRT version and where that is known from."""
    known = [(opset, source) for since, opset, source in _OPSETS if since <= version]
    return known[-1]


def _tensorrt(name: str, label: str, version: Version, where: str = "") -> Target:
    opset, source = _opset_of(version)
    source = f"{where}; {source}" if where else source
    return Target(name, "tensorrt", label, version, opset, source)


def _release(major: int, minor: int) -> Target:
    return _tensorrt(f"trt{major}.{minor}", f"TensorRT {major}.{minor}", (major, minor))


TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        _tensorrt(
            "jetpack5", "JetPack 5.1 (TensorRT 8.5)", (8, 5),
            "NVIDIA JetPack 5.1.x: TensorRT 8.5.2, Xavier and Orin",
        ),
        _tensorrt(
            "jetpack6.0", "JetPack 6.0 (TensorRT 8.6)", (8, 6),
            "dusty-nv/jetson-containers: l4t-8.6.2 with CUDA 12.2, Orin",
        ),
        _tensorrt(
            "jetpack6", "JetPack 6.1 and 6.2 (TensorRT 10.3)", (10, 3),
            "dusty-nv/jetson-containers: TensorRT 10.3.0 with CUDA 12.6, Orin",
        ),
        _tensorrt(
            "jetpack7.0", "JetPack 7.0 and 7.1 (TensorRT 10.13)", (10, 13),
            "NVIDIA/IsaacTeleop PR 1050: TensorRT 10.13.3 in JetPack 7.1, Thor",
        ),
        _tensorrt(
            "jetpack7", "JetPack 7.2 (TensorRT 10.16)", (10, 16),
            "NVIDIA's TensorRT 10.x download page and dusty-nv/jetson-containers, Orin and Thor",
        ),
        *(_release(8, minor) for minor in (5, 6)),
        *(_release(10, minor) for minor in range(17)),
        *(_release(11, minor) for minor in range(5)),
        Target(
            "rtx1", "tensorrt", "TensorRT-RTX 1.7 (GeForce)", (11, 1), 23,
            "read and built with TensorRT-RTX 1.7.1, which has TensorRT 11.1's interface",
            has_plugins=False,
        ),
        Target(
            "onnxruntime", "onnxruntime", "ONNX Runtime 1.17 and later", (1, 17), 20,
            "microsoft/onnxruntime, docs/Versioning.md: 1.17 reads opset 20 and IR 9", max_ir=9,
        ),
    )
}  # fmt: skip
"""Every target by name."""

DEFAULT_TARGET = "jetpack6"
"""The commonest device: every Orin on JetPack 6.1 or 6.2."""


def find_target(name: str) -> Target:
    """Return the target of this name.

    Raises:
        InputError: There is none; names the nearest.
    """
    if name in TARGETS:
        return TARGETS[name]
    near = difflib.get_close_matches(name, TARGETS, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"targets: {', '.join(TARGETS)}"
    raise InputError(f"--target: there is no target '{name}'; {hint}")
