"""``pycuda.driver`` over a :class:`~contract.machine.Machine`.

It has no CUDA graphs; everything needs a context that is current *in the calling thread*; memory,
streams and events die with the last reference to their Python object.

Source: inducer/pycuda@19bed90 ``src/wrapper/wrap_cudadrv.cpp`` (names, argument names, which CUDA
error becomes which exception), ``src/cpp/cuda.hpp`` (destructors), ``pycuda/driver.py``,
``pycuda/autoinit.py``, ``pycuda/autoprimaryctx.py``.
"""

from __future__ import annotations

import types
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import Any

import numpy as np
from contract.machine import Machine
from contract.pycuda_objects import allocations, devices_and_contexts, streams_and_events
from contract.pycuda_state import (
    Driver,
    Error,
    LaunchError,
    LogicError,
    MemoryError_,
    RuntimeError_,
    buffer_bytes,
    device_address,
    device_attribute,
)


def _functions(driver: Driver, classes: dict[str, Any]) -> dict[str, Any]:
    machine, guard = driver.machine, driver.guard

    @guard("cuInit", context=False)
    def init(flags: int = 0) -> None:
        driver.initialized = True

    def get_version() -> tuple[int, int, int]:
        runtime = machine.device.runtime
        return runtime // 1000, runtime % 1000 // 10, runtime % 10

    def get_driver_version() -> int:
        return machine.device.driver

    @guard("cuMemGetInfo")
    def mem_get_info() -> tuple[int, int]:
        return machine.memory.free, machine.memory.total

    @guard("cuMemAlloc", unsafe=True)
    def mem_alloc(size: int, /) -> Any:
        return classes["DeviceAllocation"](machine.allocate(size))

    @guard("cuMemHostAlloc", unsafe=True)
    def pagelocked_empty(shape: Any, dtype: Any, order: str = "C", mem_flags: int = 0) -> Any:
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        block = machine.memory.allocate_pinned(size, mapped=bool(mem_flags & 2))
        return np.asarray(classes["PagelockedHostAllocation"](block, shape, dtype, mem_flags))

    def pagelocked_zeros(shape: Any, dtype: Any, order: str = "C", mem_flags: int = 0) -> Any:
        array = pagelocked_empty(shape, dtype, order, mem_flags)
        array.fill(0)
        return array

    def queue(stream: Any) -> Any:
        return stream._stream if stream is not None else machine.default

    @guard("cuMemcpyHtoDAsync")
    def memcpy_htod_async(dest: Any, src: Any, stream: Any = None) -> None:
        source = buffer_bytes(src, writable=False)
        machine.copy(device_address(dest), source.ctypes.data, source.nbytes, "h2d", queue(stream))

    @guard("cuMemcpyDtoHAsync")
    def memcpy_dtoh_async(dest: Any, src: Any, stream: Any = None) -> None:
        target = buffer_bytes(dest, writable=True)
        machine.copy(target.ctypes.data, device_address(src), target.nbytes, "d2h", queue(stream))

    @guard("cuMemcpyDtoDAsync")
    def memcpy_dtod_async(dest: Any, src: Any, size: int, stream: Any = None) -> None:
        machine.copy(device_address(dest), device_address(src), size, "d2d", queue(stream))

    @guard("cuMemcpyHtoD", unsafe=True)
    def memcpy_htod(dest: Any, src: Any) -> None:
        memcpy_htod_async(dest, src)
        machine.finish(machine.default)

    @guard("cuMemcpyDtoH", unsafe=True)
    def memcpy_dtoh(dest: Any, src: Any) -> None:
        memcpy_dtoh_async(dest, src)
        machine.finish(machine.default)

    @guard("cuMemsetD8Async")
    def memset_d8_async(dest: Any, data: int, size: int, stream: Any = None) -> None:
        machine.fill(device_address(dest), data, size, queue(stream))

    kept = locals()
    return {k: v for k, v in kept.items() if callable(v) and k not in ("guard", "queue")}


def pycuda_modules(machine: Machine) -> dict[str, types.ModuleType]:
    """``sys.modules`` entries; see :class:`AutoInit` for the two others."""
    driver = Driver(machine)
    classes = streams_and_events(driver) | allocations(driver) | devices_and_contexts(driver)
    content = {
        **classes,
        **_functions(driver, classes),
        "device_attribute": device_attribute,
        "host_alloc_flags": type(
            "host_alloc_flags", (), {"PORTABLE": 1, "DEVICEMAP": 2, "WRITECOMBINED": 4}
        ),
        "ctx_flags": type(
            "ctx_flags",
            (),
            {"SCHED_AUTO": 0, "SCHED_SPIN": 1, "SCHED_YIELD": 2, "BLOCKING_SYNC": 4, "MAP_HOST": 8},
        ),
        "event_flags": type(
            "event_flags", (), {"DEFAULT": 0, "BLOCKING_SYNC": 1, "DISABLE_TIMING": 2}
        ),
        "Error": Error,
        "MemoryError": MemoryError_,
        "LogicError": LogicError,
        "LaunchError": LaunchError,
        "RuntimeError": RuntimeError_,
    }
    root = types.ModuleType("pycuda")
    root.__path__ = []
    root.VERSION_TEXT = "2026.1"
    module = types.ModuleType("pycuda.driver")
    module.__dict__.update(content)
    root.driver = module
    return {
        "pycuda": root,
        "pycuda.driver": module,
    }


class AutoInit(MetaPathFinder, Loader):
    """Finds ``pycuda.autoinit`` and ``pycuda.autoprimaryctx``, which act when they are imported.

    Args:
        driver: The module ``pycuda.driver`` of the test-bed.
    """

    def __init__(self, driver: types.ModuleType) -> None:
        self._driver = driver

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name in ("pycuda.autoinit", "pycuda.autoprimaryctx"):
            return ModuleSpec(name, self)
        return None

    def exec_module(self, module: types.ModuleType) -> None:
        self._driver.init()
        device = self._driver.Device(0)
        if module.__name__ == "pycuda.autoinit":
            context = device.make_context()
        else:
            context = device.retain_primary_context()
            context.push()
        module.context, module.device = context, device
