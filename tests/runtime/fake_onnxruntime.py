"""An ``onnxruntime`` with GPUs, as documented, that computes with the real one on the processor.

What differs between a processor and a GPU in that interface is here as it is there: binding an
input copies it to the device at once (``IOBinding::BindInput``), a provider that does not start is
dropped with no more than a printed line, and a failing session is opened again on the processor
unless ``enable_fallback=0``.
"""

from __future__ import annotations

import ctypes
import types
from collections import Counter
from typing import Any

import numpy as np
import onnxruntime as real

CUDA, RTX, CPU = (
    "CUDAExecutionProvider",
    "NvTensorRTRTXExecutionProvider",
    "CPUExecutionProvider",
)


class FakeOptions(real.SessionOptions):
    """Session options that remember what they were told."""

    def __init__(self) -> None:
        super().__init__()
        self.entries: dict[str, str] = {}
        self.devices: list[Any] = []

    def add_session_config_entry(self, key: str, value: str) -> None:
        self.entries[key] = value

    def add_provider_for_devices(self, devices: list[Any], options: dict[str, str]) -> None:
        self.devices = devices


class FakeBinding:
    """I/O binding of a session on a device: inputs are copied when they are bound."""

    def __init__(self) -> None:
        self.feed: dict[str, Any] = {}
        self.results: dict[str, Any] = {}

    @staticmethod
    def _view(dtype: Any, shape: Any, pointer: int) -> Any:
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        return np.frombuffer((ctypes.c_char * size).from_address(pointer), dtype).reshape(shape)

    def bind_input(self, name: str, device: str, number: int, *memory: Any) -> None:
        assert (device, number) == ("cpu", 0)
        self.feed[name] = self._view(*memory).copy()

    def bind_output(self, name: str, device: str, number: int, *memory: Any) -> None:
        self.results[name] = self._view(*memory)


class FakeOnnxRuntime(types.ModuleType):
    """The package.

    Attributes:
        built_in: Providers that this build says it has.
        starts: Providers that come up when a session is opened.
        takes: Part of the nodes that the GPU takes.
        rtx_devices: GPUs that NVIDIA's plug-in finds.
    """

    def __init__(self, built_in: tuple[str, ...] = (CUDA, CPU), **changes: Any) -> None:
        super().__init__("onnxruntime")
        self.__version__ = "1.31.1"
        self.__spec__ = real.__spec__
        self.GraphOptimizationLevel = real.GraphOptimizationLevel
        self.SessionOptions = FakeOptions
        self.built_in = built_in
        self.starts = {CUDA, RTX}
        self.takes = 1.0
        self.rtx_devices = 1
        self.libraries: dict[str, str] = {}
        self.sessions: list[FakeSession] = []
        self.preloaded = 0
        for name, value in changes.items():
            setattr(self, name, value)

    def get_available_providers(self) -> list[str]:
        return list(self.built_in)

    def preload_dlls(self) -> None:
        self.preloaded += 1
        print("Failed to load libcudnn.so.9")

    def register_execution_provider_library(self, name: str, path: str) -> None:
        if name in self.libraries:
            raise RuntimeError(f"{name} is already registered")
        if not self.rtx_devices:
            raise RuntimeError("[ONNXRuntimeError] : 1 : FAIL : libcuda.so.1: cannot open")
        self.libraries[name] = path

    def get_ep_devices(self) -> list[Any]:
        devices = [types.SimpleNamespace(ep_name=CPU)]
        if self.libraries:
            devices += [types.SimpleNamespace(ep_name=RTX)] * max(0, self.rtx_devices)
        return devices

    def InferenceSession(self, path: str, options: FakeOptions, **settings: Any) -> FakeSession:
        session = FakeSession(self, path, options, **settings)
        self.sessions.append(session)
        return session


class FakeSession:
    """A session whose list of providers is what came up."""

    def __init__(
        self, package: FakeOnnxRuntime, path: str, options: FakeOptions, **settings: Any
    ) -> None:
        self.options, self.settings, self._package = options, settings, package
        asked = [
            entry if isinstance(entry, str) else entry[0] for entry in settings.get("providers", ())
        ]
        asked += [device.ep_name for device in options.devices]
        self._active = [name for name in asked if name in package.starts] + [CPU]
        self._session = real.InferenceSession(path, providers=[CPU])
        self.get_inputs, self.get_outputs = self._session.get_inputs, self._session.get_outputs
        self.io_binding = FakeBinding

    def get_providers(self) -> list[str]:
        return self._active

    def get_provider_graph_assignment_info(self) -> list[Any]:
        there = round(10 * self._package.takes)
        counts = Counter({self._active[0]: there, CPU: 10 - there})
        nodes = {name: [None] * count for name, count in counts.items()}
        return [
            types.SimpleNamespace(ep_name=name, get_nodes=lambda found=found: found)
            for name, found in nodes.items()
            if found
        ]

    def run_with_iobinding(self, binding: FakeBinding) -> None:
        names = list(binding.results)
        for name, value in zip(names, self._session.run(names, binding.feed), strict=True):
            binding.results[name][...] = value
