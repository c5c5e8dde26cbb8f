"""The classes of the fake pycuda, made anew for each installation.

Source: inducer/pycuda@19bed90 ``src/wrapper/wrap_cudadrv.cpp`` (names and arguments),
``src/cpp/cuda.hpp`` (destructors, which context freeing needs), ``pycuda/driver.py`` (attributes of
a device by lower-case name).
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from contract.cuda_status import INVALID_DEVICE, INVALID_VALUE, NOT_READY, CudaFault
from contract.machine import Machine
from contract.pycuda_state import Driver, device_attribute
from contract.streams import Event, Stream, wait_for


def _is_done(machine: Machine, waited: Stream | Event) -> bool:
    try:
        machine.poll(waited)
    except CudaFault as fault:
        if fault.code == NOT_READY:
            return False
        raise
    return True


def streams_and_events(driver: Driver) -> dict[str, type]:
    """``Stream`` and ``Event``."""
    machine, guard = driver.machine, driver.guard

    class PyStream:
        @guard("cuStreamCreate")
        def __init__(self, flags: int = 0) -> None:
            self._stream = machine.create_stream(blocking=flags == 0)

        @property
        def handle(self) -> int:
            return self._stream.handle

        @guard("cuStreamSynchronize")
        def synchronize(self) -> None:
            machine.synchronize_stream(self._stream)

        @guard("cuStreamQuery")
        def is_done(self) -> bool:
            return _is_done(machine, self._stream)

        @guard("cuStreamWaitEvent")
        def wait_for_event(self, event: Any) -> None:
            wait_for(self._stream, event._event)

        def __del__(self) -> None:
            if hasattr(self, "_stream"):  # not when it could not be made
                self._stream.alive = False

    class PyEvent:
        @guard("cuEventCreate")
        def __init__(self, flags: int = 0) -> None:
            self._event = machine.create_event(timing=not flags & 2)

        @guard("cuEventRecord")
        def record(self, stream: Any = None) -> Any:
            machine.record(self._event, stream._stream if stream else machine.default)
            return self

        @guard("cuEventSynchronize")
        def synchronize(self) -> Any:
            machine.wait_on_host(self._event)
            return self

        @guard("cuEventQuery")
        def query(self) -> bool:
            return _is_done(machine, self._event)

        @guard("cuEventElapsedTime")
        def time_since(self, event: Any) -> float:
            return machine.elapsed_ms(event._event, self._event)

        @guard("cuEventElapsedTime")
        def time_till(self, event: Any) -> float:
            return machine.elapsed_ms(self._event, event._event)

        def __del__(self) -> None:
            if hasattr(self, "_event"):
                self._event.alive = False

    return {"Stream": PyStream, "Event": PyEvent}


def allocations(driver: Driver) -> dict[str, type]:
    """``DeviceAllocation`` and ``PagelockedHostAllocation``: freed with their last reference."""
    machine, guard = driver.machine, driver.guard

    class DeviceAllocation:
        def __init__(self, block: Any) -> None:
            self._block, self._context = block, driver.contexts[-1]

        def __int__(self) -> int:
            return self._block.address

        __index__ = __int__

        @guard("cuMemFree", unsafe=True, context=False)
        def free(self) -> None:
            driver.activate(self._context)
            machine.synchronize_device()
            machine.memory.release(self._block.address, "device")

        def __del__(self) -> None:
            if self._block.alive:
                self._block.alive = False

    class PagelockedHostAllocation:
        def __init__(self, block: Any, shape: Any, dtype: Any, flags: int) -> None:
            self._pinned, self._flags, self._context = block, flags, driver.contexts[-1]
            self.__array_interface__ = {
                "version": 3,
                "shape": shape,
                "typestr": np.dtype(dtype).str,
                "data": (block.host_address, False),
            }

        @guard("cuMemHostGetDevicePointer")
        def get_device_pointer(self) -> int:
            if not self._pinned.mapped:
                raise CudaFault(INVALID_VALUE, "the memory was not allocated with DEVICEMAP")
            return self._pinned.address

        def get_flags(self) -> int:
            return self._flags

        @guard("cuMemFreeHost", unsafe=True, context=False)
        def free(self) -> None:
            driver.activate(self._context)
            machine.memory.release(self._pinned.host_address, "pinned")

        def __del__(self) -> None:
            self._pinned.alive = False

    return {
        "DeviceAllocation": DeviceAllocation,
        "PagelockedHostAllocation": PagelockedHostAllocation,
    }


def devices_and_contexts(driver: Driver) -> dict[str, type]:
    """``Device`` and ``Context``."""
    machine, guard = driver.machine, driver.guard

    class Context:
        def __init__(self) -> None:
            self._thread = threading.get_ident()

        @guard("cuCtxPushCurrent", context=False)
        def push(self) -> None:
            driver.contexts.append(self)

        @staticmethod
        @guard("cuCtxPopCurrent")
        def pop() -> None:
            driver.contexts.pop()

        def detach(self) -> None:
            if self in driver.contexts:
                driver.contexts.remove(self)

        @staticmethod
        @guard("cuCtxSynchronize", unsafe=True)
        def synchronize() -> None:
            machine.synchronize_device()

        @staticmethod
        @guard("cuCtxGetDevice")
        def get_device() -> Any:
            return Device(0)

        @staticmethod
        def get_current() -> Any:
            return driver.contexts[-1] if driver.contexts else None

    class Device:
        @guard("cuDeviceGet", context=False)
        def __init__(self, number: int) -> None:
            if number:
                raise CudaFault(INVALID_DEVICE, f"device {number}")

        @staticmethod
        @guard("cuDeviceGetCount", context=False)
        def count() -> int:
            return 1

        def name(self) -> str:
            return machine.device.name

        def compute_capability(self) -> tuple[int, int]:
            return machine.device.sm

        def total_memory(self) -> int:
            return machine.device.memory_bytes

        @guard("cuDeviceGetAttribute", context=False)
        def get_attribute(self, attribute: int) -> int:
            return machine.attribute(attribute)

        def __getattr__(self, name: str) -> int:
            return self.get_attribute(getattr(device_attribute, name.upper()))

        @guard("cuCtxCreate", context=False)
        def make_context(self, flags: int = 0) -> Any:
            context = Context()
            driver.contexts.append(context)
            return context

        @guard("cuDevicePrimaryCtxRetain", context=False)
        def retain_primary_context(self) -> Any:
            return Context()

    return {"Context": Context, "Device": Device}
