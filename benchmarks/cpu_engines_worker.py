"""One engine of ``benchmarks/cpu_engines.py`` in a process of its own."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from differseg.bench.worker import serve, timed
from differseg.errors import DifferSegError
from differseg.manifest import InputSpec
from differseg.options import option, parse
from differseg.runtime.backends import CpuPrecision, open_backend
from differseg.runtime.model_file import read_manifest


@dataclass(frozen=True)
class WorkerOptions:
    """Run one file in one engine."""

    peer: str = option(positional=True)
    """How the parent calls it."""
    engine: Literal["torch", "torch-installed", "torch-asleep", "onnxruntime", "openvino"] = (
        option()
    )
    """What runs it; torch runs the network of the file's manifest, with random weights."""
    model: Path = option()
    """The file."""
    cpu_precision: CpuPrecision | None = None
    """OpenVINO's precision."""
    threads: int = 2
    """Threads of the engine."""


def noise(spec: InputSpec) -> npt.NDArray[np.generic]:
    """Return seeded noise for an input: 0..255 for bytes, else 0..1."""
    draw = np.random.default_rng(0)
    if spec.dtype == "uint8":
        return draw.integers(0, 256, spec.shape, dtype=np.uint8)
    return draw.random(spec.shape, dtype=np.float32)


def torch_step(options: WorkerOptions) -> Callable[[], object]:
    """Return an eager run of the network, as export traces it."""
    if options.engine == "torch-asleep":
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # read when torch loads OpenMP
    import torch

    from differseg import create_model
    from differseg.models.deployment import DeploymentModule

    torch.set_num_threads(options.threads)
    manifest = read_manifest(options.model)
    module = DeploymentModule(create_model(manifest.model).eval())
    inputs = [torch.from_numpy(noise(spec)) for spec in manifest.inputs]

    @torch.inference_mode()
    def step() -> object:
        return module(*inputs)

    return step


def backend_step(options: WorkerOptions) -> Callable[[], object]:
    """Return a run of the file as the runtime does it."""
    engine: Literal["onnxruntime", "openvino"] = (
        "openvino" if options.engine == "openvino" else "onnxruntime"
    )
    backend = open_backend(options.model, engine, options.threads, options.cpu_precision)
    for spec in backend.manifest.inputs:
        np.copyto(backend.inputs[spec.name], noise(spec), casting="no")
    return backend.run


def main() -> None:
    """Serve bursts; a foreseen mistake is answered as ``{"error": ...}``."""
    options = parse(WorkerOptions, sys.argv[1:], "cpu_engines worker")
    kept = [name for name in os.environ if name.startswith("MALLOC_")]
    if options.engine == "torch-installed" and kept:
        for name in kept:
            del os.environ[name]
        os.execv(sys.executable, [sys.executable, *sys.argv])  # the allocator reads them once
    try:
        step = (torch_step if options.engine.startswith("torch") else backend_step)(options)
    except DifferSegError as error:
        print(json.dumps({"error": type(error).__name__, "text": str(error)}), flush=True)
        sys.exit(error.exit_code)
    serve(timed(step), options.peer)


if __name__ == "__main__":
    main()
