"""One engine of ``benchmarks/fourier.py`` in a process of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from differseg.bench.worker import serve, timed
from differseg.options import option, parse

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class EngineOptions:
    """Transform a map, weigh its spectrum and transform it back."""

    engine: str = option(positional=True)
    """Its name in the table; names that begin with torch are PyTorch."""
    arrays: Path = option()
    """The map, the gate and what must come out (.npz)."""
    model: Path | None = None
    """The ONNX file."""
    passive: bool = False
    """Let ONNX Runtime's threads sleep between operators instead of spinning."""
    threads: int = 2
    """Threads of the engine."""


def torch_step(x: Array, gate: Array, threads: int) -> Callable[[], Array]:
    """Return the three calls of PyTorch."""
    import torch

    torch.set_num_threads(threads)
    map_, weight = torch.from_numpy(x), torch.from_numpy(gate)
    height, width = x.shape[-2:]

    @torch.inference_mode()
    def step() -> Array:
        spectrum = torch.fft.rfft2(map_, norm="ortho") * weight
        back: Array = torch.fft.irfft2(spectrum, s=(height, width), norm="ortho").numpy()
        return back

    return step


def session_step(x: Array, options: EngineOptions) -> Callable[[], Array]:
    """Return a run of an ONNX Runtime session."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.log_severity_level = 4
    if options.passive:
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(str(options.model), settings, providers=providers)

    def step() -> Array:
        result: Array = session.run(None, {"x": x})[0]
        return result

    return step


def main() -> None:
    """Serve bursts; the description holds the error against float64."""
    options = parse(EngineOptions, sys.argv[1:], "fourier engine")
    with np.load(options.arrays) as arrays:
        x, gate, expected = arrays["x"], arrays["gate"], arrays["expected"]
    if options.engine.startswith("torch"):
        step = torch_step(x, gate, options.threads)
    else:
        step = session_step(x, options)
    error = np.abs(step() - expected).max() / np.abs(expected).max()
    serve(timed(step), f"{error:.1e}")


if __name__ == "__main__":
    main()
