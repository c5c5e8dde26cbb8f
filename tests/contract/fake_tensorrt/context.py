"""``IExecutionContext``: shapes, addresses, and work on a stream.

Sources: ``pyCore.cpp``; ``NvInferRuntime.h``: ``setTensorAddress`` (256-byte alignment; false for
an unknown name), ``setInputShape`` (false for an unknown input or a dimension that does not
agree), ``enqueueV3`` (every input and output needs an address; using the default stream adds
synchronisation; one stream at a time for a context), ``inferShapes``; developer guide, "CUDA
Graphs": enqueue once after a shape change before capturing (sampleInference.cpp does the same).
"""

from __future__ import annotations

import math
import weakref
from typing import Any

import numpy as np
from contract.cuda_status import (
    CAPTURE_UNSUPPORTED,
    ILLEGAL_ADDRESS,
    CudaFault,
)
from contract.fake_tensorrt.values import ITEM_BYTES, TYPES, invalid_dims
from contract.pybind import takes
from contract.streams import Stream, Work

ALIGNMENT = 256


class IExecutionContext:
    """State: ``_engine``, ``_scratch`` and what :meth:`_begin` sets."""

    def _begin(self) -> None:
        self._shapes: dict[str, list[int]] = {
            name: list(shape)
            for name, _, shape in self._engine._header["inputs"]
            if -1 not in shape
        }
        self._addresses: dict[str, int] = {}
        self._output_shapes: dict[Any, dict[str, list[int]]] = {}
        self._primed: Any = None
        self._in_flight: tuple[Stream, Work] | None = None
        self._profile, self._name, self._debug_sync = 0, "", False
        self._profiler, self._emits, self._warned = None, True, False
        self._verbosity = self._engine.profiling_verbosity

    @property
    def engine(self) -> Any:
        return self._engine

    @property
    def name(self) -> str:
        return self._name

    @name.setter
    @takes("str")
    def name(self, value: str) -> None:
        self._name = value

    @property
    def profiler(self) -> Any:
        return self._profiler

    @profiler.setter
    @takes("IProfiler")
    def profiler(self, value: Any) -> None:
        self._profiler = value

    @property
    def enqueue_emits_profile(self) -> bool:
        return self._emits

    @enqueue_emits_profile.setter
    @takes("bool")
    def enqueue_emits_profile(self, value: bool) -> None:
        self._emits = value

    @property
    def debug_sync(self) -> bool:
        return self._debug_sync

    @debug_sync.setter
    @takes("bool")
    def debug_sync(self, value: bool) -> None:
        self._debug_sync = value

    @property
    def nvtx_verbosity(self) -> Any:
        return self._verbosity

    @nvtx_verbosity.setter
    @takes("ProfilingVerbosity")
    def nvtx_verbosity(self, value: Any) -> None:
        self._verbosity = value

    @property
    def active_optimization_profile(self) -> int:
        return self._profile

    def _error(self, text: str, code: int = 3) -> bool:
        self._world.error(self._engine._logger, code, f"IExecutionContext::{text}")
        return False

    @takes("int", "size")
    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        if not 0 <= profile_index < self._engine.num_optimization_profiles:
            self._error(f"setOptimizationProfileAsync: profile {profile_index}")
            raise RuntimeError("Error in set optimization profile async.")
        if profile_index != self._profile:
            self._profile, self._primed = profile_index, None
        return True

    @takes("str", "dims")
    def set_input_shape(self, name: str, shape: Any) -> bool:
        numbers, found = list(shape), self._engine._tensors().get(name)
        if found is None or not found[2]:
            return self._error(f"setInputShape: {name} is not an input")
        declared = found[1]
        if len(numbers) != len(declared) or any(
            want not in (-1, got) for want, got in zip(declared, numbers, strict=True)
        ):
            return self._error(f"setInputShape: {name}: {numbers} does not agree with {declared}")
        profile = self._engine._header["profiles"][self._profile][name]
        low, high = profile["min"], profile["max"]
        inside = all(a <= n <= b for a, n, b in zip(low, numbers, high, strict=True))
        if not inside:
            return self._error(
                f"setInputShape: {name}: {numbers} is outside of the range of optimization profile "
                f"{self._profile}: {low} to {high}"
            )
        self._shapes[name] = numbers
        return True

    @takes("str", "size")
    def set_tensor_address(self, name: str, memory: int) -> bool:
        if name not in self._engine._tensors():
            return self._error(f"setTensorAddress: invalid tensor name: {name}")
        if memory % ALIGNMENT:
            return self._error(f"setTensorAddress: {name}: {memory:#x} is not 256-byte aligned")
        self._addresses[name] = memory
        return True

    @takes("str")
    def get_tensor_address(self, name: str) -> int:
        return self._addresses.get(name, 0)

    def _unspecified(self) -> list[str]:
        return [name for name, _, _ in self._engine._header["inputs"] if name not in self._shapes]

    @property
    def all_binding_shapes_specified(self) -> bool:
        return not self._unspecified()

    @property
    def all_shape_inputs_specified(self) -> bool:
        return True

    def infer_shapes(self) -> list[str]:
        return self._unspecified()

    def _key(self) -> Any:
        return self._profile, tuple((name, tuple(s)) for name, s in sorted(self._shapes.items()))

    def _all_shapes(self) -> dict[str, list[int]]:
        """Shapes of all tensors once the inputs' are known."""
        header = self._engine._header
        outputs = {name: shape for name, _, shape in header["outputs"]}
        if any(-1 in shape for shape in outputs.values()):
            key = self._key()
            if key not in self._output_shapes:
                zeros = {
                    name: np.zeros(self._shapes[name], TYPES[kind][1])
                    for name, kind, _ in header["inputs"]
                }
                results = self._engine._compute(zeros)
                self._output_shapes[key] = {n: list(a.shape) for n, a in results.items()}
            outputs = self._output_shapes[key]
        return self._shapes | outputs

    @takes("str")
    def get_tensor_shape(self, name: str) -> Any:
        dims, found = self._world.classes["Dims"], self._engine._tensors().get(name)
        if found is None:
            self._error(f"getTensorShape: invalid tensor name: {name}")
            return invalid_dims(dims)
        if not self._unspecified():
            return dims(self._all_shapes()[name])
        return dims(self._shapes.get(name, found[1]))

    @takes("str")
    def get_tensor_strides(self, name: str) -> Any:
        shape = list(self.get_tensor_shape(name))
        return self._world.classes["Dims"]([math.prod(shape[i + 1 :]) for i in range(len(shape))])

    @takes("str")
    def get_max_output_size(self, name: str) -> int:
        kind = self._engine._tensors()[name][0]
        return math.prod(self.get_tensor_shape(name)) * int(ITEM_BYTES[kind])

    @takes("size")
    def execute_async_v3(self, stream_handle: int) -> bool:
        world, machine = self._world, self._world.machine
        world.enqueues += 1
        if missing := self._unspecified():
            return self._error(f"enqueueV3: input dimensions of {missing} are not specified")
        for name, (_, _, is_input) in self._engine._tensors().items():
            if not self._addresses.get(name):
                what = "Address is not set for input tensor"
                if not is_input:
                    what = "Neither address or allocator is set for output tensor"
                return self._error(
                    f"enqueueV3: {what} {name}. Call setTensorAddress before enqueue/execute."
                )
        try:
            machine.enter()
            stream = machine.stream(stream_handle)
            if not self._may_enqueue(stream):
                return False
            work = Work(self._job(), "inference")
            machine.push(stream, work)
            if stream.capture is None:
                self._in_flight, self._primed = (stream, work), self._key()
            if stream is machine.default:
                self._warn_default_stream()
                machine.finish(stream)
        except CudaFault as fault:
            machine.faults.append(f"execute_async_v3: {fault}")
            return self._error(f"enqueueV3: Cuda failure: {fault}", code=1)
        return True

    def _may_enqueue(self, stream: Stream) -> bool:
        if stream.capture is not None and self._primed != self._key():
            self._world.machine.break_capture(stream.capture, "first enqueue of a shape")
            raise CudaFault(
                CAPTURE_UNSUPPORTED, "enqueue once with these shapes before capturing a graph"
            )
        if self._in_flight is not None:
            other, work = self._in_flight
            if other is not stream and not work.done and stream.capture is None:
                self._world.machine.faults.append("one context on two streams at a time")
                return self._error("enqueueV3: the context is in use on another stream")
        return True

    def _warn_default_stream(self) -> None:
        if not self._warned:
            self._warned = True
            self._world.log(
                self._engine._logger,
                "WARNING",
                "Using default stream in enqueueV3() may lead to performance issues due to "
                "additional calls to cudaStreamSynchronize() by TensorRT to ensure correct "
                "synchronization. Please use non-default stream instead.",
            )

    def _job(self) -> Any:
        """The work with the shapes and addresses of now."""
        alive, memory = weakref.ref(self._engine), self._world.machine.memory
        shapes, addresses = self._all_shapes(), dict(self._addresses)
        profiler, header = self._profiler, self._engine._header
        scratch = self._scratch

        def bytes_of(name: str, kind: str) -> int:
            return math.prod(shapes[name]) * int(ITEM_BYTES[kind])

        def run() -> None:
            engine = alive()  # work does not keep its engine
            if engine is None or not scratch.alive:
                raise CudaFault(ILLEGAL_ADDRESS, "the engine or the context was destroyed")
            feeds, targets = {}, {}
            for name, kind, _ in header["inputs"]:
                view = memory.device_view(addresses[name], bytes_of(name, kind), ILLEGAL_ADDRESS)
                feeds[name] = view.view(TYPES[kind][1]).reshape(shapes[name])
            for name, kind, _ in header["outputs"]:
                size = bytes_of(name, kind)
                targets[name] = memory.device_view(addresses[name], size, ILLEGAL_ADDRESS)
            for name, array in engine._compute(feeds).items():
                targets[name][:] = array.reshape(-1).view(np.uint8)
            if profiler is not None:
                for layer in header["layers"]:
                    profiler.report_layer_time(layer, 0.01)

        return run

    def __del__(self) -> None:
        self._scratch.alive = False
