"""A float32 file as a typed float16 one: what stays in float32, why, and the file itself.

The graph says where it is rounded (``half_graph``).  Which nodes stay in float32 follows from rules
and from what the tensors hold on images (``half_islands``, ``tensor_ranges``), and what that costs
is seen on a graph that rounds as a GPU would (``half_simulation``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import onnx
import onnx_ir as ir
import onnx_ir.passes.common as common

from differseg.errors import InputError
from differseg.export.half_graph import InputsOutputs, to_half
from differseg.export.half_islands import Islands, find_islands
from differseg.export.half_simulation import simulated
from differseg.export.modelfile import append_manifest, manifest_of, serialize
from differseg.export.parity_result import Thresholds
from differseg.export.tensor_ranges import tensor_ranges
from differseg.export.tensor_values import Feed
from differseg.manifest import METADATA_KEY, Decision, Manifest

HALF_THRESHOLDS = Thresholds(
    max_error=0.5,
    flipped_pixels=1 << 40,
    min_mask_iou=0.98,
    min_boundary_f=0.98,
    max_label_iou_drop=0.001,
)
"""What a float16 file may differ from PyTorch in float32: in masks, not in single probabilities."""

IMAGES = 8
"""Images on which ranges are measured by default."""


@dataclass(frozen=True)
class HalfReport:
    """What became of a graph.

    Attributes:
        nodes: Nodes of the float32 graph.
        half_nodes: How many of them compute in float16.
        casts: Casts that were added.
        islands: Nodes in float32 with the reason.
        images: On how many images ranges were measured.
    """

    nodes: int
    half_nodes: int
    casts: int
    islands: Islands
    images: int

    def decisions(self) -> list[Decision]:
        """Return one entry for the nodes of each part of the network and each reason."""
        groups: dict[tuple[str, str], list[str]] = {}
        for name, reason in self.islands.items():
            part, _, _ = name.rpartition("/")
            groups.setdefault((part or name, reason), []).append(name)
        total = f"{self.half_nodes} of {self.nodes} nodes"
        why = f"ranges measured on {self.images} image(s)"
        return [
            Decision("precision", f"float16 in {total}", why),
            *(
                Decision(f"{part}: {_counted(names)}", "float32", reason)
                for (part, reason), names in groups.items()
            ),
        ]


def _counted(names: list[str]) -> str:
    """Return the operators of nodes with their numbers: ``Mul, Add (3)``."""
    ops: dict[str, int] = {}
    for name in names:
        op = name.rpartition("/")[2].rpartition("_")
        kind = op[0] if op[0] and op[2].isdigit() else name.rpartition("/")[2]
        ops[kind] = ops.get(kind, 0) + 1
    return ", ".join(f"{op} ({count})" if count > 1 else op for op, count in ops.items())


def typed_half(
    model: onnx.ModelProto, feeds: Iterable[Feed], *, inputs_outputs: InputsOutputs = "fp32"
) -> tuple[onnx.ModelProto, HalfReport]:
    """Return a float32 model as a typed float16 one, with its manifest brought up to date.

    Args:
        model: Of the portable or plugin form, with shapes; left as it is.
        feeds: Inputs of real images; read several times.
        inputs_outputs: Type of the floating-point inputs and outputs.

    Raises:
        InputError: The graph is typed already, or has local functions.
        DifferSegError: ONNX Runtime cannot run the graph.
    """
    check_untyped(model)
    count = sum(1 for _ in feeds)
    ranges = tensor_ranges(model, feeds)
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    del bare.metadata_props[:]
    typed = ir.from_proto(bare)
    common.ShapeInferencePass()(typed)
    nodes = len(typed.graph)
    islands = find_islands(typed, ranges)
    half_nodes = to_half(typed, islands, inputs_outputs=inputs_outputs)
    report = HalfReport(nodes, half_nodes, len(typed.graph) - nodes, islands, count)
    result = ir.to_proto(typed)
    manifest = manifest_of(model)
    if manifest is not None:
        set_manifest(result, half_manifest(manifest, report, inputs_outputs))
    return result, report


def half_manifest(
    manifest: Manifest, report: HalfReport, inputs_outputs: InputsOutputs
) -> Manifest:
    """Return the manifest of the float16 file, without figures of a comparison."""
    inputs, outputs = manifest.inputs, manifest.outputs
    if inputs_outputs == "fp16":
        inputs = tuple(
            replace(spec, dtype="float16") if spec.dtype == "float32" else spec for spec in inputs
        )
        outputs = tuple(replace(spec, dtype="float16") for spec in outputs)
    return replace(
        manifest,
        inputs=inputs,
        outputs=outputs,
        precision="fp16",
        decisions=(*manifest.decisions, *report.decisions()),
        parity=None,
    )


def set_manifest(model: onnx.ModelProto, manifest: Manifest) -> None:
    """Put a manifest into a model, in the place of the one that it may have."""
    kept = [entry for entry in model.metadata_props if entry.key != METADATA_KEY]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    model.metadata_props.add(key=METADATA_KEY, value=manifest.to_json())


def write_simulation(model: onnx.ModelProto, path: Path) -> None:
    """Write what ONNX Runtime shall run to see a typed model's rounding, with its manifest."""
    manifest = manifest_of(model)
    bare = simulated(model)
    del bare.metadata_props[:]
    path.write_bytes(serialize(bare))
    if manifest is not None:
        wide = [replace(s, dtype="float32") if s.dtype == "float16" else s for s in manifest.inputs]
        outputs = [replace(spec, dtype="float32") for spec in manifest.outputs]
        append_manifest(path, replace(manifest, inputs=tuple(wide), outputs=tuple(outputs)))


def check_untyped(model: onnx.ModelProto) -> None:
    """Refuse a graph that is no float32 graph of plain nodes.

    Raises:
        InputError: It has local functions, float16 constants or quantised tensors; names one.
    """
    if model.functions:
        raise InputError(
            "precision: the graph has local functions; export it with --ops portable or plugin"
        )
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            raise InputError(
                f"precision: the graph is quantised already (node '{node.name}'); start from the "
                "float32 file"
            )
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT16:
            raise InputError(
                f"precision: the graph is typed already ('{tensor.name}' is float16); start from "
                "the float32 file"
            )
