"""State, rules and exceptions of the fake pycuda.

Source: inducer/pycuda@19bed90 ``src/wrapper/wrap_cudadrv.cpp`` (which CUDA error becomes which
exception), ``src/cpp/cuda.hpp`` (contexts are current in a thread; scoped activation).
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from contract.cuda_status import (
    DRIVER_NAMES,
    MEANINGS,
    NO_CONTEXT,
    NO_DEVICE,
    NOT_READY,
    CudaFault,
)
from contract.machine import Machine

NOT_INITIALIZED = 3
ATTRIBUTES = {
    "CLOCK_RATE": 13,
    "MULTIPROCESSOR_COUNT": 16,
    "INTEGRATED": 18,
    "CAN_MAP_HOST_MEMORY": 19,
    "MEMORY_CLOCK_RATE": 36,
    "GLOBAL_MEMORY_BUS_WIDTH": 37,
    "L2_CACHE_SIZE": 38,
    "UNIFIED_ADDRESSING": 41,
    "COMPUTE_CAPABILITY_MAJOR": 75,
    "COMPUTE_CAPABILITY_MINOR": 76,
}


class Error(Exception):
    """Base of pycuda's exceptions."""


class MemoryError_(Error):
    """Out of memory."""


class LogicError(Error):
    """A call that CUDA refuses."""


class LaunchError(Error):
    """A kernel that failed to launch."""


class RuntimeError_(Error):
    """What is not the program's fault."""


def _exception(name: str, fault: CudaFault) -> Error:
    kind = {2: MemoryError_, 719: LaunchError, 999: Error}.get(fault.code, LogicError)
    if fault.code in (NO_DEVICE, NOT_READY):
        kind = RuntimeError_
    meaning = MEANINGS.get(fault.code, DRIVER_NAMES.get(fault.code, "unknown"))
    return kind(f"{name} failed: {meaning} ({fault.why})")


class Driver:
    """What the module's functions and classes share."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.initialized = False
        self.threads = threading.local()

    @property
    def contexts(self) -> list[Any]:
        """Contexts of this thread, the current one last."""
        if not hasattr(self.threads, "stack"):
            self.threads.stack = []
        return self.threads.stack

    def activate(self, context: Any) -> None:
        """What freeing does first: the memory's context is current, or can be made so here."""
        current = self.contexts[-1] if self.contexts else None
        if current is not context and context._thread != threading.get_ident():
            raise RuntimeError("cannot activate out-of-thread context")

    def guard(self, name: str, context: bool = True, unsafe: bool = False) -> Callable[..., Any]:
        """Decorate a call: context needed, CUDA's errors become pycuda's."""

        def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
            @functools.wraps(function)
            def guarded(*given: Any, **named: Any) -> Any:
                try:
                    if name != "cuInit" and not self.initialized:
                        raise CudaFault(NOT_INITIALIZED, "call init() first")
                    if context and not self.contexts:
                        raise CudaFault(NO_CONTEXT, "no context is current in this thread")
                    self.machine.enter(unsafe, name)
                    return function(*given, **named)
                except CudaFault as fault:
                    self.machine.faults.append(f"{name}: {fault}")
                    raise _exception(name, fault) from None

            return guarded

        return decorate


def device_address(value: Any) -> int:
    """A ``CUdeviceptr``: an integer or an allocation."""
    if isinstance(value, int) or hasattr(value, "_block"):
        return int(value)
    raise TypeError(f"Python argument types did not match C++ signature: {type(value).__name__}")


def buffer_bytes(value: Any, writable: bool) -> np.ndarray[Any, Any]:
    """Bytes of an object with a buffer, contiguous."""
    view = memoryview(value)
    if writable and view.readonly:
        raise BufferError("buffer is read-only")
    if not view.contiguous:
        raise ValueError("ndarray is not contiguous")
    array = np.asarray(value)
    return (
        array.reshape(-1, order="A").view(np.uint8)
        if array.ndim
        else array.reshape(1).view(np.uint8)
    )


device_attribute = type("device_attribute", (), dict(ATTRIBUTES))
