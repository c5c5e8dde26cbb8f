"""Scales and placement of an int8 file, to write other weights of its network the same way."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import onnx
import onnx_ir as ir
from onnx import numpy_helper

from differseg.calibration.placement import place
from differseg.errors import InputError
from differseg.export.modelfile import manifest_of, read_model
from differseg.file_hash import sha256_of
from differseg.manifest import Manifest


@dataclass(frozen=True)
class QdqScales:
    """What an int8 file rounds to.

    Attributes:
        scales: By tensor.
        without: Nodes that may be int8 and are not.
        source: Where that comes from, in words.
    """

    scales: dict[str, float]
    without: frozenset[str]
    source: str


def read_qdq_scales(path: Path, manifest: Manifest, graph: ir.Model) -> QdqScales:
    """Read an int8 file of the same network.

    Args:
        path: The file.
        manifest: Of the float32 file that shall be written like it.
        graph: That file's, with shapes.

    Raises:
        InputError: It is of another network or size, or not int8.
        ModelFileError: It is not an ONNX file.
    """
    model = read_model(path)
    theirs = manifest_of(model)
    if theirs is None or theirs.precision != "int8":
        raise InputError(f"--like {path}: is not an int8 file of 'differseg quantize'")
    if _shapes(theirs) != _shapes(manifest):
        raise InputError(
            f"--like {path}: is of {_named(theirs)}; the file to quantise is of {_named(manifest)}"
        )
    constants = {entry.name: entry for entry in model.graph.initializer}
    makers = {name: node for node in model.graph.node for name in node.output}
    nodes = {node.name: node for node in model.graph.node}
    candidates = place(graph).kernels
    quantised = {name for name in candidates if name in nodes and _reads_int8(nodes[name], makers)}
    without = frozenset(candidates).difference(quantised)
    tensors = place(graph, without).edges
    missing = [name for name in tensors if f"{name}.scale" not in constants]
    if missing or not quantised:
        where = (
            f"has no scale of '{missing[0]}'" if missing else "shares no int8 node with the file"
        )
        raise InputError(
            f"--like {path}: {where}; export both float32 files with one version of differseg"
        )
    scales = {name: float(numpy_helper.to_array(constants[f"{name}.scale"])) for name in tensors}
    source = f"scales and placement of {path.name} (sha256 {sha256_of(path)[:16]})"
    return QdqScales(scales, without, source)


def _shapes(manifest: Manifest) -> tuple[object, ...]:
    inputs = [(entry.name, entry.shape) for entry in manifest.inputs]
    return (manifest.model, *inputs, *((entry.name, entry.shape) for entry in manifest.outputs))


def _named(manifest: Manifest) -> str:
    height, width = manifest.outputs[0].shape[2:]
    return f"{manifest.model} at {height}x{width}"


def _reads_int8(node: onnx.NodeProto, makers: dict[str, onnx.NodeProto]) -> bool:
    """Whether both operands come out of a Dequantize node."""
    for name in node.input[:2]:
        maker = makers.get(name)
        while maker is not None and maker.op_type == "Cast":
            maker = makers.get(maker.input[0])
        if maker is None or maker.op_type != "DequantizeLinear":
            return False
    return True
