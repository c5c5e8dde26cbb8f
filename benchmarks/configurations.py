"""Every named configuration: exported, compared with PyTorch, shown to NVIDIA's parser and builder.

    python benchmarks/configurations.py --data DIR --out configurations.json [--only NAME]
    python benchmarks/configurations_page.py configurations.json

DIR holds the folders ``mfnet`` (RGB and thermal) and ``pothole_rgbd``; networks with optical flow
are compared on synthetic scenes.  Weights are the shipped ones, or random ones whose masks are
neither empty nor full (``decided_weights.py``).  The file is written after every configuration,
and those that it holds already are left out; one that fails a check is told and not entered.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from decided_weights import decided_network
from rich.console import Console
from rich.markup import escape
from session_times import machine, noise, session_times

from differseg.bench.interleave import check_counts
from differseg.checkpoints import save_checkpoint
from differseg.errors import CheckFailedError, InputError, MissingComponentError
from differseg.export import rtx
from differseg.export.export_run import ExportReport
from differseg.export.to_onnx import export_model
from differseg.models import list_models
from differseg.models.registry import find_model
from differseg.models.spec import Task
from differseg.models.system import ModelInfo
from differseg.options import option, parse, run_main

FOLDERS: dict[Task, str | None] = {
    "rgb": "mfnet",
    "rgbt": "mfnet",
    "rgbd": "pothole_rgbd",
    "video": None,
}
"""Task to the folder of its images; None stands for synthetic scenes."""

_IMAGES = ((10.0, 62), (100.0, 4), (float("inf"), 2))
"""Up to how many GMACs a network is compared on how many images."""
_DECIDED = 4  # images at most with random weights: what decides them is what is compared


@dataclass(frozen=True)
class ConfigurationsOptions:
    """Export and check every named configuration, and measure it in ONNX Runtime."""

    data: Path = option(metavar="DIR")
    """Folder with mfnet/ and pothole_rgbd/."""
    out: Path = option(metavar="F.json")
    """Figures of every configuration; those that it holds already are not measured again."""
    only: tuple[str, ...] = option((), metavar="NAME")
    """Measure this configuration, also again (may be repeated)."""
    times: Literal["with", "without", "only"] = option("with", metavar="HOW")
    """with: measure times too; without: leave them for later; only: take the times of the
    configurations in F.json, also again, and leave their other figures."""
    files: Path | None = option(None, metavar="DIR")
    """Keep the exported files here, for 'times only'."""
    images: int = 62
    """Compare each network on at most so many images; large ones are on fewer."""
    threads: int = 2
    """Threads of ONNX Runtime."""
    runs: int = 10
    """Runs of each network; a third of them above 100 GMACs."""

    def __post_init__(self) -> None:
        check_counts(images=self.images, threads=self.threads, runs=self.runs)
        for name in self.only:
            find_model(name)


def images_of(info: ModelInfo) -> int:
    """Return how many images a network is compared on at most, by its cost."""
    return next(count for gmacs, count in _IMAGES if info.gmacs <= gmacs)


def export_row(info: ModelInfo, data: Path, count: int, path: Path) -> dict[str, Any]:
    """Export and check one configuration on some images; returns its figures.

    Raises:
        CheckFailedError: The file differs from PyTorch, or NVIDIA's parser or builder refuses it.
    """
    folder = FOLDERS[info.task]
    images = data / folder if folder else None
    weights = info.shipped_weights
    count = count if weights else min(count, _DECIDED)
    with tempfile.TemporaryDirectory() as temporary:
        if weights is None:
            weights = Path(temporary) / "decided.safetensors"
            model = decided_network(info.name, images, count)
            save_checkpoint(weights, model, extra={"trained_on": "nothing; random weights"})
            del model
        report = export_model(
            path, model=info.name, checkpoint=weights, data=images, limit=count, keep_failed=True,
            label_rule="auto" if info.shipped_weights else "none",
        )  # fmt: skip
    return _figures(info, report)


def _figures(info: ModelInfo, report: ExportReport) -> dict[str, Any]:
    overall, built = report.parity.overall, report.check.rtx
    return {
        "inputs": list(info.inputs),
        "size_hw": list(info.size_hw),
        "params": info.params,
        "gmacs": info.gmacs,
        "nodes": report.nodes,
        "file_bytes": report.size_bytes,
        "sha256": report.sha256,
        "weights": "shipped" if info.shipped_weights else "random",
        "images": len(report.parity.images),
        "data": FOLDERS[info.task] or "synthetic scenes",
        "max_error": overall.max_error,
        "flipped_pixels": overall.flipped_pixels,
        "tied_pixels": overall.tied_pixels,
        "mask_iou": overall.mask_iou,
        "foreground": overall.foreground_a,
        "builder": None if built is None else built.version,
        "built": built is not None and built.passed,
        "layers": 0 if built is None else built.layers,
        "engine_bytes": 0 if built is None else built.engine_bytes,
        "warnings": list(report.warnings),
    }


def times_row(info: ModelInfo, path: Path, threads: int, runs: int) -> dict[str, float]:
    """Return the times of one exported configuration on noise."""
    runs = runs if info.gmacs <= _IMAGES[1][0] else max(1, runs // 3)
    return session_times({"file": path}, noise(path), threads, runs)["file"]


def run(options: ConfigurationsOptions, console: Console) -> dict[str, Any]:
    """Fill in what is missing and write the file after every configuration.

    Returns:
        The content of the file.
    """
    document: dict[str, Any] = {"configurations": {}}
    if options.out.is_file():
        document = json.loads(options.out.read_text(encoding="utf-8"))
    rows = document["configurations"]
    document["machine"] = machine(options.threads)
    names = [info.name for info in list_models()]
    document["configurations"] = rows = {name: rows[name] for name in names if name in rows}
    # The cheap ones first: a mistake shows early.
    for info in sorted(list_models(), key=lambda info: info.gmacs):
        if not _wanted(info.name, options, rows):
            continue
        console.print(f"{info.name} ...", highlight=False)
        with tempfile.TemporaryDirectory() as temporary:
            path = (options.files or Path(temporary)) / f"{info.name}.onnx"
            if options.times != "only":
                count = min(options.images, images_of(info))
                try:
                    rows[info.name] = export_row(info, options.data, count, path)
                except CheckFailedError as error:
                    console.print(f"[red]{info.name}[/]: {escape(str(error))}", highlight=False)
                    rows.pop(info.name, None)
                    continue
            elif not path.is_file():
                export_model(path, model=info.name, limit=1, real=False)
            if options.times != "without":
                rows[info.name] |= times_row(info, path, options.threads, options.runs)
        options.out.write_text(json.dumps(document, indent=1), encoding="utf-8")
    return document


def _wanted(name: str, options: ConfigurationsOptions, rows: dict[str, Any]) -> bool:
    if options.only and name not in options.only:
        return False
    if options.times == "only":
        return name in rows
    return bool(options.only) or name not in rows


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = parse(ConfigurationsOptions, argv, "configurations")
    if not options.data.is_dir():
        raise InputError(f"--data: there is no folder {options.data}")
    if not rtx.is_available():
        raise MissingComponentError(
            f"NVIDIA's parser and builder is not installed: {rtx.INSTALL_HINT}"
        )
    console = Console()
    rows = run(options, console)["configurations"]
    console.print(f"{options.out}: {len(rows)} of {len(list_models())} configurations")
    return 0 if len(rows) == len(list_models()) or options.only else 1


if __name__ == "__main__":
    sys.exit(run_main(main))
