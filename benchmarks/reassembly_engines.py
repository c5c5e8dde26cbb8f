"""One engine of ``benchmarks/reassembly.py`` in a process of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from differseg.bench.worker import serve, timed
from differseg.options import option, parse

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class EngineOptions:
    """Reassemble a map."""

    engine: str = option(positional=True)
    """Its name in the table; the last word of an eager one names its form."""
    arrays: Path = option()
    """The map, the kernels and what must come out (.npz)."""
    kernel_size: int = option()
    """Taps along a side."""
    scale: int = option()
    """Output pixels per input pixel along a side."""
    model: Path | None = None
    """The ONNX file, for ONNX Runtime."""
    passive: bool = False
    """Let ONNX Runtime's threads sleep between operators instead of spinning."""
    threads: int = 2
    """Threads of the engine."""


def eager_step(options: EngineOptions, feed: Mapping[str, Array]) -> Callable[[], Array]:
    """Return a call of a PyTorch module."""
    import torch
    from reassembly_forms import FORMS

    torch.set_num_threads(options.threads)
    module = FORMS[options.engine.split()[-1]](options.kernel_size, options.scale)
    inputs = [torch.from_numpy(array) for array in feed.values()]

    @torch.inference_mode()
    def step() -> Array:
        result: Array = module(*inputs).numpy()
        return result

    return step


def session_step(options: EngineOptions, feed: Mapping[str, Array]) -> Callable[[], Array]:
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
        result: Array = session.run(None, dict(feed))[0]
        return result

    return step


def main() -> None:
    """Serve bursts; the description holds the error against float64."""
    options = parse(EngineOptions, sys.argv[1:], "reassembly engine")
    with np.load(options.arrays) as arrays:
        feed = {name: arrays[name] for name in ("x", "kernels")}
        expected = arrays["expected"]
    make = eager_step if options.model is None else session_step
    step = make(options, feed)
    error = np.abs(step() - expected).max() / np.abs(expected).max()
    serve(timed(step), f"{error:.1e}")


if __name__ == "__main__":
    main()
