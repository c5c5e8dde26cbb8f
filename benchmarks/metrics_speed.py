"""Time of the figures of merit beside PySODMetrics: python benchmarks/metrics_speed.py.

8-bit predictions of blobs with soft edges and noise, each library taking them as papers do
(stretched to 0..1).  Both take turns, image set by image set, so that other work on the machine
falls on both; the medians of the runs count.  Wall time is that of the machine as it is; processor
time, of one thread each, says what the work is, also beside other work.  PySODMetrics has one
thread and no boundary F, which is left out of what is compared.
"""

from __future__ import annotations

import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version

import cv2
import numpy as np
import numpy.typing as npt
import py_sod_metrics as sod
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from differseg.bench.machine import cpu_name
from differseg.metrics import MEASURES, QUICK_MEASURES, SegmentationMetrics
from differseg.options import parse, run_main

Images = list[tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]]

COMPARED = tuple(name for name in MEASURES if name != "boundary_f")
GROUPS: dict[str, tuple[str, ...]] = {
    "all": COMPARED,
    "S-measure": ("s_measure",),
    "E-measure": ("e_max", "e_mean", "e_adaptive"),
    "F-measure": ("f_max", "f_mean", "f_adaptive"),
    "weighted F": ("f_weighted",),
    "MAE": ("mae",),
    "BER and IoU": ("ber", "image_iou"),
    "HCE": ("hce",),
}


@dataclass(frozen=True)
class MetricsSpeedOptions:
    """Compare the time of the figures of merit with PySODMetrics."""

    size: tuple[int, int] = (480, 640)
    """Height and width of the images."""
    images: int = 8
    """Images of a set."""
    runs: int = 7
    """Turns of each, after one that is not counted."""
    threads: int = 2
    """Images that are scored at a time, for wall time."""


def draw(count: int, size_hw: tuple[int, int]) -> Images:
    """Return seeded predictions, (H, W) uint8, and labels, (H, W) bool."""
    random = np.random.default_rng(0)
    images: Images = []
    for _ in range(count):
        field = cv2.GaussianBlur(random.normal(0, 1, size_hw), (0, 0), 40)
        grain = cv2.GaussianBlur(random.normal(0, 1, size_hw), (0, 0), 3)
        probability = 1 / (1 + np.exp(-8 * (field / field.std() - 0.9) - grain / grain.std()))
        images.append((np.round(255 * probability).astype(np.uint8), field > 0.8 * field.std()))
    return images


def theirs(group: str) -> Callable[[Images], None]:
    """Return what scores a set with PySODMetrics."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own advice against its F-measure
        f_measure = sod.Fmeasure()
    kinds = {"with_dynamic": False, "with_adaptive": False, "with_binary": True}
    handlers = {"ber": sod.BERHandler(**kinds), "iou": sod.IOUHandler(**kinds)}
    measures = {
        "S-measure": sod.Smeasure(),
        "E-measure": sod.Emeasure(),
        "F-measure": f_measure,
        "weighted F": sod.WeightedFmeasure(),
        "MAE": sod.MAE(),
        "BER and IoU": sod.FmeasureV2(metric_handlers=handlers),
    }
    if group == "HCE":
        measures = {"HCE": sod.HumanCorrectionEffortMeasure()}
    chosen = list(measures.values()) if group == "all" else [measures[group]]

    def score(images: Images) -> None:
        for prediction, label in images:
            for measure in chosen:
                measure.step(prediction, label.view(np.uint8) * 255)

    return score


def ours(measures: Sequence[str], threads: int) -> Callable[[Images], None]:
    """Return what scores a set with ``differseg.metrics``."""

    def score(images: Images) -> None:
        metrics = SegmentationMetrics(measures=measures, normalize="minmax", threads=threads)
        metrics.update_all(images)
        metrics.compute()

    return score


def medians_ms(
    scorers: Sequence[Callable[[Images], None]], images: Images, runs: int
) -> list[tuple[float, float]]:
    """Return each scorer's median wall and processor time of an image, in ms, taken in turns."""
    times: list[list[tuple[float, float]]] = [[] for _ in scorers]
    for run in range(runs + 1):
        for score, taken in zip(scorers, times, strict=True):
            wall, cpu = time.perf_counter(), time.process_time()
            score(images)
            spent = time.perf_counter() - wall, time.process_time() - cpu
            if run:
                taken.append((1e3 * spent[0] / len(images), 1e3 * spent[1] / len(images)))
    wall_cpu = (zip(*taken, strict=True) for taken in times)
    return [(statistics.median(wall), statistics.median(cpu)) for wall, cpu in wall_cpu]


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table."""
    options = parse(MetricsSpeedOptions, argv, "python benchmarks/metrics_speed.py")
    console, threads = Console(), options.threads
    cv2.setNumThreads(1)  # the images share the threads
    images = draw(options.images, options.size)
    height, width = options.size
    packages = ", ".join(
        f"{name} {version(name)}" for name in ("pysodmetrics", "numpy", "scipy", "scikit-image")
    )
    console.print(
        f"{cpu_name()}, {threads} threads; Python {platform.python_version()}, {packages}, "
        f"OpenCV {cv2.__version__}\nmilliseconds an image of {width}x{height}, medians of "
        f"{options.runs} runs over {options.images} images",
        highlight=False,
        soft_wrap=True,
    )
    table = Table(box=SIMPLE_HEAD)
    for head in (
        "",
        "PySODMetrics",
        f"{threads} threads",
        "times",
        "PySODMetrics cpu",
        "cpu",
        "times",
    ):
        table.add_column(head, justify="right" if head else "left")
    for group, measures in GROUPS.items():
        scorers = (theirs(group), ours(measures, threads), ours(measures, 1))
        (reference, reference_cpu), (many, _), (_, cpu) = medians_ms(scorers, images, options.runs)
        figures = (
            reference, many, reference / many, reference_cpu, cpu, reference_cpu / cpu
        )  # fmt: skip
        table.add_row(group, *(f"{figure:.1f}" for figure in figures))
    for name, measures in {"evaluate's": MEASURES, "training's": QUICK_MEASURES}.items():
        own = (ours(measures, threads), ours(measures, 1))
        (many, _), (_, cpu) = medians_ms(own, images, options.runs)
        table.add_row(name, "", f"{many:.1f}", "", "", f"{cpu:.1f}", "")
    console.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
