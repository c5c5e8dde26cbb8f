"""Which tensors float16 does not hold, on real images, and which node to keep in float32."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import onnx

from differseg.errors import InputError
from differseg.export.half_islands import HEADROOM, MAX_HALF_ERROR
from differseg.export.half_simulation import widened
from differseg.export.modelfile import manifest_of
from differseg.export.parity_data import Feeds, load_samples
from differseg.export.tensor_ranges import HALF_MAX, TensorRange, tensor_ranges
from differseg.export.tensor_values import Feed
from differseg.export.verdict import Level, Verdict

IMAGES = 8
"""Images that are looked at, spread evenly over the folder."""
_SOURCE = "IEEE 754 binary16; measured in ONNX Runtime"


def guard(model: onnx.ModelProto, data: str | Path, split: str | None = None) -> list[Verdict]:
    """Look at a file on images.

    Args:
        model: With a manifest.
        data: Folder of images or published data set, see
            :func:`differseg.export.parity_data.load_samples`.
        split: Of a data set given by name.

    Raises:
        InputError: It has no manifest, or the data cannot be used.
        DifferSegError: ONNX Runtime cannot run the graph.
    """
    manifest = manifest_of(model)
    if manifest is None:
        raise InputError("check: --data: the file has no manifest that says what images it takes")
    samples = load_samples(
        manifest.inputs, data, None, split=split, label_rule="none", classes=manifest.classes
    )
    return list(range_verdicts(model, Feeds(samples, IMAGES)))


def range_verdicts(model: onnx.ModelProto, feeds: Iterable[Feed]) -> Iterator[Verdict]:
    """Yield a verdict for every tensor that float16 does not hold.

    Of a typed graph, its float16 tensors are looked at; of a float32 graph all, as if it were to
    become float16.

    Args:
        model: A graph with shapes; left as it is.
        feeds: Inputs of real images; read several times.
    """
    inferred = onnx.shape_inference.infer_shapes(model)
    infos = (*inferred.graph.value_info, *inferred.graph.output)
    half = {
        info.name for info in infos if info.type.tensor_type.elem_type == onnx.TensorProto.FLOAT16
    }
    ranges = tensor_ranges(widened(inferred), feeds)
    makers = {name: node for node in model.graph.node for name in node.output}
    for name, found in ranges.items():
        if name not in makers or (half and name not in half):
            continue
        said = _verdict(found)
        if said is not None:
            node, (level, reason) = makers[name], said
            advice = f"keep '{node.name}' in float32 ('differseg export --precision fp16' does so)"
            yield Verdict(node.name, node.op_type, level, reason, advice, _SOURCE)


def _verdict(found: TensorRange) -> tuple[Level, str] | None:
    where = f"'{found.name}'"
    if found.nonfinite:
        return "no", f"{where} holds NaN or infinity in {found.nonfinite} places"
    if found.largest > HALF_MAX:
        return "no", f"{where} reaches {found.largest:.3g}, float16 ends at {HALF_MAX:.0f}"
    if found.half_error > MAX_HALF_ERROR:
        return "no", (
            f"{where} loses {100 * found.half_error:.2g} % in float16: its rms is {found.rms:.2g}, "
            f"and {100 * found.flushed / max(1, found.sampled):.2g} % of its numbers become 0"
        )
    if found.largest * HEADROOM > HALF_MAX:
        return "condition", (
            f"{where} reaches {found.largest:.3g}; {HEADROOM:g} times that, on other images, is "
            "beyond float16"
        )
    return None
