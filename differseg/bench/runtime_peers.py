"""The runtime from camera frame to mask, and the bare ONNX Runtime session; no torch here."""

from __future__ import annotations

import time
from functools import partial
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


def runtime_burst(options: WorkerOptions) -> tuple[Burst, str]:
    """Return bursts of the camera run itself, from camera frames to masks, and its description.

    Capture threads, pairing, registration, segmenter, mask and the hand-over to the sinks are
    those of ``run_camera.py``; the time of a frame is from the mask before it to its own.
    """
    segmenter = Segmenter(options.model, threads=options.threads, color_order="BGR")
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

    onnxruntime = import_onnxruntime()
    return burst, f"differseg runtime, ONNX Runtime {onnxruntime.__version__}"


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
    arrays = _load(frames)
    with Segmenter(model, threads=1, color_order="BGR") as segmenter:
        images = {"rgb": arrays["rgb"][0]}
        if "thermal" in segmenter.modalities:
            images["thermal"] = _registration(arrays).warp(arrays["thermal"][0])
        segmenter(timestamp_s=0.0, **images)
        return {f"input_{name}": x.copy() for name, x in segmenter.backend.inputs.items()}
