"""The little of CUDA that an engine needs, behind one protocol, by whichever binding is installed.

``cuda-python``, which NVIDIA maintains, is preferred; ``pycuda`` is what many Jetsons have.
Buffers, streams, events and graphs are plain handles; every failure is one line of text.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from differseg.errors import DifferSegError, MissingComponentError

Handle = Any
"""Of a stream, event or graph; only the binding that made it looks into it."""


@dataclass(frozen=True)
class Pinned:
    """Page-locked host memory.

    Attributes:
        array: Its bytes, (size,) uint8.
        device_address: Where the GPU sees the same bytes; None where the memory is not mapped.
    """

    array: npt.NDArray[np.uint8]
    device_address: int | None


class Cuda(Protocol):
    """One GPU, by one binding.

    Attributes:
        binding: Name and version of the Python package.
        device: Name of the GPU.
        sm: Its compute capability, such as 8.7.
        integrated: Whether GPU and CPU share their memory, as on a Jetson.
        has_graphs: Whether the binding knows CUDA graphs.
    """

    binding: str
    device: str
    sm: str
    integrated: bool
    has_graphs: bool

    def active(self) -> AbstractContextManager[None]:
        """Make the GPU current for this thread inside the block."""

    def free_bytes(self) -> int:
        """Return how much of the GPU's memory is free."""

    def allocate(self, size: int) -> int:
        """Return the address of new memory of the GPU.

        Raises:
            OutOfMemory: There is not so much.
        """

    def release(self, address: int) -> None:
        """Give memory of :meth:`allocate` back."""

    def pinned(self, size: int, *, mapped: bool) -> Pinned:
        """Return new page-locked host memory, which the GPU sees too where ``mapped``.

        Raises:
            OutOfMemory: There is not so much.
        """

    def unpin(self, memory: Pinned) -> None:
        """Give memory of :meth:`pinned` back."""

    def stream(self) -> Handle:
        """Return a new stream that does not wait for the default one."""

    def stream_number(self, stream: Handle) -> int:
        """Return a stream as TensorRT takes it."""

    def close_stream(self, stream: Handle) -> None:
        """Give a stream back."""

    def to_device(self, address: int, memory: Pinned, size: int, stream: Handle) -> None:
        """Enqueue a copy of the first bytes of host memory to the GPU."""

    def to_host(self, memory: Pinned, address: int, size: int, stream: Handle) -> None:
        """Enqueue a copy from the GPU to the first bytes of host memory."""

    def event(self) -> Handle:
        """Return a new event, not recorded."""

    def record(self, event: Handle, stream: Handle) -> None:
        """Enqueue the event."""

    def wait(self, stream: Handle, event: Handle) -> None:
        """Let what is enqueued from now on wait for the event."""

    def finish(self, event: Handle) -> None:
        """Wait on the host until the event has happened."""

    def finish_stream(self, stream: Handle) -> None:
        """Wait on the host until a stream has nothing left to do."""

    def begin_capture(self, stream: Handle) -> None:
        """Collect what is enqueued from now on instead of doing it."""

    def end_capture(self, stream: Handle) -> Handle:
        """Return what was collected, ready to be launched."""

    def launch(self, graph: Handle, stream: Handle) -> None:
        """Enqueue what was collected."""

    def close_graph(self, graph: Handle) -> None:
        """Give a graph back."""

    def close_event(self, event: Handle) -> None:
        """Give an event back."""


class OutOfMemory(DifferSegError):
    """The GPU has less free memory than was asked for."""


Binding = Literal["cuda-python", "pycuda"]

_INSTALL = "pip install 'differseg[tensorrt]' (cuda-python), or pycuda on a Jetson"


def open_cuda(binding: Binding | None = None) -> Cuda:
    """Return the first GPU by the binding that is installed.

    Args:
        binding: Which one; None takes cuda-python, else pycuda.

    Raises:
        MissingComponentError: None is installed, or there is no GPU or driver.
    """
    from differseg.runtime.cuda.cuda_python import CudaPython
    from differseg.runtime.cuda.py_cuda import PyCuda

    makers: dict[Binding, Any] = {"cuda-python": CudaPython, "pycuda": PyCuda}
    absent = []
    for name, maker in makers.items():
        if binding in (None, name):
            try:
                opened: Cuda = maker()
            except ImportError as error:
                absent.append(f"{name}: {' '.join(str(error).split())}")
                continue
            return opened
    raise MissingComponentError(
        f"no Python binding of CUDA can be loaded ({'; '.join(absent)}); install one: {_INSTALL}"
    )
