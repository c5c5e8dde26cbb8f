"""Large frames: shrunk whole, in tiles, and in tiles after a view of the whole frame.

    python benchmarks/tiled_inference.py --model F.onnx [--scenes 8] [--threads 2] [--json]

Synthetic scenes with known masks, drawn at the frame's size.  Every variant is a process of its
own, so that its peak memory is its own too; the frame and its mask, 75 MB at 3840x2160, are in it.

IoU and boundary F-measure (within 2 and within 8 pixels) are means over the scenes.  ``seam`` is
how much larger the step of the probability across a tile's border is than across other lines:
every line is compared with those 8 to 24 pixels away, and the median of the borders with that of
the lines 32 and 64 pixels of the network away, because a network has a grid of its own.  1 is no
seam.  Times are medians over the scenes; the first one, which fills the buffers, counts only when
it is alone.
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from differseg.bench.machine import cpu_name
from differseg.options import option, parse, run_main

if TYPE_CHECKING:
    from differseg.runtime.tiling import TilePlan

_SIZES = ((480, 640), (960, 1280), (1440, 1920))


@dataclass(frozen=True)
class TiledOptions:
    """Measure tiled inference on synthetic scenes."""

    model: Path = option(metavar="F.onnx")
    """A model of rgb and thermal."""
    scenes: int = 8
    """Number of scenes."""
    seed: int = 9200001
    """Seed of the first scene; its successors follow."""
    size: tuple[int, int] = (2160, 3840)
    """Height and width of the frames."""
    tile: tuple[str, ...] = option((), metavar="HxW")
    """Tile to measure (may be repeated); by default three sizes for 2160x3840."""
    threads: int = 2
    """Threads of the engine and of OpenCV."""
    cache: Path | None = option(None, metavar="DIR")
    """Folder in which drawn scenes are kept, 75 MB each; by default they are drawn anew."""
    json: bool = False
    """Print the figures as one JSON document on the last line."""


@dataclass(frozen=True)
class Variant:
    """One way to take a frame; no tile is the frame shrunk whole."""

    tile_hw: tuple[int, int] | None = None
    overlap: float = 0.25
    whole_view: bool = False

    def __str__(self) -> str:
        if self.tile_hw is None:
            return "whole frame"
        text = f"{self.tile_hw[0]}x{self.tile_hw[1]}"
        text += "" if self.overlap else ", no overlap"
        return text + (", whole view" if self.whole_view else "")


@dataclass(frozen=True)
class Figures:
    """What one variant gave."""

    variant: str
    iou: float
    boundary_f_2px: float
    boundary_f_8px: float
    seam: float | None
    passes: float
    """Runs of the network for a frame, mean."""
    time_s: float
    cpu_s: float
    """Processor time of all threads, which other work on the machine changes little."""
    peak_mb: float


def draw(seed: int, size_hw: tuple[int, int], path: Path) -> None:
    """Write one scene as (rgb, thermal, mask)."""
    from differseg.data.synthetic import SyntheticScene

    scene = SyntheticScene(seed, size_hw[::-1], thermal_size_wh=(640, 512))
    np.savez(path, **scene.sample(1.0))


def steps_at_borders(
    probability: npt.NDArray[np.float32], plan: TilePlan, network_hw: tuple[int, int]
) -> tuple[list[float], list[float]]:
    """Return how much larger the step of the probability is at some lines than beside them.

    Returns:
        Mean step along a line by that of the lines 8 to 24 pixels away: of every border of a
        tile, and of the lines 32 and 64 pixels of the network before and after it.
    """
    borders, controls = [], []
    for axis, starts in enumerate((plan.tops, plan.lefts)):
        steps = np.abs(np.diff(probability, axis=axis)).mean(axis=1 - axis, dtype=np.float64)
        lines = np.arange(len(steps)) + 1  # the later pixel of the two
        period = 32 * plan.tile_hw[axis] // network_hw[axis]

        def ratio(line: int, steps: Any = steps, lines: Any = lines) -> float:
            distance = np.abs(lines - line)
            beside = steps[(distance >= 8) & (distance <= 24)].mean()
            return float(steps[line - 1] / max(beside, 1e-9))

        ends = {start + plan.tile_hw[axis] for start in starts}
        for border in sorted({*starts, *ends} - {0, probability.shape[axis]}):
            borders.append(ratio(border))
            around = (border + count * period for count in (-2, -1, 1, 2))
            controls += [ratio(line) for line in around if 0 < line <= len(steps)]
    return borders, controls


def measure(variant: Variant, model: Path, files: Sequence[Path], threads: int) -> Figures:
    """Segment every scene; runs in a process of its own."""
    import cv2

    from differseg.metrics import boundary_f, mask_iou
    from differseg.runtime.segmenter import Segmenter
    from differseg.runtime.tiled_segmenter import TiledSegmenter

    cv2.setNumThreads(threads)
    rows, times_s, cpu_s, passes, peak_kb = [], [], [], [], 0
    borders: list[float] = []
    controls: list[float] = []
    with ExitStack() as stack:
        segmenter: Segmenter
        if variant.tile_hw is None:
            segmenter = Segmenter(model, threads=threads)
        else:
            segmenter = TiledSegmenter(
                model, threads=threads, tile_hw=variant.tile_hw, overlap=variant.overlap,
                whole_view=variant.whole_view,
            )  # fmt: skip
        stack.enter_context(segmenter)
        for file in files:
            with np.load(file) as scene:
                frames = {name: scene[name] for name in ("rgb", "thermal")}
                label = scene["mask"]
            started_s, started_cpu_s = time.perf_counter(), time.process_time()
            result = segmenter(**frames)
            times_s.append(time.perf_counter() - started_s)
            cpu_s.append(time.process_time() - started_cpu_s)
            # Judging takes more memory than segmenting.
            peak_kb = peak_kb or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            found = result.mask != 0
            edges = [boundary_f(found, label, tolerance_px=limit) for limit in (2.0, 8.0)]
            rows.append((mask_iou(found, label), *edges))
            passes.append(segmenter.passes if isinstance(segmenter, TiledSegmenter) else 1)
            if isinstance(segmenter, TiledSegmenter) and result.probability is not None:
                network_hw = segmenter.manifest.inputs[0].size_hw
                found_steps = steps_at_borders(
                    result.probability, segmenter.plan(label.shape), network_hw
                )
                borders += found_steps[0]
                controls += found_steps[1]
    iou, close, loose = np.mean(rows, axis=0)
    return Figures(
        str(variant), *(round(float(x), 3) for x in (iou, close, loose)),
        round(float(np.median(borders) / np.median(controls)), 2) if borders else None,
        round(float(np.mean(passes)), 1), round(float(np.median(times_s[1:] or times_s)), 2),
        round(float(np.median(cpu_s[1:] or cpu_s)), 2), round(peak_kb / 1024, 0),
    )  # fmt: skip


def variants(tiles: Sequence[tuple[int, int]]) -> list[Variant]:
    """Return what is measured."""
    found = [Variant()]
    for tile_hw in tiles:
        found += [Variant(tile_hw), Variant(tile_hw, whole_view=True)]
    return [*found, Variant(tiles[-1], 0.0)]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from differseg.options import size_hw

    options = parse(TiledOptions, argv, "tiled_inference")
    tiles = [size_hw(text) for text in options.tile] or _SIZES
    every = []
    spawn = multiprocessing.get_context("spawn")
    height, width = options.size
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.cache or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        files = []
        for seed in range(options.seed, options.seed + options.scenes):
            files.append(folder / f"{seed}-{height}x{width}.npz")
            if not files[-1].exists():
                with ProcessPoolExecutor(1, spawn) as alone:
                    alone.submit(draw, seed, options.size, files[-1]).result()
        for variant in variants(tiles):
            with ProcessPoolExecutor(1, spawn) as alone:
                job = alone.submit(measure, variant, options.model, files, options.threads)
                every.append(job.result())
            print(every[-1], file=sys.stderr, flush=True)
    names = ("variant", "IoU", "F 2 px", "F 8 px", "seam", "passes", "s", "CPU s", "peak MB")
    table = Table(*names, box=SIMPLE_HEAD, pad_edge=False)
    for figures in every:
        table.add_row(*("" if value is None else str(value) for value in asdict(figures).values()))
    console = Console(width=100)
    console.print(
        f"{cpu_name()}, {options.threads} threads, {options.scenes} scenes, {width}x{height}"
    )
    console.print(table)
    if options.json:
        print(json.dumps([asdict(figures) for figures in every]))
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
