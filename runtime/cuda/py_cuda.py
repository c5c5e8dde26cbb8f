"""CUDA by ``pycuda``, which has no CUDA graphs (inducer/pycuda, pycuda/driver)."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from differseg.errors import DifferSegError, MissingComponentError
from differseg.runtime.cuda import Handle, OutOfMemory, Pinned

_NON_BLOCKING = 1
"""``CU_STREAM_NON_BLOCKING``, for which it has no name."""


class PyCuda:
    """The first GPU; see :class:`differseg.runtime.cuda.Cuda`.

    Its context is that of the CUDA runtime, so that plugins which use the runtime see the same
    memory.

    Raises:
        ImportError: pycuda is not installed, or its libraries do not load.
        MissingComponentError: There is no GPU, or no driver that suits.
    """

    has_graphs = False

    def __init__(self) -> None:
        self._api = importlib.import_module("pycuda.driver")
        try:
            self._api.init()
            device = self._api.Device(0)
            self._context = device.retain_primary_context()
        except self._api.Error as error:
            raise MissingComponentError(
                f"there is no GPU that CUDA can use ({_line(error)}); see what nvidia-smi says"
            ) from None
        major, minor = device.compute_capability()
        self.sm = f"{major}.{minor}"
        self.integrated = bool(device.get_attribute(self._api.device_attribute.INTEGRATED))
        self.device = device.name()
        version = ".".join(map(str, self._api.get_version()))
        self.binding = f"pycuda, CUDA {version}"
        self._device_memory: dict[int, Any] = {}

    @contextlib.contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        try:
            yield
        except self._api.Error as error:
            text = f"CUDA: {what} failed: {_line(error)}"
            kind = OutOfMemory if isinstance(error, self._api.MemoryError) else DifferSegError
            raise kind(text) from None

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Make the context current in this thread."""
        self._context.push()
        try:
            yield
        finally:
            self._api.Context.pop()

    def free_bytes(self) -> int:
        """Return how much of the GPU's memory is free."""
        return int(self._api.mem_get_info()[0])

    def allocate(self, size: int) -> int:
        """Return the address of new memory of the GPU."""
        with self._asking("mem_alloc"):
            memory = self._api.mem_alloc(size)
        self._device_memory[int(memory)] = memory
        return int(memory)

    def release(self, address: int) -> None:
        """Give it back."""
        with self._asking("free"):
            self._device_memory.pop(address).free()

    def pinned(self, size: int, *, mapped: bool) -> Pinned:
        """Return new page-locked host memory."""
        flags = self._api.host_alloc_flags.DEVICEMAP if mapped else 0
        with self._asking("pagelocked_empty"):
            array = self._api.pagelocked_empty((size,), np.uint8, mem_flags=flags)
            address = int(array.base.get_device_pointer()) if mapped else None
        return Pinned(array, address)

    def unpin(self, memory: Pinned) -> None:
        """Give it back."""
        with self._asking("free"):
            base: Any = memory.array.base
            base.free()

    def stream(self) -> Handle:
        """Return a new stream that does not wait for the default one."""
        with self._asking("Stream"):
            return self._api.Stream(_NON_BLOCKING)

    def stream_number(self, stream: Handle) -> int:
        """Return a stream as TensorRT takes it."""
        return int(stream.handle)

    def close_stream(self, stream: Handle) -> None:
        """Nothing: it is given back with its last reference."""

    def to_device(self, address: int, memory: Pinned, size: int, stream: Handle) -> None:
        """Enqueue a copy to the GPU."""
        with self._asking("memcpy_htod_async"):
            self._api.memcpy_htod_async(address, memory.array[:size], stream)

    def to_host(self, memory: Pinned, address: int, size: int, stream: Handle) -> None:
        """Enqueue a copy from the GPU."""
        with self._asking("memcpy_dtoh_async"):
            self._api.memcpy_dtoh_async(memory.array[:size], address, stream)

    def event(self) -> Handle:
        """Return a new event that keeps no time and lets the host sleep."""
        flags = self._api.event_flags
        with self._asking("Event"):
            return self._api.Event(flags.DISABLE_TIMING | flags.BLOCKING_SYNC)

    def record(self, event: Handle, stream: Handle) -> None:
        """Enqueue the event."""
        with self._asking("Event.record"):
            event.record(stream)

    def wait(self, stream: Handle, event: Handle) -> None:
        """Let what is enqueued from now on wait for the event."""
        with self._asking("Stream.wait_for_event"):
            stream.wait_for_event(event)

    def finish(self, event: Handle) -> None:
        """Wait on the host for the event."""
        with self._asking("Event.synchronize"):
            event.synchronize()

    def finish_stream(self, stream: Handle) -> None:
        """Wait on the host for a stream."""
        with self._asking("Stream.synchronize"):
            stream.synchronize()

    def begin_capture(self, stream: Handle) -> None:
        """Refuse: it has no graphs."""
        raise DifferSegError("pycuda has no CUDA graphs; install cuda-python")

    def end_capture(self, stream: Handle) -> Handle:
        """Refuse: it has no graphs."""
        raise DifferSegError("pycuda has no CUDA graphs; install cuda-python")

    def launch(self, graph: Handle, stream: Handle) -> None:
        """Refuse: it has no graphs."""
        raise DifferSegError("pycuda has no CUDA graphs; install cuda-python")

    def close_graph(self, graph: Handle) -> None:
        """Nothing: there is none."""

    def close_event(self, event: Handle) -> None:
        """Nothing: it is given back with its last reference."""


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
