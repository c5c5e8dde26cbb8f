"""The modules of cuda-python over a :class:`~contract.machine.Machine`.

``cuda.bindings.runtime`` and ``cuda.bindings.driver`` (12.6 and newer), ``cuda.cudart`` and
``cuda.cuda`` (older; gone in 13).  Every function returns a tuple whose first element is the
error; nothing raises except wrong Python types.

Sources: see cuda_python_functions.py; ``cuda_bindings/cuda/bindings/driver.pyx.in`` for the few
functions of the driver API.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any

from contract.cuda_python_functions import (
    copy_functions,
    device_functions,
    event_functions,
    graph_functions,
    memory_functions,
    stream_functions,
)
from contract.cuda_python_types import (
    CONSTANTS,
    HANDLES,
    CUdevice_attribute,
    CUresult,
    Handle,
    cudaDeviceAttr,
    cudaError_t,
    cudaMemcpyKind,
    cudaStreamCaptureMode,
    cudaStreamCaptureStatus,
)
from contract.cuda_status import DRIVER_NAMES, INVALID_DEVICE, MEANINGS, RUNTIME_NAMES, CudaFault
from contract.machine import Machine
from contract.pybind import NotModelledError


def runtime_functions(machine: Machine) -> dict[str, Any]:
    """All functions of ``cuda.bindings.runtime`` that are modelled."""
    functions: dict[str, Any] = {}

    def call(
        unsafe: bool = False, results: int = 0, legacy: bool = False
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Register a function; its result follows the error, None for each result on failure."""

        def register(function: Callable[..., Any]) -> Callable[..., Any]:
            @functools.wraps(function)
            def guarded(*given: Any, **named: Any) -> tuple[Any, ...]:
                try:
                    machine.enter(unsafe, function.__name__, legacy)
                    result = function(*given, **named)
                except CudaFault as fault:
                    machine.faults.append(f"{function.__name__}: {fault}")
                    return (cudaError_t(fault.code), *([None] * results))
                values = () if results == 0 else result if results > 1 else (result,)
                return (cudaError_t.cudaSuccess, *values)

            functions[function.__name__] = guarded
            return guarded

        return register

    for group in (
        device_functions,
        memory_functions,
        copy_functions,
        stream_functions,
        event_functions,
        graph_functions,
    ):
        group(machine, call)
    if machine.device is not None and machine.device.runtime < 12000:
        functions["cudaGraphInstantiate"] = functions.pop("_instantiate_before_12")
    else:
        del functions["_instantiate_before_12"]

    def cudaGetErrorName(error: Any) -> tuple[Any, bytes]:
        return cudaError_t.cudaSuccess, RUNTIME_NAMES.get(error.value, "unrecognized").encode()

    def cudaGetErrorString(error: Any) -> tuple[Any, bytes]:
        return cudaError_t.cudaSuccess, MEANINGS.get(
            error.value, "unrecognized error code"
        ).encode()

    functions |= {f.__name__: f for f in (cudaGetErrorName, cudaGetErrorString)}
    return functions


def driver_functions(machine: Machine) -> dict[str, Any]:
    """The few functions of ``cuda.bindings.driver`` that tell what the device is."""

    def result(*values: Any, code: int = 0) -> tuple[Any, ...]:
        return (CUresult(code), *values)

    def cuInit(Flags: int) -> tuple[Any, ...]:
        return result(code=0 if machine.device else 100)

    def cuDriverGetVersion() -> tuple[Any, ...]:
        return result(machine.device.driver if machine.device else 0)

    def cuDeviceGetCount() -> tuple[Any, ...]:
        return result(1)

    def cuDeviceGet(ordinal: int) -> tuple[Any, ...]:
        if ordinal:
            return result(None, code=INVALID_DEVICE)
        return result(type("CUdevice", (Handle,), {})(0))

    def cuDeviceGetName(length: int, dev: Any) -> tuple[Any, ...]:
        return result(machine.device.name.encode()[: length - 1])

    def cuDeviceGetAttribute(attrib: Any, dev: Any) -> tuple[Any, ...]:
        return result(machine.attribute(attrib.value))

    def cuGetErrorName(error: Any) -> tuple[Any, ...]:
        return result(DRIVER_NAMES[error.value].encode())

    def cuGetErrorString(error: Any) -> tuple[Any, ...]:
        return result(MEANINGS[error.value].encode())

    found = locals()
    return {name: value for name, value in found.items() if name.startswith("cu")}


class _Module(types.ModuleType):
    """Names of the API that the test-bed lacks are an error of their own, not an AttributeError."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("cu") and self.__name__.split(".")[-1] in (
            "runtime",
            "cudart",
            "driver",
        ):
            raise NotModelledError(f"{self.__name__}.{name}: extend fake_cuda_python.py")
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")


def _module(
    name: str, content: dict[str, Any], parent: types.ModuleType | None
) -> types.ModuleType:
    module = _Module(name)
    module.__dict__.update(content)
    module.__path__ = []
    if parent is not None:
        setattr(parent, name.rpartition(".")[2], module)
    return module


def cuda_python_modules(machine: Machine, old: bool) -> dict[str, types.ModuleType]:
    """``sys.modules`` entries.

    Args:
        machine: What the modules drive.
        old: cuda-python before 12.6: ``cuda.cudart`` and ``cuda.cuda`` only.
    """
    runtime = {
        **CONSTANTS,
        **HANDLES,
        **runtime_functions(machine),
        "cudaError_t": cudaError_t,
        "cudaMemcpyKind": cudaMemcpyKind,
        "cudaStreamCaptureMode": cudaStreamCaptureMode,
        "cudaStreamCaptureStatus": cudaStreamCaptureStatus,
        "cudaDeviceAttr": cudaDeviceAttr,
    }
    driver = {
        **driver_functions(machine),
        "CUresult": CUresult,
        "CUdevice_attribute": CUdevice_attribute,
    }
    version = machine.device.runtime if machine.device else 12060
    text = f"{version // 1000}.{version % 1000 // 10}.0"
    root = _module("cuda", {} if not old else {"__version__": text}, None)
    modules = {"cuda": root}
    if not old:
        bindings = _module("cuda.bindings", {"__version__": text}, root)
        modules |= {
            "cuda.bindings": bindings,
            "cuda.bindings.runtime": _module("cuda.bindings.runtime", runtime, bindings),
            "cuda.bindings.driver": _module("cuda.bindings.driver", driver, bindings),
        }
    if old or version < 13000:
        modules |= {
            "cuda.cudart": _module("cuda.cudart", runtime, root),
            "cuda.cuda": _module("cuda.cuda", driver, root),
        }
    return modules
