"""One engine of ``benchmarks/operators.py`` in a process of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from operator_calls import CALLS, Call, arguments

from differseg.bench.worker import serve, timed
from differseg.options import option, parse


@dataclass(frozen=True)
class EngineOptions:
    """Run one operator."""

    engine: str = option(positional=True)
    """PyTorch or ONNX Runtime."""
    operator: str = option()
    """Name of the operator."""
    model: Path = option()
    """Its ONNX file."""
    threads: int = 2
    """Threads of the engine."""


def torch_step(operator: str, threads: int) -> Callable[[], Any]:
    """Return a call in eager PyTorch."""
    import torch

    torch.set_num_threads(threads)
    module, operands = Call(CALLS[operator][0]), list(arguments(operator).values())

    @torch.inference_mode()
    def step() -> Any:
        return module(*operands)

    return step


def session_step(operator: str, options: EngineOptions) -> Callable[[], Any]:
    """Return a run of an ONNX Runtime session with its default settings."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.log_severity_level = 4
    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(str(options.model), settings, providers=providers)
    fed = {name: value.numpy() for name, value in arguments(operator).items()}
    return lambda: session.run(None, fed)


def main() -> None:
    """Serve bursts."""
    options = parse(EngineOptions, sys.argv[1:], "operator engine")
    if options.engine == "PyTorch":
        step = torch_step(options.operator, options.threads)
    else:
        step = session_step(options.operator, options)
    serve(timed(step), options.engine)


if __name__ == "__main__":
    main()
