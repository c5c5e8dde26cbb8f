"""What an int8 ONNX file rounds, by the modules of the network that it was exported from.

``differseg export`` calls a node by the module that made it and its operator, such as
``encoder.stages.0.conv/Conv``, which is how a node finds its module again.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from google.protobuf.message import DecodeError
from onnx import numpy_helper

from differseg.errors import InputError, ManifestError, ModelFileError
from differseg.file_hash import sha256_of
from differseg.manifest import METADATA_KEY, Manifest

_KERNELS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Operators that compute in int8."""
_PASSED = ("Cast", "DequantizeLinear", "QuantizeLinear")
"""Operators that change how a number is stored alone."""


@dataclass(frozen=True)
class KernelCall:
    """One convolution or product.

    Attributes:
        node: Its name.
        scale: Of what it reads; None where that is not int8.
        per_channel: Whether its weight has a scale for each output channel.
    """

    node: str
    scale: float | None
    per_channel: bool


@dataclass(frozen=True)
class SumCall:
    """One sum of two computed tensors of one shape.

    Attributes:
        node: Its name.
        scales: Of both operands; None for one that is not int8.
    """

    node: str
    scales: tuple[float | None, float | None]


@dataclass(frozen=True)
class QdqFile:
    """An int8 file.

    Attributes:
        path: Where it lies.
        sha256: Hash of its bytes.
        manifest: What it says of itself.
        kernels: By module, in the order of the graph; also those that are not int8.
        sums: By module, in the order of the graph; also those that are not int8.
        levels: Largest code of a weight: 127, or 63 with a reduced range.
    """

    path: Path
    sha256: str
    manifest: Manifest
    kernels: dict[str, tuple[KernelCall, ...]]
    sums: dict[str, tuple[SumCall, ...]]
    levels: int


def read_qdq_file(path: Path) -> QdqFile:
    """Read an int8 file of ``differseg quantize``.

    Raises:
        InputError: There is no such file, or nothing in it is int8.
        ModelFileError: It is not an ONNX file, or one without a manifest.
    """
    if not path.is_file():
        raise InputError(f"--qat {path}: there is no such file")
    try:
        model = onnx.load(path)
    except (DecodeError, OSError, ValueError) as error:
        raise ModelFileError(f"--qat {path}: not an ONNX file ({error})") from None
    documents = [entry.value for entry in model.metadata_props if entry.key == METADATA_KEY]
    if len(documents) != 1:
        raise ModelFileError(
            f"--qat {path}: has no manifest; give a file that 'differseg quantize' wrote"
        )
    try:
        manifest = Manifest.from_json(documents[0])
    except ManifestError as error:
        raise ModelFileError(f"--qat {path}: {error}") from None
    reader = _Reader(onnx.shape_inference.infer_shapes(model).graph)
    kernels, sums = reader.kernels(), reader.sums()
    if not any(call.scale for calls in kernels.values() for call in calls):
        raise InputError(
            f"--qat {path}: nothing in it is int8; give a file that 'differseg quantize' wrote"
        )
    return QdqFile(path, sha256_of(path), manifest, kernels, sums, reader.levels())


class _Reader:
    """Finds out what the operands of a node are.

    Args:
        graph: With shapes.
    """

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._nodes = list(graph.node)
        self._makers = {name: node for node in self._nodes for name in node.output}
        self._constants = {entry.name: entry for entry in graph.initializer}
        self._shapes = {
            entry.name: tuple(side.dim_value for side in entry.type.tensor_type.shape.dim)
            for entry in (*graph.input, *graph.output, *graph.value_info)
        }

    def kernels(self) -> dict[str, tuple[KernelCall, ...]]:
        found: defaultdict[str, list[KernelCall]] = defaultdict(list)
        for node in self._nodes:
            path = _module_of(node.name)
            if node.op_type not in _KERNELS or path is None:
                continue
            weights = [name for name in node.input[:2] if self._is_constant(name)]
            data = [name for name in node.input[:2] if not self._is_constant(name)]
            scale = self._scale(data[0]) if len(weights) == len(data) == 1 else None
            per_channel = bool(weights) and self._entries(weights[0]) > 1
            found[path].append(KernelCall(node.name, scale, per_channel))
        return {path: tuple(calls) for path, calls in found.items()}

    def sums(self) -> dict[str, tuple[SumCall, ...]]:
        found: defaultdict[str, list[SumCall]] = defaultdict(list)
        for node in self._nodes:
            path = _module_of(node.name)
            if node.op_type != "Add" or path is None or any(map(self._is_constant, node.input)):
                continue
            first, second = node.input
            if self._shapes.get(first) == self._shapes.get(second):
                found[path].append(SumCall(node.name, (self._scale(first), self._scale(second))))
        return {path: tuple(calls) for path, calls in found.items()}

    def levels(self) -> int:
        """Return the largest code of a weight that is stored as codes, or would be."""
        largest = 0
        for node in self._nodes:
            if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
                continue
            if node.input[0] not in self._constants:
                continue
            numbers = self._numbers(node.input[0]).astype(np.float64)
            if node.op_type == "QuantizeLinear":
                scale = self._numbers(node.input[1])
                numbers = numbers / scale.max()  # no channel has larger codes for it
            largest = max(largest, round(float(np.abs(numbers).max())))
        return largest

    def _behind(self, name: str) -> str:
        """Return the tensor of which a tensor is another spelling."""
        while name in self._makers and self._makers[name].op_type in _PASSED:
            name = self._makers[name].input[0]
        return name

    def _numbers(self, name: str) -> npt.NDArray[np.generic]:
        return numpy_helper.to_array(self._constants[name])

    def _is_constant(self, name: str) -> bool:
        return self._behind(name) in self._constants

    def _pair(self, name: str) -> str | None:
        """Return the scale of the Dequantize node that a tensor comes out of."""
        while name in self._makers and self._makers[name].op_type == "Cast":
            name = self._makers[name].input[0]
        maker = self._makers.get(name)
        if maker is None or maker.op_type != "DequantizeLinear":
            return None
        return str(maker.input[1])

    def _scale(self, name: str) -> float | None:
        scale = self._pair(name)
        return None if scale is None else float(self._numbers(scale).reshape(()))

    def _entries(self, name: str) -> int:
        scale = self._pair(name)
        return 0 if scale is None else int(self._numbers(scale).size)


def _module_of(node: str) -> str | None:
    """Return the module that made a node; None for a part of a frequency operator."""
    words = node.split("/")
    return {1: "", 2: words[0]}.get(len(words))
