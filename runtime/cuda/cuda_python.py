"""CUDA by NVIDIA's ``cuda-python``, in both spellings of its runtime module.

Its functions return an error code first (NVIDIA/cuda-python, cuda_bindings/cuda/bindings/runtime).
The module is ``cuda.bindings.runtime`` from 12.6 on and ``cuda.cudart`` before.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from differseg.errors import DifferSegError, MissingComponentError
from differseg.runtime.cuda import Handle, OutOfMemory, Pinned

_MODULES = ("cuda.bindings.runtime", "cuda.cudart")


class CudaPython:
    """The first GPU; see :class:`differseg.runtime.cuda.Cuda`.

    Raises:
        ImportError: cuda-python is not installed, or its libraries do not load.
        MissingComponentError: There is no GPU, or no driver that suits.
    """

    has_graphs = True

    def __init__(self) -> None:
        self._api = _load()
        try:
            count = self._ask("cudaGetDeviceCount")
            if count < 1:
                raise DifferSegError("cudaGetDeviceCount: it counts none")
            self._ask("cudaSetDevice", 0)
        except DifferSegError as error:
            raise MissingComponentError(
                f"there is no GPU that CUDA can use ({error}); see what nvidia-smi says"
            ) from None
        attributes = self._api.cudaDeviceAttr
        major = self._attribute(attributes.cudaDevAttrComputeCapabilityMajor)
        minor = self._attribute(attributes.cudaDevAttrComputeCapabilityMinor)
        self.sm = f"{major}.{minor}"
        self.integrated = bool(self._attribute(attributes.cudaDevAttrIntegrated))
        self.device = _text(self._ask("cudaGetDeviceProperties", 0).name)
        version = int(self._ask("cudaRuntimeGetVersion"))
        self.binding = f"cuda-python, CUDA {version // 1000}.{version % 1000 // 10}"

    def _ask(self, name: str, *arguments: Any) -> Any:
        """Call a function; returns what follows the error code."""
        error, *results = getattr(self._api, name)(*arguments)
        if int(error) != 0:
            text = f"CUDA: {name} failed: {_text(self._api.cudaGetErrorString(error)[1])}"
            if int(error) == int(self._api.cudaError_t.cudaErrorMemoryAllocation):
                raise OutOfMemory(text)
            raise DifferSegError(text)
        return results[0] if results else None

    def _attribute(self, attribute: Any) -> int:
        return int(self._ask("cudaDeviceGetAttribute", attribute, 0))

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """The runtime's primary context is current in every thread already."""
        yield

    def free_bytes(self) -> int:
        """Return how much of the GPU's memory is free."""
        error, free, _ = self._api.cudaMemGetInfo()
        return int(free) if int(error) == 0 else 0

    def allocate(self, size: int) -> int:
        """Return the address of new memory of the GPU."""
        return int(self._ask("cudaMalloc", size))

    def release(self, address: int) -> None:
        """Give it back."""
        self._ask("cudaFree", address)

    def pinned(self, size: int, *, mapped: bool) -> Pinned:
        """Return new page-locked host memory."""
        flags = self._api.cudaHostAllocMapped if mapped else self._api.cudaHostAllocDefault
        address = int(self._ask("cudaHostAlloc", size, flags))
        array = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))
        return Pinned(
            array, int(self._ask("cudaHostGetDevicePointer", address, 0)) if mapped else None
        )

    def unpin(self, memory: Pinned) -> None:
        """Give it back."""
        self._ask("cudaFreeHost", memory.array.ctypes.data)

    def stream(self) -> Handle:
        """Return a new stream that does not wait for the default one."""
        return self._ask("cudaStreamCreateWithFlags", self._api.cudaStreamNonBlocking)

    def stream_number(self, stream: Handle) -> int:
        """Return a stream as TensorRT takes it."""
        return int(stream)

    def close_stream(self, stream: Handle) -> None:
        """Give it back."""
        self._ask("cudaStreamDestroy", stream)

    def to_device(self, address: int, memory: Pinned, size: int, stream: Handle) -> None:
        """Enqueue a copy to the GPU."""
        kind = self._api.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._ask("cudaMemcpyAsync", address, memory.array.ctypes.data, size, kind, stream)

    def to_host(self, memory: Pinned, address: int, size: int, stream: Handle) -> None:
        """Enqueue a copy from the GPU."""
        kind = self._api.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._ask("cudaMemcpyAsync", memory.array.ctypes.data, address, size, kind, stream)

    def event(self) -> Handle:
        """Return a new event that keeps no time and lets the host sleep."""
        flags = self._api.cudaEventDisableTiming | self._api.cudaEventBlockingSync
        return self._ask("cudaEventCreateWithFlags", flags)

    def record(self, event: Handle, stream: Handle) -> None:
        """Enqueue the event."""
        self._ask("cudaEventRecord", event, stream)

    def wait(self, stream: Handle, event: Handle) -> None:
        """Let what is enqueued from now on wait for the event."""
        self._ask("cudaStreamWaitEvent", stream, event, 0)

    def finish(self, event: Handle) -> None:
        """Wait on the host for the event."""
        self._ask("cudaEventSynchronize", event)

    def finish_stream(self, stream: Handle) -> None:
        """Wait on the host for a stream."""
        self._ask("cudaStreamSynchronize", stream)

    def begin_capture(self, stream: Handle) -> None:
        """Collect what is enqueued; other threads may do what they like meanwhile."""
        modes = self._api.cudaStreamCaptureMode
        self._ask("cudaStreamBeginCapture", stream, modes.cudaStreamCaptureModeThreadLocal)

    def end_capture(self, stream: Handle) -> Handle:
        """Return what was collected, ready to be launched."""
        graph = self._ask("cudaStreamEndCapture", stream)
        try:
            # The plain cudaGraphInstantiate takes other arguments in CUDA 11 than from 12 on.
            return self._ask("cudaGraphInstantiateWithFlags", graph, 0)
        finally:
            self._ask("cudaGraphDestroy", graph)

    def launch(self, graph: Handle, stream: Handle) -> None:
        """Enqueue what was collected."""
        self._ask("cudaGraphLaunch", graph, stream)

    def close_graph(self, graph: Handle) -> None:
        """Give it back."""
        self._ask("cudaGraphExecDestroy", graph)

    def close_event(self, event: Handle) -> None:
        """Give it back."""
        self._ask("cudaEventDestroy", event)


def _load() -> Any:
    errors = []
    for name in _MODULES:
        try:
            return importlib.import_module(name)
        except ImportError as error:
            errors.append(str(error))
    raise ImportError(errors[0])


def _text(value: Any) -> str:
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return text.strip("\0 ")
