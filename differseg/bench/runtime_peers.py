"""The runtime from camera frame to mask, and the bare ONNX Runtime session; no torch here."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from differseg.bench.worker import Step, WorkerOptions
from differseg.runtime.model_file import import_onnxruntime
from differseg.runtime.pairing import Pairer
from differseg.runtime.registration import Registration
from differseg.runtime.segmenter import Segmenter
from differseg.runtime.sources import Frame

_PERIOD_S = 1 / 30


class _CameraToMask:
    """Recorded camera frames through pairing, registration and the segmenter."""

    def __init__(self, segmenter: Segmenter, frames: dict[str, npt.NDArray[Any]]) -> None:
        self.segmenter = segmenter
        self.rgb, self.thermal = frames["rgb"], frames["thermal"]
        rgb_wh = (self.rgb.shape[2], self.rgb.shape[1])
        thermal_wh = (self.thermal.shape[2], self.thermal.shape[1])
        self.registration = Registration(frames["thermal_to_rgb"], thermal_wh, rgb_wh)
        self.pairer = Pairer(tolerance_ms=20.0)
        self.registered: npt.NDArray[Any] | None = None
        self.indices = itertools.count()

    def __call__(self) -> dict[str, float]:
        """Take the next frame of each camera and make its mask."""
        index = next(self.indices)
        at, now_s = index % len(self.rgb), index * _PERIOD_S
        if "thermal" not in self.segmenter.modalities:
            return self.segmenter(rgb=self.rgb[at], timestamp_s=now_s).timings_ms
        self.pairer.add_rgb(Frame(self.rgb[at], now_s, index))
        self.pairer.add_thermal(Frame(self.thermal[at], now_s + 0.004, index))
        pair = self.pairer.next()
        assert pair is not None
        assert pair.thermal is not None  # 4 ms apart, 20 ms allowed
        self.registered = self.registration.warp(pair.thermal.image, out=self.registered)
        result = self.segmenter(
            rgb=pair.rgb.image, thermal=self.registered, timestamp_s=pair.thermal.timestamp_s
        )
        return result.timings_ms


def _load(path: Path) -> dict[str, npt.NDArray[Any]]:
    with np.load(path) as arrays:
        return {name: arrays[name] for name in arrays.files}


def runtime_step(options: WorkerOptions) -> tuple[Step, str]:
    """Return the runtime's step, from camera frames to the mask, and its description."""
    segmenter = Segmenter(options.model, threads=options.threads)
    onnxruntime = import_onnxruntime()
    description = f"differseg runtime, ONNX Runtime {onnxruntime.__version__}"
    return _CameraToMask(segmenter, _load(options.frames)), description


def session_step(options: WorkerOptions) -> tuple[Step, str]:
    """Return the step of a bare session on inputs prepared beforehand, and its description."""
    onnxruntime = import_onnxruntime()
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(
        str(options.model), settings, providers=["CPUExecutionProvider"]
    )
    arrays = _load(options.frames)
    feeds = {node.name: arrays[f"input_{node.name}"] for node in session.get_inputs()}

    def step() -> dict[str, float]:
        session.run(None, feeds)
        return {}

    return step, f"ONNX Runtime {onnxruntime.__version__} session.run"


def prepared_inputs(model: Path, frames: Path) -> dict[str, npt.NDArray[Any]]:
    """Return the graph's inputs for the first recorded frame as ``input_<name>``, in order."""
    with Segmenter(model, threads=1) as segmenter:
        _CameraToMask(segmenter, _load(frames))()
        return {f"input_{name}": x.copy() for name, x in segmenter.backend.inputs.items()}
