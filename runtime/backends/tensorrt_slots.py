"""Buffers of one inference: page-locked host memory, and the GPU's where the two are apart.

A slot is all that one frame needs on its way, so two slots let the GPU compute one frame while the
host fills or reads the other.  On a Jetson host and GPU share their memory: the mapped host buffer
is given to the engine itself, and nothing is copied.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from differseg.errors import DifferSegError
from differseg.runtime.cuda import Cuda, Handle, OutOfMemory, Pinned

Layout = Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]
"""Name -> shape and type."""

_ALIGNMENT = 256
_MIB = 1 << 20


class Slot:
    """Buffers, events and the captured graph of one inference.

    Args:
        cuda: The GPU.
        inputs, outputs: What the engine takes and gives.

    Attributes:
        inputs, outputs: Name -> array in host memory.
        addresses: Name -> where the engine finds the tensor.
        graph: What was captured for these addresses, None where nothing was.
    """

    def __init__(self, cuda: Cuda, inputs: Layout, outputs: Layout) -> None:
        self._cuda = cuda
        self._host: dict[str, Pinned] = {}
        self._device: dict[str, int] = {}
        self._sizes: dict[str, int] = {}
        self.addresses: dict[str, int] = {}
        self.graph: Handle | None = None
        self._events: list[Handle] = []
        try:
            self.inputs = {name: self._allocate(name, *spec) for name, spec in inputs.items()}
            self.outputs = {name: self._allocate(name, *spec) for name, spec in outputs.items()}
            self.copied, self.computed, self.done = (self._event() for _ in range(3))
        except OutOfMemory:
            self.close()
            layouts = (*inputs.values(), *outputs.values())
            needed = sum(_bytes(shape, dtype) for shape, dtype in layouts)
            raise DifferSegError(
                f"the GPU has not enough memory for the frames: needed {needed / _MIB:.1f} MiB, "
                f"free {cuda.free_bytes() / _MIB:.1f} MiB; close other programs"
            ) from None

    def _event(self) -> Handle:
        self._events.append(self._cuda.event())
        return self._events[-1]

    def _allocate(
        self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]
    ) -> npt.NDArray[Any]:
        """Make the memory of one tensor; returns it as an array on the host, filled with zeros."""
        size = _bytes(shape, dtype)
        padded = -(-size // _ALIGNMENT) * _ALIGNMENT
        memory = self._cuda.pinned(padded, mapped=self._cuda.integrated)
        memory.array.fill(0)
        self._host[name], self._sizes[name] = memory, size
        if memory.device_address is None:
            self._device[name] = self._cuda.allocate(padded)
        self.addresses[name] = (
            self._device[name] if memory.device_address is None else memory.device_address
        )
        return memory.array[:size].view(dtype).reshape(shape)

    def upload(self, stream: Handle) -> None:
        """Enqueue the copies of the inputs to the GPU, where it has memory of its own."""
        for name in self.inputs:
            if name in self._device:
                self._cuda.to_device(
                    self._device[name], self._host[name], self._sizes[name], stream
                )

    def download(self, stream: Handle) -> None:
        """Enqueue the copies of the outputs to the host, where the GPU has memory of its own."""
        for name in self.outputs:
            if name in self._device:
                self._cuda.to_host(self._host[name], self._device[name], self._sizes[name], stream)

    def drop_graph(self) -> None:
        """Forget what was captured."""
        if self.graph is not None:
            self._cuda.close_graph(self.graph)
            self.graph = None

    def close(self) -> None:
        """Give everything back; nothing may be enqueued any more.  Safe to call twice."""
        self.drop_graph()
        self.inputs, self.outputs = {}, {}
        for event in self._events:
            self._cuda.close_event(event)
        for address in self._device.values():
            self._cuda.release(address)
        for memory in self._host.values():
            self._cuda.unpin(memory)
        self._events, self._device, self._host = [], {}, {}


def _bytes(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    return math.prod(shape) * dtype.itemsize
