"""Enumerations, constants and handle types of CUDA's Python bindings.

Sources: CUDA Runtime API and Driver API (values); NVIDIA/cuda-python ``cuda_bindings/cuda/``
``bindings/runtime.pyx.in`` (12.9): enumerations are ``IntEnum``, handles objects with ``int()``.
"""

from __future__ import annotations

from enum import IntEnum

from contract.cuda_status import DRIVER_NAMES, RUNTIME_NAMES

cudaError_t = IntEnum("cudaError_t", {name: code for code, name in RUNTIME_NAMES.items()})
CUresult = IntEnum("CUresult", {name: code for code, name in DRIVER_NAMES.items()})
cudaMemcpyKind = IntEnum(
    "cudaMemcpyKind",
    {
        "cudaMemcpyHostToHost": 0,
        "cudaMemcpyHostToDevice": 1,
        "cudaMemcpyDeviceToHost": 2,
        "cudaMemcpyDeviceToDevice": 3,
        "cudaMemcpyDefault": 4,
    },
)
cudaStreamCaptureMode = IntEnum(
    "cudaStreamCaptureMode",
    {
        "cudaStreamCaptureModeGlobal": 0,
        "cudaStreamCaptureModeThreadLocal": 1,
        "cudaStreamCaptureModeRelaxed": 2,
    },
)
cudaStreamCaptureStatus = IntEnum(
    "cudaStreamCaptureStatus",
    {
        "cudaStreamCaptureStatusNone": 0,
        "cudaStreamCaptureStatusActive": 1,
        "cudaStreamCaptureStatusInvalidated": 2,
    },
)
cudaDeviceAttr = IntEnum(
    "cudaDeviceAttr",
    {
        "cudaDevAttrClockRate": 13,
        "cudaDevAttrMultiProcessorCount": 16,
        "cudaDevAttrIntegrated": 18,
        "cudaDevAttrCanMapHostMemory": 19,
        "cudaDevAttrMemoryClockRate": 36,
        "cudaDevAttrGlobalMemoryBusWidth": 37,
        "cudaDevAttrL2CacheSize": 38,
        "cudaDevAttrUnifiedAddressing": 41,
        "cudaDevAttrComputeCapabilityMajor": 75,
        "cudaDevAttrComputeCapabilityMinor": 76,
    },
)
_DRIVER_ATTRIBUTES = {
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
CUdevice_attribute = IntEnum(
    "CUdevice_attribute",
    {f"CU_DEVICE_ATTRIBUTE_{name}": number for name, number in _DRIVER_ATTRIBUTES.items()},
)
CONSTANTS = {
    "cudaHostAllocDefault": 0,
    "cudaHostAllocPortable": 1,
    "cudaHostAllocMapped": 2,
    "cudaHostAllocWriteCombined": 4,
    "cudaStreamDefault": 0,
    "cudaStreamNonBlocking": 1,
    "cudaStreamLegacy": 1,
    "cudaStreamPerThread": 2,
    "cudaEventDefault": 0,
    "cudaEventBlockingSync": 1,
    "cudaEventDisableTiming": 2,
    "cudaDeviceScheduleAuto": 0,
    "cudaDeviceScheduleSpin": 1,
    "cudaDeviceScheduleYield": 2,
    "cudaDeviceScheduleBlockingSync": 4,
    "cudaDeviceMapHost": 8,
}


class Handle:
    """``cudaStream_t`` and its like: an object around an address, made from an integer too."""

    def __init__(self, init_value: int = 0) -> None:
        self._value = int(init_value)

    def __int__(self) -> int:
        return self._value

    def getPtr(self) -> int:
        """Address of the handle."""
        return id(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Handle) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._value:#x}>"


_HANDLES = ("cudaStream_t", "cudaEvent_t", "cudaGraph_t", "cudaGraphExec_t", "cudaGraphNode_t")
HANDLES = {name: type(name, (Handle,), {}) for name in _HANDLES}
