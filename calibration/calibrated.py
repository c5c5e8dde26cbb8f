"""One quantisation: audit, placement, scales, the typed file, and what it costs in task terms."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import onnx
import onnx_ir as ir
import onnx_ir.passes.common as common

from differseg.calibration.modelopt_scales import ModelOptMethod, modelopt_scales
from differseg.calibration.placement import Placement, place
from differseg.calibration.qdq import Form, write_qdq
from differseg.calibration.qdq_scales import QdqScales, read_qdq_scales
from differseg.calibration.scales import Method, tensor_scales
from differseg.errors import InputError
from differseg.export.half_graph import to_half
from differseg.export.half_islands import find_islands
from differseg.export.layer_norm import OLDER_NORMS, decompose_layer_norms, needs_older_norms
from differseg.export.opset_up import raise_opset
from differseg.export.precision import HalfReport, check_untyped, set_manifest
from differseg.export.targets import Target
from differseg.export.tensor_ranges import TensorRange, tensor_ranges
from differseg.export.tensor_values import Feed
from differseg.manifest import Decision, Manifest

TYPED_SINCE = (10, 0)
"""The first TensorRT that reads opset 19, and with it float16 scales."""


@dataclass(frozen=True)
class Family:
    """How int8 is spelled for a target.

    Attributes:
        half: What is not int8 is float16, in opset 19; else float32 in opset 17.
        form: Spelling of weights and scales.
        reason: Why.
        older_norms: LayerNormalization is written in older operators.
    """

    half: bool
    form: Form
    reason: str
    older_norms: bool = False


def family_of(target: Target, *, reduce_range: bool = False) -> Family:
    """Return how int8 is spelled for a target."""
    if target.engine == "onnxruntime":
        form = Form(reduce_range=reduce_range, unsigned=True)
        reason = "processors compute what is not int8 in float32, and multiply unsigned by signed"
        return Family(False, form, reason)
    if target.version < TYPED_SINCE:
        form = Form(weights_as_codes=False, reduce_range=reduce_range)
        reason = "TensorRT 8 reads float32 scales and weights, in opset 17"
        return Family(False, form, reason, needs_older_norms(target))
    form = Form(reduce_range=reduce_range, half_scales=True)
    return Family(True, form, "typed float16 around int8, float16 scales need opset 19")


@dataclass
class Calibrated:
    """A float32 model with all that writing int8 forms of it needs; measured once.

    Attributes:
        model: The float32 model.
        manifest: Its manifest.
        placement: All that may be quantised.
        scales: Scale of every tensor of the placement.
        ranges: What every tensor holds, for float16.
        images: Number of calibration images.
        source: Where the scales come from, in words.
        without: Nodes that may be int8 and were not where the scales come from.
    """

    model: onnx.ModelProto
    manifest: Manifest
    placement: Placement
    scales: dict[str, float]
    ranges: dict[str, TensorRange]
    images: int
    source: str
    without: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls,
        model: onnx.ModelProto,
        manifest: Manifest,
        feeds: Iterable[Feed],
        count: int,
        *,
        method: Method | ModelOptMethod,
        like: Path | None = None,
    ) -> Calibrated:
        """Measure a model on images.

        Args:
            model: A float32 file.
            manifest: Its manifest.
            feeds: The images.
            count: How many.
            method: How the range of a tensor is chosen.
            like: An int8 file of the same network, whose scales are taken instead.

        Raises:
            InputError: It is typed or quantised already, has nothing to quantise, or is of another
                network than ``like``.
            CheckFailedError: A tensor has no usable range.
        """
        check_untyped(model)
        graph = graph_of(model)
        placement = place(graph)
        if not placement.kernels:
            raise InputError("quantize: the graph has no convolution or product to quantise")
        if like is None:
            groups = grouped(placement)
            if method == "modelopt-max" or method == "modelopt-entropy":
                readers = {node for edges in placement.edges.values() for node, _ in edges}
                scales = modelopt_scales(model, sorted(readers), groups, feeds, method)
            else:
                scales = tensor_scales(model, groups, feeds, method=method)
            source = f"calibrated on {count} image(s) by the method {method}"
            found = QdqScales(scales, frozenset(), source)
        else:
            found = read_qdq_scales(like, manifest, graph)
        ranges = tensor_ranges(model, feeds)
        return cls(
            model, manifest, placement, found.scales, ranges, count, found.source, found.without
        )

    def write(self, family: Family, without: frozenset[str] = frozenset()) -> onnx.ModelProto:
        """Return an int8 form of the model with its manifest.

        Args:
            family: How it is spelled.
            without: Nodes that are not quantised.
        """
        model = graph_of(self.model)
        placement = place(model, without)
        nodes = len(model.graph)
        islands = find_islands(model, self.ranges) if family.half else {}
        write_qdq(model, placement, self.scales, family.form)
        decisions = self._decisions(placement, family)
        if family.older_norms and decompose_layer_norms(model):
            decisions.append(OLDER_NORMS)
        if family.half:
            raise_opset(model)
            count = len(model.graph)
            half_nodes = to_half(model, islands)
            report = HalfReport(nodes, half_nodes, len(model.graph) - count, islands, self.images)
            decisions += report.decisions()
        result = ir.to_proto(model)
        manifest = replace(
            self.manifest,
            precision="int8",
            opset=model.opset_imports[""],
            decisions=(*self.manifest.decisions, *decisions),
            parity=None,
        )
        set_manifest(result, manifest)
        return result

    def _decisions(self, placement: Placement, family: Family) -> list[Decision]:
        macs = sum(kernel.macs for kernel in self.placement.kernels.values())
        used = sum(kernel.macs for kernel in placement.kernels.values())
        share = 100 * used / max(1, macs)
        reasons: dict[str, list[str]] = {}
        for name, reason in placement.excluded.items():
            reasons.setdefault(reason, []).append(name)
        return [
            Decision(
                "int8",
                f"{len(placement.kernels)} nodes, {share:.1f} % of the work that may be int8",
                f"{self.source}; {family.reason}",
            ),
            *(Decision(", ".join(names), "not int8", reason) for reason, names in reasons.items()),
        ]


def graph_of(model: onnx.ModelProto) -> ir.Model:
    """Return a copy to change, with shapes and without metadata."""
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    del bare.metadata_props[:]
    copy = ir.from_proto(bare)
    common.ShapeInferencePass()(copy)
    return copy


def grouped(placement: Placement) -> list[tuple[str, ...]]:
    """Return every quantised tensor, those that share a scale together."""
    joined = {name for group in placement.shared for name in group}
    return [*placement.shared, *((name,) for name in placement.edges if name not in joined)]
