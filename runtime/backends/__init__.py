"""Inference engines behind one protocol: fill ``inputs``, call ``run()``, read ``outputs``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Protocol

import numpy.typing as npt

from differseg.errors import InputError
from differseg.manifest import Manifest

BackendName = Literal["auto", "onnxruntime"]


class Backend(Protocol):
    """One loaded model.

    Attributes:
        name: Engine and provider, such as ``onnxruntime CPU``.
        reason: Why this engine and these settings were chosen.
        manifest: The model file's manifest.
        inputs: Name -> buffer of the graph's shape and dtype, written by the caller.
        outputs: Name -> buffer that :meth:`run` fills; the same memory at every call.
    """

    name: str
    reason: str
    manifest: Manifest
    inputs: dict[str, npt.NDArray[Any]]
    outputs: dict[str, npt.NDArray[Any]]

    def run(self) -> None:
        """Run the network once, from ``inputs`` to ``outputs``."""

    def close(self) -> None:
        """Give the engine's memory back."""


def open_backend(
    model_file: str | Path, backend: BackendName = "auto", threads: int | None = None
) -> Backend:
    """Load a model file with the engine that suits it.

    Args:
        model_file: An .onnx file with a manifest.
        backend: Engine; ``auto`` takes the one that the file needs and says why.
        threads: Processor threads; None takes one per core that this process may use.

    Raises:
        ModelFileError: The file is missing, broken, or not one that differseg wrote.
        MissingComponentError: The engine is not installed.
        InputError: No such engine, or fewer than one thread.
    """
    if backend not in ("auto", "onnxruntime"):
        raise InputError(f"backend: expected auto or onnxruntime, got {backend!r}")
    if threads is not None and threads < 1:
        raise InputError(f"threads: expected a number of at least 1, got {threads}")
    from differseg.runtime.backends.onnxruntime import OnnxRuntimeBackend

    return OnnxRuntimeBackend(model_file, threads=threads, automatic=backend == "auto")
