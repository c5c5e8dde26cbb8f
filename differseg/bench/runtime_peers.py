"""The levels of the runtime, and the bare ONNX Runtime session; no torch here."""

from __future__ import annotations

import itertools
import time
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from differseg.bench.worker import Burst, FrameTime, WorkerOptions, timed
from differseg.runtime.feed import ThermalWatch, open_feed
from differseg.runtime.model_file import import_onnxruntime
from differseg.runtime.pairing import Pairer
from differseg.runtime.pipeline import Pipeline
from differseg.runtime.registration import Registration
from differseg.runtime.segmenter import Segmenter
from differseg.runtime.sinks import FrameResult
from differseg.runtime.sources import Frame, Source
from differseg.runtime.sources.base import Modality

_PERIOD_S = 1 / 30
_OFFSET_S = 0.004
"""Thermal frames are stamped this much later, as those of a camera of its own."""


class _Replay(Source):
    """Frames in memory, over and over, at 30 Hz of media time and as fast as they are taken."""

    live = False
    clock = "media"
    fps = 1 / _PERIOD_S

    def __init__(
        self, modality: Modality, frames: npt.NDArray[Any], count: int, offset_s: float
    ) -> None:
        super().__init__(modality)
        self.description = f"{modality} frames in memory"
        self._frames, self._count, self._offset_s = frames, count, offset_s
        self._index = 0

    def open(self) -> None:
        self._index = 0

    def read(self) -> Frame | None:
        index = self._index
        if index == self._count:
            return None
        self._index += 1
        image = self._frames[index % len(self._frames)]
        return Frame(image, index * _PERIOD_S + self._offset_s, index)

    def close(self) -> None:
        pass


class _Clock:
    """A sink that notes when each mask was ready."""

    wants_picture = False

    def __init__(self) -> None:
        self.files: list[str] = []
        self.ready_s: list[float] = []
        self.stages_ms: list[dict[str, float]] = []

    def write(self, result: FrameResult) -> None:
        self.ready_s.append(time.perf_counter())
        self.stages_ms.append(result.stage_ms)

    def close(self) -> None:
        pass


def engine_burst(options: WorkerOptions) -> tuple[Burst, str]:
    """Return bursts of the engine alone, on inputs prepared beforehand, and its description."""
    segmenter = _segmenter(options)
    segmenter(timestamp_s=0.0, **_first_frames(segmenter, _load(options.frames)))
    return timed(segmenter.backend.run), _engine(segmenter, options)


def runtime_burst(options: WorkerOptions) -> tuple[Burst, str]:
    """Return bursts of calls of the segmenter: preparation, engine and mask."""
    segmenter = _segmenter(options)
    frames = _first_frames(segmenter, _load(options.frames))
    clock = itertools.count()

    def burst(count: int) -> list[FrameTime]:
        times = []
        for _ in range(count):
            start_s = time.perf_counter()
            result = segmenter(timestamp_s=next(clock) * _PERIOD_S, **frames)
            times.append(((time.perf_counter() - start_s) * 1e3, dict(result.timings_ms)))
        return times

    return burst, f"Segmenter, {_engine(segmenter, options)}"


def end_to_end_burst(options: WorkerOptions) -> tuple[Burst, str]:
    """Return bursts of the camera run itself, from camera frames to masks, and its description.

    Capture threads, pairing, registration, segmenter, mask and the hand-over to the sinks are
    those of ``run_camera.py``; the time of a frame is from the mask before it to its own.
    """
    segmenter = _segmenter(options)
    arrays = _load(options.frames)
    paired = "thermal" in segmenter.modalities
    registration = _registration(arrays) if paired else None

    def burst(frames: int) -> list[FrameTime]:
        rgb = _Replay("rgb", arrays["rgb"], frames, 0.0)
        thermal = _Replay("thermal", arrays["thermal"], frames, _OFFSET_S) if paired else None
        pairer = Pairer(20.0, live=False) if paired else None
        feed = open_feed(rgb, thermal, pairer, ThermalWatch(1.0))
        clock = _Clock()
        start_s = time.perf_counter()
        _, error = Pipeline(segmenter, feed, [clock], registration=registration).run()
        if error is not None:
            raise error
        durations_ms = np.diff([start_s, *clock.ready_s]) * 1e3
        return list(zip(durations_ms.tolist(), clock.stages_ms, strict=True))

    return burst, f"camera run, {_engine(segmenter, options)}"


def _segmenter(options: WorkerOptions) -> Segmenter:
    return Segmenter(
        options.model,
        options.backend,
        threads=options.threads,
        color_order="BGR",
        cpu_precision=options.cpu_precision,
    )


def _engine(segmenter: Segmenter, options: WorkerOptions) -> str:
    """Return the engine with its version, such as ``openvino 2026.4 CPU bf16``."""
    name, _, where = segmenter.backend.name.partition(" ")
    versions = [found for package in (name, f"{name}-gpu") if (found := _version(package))]
    return " ".join(filter(None, (name, *versions[:1], where, options.cpu_precision)))


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _first_frames(
    segmenter: Segmenter, arrays: dict[str, npt.NDArray[Any]]
) -> dict[str, npt.NDArray[Any]]:
    """Return the first frame of each of a model's modalities, the thermal one registered."""
    frames = {"rgb": arrays["rgb"][0]}
    if "thermal" in segmenter.modalities:
        frames["thermal"] = _registration(arrays).warp(arrays["thermal"][0])
    return frames


def _registration(arrays: dict[str, npt.NDArray[Any]]) -> Registration:
    """Return how thermal frames come into the RGB view, from the scene's own matrix."""
    sizes = [arrays[name].shape[2:0:-1] for name in ("thermal", "rgb")]
    return Registration(arrays["thermal_to_rgb"], *sizes)


def _load(path: Path) -> dict[str, npt.NDArray[Any]]:
    with np.load(path) as arrays:
        return {name: arrays[name] for name in arrays.files}


def session_burst(options: WorkerOptions) -> tuple[Burst, str]:
    """Return bursts of a bare session on inputs prepared beforehand, and its description."""
    onnxruntime = import_onnxruntime()
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(
        str(options.model), settings, providers=["CPUExecutionProvider"]
    )
    arrays = _load(options.frames)
    feeds = {node.name: arrays[f"input_{node.name}"] for node in session.get_inputs()}
    run = partial(session.run, None, feeds)
    return timed(run), f"ONNX Runtime {onnxruntime.__version__} session.run"


def prepared_inputs(model: Path, frames: Path) -> dict[str, npt.NDArray[Any]]:
    """Return the graph's inputs for the first recorded frame as ``input_<name>``, in order."""
    with Segmenter(model, "onnxruntime", threads=1, color_order="BGR") as segmenter:
        segmenter(timestamp_s=0.0, **_first_frames(segmenter, _load(frames)))
        return {f"input_{name}": x.copy() for name, x in segmenter.backend.inputs.items()}
