"""The functions of CUDA's runtime, as cuda-python spells them, over a machine.

Each group is given ``call``, which registers a function and turns its result, or a
:class:`~contract.cuda_status.CudaFault`, into a tuple (fake_cuda_python.py).

Sources: NVIDIA/cuda-python ``cuda/cudart.pyx.in`` (12.x) and ``cuda_bindings/cuda/bindings/``
``runtime.pyx.in`` (12.9): names, arguments, ``kind.value``, pointers as integers or as objects with
a buffer; CUDA Runtime API 11.8, 12 and 13: ``cudaGraphInstantiate`` took a log buffer before 12,
``cudaDeviceProp`` lost ``clockRate`` and ``memoryClockRate`` in 13.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from contract.cuda_python_types import (
    HANDLES,
    Handle,
    cudaMemcpyKind,
    cudaStreamCaptureStatus,
)
from contract.cuda_status import INVALID_DEVICE, INVALID_VALUE, CudaFault
from contract.machine import Direction, Machine
from contract.streams import wait_for

Call = Callable[..., Callable[[Callable[..., Any]], Callable[..., Any]]]


def _handle(value: Any) -> int:
    """A handle argument: None, an integer or a handle object."""
    return 0 if value is None else int(value)


def _pointer(value: Any) -> int:
    """A ``void*`` argument: None, an integer, or an object whose buffer is meant."""
    if value is None:
        return 0
    if isinstance(value, (int, Handle)):
        return int(value)
    try:
        return np.frombuffer(value, np.uint8).ctypes.data
    except TypeError:
        raise TypeError(f"Provided argument is of type {type(value)}, not a pointer") from None


def device_functions(machine: Machine, call: Call) -> None:
    """What the device is."""
    device = machine.device

    def check(ordinal: int) -> None:
        if ordinal != 0:
            raise CudaFault(INVALID_DEVICE, f"device {ordinal}")

    @call(results=1)
    def cudaGetDeviceCount() -> int:
        return 1

    @call(results=1)
    def cudaGetDevice() -> int:
        return 0

    @call()
    def cudaSetDevice(device: int) -> None:
        check(device)

    @call()
    def cudaSetDeviceFlags(flags: int) -> None:
        """Scheduling flags have no effect here."""

    @call(unsafe=True)
    def cudaDeviceSynchronize() -> None:
        machine.synchronize_device()

    @call(results=1)
    def cudaDriverGetVersion() -> int:
        return device.driver

    @call(results=1)
    def cudaRuntimeGetVersion() -> int:
        return device.runtime

    @call(results=1)
    def cudaDeviceGetAttribute(attr: Any, device: int) -> int:
        check(device)
        return machine.attribute(attr.value)

    @call(results=1)
    def cudaGetDeviceProperties(device: int) -> Any:
        check(device)
        return device_properties(machine)


def device_properties(machine: Machine) -> Any:
    """``cudaDeviceProp``; in 13 without the clocks."""
    device = machine.device
    values = {
        "name": device.name.encode(),
        "major": device.sm[0],
        "minor": device.sm[1],
        "integrated": int(device.integrated),
        "canMapHostMemory": 1,
        "unifiedAddressing": int(device.unified_addressing),
        "totalGlobalMem": device.memory_bytes,
        "multiProcessorCount": device.multiprocessors,
        "memoryBusWidth": device.memory_bus_bits,
        "l2CacheSize": device.l2_bytes,
    }
    if device.runtime < 13000:
        values |= {"clockRate": device.clock_khz, "memoryClockRate": device.memory_clock_khz}
    return type("cudaDeviceProp", (), {"__slots__": (), **values})()


def memory_functions(machine: Machine, call: Call) -> None:
    """Allocations."""
    memory = machine.memory

    @call(unsafe=True, results=1)
    def cudaMalloc(size: int) -> int:
        return machine.allocate(size).address

    @call(unsafe=True)
    def cudaFree(devPtr: Any) -> None:
        machine.synchronize_device()  # cudaFree waits for the device
        memory.release(_pointer(devPtr), "device")

    @call(unsafe=True, results=1)
    def cudaMallocHost(size: int) -> int:
        return memory.allocate_pinned(size, mapped=False).host_address

    @call(unsafe=True, results=1)
    def cudaHostAlloc(size: int, flags: int) -> int:
        return memory.allocate_pinned(size, mapped=bool(flags & 2)).host_address

    @call(unsafe=True)
    def cudaFreeHost(ptr: Any) -> None:
        machine.synchronize_device()
        memory.release(_pointer(ptr), "pinned")

    @call(results=1)
    def cudaHostGetDevicePointer(pHost: Any, flags: int) -> int:
        if flags:
            raise CudaFault(INVALID_VALUE, "flags must be 0")
        block = memory.pinned_block(_pointer(pHost), 1)
        if block is None or not block.mapped or block.host_address is None:
            raise CudaFault(INVALID_VALUE, "not mapped pinned memory")
        return block.address + _pointer(pHost) - block.host_address

    @call(results=2)
    def cudaMemGetInfo() -> tuple[int, int]:
        return memory.free, memory.total


def copy_functions(machine: Machine, call: Call) -> None:
    """Copies and fills."""
    memory = machine.memory

    def way(kind: Any, target: int, source: int) -> Direction:
        number = kind.value  # a plain integer has none, as in the real bindings
        if number == cudaMemcpyKind.cudaMemcpyDefault:
            on_device = [memory.seen_by_device(a, 1)[0] is not None for a in (source, target)]
            return f"{'d' if on_device[0] else 'h'}2{'d' if on_device[1] else 'h'}"
        return ("h2h", "h2d", "d2h", "d2d")[number]

    @call(unsafe=True, legacy=True)
    def cudaMemcpy(dst: Any, src: Any, count: int, kind: Any) -> None:
        target, source = _pointer(dst), _pointer(src)
        machine.copy(target, source, count, way(kind, target, source), machine.default)
        machine.finish(machine.default)

    @call()
    def cudaMemcpyAsync(dst: Any, src: Any, count: int, kind: Any, stream: Any) -> None:
        target, source = _pointer(dst), _pointer(src)
        queue = machine.stream(_handle(stream))
        machine.copy(target, source, count, way(kind, target, source), queue)

    @call(unsafe=True, legacy=True)
    def cudaMemset(devPtr: Any, value: int, count: int) -> None:
        machine.fill(_pointer(devPtr), value, count, machine.default)
        machine.finish(machine.default)

    @call()
    def cudaMemsetAsync(devPtr: Any, value: int, count: int, stream: Any) -> None:
        machine.fill(_pointer(devPtr), value, count, machine.stream(_handle(stream)))


def graph_functions(machine: Machine, call: Call) -> None:
    """Captures and graphs."""
    graph_t, executable_t = HANDLES["cudaGraph_t"], HANDLES["cudaGraphExec_t"]

    @call()
    def cudaStreamBeginCapture(stream: Any, mode: Any) -> None:
        machine.begin_capture(machine.stream(_handle(stream)), mode.value)

    @call(results=1)
    def cudaStreamEndCapture(stream: Any) -> Any:
        return graph_t(machine.end_capture(machine.stream(_handle(stream))))

    @call(results=1)
    def cudaStreamIsCapturing(stream: Any) -> Any:
        capture = machine.stream(_handle(stream)).capture
        return cudaStreamCaptureStatus(0 if capture is None else 2 if capture.broken else 1)

    @call(results=1)
    def cudaGraphInstantiate(graph: Any, flags: int) -> Any:
        return executable_t(machine.instantiate(_handle(graph)))

    @call(results=1)
    def cudaGraphInstantiateWithFlags(graph: Any, flags: int) -> Any:
        return executable_t(machine.instantiate(_handle(graph)))

    @call(results=2)
    def _instantiate_before_12(graph: Any, pLogBuffer: Any, bufferSize: int) -> Any:
        return executable_t(machine.instantiate(_handle(graph))), HANDLES["cudaGraphNode_t"]()

    @call()
    def cudaGraphLaunch(graphExec: Any, stream: Any) -> None:
        machine.launch(_handle(graphExec), machine.stream(_handle(stream)))

    @call()
    def cudaGraphDestroy(graph: Any) -> None:
        if machine.graphs.pop(_handle(graph), None) is None:
            raise CudaFault(INVALID_VALUE, "no such graph")

    @call()
    def cudaGraphExecDestroy(graphExec: Any) -> None:
        if machine.executables.pop(_handle(graphExec), None) is None:
            raise CudaFault(INVALID_VALUE, "no such executable graph")


def stream_functions(machine: Machine, call: Call) -> None:
    """Streams."""
    stream_t = HANDLES["cudaStream_t"]

    @call(results=1)
    def cudaStreamCreate() -> Any:
        return stream_t(machine.create_stream(blocking=True).handle)

    @call(results=1)
    def cudaStreamCreateWithFlags(flags: int) -> Any:
        if flags not in (0, 1):
            raise CudaFault(INVALID_VALUE, f"stream flags {flags}")
        return stream_t(machine.create_stream(blocking=flags == 0).handle)

    @call(results=1)
    def cudaStreamCreateWithPriority(flags: int, priority: int) -> Any:
        return stream_t(machine.create_stream(blocking=flags == 0).handle)

    @call()
    def cudaStreamDestroy(stream: Any) -> None:
        machine.destroy_stream(_handle(stream))

    @call()
    def cudaStreamSynchronize(stream: Any) -> None:
        machine.synchronize_stream(machine.stream(_handle(stream)))

    @call()
    def cudaStreamQuery(stream: Any) -> None:
        machine.poll(machine.stream(_handle(stream)))

    @call()
    def cudaStreamWaitEvent(stream: Any, event: Any, flags: int) -> None:
        wait_for(machine.stream(_handle(stream)), machine.event(_handle(event)))


def event_functions(machine: Machine, call: Call) -> None:
    """Events."""
    event_t = HANDLES["cudaEvent_t"]

    @call(results=1)
    def cudaEventCreate() -> Any:
        return event_t(machine.create_event(timing=True).handle)

    @call(results=1)
    def cudaEventCreateWithFlags(flags: int) -> Any:
        return event_t(machine.create_event(timing=not flags & 2).handle)

    @call()
    def cudaEventRecord(event: Any, stream: Any) -> None:
        machine.record(machine.event(_handle(event)), machine.stream(_handle(stream)))

    @call()
    def cudaEventSynchronize(event: Any) -> None:
        machine.wait_on_host(machine.event(_handle(event)))

    @call()
    def cudaEventQuery(event: Any) -> None:
        found = machine.event(_handle(event))
        found.refuse_captured()
        machine.poll(found)

    @call(results=1)
    def cudaEventElapsedTime(start: Any, end: Any) -> float:
        return machine.elapsed_ms(machine.event(_handle(start)), machine.event(_handle(end)))

    @call()
    def cudaEventDestroy(event: Any) -> None:
        machine.event(_handle(event)).alive = False
