"""Inference engines behind one protocol: fill ``inputs``, call ``run()``, read ``outputs``.

:mod:`~differseg.runtime.backends.choice` says which one a file gets, and why.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from differseg.manifest import Manifest

if TYPE_CHECKING:
    import numpy.typing as npt

BackendName = Literal[
    "auto", "tensorrt", "onnxruntime-cuda", "onnxruntime-rtx", "openvino", "onnxruntime"
]
"""``auto`` takes the first that is suited, in this order; a named one is taken or is an error."""

CpuPrecision = Literal["f32", "bf16", "f16"]
"""What OpenVINO computes the float32 parts of a graph in."""


class Backend(Protocol):
    """One loaded model."""

    @property
    def name(self) -> str:
        """Engine and provider, such as ``onnxruntime CPU``."""

    @property
    def reason(self) -> str:
        """Why this engine and these settings were chosen."""

    @property
    def manifest(self) -> Manifest:
        """The model file's manifest."""

    @property
    def inputs(self) -> dict[str, npt.NDArray[Any]]:
        """Name -> buffer of the graph's shape and dtype, written by the caller."""

    @property
    def outputs(self) -> dict[str, npt.NDArray[Any]]:
        """Name -> buffer that :meth:`run` fills; the same memory at every call."""

    def run(self) -> None:
        """Run the network once, from ``inputs`` to ``outputs``."""

    def close(self) -> None:
        """Give the engine's memory back."""


class Buffers(Protocol):
    """What one frame needs on its way.

    Attributes:
        inputs, outputs: As those of :class:`Backend`.
    """

    inputs: dict[str, npt.NDArray[Any]]
    outputs: dict[str, npt.NDArray[Any]]


@dataclass
class OnlyBuffers:
    """The :class:`Buffers` of an engine that has one set."""

    inputs: dict[str, npt.NDArray[Any]]
    outputs: dict[str, npt.NDArray[Any]]


@runtime_checkable
class OverlappingBackend(Backend, Protocol):
    """An engine that computes one frame while another is filled or read."""

    @property
    def slots(self) -> Sequence[Buffers]:
        """The buffers of the frames that may be on their way at once."""

    def start(self, index: int) -> None:
        """Begin with the frame in a slot, whose arrays are the engine's until :meth:`finish`."""

    def finish(self, index: int) -> None:
        """Wait until the slot's outputs are there."""


def open_backend(
    model_file: str | Path,
    backend: BackendName = "auto",
    threads: int | None = None,
    cpu_precision: CpuPrecision | None = None,
    *,
    engine_key: Path | None = None,
    warn: Callable[[str], None] | None = None,
) -> Backend:
    """Load a model file with the engine that suits it.

    Args:
        model_file: A model file with a manifest.
        backend: Engine; ``auto`` takes the one that suits file and machine and says why.
        threads: Processor threads; None takes one per core that this process may use.
        cpu_precision: What OpenVINO computes in; None takes float32.
        engine_key: Key file of who must have signed an engine; None takes any that we built.
        warn: Takes one line for each engine that ``auto`` had to pass over because it is
            installed and does not load; None logs them.

    Raises:
        ModelFileError, ManifestError: The file is missing, broken, or not one that differseg wrote.
        MissingComponentError: The engine is not installed, or none is.
        InputError: No such engine, fewer than one thread, or a precision that it has not.
    """
    from differseg.runtime.backends.choice import choose
    from differseg.runtime.backends.options import EngineOptions

    options = EngineOptions(
        backend=backend, threads=threads, cpu_precision=cpu_precision, engine_key=engine_key
    )
    return choose(Path(model_file), options, warn)
