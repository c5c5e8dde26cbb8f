"""``export_onnx``: any PyTorch module to an opset-17 ONNX file of standard operators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from torch import Tensor, nn

from differseg.errors import CheckFailedError, InputError
from differseg.export.example_check import compare_example
from differseg.export.finish import finish_graph
from differseg.export.lowering.spelling import FORMS
from differseg.export.modelfile import append_manifest, serialize, written_whole
from differseg.export.opset import OPSETS
from differseg.export.trace import quiet, trace
from differseg.manifest import Decision, Manifest


@dataclass(frozen=True)
class ExportResult:
    """What was written.

    Attributes:
        path: The file.
        opset: Its opset.
        nodes: Nodes of the graph.
        parameters: Numbers in floating-point constants.
        size_bytes: Size of the file.
        max_error: Largest difference from PyTorch on the example inputs; None where not compared.
        decisions: Automatic choices with their reasons.
    """

    path: Path
    opset: int
    nodes: int
    parameters: int
    size_bytes: int
    max_error: float | None
    decisions: tuple[Decision, ...]


def export_onnx(
    module: nn.Module,
    example_inputs: Mapping[str, Tensor],
    path: Path | str,
    *,
    ops: str = "portable",
    opset: int = 17,
    manifest: Manifest | None = None,
    output_names: Sequence[str] | None = None,
    dynamic_batch: bool = False,
    strip: str = "",
    verify: bool = True,
) -> ExportResult:
    """Export a module in eval mode to a self-contained ONNX file and check what was written.

    The module is left exactly as it was: training flags, device and weights.  The file appears
    whole or not at all, and two exports of the same module give the same bytes.

    Args:
        module: Any module.
        example_inputs: Graph input name to tensor, in the order of the module's arguments; their
            shapes become the graph's.
        path: The file to write.
        ops: Form of the frequency operators: ``portable`` (standard ONNX operators), ``function``
            (named nodes with local functions, for reading) or ``plugin`` (bare nodes for the
            TensorRT plugin library).
        opset: 17, or 18 for graphs that need it.
        manifest: Stored in the file; its outputs name the graph's outputs.
        output_names: Names of the outputs where there is no manifest.
        dynamic_batch: Let the first axis of every input and output vary.
        strip: Prefix left out of node names, such as ``model.`` for a wrapper's network.
        verify: Run the file in ONNX Runtime and compare with the module on ``example_inputs``.

    Raises:
        InputError: The module cannot be traced, or has no form in this opset.
        CheckFailedError: ONNX's checker refuses the file, ONNX Runtime computes other values, or
            the module computes NaN or infinity on ``example_inputs``.
    """
    check_form(ops, opset)
    if manifest is not None and output_names is None:
        output_names = [output.name for output in manifest.outputs]
    error = None
    with written_whole(path) as part:
        model = trace(
            module, example_inputs, output_names=output_names, dynamic_batch=dynamic_batch
        )
        with quiet():
            decisions = finish_graph(model, ops=ops, opset=opset, strip=strip)
        nodes, parameters = write_graph(model, part)
        del model
        if verify:
            error = compare_example(module, example_inputs, part)
        if manifest is not None:
            append_manifest(part, manifest)
        size_bytes = part.stat().st_size
    return ExportResult(
        path=Path(path),
        opset=opset,
        nodes=nodes,
        parameters=parameters,
        size_bytes=size_bytes,
        max_error=error,
        decisions=tuple(decisions),
    )


def check_form(ops: str, opset: int) -> None:
    """Refuse an operator form or an opset that the exporter does not write.

    Raises:
        InputError: Names the value and what there is.
    """
    if ops not in FORMS:
        raise InputError(
            f"ops: expected portable (standard ONNX operators), function or plugin, got '{ops}'"
        )
    if opset not in OPSETS:
        raise InputError(f"opset: expected one of {', '.join(map(str, OPSETS))}, got {opset}")


def write_graph(model: ir.Model, path: Path) -> tuple[int, int]:
    """Write a graph and run ONNX's checker on the file.

    Returns:
        The number of nodes, and of numbers in floating-point constants.

    Raises:
        CheckFailedError: The checker's first line.
    """
    model.producer_name, model.producer_version = "differseg", _version()
    proto = ir.to_proto(model)
    path.write_bytes(serialize(proto))
    nodes, parameters = len(proto.graph.node), float_count(proto)
    del proto
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        first_line = next(iter(str(error).splitlines()), "")
        raise CheckFailedError(
            f"{path.name}: ONNX's checker refuses the graph: {first_line}"
        ) from None
    return nodes, parameters


def float_count(proto: onnx.ModelProto) -> int:
    """Return how many numbers the floating-point constants hold."""
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
    return sum(
        int(np.prod(tensor.dims, dtype=np.int64))
        for tensor in proto.graph.initializer
        if tensor.data_type in floats
    )


def _version() -> str:
    from differseg import __version__

    return __version__
