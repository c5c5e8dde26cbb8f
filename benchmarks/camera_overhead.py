"""What a live run adds to the network's own time, by stage, from a frame's stamp to its mask.

    python benchmarks/camera_overhead.py [--model F.onnx] [--thermal-fps 8.7] [--page PAGE.md]

Without ``--model``, differseg-edge is exported first.  Two cameras of 640x480 and 320x256 give
frames in real time: rendered before, in the driver's pixels (YUYV and Y16), stamped with the moment
at which they are due, as by the driver's interrupt.  What is measured is the run itself: capture
threads, pairing, registration, segmenter, smoothing over 5 frames, four alarm zones, and the
hand-over to the sinks' thread; it ends when a sink is called with the mask.  ``infer`` stands
apart.  The rows are taken from time stamps that follow each other, so those of one frame add up;
their percentiles do not.

Both cameras have one trigger by default.  With ``--thermal-fps`` the thermal camera runs freely,
and ``pair`` holds the time that a frame waits for a thermal one that suits it better.

Every engine is a fresh process.  ``engine alone`` is the bare engine at the same rate, before the
run: what is above it in ``infer`` is what the run costs the engine.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from camera_marks import Ledger, LiveCamera, MarkedPairer, MarkedZones, mark_takes
from page_tables import markdown, write_tables

from differseg.bench.machine import cpu_name
from differseg.data.synthetic import SyntheticScene
from differseg.errors import CheckFailedError, InputError
from differseg.options import option, parse, run_main
from differseg.runtime.feed import ThermalWatch, open_feed
from differseg.runtime.pipeline import Pipeline, RunLimits
from differseg.runtime.registration import Registration
from differseg.runtime.registration_watch import RegistrationWatch
from differseg.runtime.segmenter import Segmenter
from differseg.runtime.smoothing import MaskSmoother
from differseg.runtime.zone_file import Zone, ZoneFile

ENGINES = ("openvino", "onnxruntime")
SIZE_WH = (640, 480)
RENDERED = 32
WARM_UP_FRAMES = 20
MODEL = "differseg-edge"
STAGES = {
    "capture": "stamp to the capture thread: wake-up, conversion to BGR, look at its health",
    "pair": "until its thermal frame is there and chosen",
    "take": "from the capture thread to the run's",
    "register": "thermal frame into the RGB view",
    "prepare": "both frames as the network takes them",
    "post": "probability to mask",
    "smooth": "majority of 5 masks",
    "zones": "four alarm zones",
    "hand over": "from the run's thread to the sinks'",
    "rest": "between the stages",
}
"""Stage -> what it is, in their order; ``infer`` stands apart."""


@dataclass(frozen=True)
class OverheadOptions:
    """Measure what a live run adds to the network's own time."""

    model: Path | None = option(None, metavar="F.onnx")
    """A model of rgb and thermal; differseg-edge is exported when left out."""
    engine: Literal["both", "openvino", "onnxruntime"] = "both"
    """Inference engine."""
    threads: int = 2
    """Threads of each engine."""
    fps: float = option(6.0, metavar="HZ")
    """Rate of the cameras; slower than the engine, or frames wait for it."""
    thermal_fps: float | None = option(None, metavar="HZ")
    """Rate of a thermal camera that runs freely; else it has the RGB camera's trigger."""
    frames: int = option(400, metavar="N")
    """Frames of each engine, after 20 that are not counted."""
    limit_ms: float | None = option(None, metavar="MS")
    """Fail where p95 of the overhead is above this."""
    page: Path | None = option(None, metavar="PAGE.md")
    """Write the table into this page."""

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.threads < 1 or self.frames < 20:
            raise InputError("--threads: expected 1 or more, and --frames: 20 or more")
        for name in ("fps", "thermal_fps", "limit_ms"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 1e4:
                raise InputError(f"--{name.replace('_', '-')}: expected more than 0, got {value}")


def rendered(fps: float) -> tuple[SyntheticScene, list[Any], list[Any]]:
    """Return a scene, and its pictures as two drivers have them: YUYV and Y16, (H, W, 2) uint8."""
    scene = SyntheticScene(3, size_wh=SIZE_WH)
    times_s = [k / fps for k in range(RENDERED)]
    rgb = [cv2.cvtColor(scene.rgb(t), cv2.COLOR_RGB2YUV_YUYV) for t in times_s]
    thermal = [np.ascontiguousarray(scene.thermal(t)) for t in times_s]
    return scene, rgb, [image.view(np.uint8).reshape(*image.shape, 2) for image in thermal]


def four_zones() -> ZoneFile:
    """Return zones in the four quarters of the picture, which overlap in its middle."""
    zones = []
    for row in (0, 1):
        for column in (0, 1):
            x, y = 0.4 * column, 0.4 * row
            corners = ((x, y), (x + 0.6, y), (x + 0.6, y + 0.6), (x, y + 0.6))
            zones.append(Zone(f"{row}{column}", corners, least_area_px=200))
    return ZoneFile(tuple(zones), "fraction")


def engine_alone(segmenter: Segmenter, fps: float, frames: int) -> list[float]:
    """Return milliseconds of the bare engine, asked at the rate of the camera."""
    times_ms = []
    due_s = time.monotonic()
    for _ in range(frames):
        due_s += 1 / fps
        time.sleep(max(0.0, due_s - time.monotonic()))
        start_s = time.perf_counter()
        segmenter.backend.run()
        times_ms.append(1e3 * (time.perf_counter() - start_s))
    return times_ms


def measure(model: Path, engine: Any, options: OverheadOptions) -> dict[str, Any]:
    """Run one engine; returns the table of its stages and what else there is to say of it.

    Raises:
        DifferSegError: The engine is not installed, or the run broke off.
    """
    ledger = Ledger()
    scene, rgb, thermal = rendered(options.fps)
    with Segmenter(model, engine, options.threads, "BGR") as segmenter:
        segmenter.warmup()
        alone_ms = engine_alone(segmenter, options.fps, options.frames // 4 + 10)
        classes = segmenter.manifest.classes
        start_s = time.monotonic() + 0.2
        thermal_wh = scene.thermal_size_wh
        pairer = MarkedPairer(60.0)
        pairer.ledger = ledger
        zones = MarkedZones(four_zones(), classes)
        zones.ledger = ledger
        feed = open_feed(
            LiveCamera("rgb", rgb, SIZE_WH, options.fps, start_s),
            LiveCamera("thermal", thermal, thermal_wh, options.thermal_fps or options.fps, start_s),
            pairer,
            ThermalWatch(1.5),
        )
        feed.rgb.on_frame = ledger.captured
        mark_takes(feed, ledger)
        load = os.getloadavg()[0]
        summary, error = Pipeline(
            segmenter,
            feed,
            [ledger],
            registration=Registration(scene.thermal_to_rgb, thermal_wh, SIZE_WH),
            limits=RunLimits(frames=WARM_UP_FRAMES + options.frames),
            zones=zones,
            smoother=MaskSmoother.of(5, classes),
            registration_watch=RegistrationWatch(),
        ).run()
        if error is not None:
            raise error
        dropped = sum(summary.cameras["rgb"].drops.values())
        if dropped > 0.02 * summary.frames:
            raise CheckFailedError(
                f"camera_overhead: {dropped} of {summary.cameras['rgb'].captured} frames were "
                f"dropped, so the others waited for {engine} too; give a lower --fps"
            )
        rows = ledger.rows[WARM_UP_FRAMES:]
        names = [*STAGES, "infer", "total", "overhead"]
        stages = {name: percentiles([row.get(name, 0.0) for row in rows]) for name in names}
        strange = sorted({name for row in rows for name in row} - set(names))
        if strange:
            raise CheckFailedError(f"camera_overhead: the run has a stage of no row: {strange[0]}")
        return {
            "engine": f"{engine} {version(engine)}",
            "stages": stages,
            "engine_alone": percentiles(alone_ms[10:]),
            "frames": len(rows),
            "dropped": dropped,
            "load": round(load, 2),
        }


def percentiles(values_ms: Sequence[float]) -> list[float]:
    """Return p50 and p95."""
    return [round(float(value), 3) for value in np.percentile(values_ms, (50, 95))]


@contextmanager
def model_file(given: Path | None) -> Iterator[Path]:
    """Give the model file, exported where none is given."""
    if given is not None:
        yield given
        return
    from differseg.export.to_onnx import export_model

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{MODEL}.onnx"
        export_model(path, model=MODEL, limit=1, real=False)
        yield path


def table(found: Sequence[Mapping[str, Any]]) -> str:
    """Return p50 and p95 of every stage in milliseconds."""
    heads = ["stage", "is", *(f"{run['engine']}, {p}" for run in found for p in ("p50", "p95"))]
    words = {
        **STAGES,
        "**overhead**": "from stamp to mask, without `infer`",
        "infer": "the network, in the run",
        "engine alone": "the network without the run, at the same rate",
        "total": "from stamp to mask",
    }
    rows = []
    for name, text in words.items():
        plain = name.strip("*")
        cells = []
        for run in found:
            pair = run["engine_alone"] if plain == "engine alone" else run["stages"][plain]
            cells += [f"{value:.2f}" for value in pair]
        if name != plain:
            cells = [f"**{cell}**" for cell in cells]
        rows.append([name, text, *cells])
    return markdown(heads, rows)


def machine(options: OverheadOptions) -> str:
    """Return processor and versions in words."""
    return (
        f"{cpu_name()}, {os.cpu_count()} cores, {options.threads} threads; "
        f"Python {platform.python_version()}, numpy {np.__version__}, OpenCV {cv2.__version__}"
    )


def conditions(options: OverheadOptions, found: Sequence[Mapping[str, Any]]) -> str:
    """Return what was run, and how loaded the machine was."""
    thermal = f"{options.thermal_fps:g} Hz, free" if options.thermal_fps else "the same trigger"
    loads = ", ".join(f"{run['load']:.2f}" for run in found)
    return (
        f"RGB {options.fps:g} Hz, thermal {thermal}; {found[0]['frames']} frames an engine; "
        f"load before each run: {loads}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print a table, and one JSON document on the last line."""
    options = parse(OverheadOptions, argv, "camera_overhead")
    found = []
    with model_file(options.model) as model:
        for engine in ENGINES if options.engine == "both" else (options.engine,):
            # A process of its own: two engines in one would share the cores with idle threads.
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                found.append(pool.apply(measure, (model, engine, options)))
    text = f"{machine(options)}. {conditions(options, found)}."
    print(table(found), text, sep="\n\n")
    if options.page is not None:
        name = "free" if options.thermal_fps else "triggered"
        write_tables(options.page, {name: f"{table(found)}\n\n{text}"})
    print(json.dumps({"machine": machine(options), "options": str(options), "runs": found}))
    worst = max(found, key=lambda run: run["stages"]["overhead"][1])
    p95_ms = worst["stages"]["overhead"][1]
    if options.limit_ms is not None and p95_ms > options.limit_ms:
        raise CheckFailedError(
            f"camera_overhead: {worst['engine']}: p95 of the overhead is {p95_ms:.2f} ms, above "
            f"--limit-ms {options.limit_ms:g}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
