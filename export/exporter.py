"""``export_onnx``: any PyTorch module to an opset-17 ONNX file of standard operators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import onnx_ir.passes.common as common
import torch
from torch import Tensor, nn

from differseg.errors import CheckFailedError, InputError
from differseg.export import naming
from differseg.export.modelfile import append_manifest, serialize, written_whole
from differseg.export.opset import OPSETS, convert_opset
from differseg.export.simplify import simplify, strip_annotations
from differseg.export.trace import evaluating, returned_tensors, trace
from differseg.manifest import Decision, Manifest

MAX_ERROR = 1e-4
"""Largest difference between PyTorch and ONNX Runtime that an export may show."""


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
        ops: Operator form; ``portable`` (standard ONNX operators) is the one that exists.
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
        decisions = finish_graph(model, opset=opset, strip=strip)
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
    if ops != "portable":
        raise InputError(
            f"ops: expected 'portable' (standard ONNX operators), got '{ops}', "
            "which this version does not write"
        )
    if opset not in OPSETS:
        raise InputError(f"opset: expected one of {', '.join(map(str, OPSETS))}, got {opset}")


def finish_graph(model: ir.Model, *, opset: int = 17, strip: str = "") -> list[Decision]:
    """Simplify, convert and name a traced graph in place; returns what was decided.

    Raises:
        InputError: It has a node without a form in this opset, or control flow.
    """
    interface = naming.interface_of(model.graph)
    for value in model.graph.initializers.values():
        naming.mark_parameter(value)
    scopes = naming.record_scopes(model)
    decisions = simplify(model)
    _refuse_control_flow(model.graph)
    convert_opset(model, opset)
    naming.keep_interface(model.graph, *interface)
    naming.assign_names(model, scopes, strip=strip)
    strip_annotations(model)
    common.ShapeInferencePass()(model)
    assert naming.interface_of(model.graph) == interface, "a graph input or output was renamed"
    reason = "the newest that TensorRT 8.5 to 11 all read" if opset == 17 else "asked for"
    return [*decisions, Decision("opset", str(opset), reason)]


def _refuse_control_flow(graph: ir.Graph) -> None:
    for node in graph:
        if any(attribute.type == ir.AttributeType.GRAPH for attribute in node.attributes.values()):
            where = naming.module_path(node) or "the module itself"
            raise InputError(
                f"{graph.name}: control flow is not exported: {node.op_type} (node {node.name!r}, "
                f"from {where}), made by torch.cond or a loop; decide it before the export, or "
                "compute both branches and choose with torch.where"
            )


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
    nodes, parameters = len(proto.graph.node), _float_count(proto)
    del proto
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        first_line = next(iter(str(error).splitlines()), "")
        raise CheckFailedError(f"{path}: ONNX's checker refuses the graph: {first_line}") from None
    return nodes, parameters


def compare_example(module: nn.Module, example_inputs: Mapping[str, Tensor], path: Path) -> float:
    """Return the largest difference between the module and ONNX Runtime on the example.

    Raises:
        CheckFailedError: It is above ``MAX_ERROR``, a shape differs, a number is not finite, or
            ONNX Runtime cannot run the file.
    """
    import onnxruntime

    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    with evaluating(module), torch.no_grad():
        # A copy, because a module may write to its inputs.
        result = module(*(value.to(device, copy=True) for value in example_inputs.values()))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    feed = {name: value.detach().cpu().numpy() for name, value in example_inputs.items()}
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        names = [output.name for output in session.get_outputs()]
        found = session.run(names, feed)
    except Exception as error:  # onnxruntime's own exception classes share no public base
        text = " ".join(str(error).split())[:300]
        raise CheckFailedError(f"{path.name}: ONNX Runtime cannot run the graph: {text}") from None
    worst = 0.0
    for name, value, array in zip(names, returned_tensors(result), found, strict=True):
        worst = max(worst, _difference(name, value.detach().cpu().double().numpy(), array))
    if worst > MAX_ERROR:
        raise CheckFailedError(
            f"ONNX Runtime differs from PyTorch by {worst:.3g} on the example inputs, "
            f"expected at most {MAX_ERROR:g}; nothing was written"
        )
    return worst


def _difference(name: str, expected: npt.NDArray[Any], found: npt.NDArray[Any]) -> float:
    """Return the largest difference of two arrays that must be finite and of one shape."""
    if expected.shape != found.shape:
        raise CheckFailedError(
            f"output {name!r}: ONNX Runtime gives the shape {list(found.shape)}, expected "
            f"PyTorch's {list(expected.shape)}; nothing was written"
        )
    for who, values in (("PyTorch", expected), ("ONNX Runtime", found)):
        if not np.isfinite(values).all():
            raise CheckFailedError(
                f"output {name!r}: {who} computes NaN or infinity on the example inputs, expected "
                "finite numbers; mend the weights or give other inputs; nothing was written"
            )
    return float(np.abs(expected - found.astype(np.float64)).max(initial=0.0))


def _float_count(proto: onnx.ModelProto) -> int:
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
    return sum(
        int(np.prod(tensor.dims, dtype=np.int64))
        for tensor in proto.graph.initializer
        if tensor.data_type in floats
    )


def _version() -> str:
    from differseg import __version__

    return __version__
