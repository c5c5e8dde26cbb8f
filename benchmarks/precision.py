"""What float16 and INT8 cost in masks: IoU and boundary F of every precision, on the same images.

    python benchmarks/precision.py --model differseg-edge --data DIR [--checkpoint F] [--json]

ONNX Runtime runs all; float16 is rounded where the typed graph says so (``half_simulation``).
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from session_times import machine

from differseg.bench.interleave import check_counts
from differseg.calibration.calibrated import Calibrated, family_of
from differseg.calibration.dataset import CalibrationSet
from differseg.calibration.quantize_run import runnable
from differseg.calibration.search import search
from differseg.calibration.task_score import TaskJudge, TaskScore
from differseg.export.half_simulation import simulated
from differseg.export.modelfile import manifest_of, read_model
from differseg.export.precision import typed_half
from differseg.export.targets import find_target
from differseg.export.to_onnx import export_model
from differseg.options import option, parse, run_main


@dataclass(frozen=True)
class PrecisionOptions:
    """Score a network in float32, float16 and INT8 on the same images."""

    data: Path = option(metavar="DIR")
    """Images, with labels where there are any."""
    model: str = option("differseg-edge", metavar="NAME")
    """Configuration, see 'differseg models'."""
    checkpoint: Path | None = option(None, metavar="FILE")
    """Weights; by default the shipped ones."""
    images: int = 100
    """Calibrate and judge on at most so many images."""
    max_drop: float = 0.005
    """Limit of the search."""
    threads: int = 2
    """Threads of ONNX Runtime."""
    json: bool = False
    """Print one JSON document as the last line."""

    def __post_init__(self) -> None:
        check_counts(images=self.images, threads=self.threads)


def measure(options: PrecisionOptions, console: Console) -> tuple[dict[str, TaskScore], TaskJudge]:
    """Return the scores by precision, float32 first."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "full.onnx"
        export_model(
            path, model=options.model, checkpoint=options.checkpoint, data=options.data, limit=2,
            real=False,
        )  # fmt: skip
        model = read_model(path)
    manifest = manifest_of(model)
    assert manifest is not None
    images = CalibrationSet.open(
        options.data, manifest.inputs, options.images, classes=manifest.classes
    )
    judge = TaskJudge(manifest, images.samples(), model, threads=options.threads)
    scores = {"float32": judge.reference}
    console.print(f"float32: {judge.reference}", highlight=False)
    half, _ = typed_half(model, images)
    scores["float16"] = judge.score(simulated(half))
    families = {
        "float16 and INT8": family_of(find_target("jetpack6")),
        "float32 and INT8": family_of(find_target("onnxruntime")),
    }
    for method in ("min-max", "entropy", "percentile"):
        calibrated = Calibrated.of(model, manifest, images, len(images), method=method)
        for name, family in families.items():
            form = runnable(calibrated.write(family), family)
            scores[f"{name}, {method}"] = judge.score(form)
            console.print(f"{name}, {method}", highlight=False)
    family = families["float16 and INT8"]
    found = search(
        calibrated.placement,
        lambda without: judge.score(runnable(calibrated.write(family, without), family)),
        judge.reference,
        max_drop=options.max_drop,
        progress=lambda done, total, words: console.print(f"{done} of {total}, {words}"),
    )
    said = f"the search ({100 * found.share:.0f} % INT8, {found.evaluations} graphs)"
    scores[said] = found.score
    return scores, judge


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = parse(PrecisionOptions, argv, "precision")
    console = Console()
    scores, judge = measure(options, console)
    table = Table(title=f"{options.model}: {len(judge)} images, by {judge.against}")
    for heading in ("precision", "IoU", "boundary F", "IoU points lost", "boundary points lost"):
        table.add_column(heading, justify="left" if heading == "precision" else "right")
    document: dict[str, Any] = {}
    reference = judge.reference
    for name, score in scores.items():
        iou, boundary = reference.iou - score.iou, None
        if reference.boundary_f is not None and score.boundary_f is not None:
            boundary = reference.boundary_f - score.boundary_f
        table.add_row(
            name,
            f"{score.iou:.4f}",
            "" if score.boundary_f is None else f"{score.boundary_f:.4f}",
            f"{100 * iou:.2f}",
            "" if boundary is None else f"{100 * boundary:.2f}",
        )
        document[name] = asdict(score)
    console.print(table)
    console.print(machine(options.threads), highlight=False, soft_wrap=True)
    if options.json:
        print(json.dumps({"model": options.model, "images": len(judge), "scores": document}))
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
