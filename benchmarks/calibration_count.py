"""How much smaller the ranges are that few calibration images show.

    differseg export --model differseg-edge -o edge.onnx
    python benchmarks/calibration_count.py edge.onnx --data DIR [--counts 4,8,16,32] [--json]

Every floating-point tensor of the graph gets its smallest and largest value over each image; from
these the symmetric range (largest magnitude, what min-max calibration takes) of any subset follows
without another run.  For each number of images, random subsets are drawn and their ranges are
divided by those over all images.  A tensor that another image exceeds is clipped there.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper, shape_inference
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import track
from rich.table import Table

from differseg.calibration.dataset import CalibrationSet, Feed
from differseg.errors import InputError
from differseg.export.modelfile import manifest_of, read_model
from differseg.options import option, parse, run_main

_SHRUNK = 0.9
_DRAWS = 200


@dataclass(frozen=True)
class CountOptions:
    """Compare the ranges of few calibration images with those of all."""

    model: Path = option(positional=True, metavar="F.onnx")
    """A model with its manifest."""
    data: Path = option(metavar="DIR")
    """Folder of images."""
    counts: str = "4,8,16,32"
    """Numbers of images."""
    threads: int = 1
    """Processor threads."""
    json: bool = False
    """Print the figures as one JSON document on the last line."""


@dataclass(frozen=True)
class CountFigures:
    """What a number of images loses, averaged over random subsets.

    Attributes:
        images: Number of images.
        median_ratio: Range of the median tensor over its range with all images.
        low_ratio: The same of the tensor at the 5th percentile.
        shrunk_share: Share of tensors whose range is more than 10 % too small.
        exceeded_share: Share of tensors, averaged over the other images, that one of them exceeds.
    """

    images: int
    median_ratio: float
    low_ratio: float
    shrunk_share: float
    exceeded_share: float


def with_ranges(model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[str]]:
    """Return the graph with two scalars for each floating-point tensor as its only outputs."""
    graph = shape_inference.infer_shapes(model).graph
    floats = {v.name for v in graph.value_info if v.type.tensor_type.elem_type == TensorProto.FLOAT}
    names = [name for node in graph.node for name in node.output if name in floats]
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    del changed.graph.output[:]
    for index, name in enumerate(names):
        for op in ("ReduceMin", "ReduceMax"):
            out = f"range_{index}_{op}"
            changed.graph.node.append(helper.make_node(op, [name], [out], keepdims=0))
            changed.graph.output.append(helper.make_tensor_value_info(out, TensorProto.FLOAT, []))
    return changed, names


def magnitudes(
    model: onnx.ModelProto, feeds: Iterable[Feed], threads: int
) -> npt.NDArray[np.float64]:
    """Return the largest magnitude of every tensor on every image: (images, tensors)."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    rows = [np.abs(np.array(session.run(None, feed))).reshape(-1, 2).max(axis=1) for feed in feeds]
    return np.array(rows, np.float64)


def figures(largest: npt.NDArray[np.float64], count: int, seed: int = 0) -> CountFigures:
    """Average over random subsets of ``count`` images.

    Args:
        largest: (images, tensors).
        count: Images in a subset.
        seed: Of the draws.
    """
    rng = np.random.default_rng(seed)
    total = len(largest)
    largest = largest[:, largest.max(axis=0) > 0]  # a tensor of zeros has no range to lose
    whole = largest.max(axis=0)
    medians, lows, shrunk, exceeded = [], [], [], []
    for _ in range(1 if count >= total else _DRAWS):
        chosen = rng.permutation(total)[:count]
        ranges = largest[chosen].max(axis=0)
        ratio = ranges / whole
        others = np.delete(largest, chosen, axis=0)
        medians.append(np.median(ratio))
        lows.append(np.percentile(ratio, 5))
        shrunk.append(np.mean(ratio < _SHRUNK))
        exceeded.append(np.mean(others > ranges) if len(others) else 0.0)
    means = (float(np.mean(values)) for values in (medians, lows, shrunk, exceeded))
    return CountFigures(min(count, total), *means)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the measurement."""
    options = parse(CountOptions, argv, "python benchmarks/calibration_count.py")
    model = read_model(options.model)
    manifest = manifest_of(model)
    if manifest is None:
        raise InputError(f"{options.model}: holds no manifest; export it with differseg export")
    images = CalibrationSet.from_folder(
        options.data, manifest.inputs, classes=manifest.classes, label_rule="nonzero"
    )
    changed, names = with_ranges(model)
    feeds = track(images, "images", total=len(images), console=Console(stderr=True))
    largest = magnitudes(changed, feeds, options.threads)
    counts = [*map(int, options.counts.split(",")), len(images)]
    rows = [figures(largest, count) for count in counts]
    table = Table(
        "images",
        "median range",
        "5th percentile",
        "over 10 % too small",
        "exceeded",
        box=SIMPLE_HEAD,
    )
    for row in rows:
        shown = (row.median_ratio, row.low_ratio, row.shrunk_share, row.exceeded_share)
        table.add_row(str(row.images), *(f"{100 * value:.1f} %" for value in shown))
    console = Console()
    console.print(f"{len(names)} tensors of {manifest.model}, {images.description}", soft_wrap=True)
    console.print(table)
    if options.json:
        document = {"model": manifest.model, "fingerprint": images.fingerprint}
        print(json.dumps({**document, "tensors": len(names), "rows": [asdict(r) for r in rows]}))
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
