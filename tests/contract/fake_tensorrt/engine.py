"""``ICudaEngine`` and ``EngineInspector``.

Sources: ``pyCore.cpp``; ``NvInferRuntime.h``: an unknown name gives ``TensorIOMode::kNONE``,
``DataType::kFLOAT`` and invalid dimensions (``nbDims`` -1), and an error in the log;
``getProfileShape`` is for inputs only; ``createExecutionContext`` returns null when the device's
memory does not suffice.  JSON of the inspector: ``Layers`` and ``Bindings``, ``I/O Tensors`` in
11.
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import onnxruntime
from contract.cuda_status import CudaFault
from contract.fake_tensorrt.values import ITEM_BYTES, TYPES, invalid_dims
from contract.pybind import made, takes

_SESSION_TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(int8)": np.int8,
    "tensor(uint8)": np.uint8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
}


class ICudaEngine:
    """State: ``_header``, ``_model``, ``_plan``, ``_weights``, ``_logger``, ``_made``."""

    def _tensors(self) -> dict[str, tuple[str, list[int], bool]]:
        """Name -> type, shape, whether it is an input; inputs first."""
        header = self._header
        return {name: (kind, shape, True) for name, kind, shape in header["inputs"]} | {
            name: (kind, shape, False) for name, kind, shape in header["outputs"]
        }

    def _find(self, name: str, what: str) -> tuple[str, list[int], bool] | None:
        found = self._tensors().get(name)
        if found is None:
            self._world.error(self._logger, 3, f"ICudaEngine::{what}: invalid tensor name: {name}")
        return found

    @property
    def num_io_tensors(self) -> int:
        return len(self._tensors())

    @takes("int")
    def get_tensor_name(self, index: int) -> str | None:
        names = list(self._tensors())
        if 0 <= index < len(names):
            return names[index]
        self._world.error(self._logger, 3, f"ICudaEngine::getIOTensorName: index {index}")
        return None

    def __getitem__(self, index: int) -> str:
        names = list(self._tensors())
        if not -len(names) <= index < len(names):
            raise IndexError("Out of bounds")
        return names[index]

    @takes("str")
    def get_tensor_mode(self, name: str) -> Any:
        modes, found = self._world.classes["TensorIOMode"], self._find(name, "getTensorIOMode")
        return modes.NONE if found is None else modes.INPUT if found[2] else modes.OUTPUT

    @takes("str")
    def get_tensor_dtype(self, name: str) -> Any:
        found = self._find(name, "getTensorDataType")
        return self._world.classes["DataType"].__members__[found[0] if found else "FLOAT"]

    @takes("str")
    def get_tensor_shape(self, name: str) -> Any:
        dims, found = self._world.classes["Dims"], self._find(name, "getTensorShape")
        return invalid_dims(dims) if found is None else dims(found[1])

    @takes("str")
    def get_tensor_location(self, name: str) -> Any:
        return self._world.classes["TensorLocation"].DEVICE

    @takes("str", "int")
    def get_tensor_format(self, name: str, profile_index: int = 0) -> Any:
        return self._world.classes["TensorFormat"].LINEAR

    @takes("str", "int")
    def get_tensor_format_desc(self, name: str, profile_index: int = 0) -> str:
        found = self._find(name, "getTensorFormatDesc")
        return f"Row-major linear {found[0]} format (kLINEAR)" if found else ""

    @takes("str", "int")
    def get_tensor_bytes_per_component(self, name: str, profile_index: int = 0) -> int:
        found = self._find(name, "getTensorBytesPerComponent")
        return int(ITEM_BYTES[found[0]]) if found else -1

    @takes("str", "int")
    def get_tensor_components_per_element(self, name: str, profile_index: int = 0) -> int:
        return -1

    @takes("str", "int")
    def get_tensor_vectorized_dim(self, name: str, profile_index: int = 0) -> int:
        return -1

    @takes("str", "int")
    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[Any]:
        dims, profiles = self._world.classes["Dims"], self._header["profiles"]
        known = 0 <= profile_index < len(profiles) and name in profiles[profile_index]
        if not known:
            self._world.error(self._logger, 3, f"getProfileShape: {name}, profile {profile_index}")
            return [invalid_dims(dims) for _ in range(3)]
        return [dims(profiles[profile_index][name][key]) for key in ("min", "opt", "max")]

    @takes("str")
    def is_shape_inference_io(self, name: str) -> bool:
        return False

    @property
    def num_optimization_profiles(self) -> int:
        return len(self._header["profiles"])

    @property
    def num_layers(self) -> int:
        return len(self._header["layers"])

    @property
    def name(self) -> str:
        return "Unnamed Network 0"

    @property
    def refittable(self) -> bool:
        return "REFIT" in self._header["flags"]

    @property
    def engine_capability(self) -> Any:
        return self._world.classes["EngineCapability"].STANDARD

    @property
    def has_implicit_batch_dimension(self) -> bool:
        return False

    @property
    def num_aux_streams(self) -> int:
        return self._header["aux_streams"]

    @property
    def profiling_verbosity(self) -> Any:
        return self._world.classes["ProfilingVerbosity"].__members__[self._header["profiling"]]

    @property
    def hardware_compatibility_level(self) -> Any:
        levels = self._world.classes["HardwareCompatibilityLevel"].__members__
        return levels[self._header["hardware_compatibility"]]

    def _activation_bytes(self) -> int:
        """Memory of a context: four times its largest inputs and outputs."""
        total = 0
        for kind, shape, _ in self._tensors().values():
            total += math.prod(max(number, 1) for number in shape) * int(ITEM_BYTES[kind])
        for profile in self._header["profiles"]:
            total += sum(4 * math.prod(shapes["max"]) for shapes in profile.values())
        return 4 * total

    @property
    def device_memory_size(self) -> int:
        return self._activation_bytes()

    @property
    def device_memory_size_v2(self) -> int:
        return self._activation_bytes()

    @takes("int")
    def get_device_memory_size_for_profile(self, profile_index: int) -> int:
        return self._activation_bytes()

    @takes("int")
    def get_device_memory_size_for_profile_v2(self, profile_index: int) -> int:
        return self._activation_bytes()

    def serialize(self) -> Any:
        return self._world.classes["IHostMemory"](self._plan)

    @takes("ExecutionContextAllocationStrategy")
    def create_execution_context(self, strategy: Any = None, runtime_config: Any = None) -> Any:
        world = self._world
        needed = 0
        if strategy is None or strategy.name != "USER_MANAGED":
            needed = self._activation_bytes()
        try:
            scratch = world.machine.memory.allocate(needed)
        except CudaFault as refused:
            world.error(
                self._logger,
                1,
                f"out of memory: Requested amount of GPU memory ({needed} bytes) could not be "
                f"allocated. There may not be enough free memory for allocation to succeed. "
                f"{refused.why}",
            )
            return None
        context = made(world.classes["IExecutionContext"], engine=self, scratch=scratch)
        context._begin()
        return context

    def create_engine_inspector(self) -> Any:
        return made(self._world.classes["EngineInspector"], engine=self)

    def _session(self) -> onnxruntime.InferenceSession:
        """ONNX Runtime's session, made at the first inference."""
        if self._made is None:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            options.log_severity_level = 3
            self._made = onnxruntime.InferenceSession(
                self._model, options, providers=["CPUExecutionProvider"]
            )
        return self._made

    def _compute(self, feeds: dict[str, Any]) -> dict[str, Any]:
        """Outputs by name, in the types of the engine."""
        session = self._session()
        cast = {
            end.name: feeds[end.name].astype(_SESSION_TYPES[end.type], copy=False)
            for end in session.get_inputs()
        }
        names = [end.name for end in session.get_outputs()]
        results = dict(zip(names, session.run(names, cast), strict=True))
        return {
            name: np.ascontiguousarray(array.astype(TYPES[self._tensors()[name][0]][1], copy=False))
            for name, array in results.items()
        }

    def __del__(self) -> None:
        self._weights.alive = False


class EngineInspector:
    """What the engine consists of."""

    @property
    def execution_context(self) -> Any:
        return getattr(self, "_context", None)

    @execution_context.setter
    @takes("IExecutionContext?")
    def execution_context(self, value: Any) -> None:
        self._context = value

    def _layer(self, index: int) -> Any:
        header = self._engine._header
        name = header["layers"][index]
        if header["profiling"] == "DETAILED":
            return {"Name": name, "LayerType": "kernel", "Inputs": [], "Outputs": []}
        return f"Layer{index}" if header["profiling"] == "NONE" else name

    @takes("int", "LayerInformationFormat")
    def get_layer_information(self, layer_index: int, format: Any) -> str:
        layer = self._layer(layer_index)
        return json.dumps(layer) if format.name == "JSON" else str(layer)

    @takes("LayerInformationFormat")
    def get_engine_information(self, format: Any) -> str:
        engine = self._engine
        layers = [self._layer(index) for index in range(engine.num_layers)]
        if format.name != "JSON":
            return "\n".join(map(str, layers)) + "\n"
        key = "I/O Tensors" if self._world.major >= 11 else "Bindings"
        return json.dumps({"Layers": layers, key: list(engine._tensors())}, indent=1)
