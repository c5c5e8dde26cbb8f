"""``Builder``: a network and a configuration become a plan, or None and an error in the log.

Sources: ``pyCore.cpp``; ``NvInfer.h`` (``NetworkDefinitionCreationFlag``, ``BuilderFlag``: a
strongly typed network must not have precision flags; weak typing needs the flag of every
precision that the network asks for); texts of errors from NVIDIA/TensorRT issues (INT8 without
scales: "Calibration failure occurred with no scaling factors detected"; a profile that is
missing).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
from contract.fake_tensorrt.logger import tell
from contract.fake_tensorrt.plan import write_plan
from contract.fake_tensorrt.registry import read_plugin_library
from contract.pybind import made, takes

PRECISION_FLAGS = ("FP16", "BF16", "INT8", "FP8", "INT4", "FP4")
_CONSTRAINTS = ("OBEY_PRECISION_CONSTRAINTS", "PREFER_PRECISION_CONSTRAINTS")


class BuildError(Exception):
    """Why there is no plan: TensorRT's code and text."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Builder:
    """State: ``_logger``, ``_threads``."""

    @takes("ILogger")
    def _init(self, logger: Any) -> None:
        world = self._world
        if world.machine.device is None:
            world.error(logger, 6, "CUDA initialization failure with error: 100")
            raise TypeError("pybind11::init(): factory function returned nullptr")
        self._logger, self._threads = logger, 1

    @takes("size")
    def create_network(self, flags: int = 0) -> Any:
        world = self._world
        known = world.classes["NetworkDefinitionCreationFlag"].__members__.values()
        if flags >> (1 + max(map(int, known))):
            world.error(self._logger, 3, f"createNetworkV2: unknown flags {flags:#x}")
            return None
        state = {
            "model": None,
            "inputs": [],
            "outputs": [],
            "layers": [],
            "name": "Unnamed Network 0",
        }
        return made(world.classes["INetworkDefinition"], flags=flags, builder=self, **state)

    def create_builder_config(self) -> Any:
        config = made(self._world.classes["IBuilderConfig"], logger=self._logger)
        config._begin()
        return config

    def create_optimization_profile(self) -> Any:
        return made(self._world.classes["IOptimizationProfile"], shapes={}, extra=1.0)

    @property
    def logger(self) -> Any:
        return self._logger

    @property
    def max_threads(self) -> int:
        return self._threads

    @max_threads.setter
    @takes("int")
    def max_threads(self, value: int) -> None:
        self._threads = value

    @property
    def num_DLA_cores(self) -> int:
        return self._world.dla_cores

    @property
    def max_DLA_batch_size(self) -> int:
        return 4096 if self._world.dla_cores else 1

    @property
    def platform_has_tf32(self) -> bool:
        return self._world.machine.device.sm >= (8, 0)

    @property
    def platform_has_fast_fp16(self) -> bool:
        return self._world.machine.device.sm >= (7, 0)

    @property
    def platform_has_fast_int8(self) -> bool:
        return self._world.machine.device.sm >= (6, 1)

    def get_plugin_registry(self) -> Any:
        return self._world.registry

    def reset(self) -> None:
        self._threads = 1

    @takes("INetworkDefinition", "IBuilderConfig")
    def is_network_supported(self, network: Any, config: Any) -> bool:
        return network._model is not None

    @takes("INetworkDefinition", "IBuilderConfig")
    def build_serialized_network(self, network: Any, config: Any, kernel_text: Any = None) -> Any:
        world = self._world
        try:
            header, model = self._plan(network, config)
            if not self._time_layers(network, config):
                world.log(self._logger, "ERROR", "The build was cancelled by the progress monitor")
                return None
        except BuildError as refused:
            world.error(self._logger, refused.code, str(refused))
            return None
        world.builds.append(header)
        return world.classes["IHostMemory"](write_plan(header, model))

    def _plan(self, network: Any, config: Any) -> tuple[dict[str, Any], bytes]:
        if network._model is None or not network._outputs:
            raise BuildError(4, "Network must have at least one output")
        typed = self._check_precision(network, config)
        world, device = self._world, self._world.machine.device
        libraries = {path: Path(path).read_bytes() for path in config._plugins}
        lean = config._has("VERSION_COMPATIBLE") and not config._has("EXCLUDE_LEAN_RUNTIME")
        flags = world.classes["BuilderFlag"].__members__
        header = {
            "tensorrt": world.generation.version,
            "sm": list(device.sm),
            "device": device.name,
            "hardware_compatibility": config._hardware.name if config._hardware else "NONE",
            "version_compatible": config._has("VERSION_COMPATIBLE"),
            "lean_runtime": lean,
            "host_code": lean or bool(libraries),
            "strongly_typed": typed,
            "flags": sorted(name for name in flags if config._has(name)),
            "optimization_level": config._level,
            "profiling": config._verbosity.name,
            "pools": config._pools,
            "profiles": self._profiles(network, config),
            "precisions": {
                layer._name: layer._precision.name for layer in network._layers if layer._precision
            },
            "inputs": [[t._name, t._type_name, t._numbers] for t in network._inputs],
            "outputs": [[t._name, t._type_name, t._numbers] for t in network._outputs],
            "layers": [layer._name for layer in network._layers],
            "aux_streams": max(config._aux_streams, 0),
            "plugins": self._needed_plugins(network._model, libraries),
        }
        return header, self._with_functions(network._model, libraries)

    def _needed_plugins(
        self, model: onnx.ModelProto, libraries: dict[str, bytes]
    ) -> list[list[str]]:
        """Creators that the engine looks up when it is loaded; those inside it are left out."""
        inside = {key for content in libraries.values() for key in read_plugin_library(content)}
        used = {node.op_type for node in model.graph.node}
        return [list(key) for key in self._world.creators if key[0] in used and key not in inside]

    def _with_functions(self, model: onnx.ModelProto, libraries: dict[str, bytes]) -> bytes:
        """The model with an ONNX function in place of each plugin that it uses."""
        whole = onnx.ModelProto()
        whole.CopyFrom(model)
        present = {(f.domain, f.name) for f in whole.functions}
        known = dict(self._world.creators)
        for content in libraries.values():
            known |= read_plugin_library(content)
        domains = {entry.domain for entry in whole.opset_import}
        for node in model.graph.node:
            for (name, _, _), function in known.items():
                if name == node.op_type and function and (node.domain, name) not in present:
                    copy = onnx.FunctionProto()
                    copy.CopyFrom(function)
                    copy.domain = node.domain
                    whole.functions.append(copy)
                    present.add((node.domain, name))
                    if node.domain not in domains:
                        whole.opset_import.append(onnx.helper.make_opsetid(node.domain, 1))
        return whole.SerializeToString()

    def _check_precision(self, network: Any, config: Any) -> bool:
        """Whether the network is strongly typed; refuse flags that contradict its types."""
        flag = self._world.classes["NetworkDefinitionCreationFlag"].__members__.get(
            "STRONGLY_TYPED"
        )
        typed = not self._world.generation.weak_typing or (
            flag is not None and bool(network._flags >> int(flag) & 1)
        )
        if typed:
            wrong = [f for f in (*PRECISION_FLAGS, *_CONSTRAINTS) if config._has(f)]
            if wrong:
                raise BuildError(
                    4, f"strongly typed network must not have precision flags, got {wrong}"
                )
            if any(layer._precision or layer._output_types for layer in network._layers):
                raise BuildError(4, "layer precision is set in a strongly typed network")
            return True
        asked = _asked_precisions(network)
        for name in sorted(asked):
            if not config._has(name):
                raise BuildError(
                    4,
                    f"{name.lower()} precision has been set for a layer or layer output, but "
                    f"{name.lower()} is not configured in the builder",
                )
        if config._has("INT8") and "INT8" not in asked and config._calibrator is None:
            raise BuildError(
                4,
                "Calibration failure occurred with no scaling factors detected. This could be due "
                "to no int8 calibrator or insufficient custom scales for network layers.",
            )
        return False

    def _profiles(self, network: Any, config: Any) -> list[dict[str, Any]]:
        """Shapes of each profile; one of the static shapes where none is given."""
        dynamic = [tensor for tensor in network._inputs if -1 in tensor._numbers]
        if dynamic and not config._profiles:
            raise BuildError(
                4,
                "Network has dynamic or shape inputs, but no optimization profile has been "
                "defined.",
            )
        found = []
        for number, profile in enumerate(config._profiles or [None]):
            shapes = {}
            for tensor in network._inputs:
                given = profile._shapes.get(tensor._name) if profile else None
                if given is None:
                    if -1 in tensor._numbers:
                        raise BuildError(
                            4, f"{tensor._name}: optimization profile {number} lacks dimensions"
                        )
                    given = dict.fromkeys(("min", "opt", "max"), tensor._numbers)
                self._check_profile(tensor, given, number)
                shapes[tensor._name] = given
            found.append(shapes)
        return found

    @staticmethod
    def _check_profile(tensor: Any, given: dict[str, list[int]], number: int) -> None:
        for key, shape in given.items():
            if len(shape) != len(tensor._numbers):
                raise BuildError(4, f"{tensor._name}: {key} of profile {number} has another rank")
            for axis, (want, got) in enumerate(zip(tensor._numbers, shape, strict=True)):
                if want not in (-1, got):
                    raise BuildError(
                        4,
                        f"{tensor._name}: for dimension number {axis} in profile {number} does not "
                        f"match network definition (got {key}={got}), expected {want}",
                    )

    def _time_layers(self, network: Any, config: Any) -> bool:
        """Fill the timing cache and report progress; False when the monitor stops the build."""
        world, monitor = self._world, config._monitor
        attached = config._cache is not None and not config._has("DISABLE_TIMING_CACHE")
        entries = config._cache._entries if attached else {}  # else a cache of this build only
        phases = [("Building Engine", None, 2), ("Timing", "Building Engine", len(network._layers))]
        for name, parent, steps in phases:
            if monitor is not None:
                tell(monitor, "phase_start", name, parent, steps)
        go_on = True
        for step, layer in enumerate(network._layers):
            key = f"{layer._op} {layer._name}"
            world.timing_hits += key in entries
            world.timing_misses += key not in entries
            if key not in entries and config._has("ERROR_ON_TIMING_CACHE_MISS"):
                raise BuildError(2, f"timing cache miss: {key}")
            entries.setdefault(key, 0.01 * (1 + step))
            if monitor is not None and not tell(monitor, "step_complete", "Timing", step):
                go_on = False
                break
        for step in range(2 if go_on and monitor is not None else 0):
            go_on = go_on and tell(monitor, "step_complete", "Building Engine", step)
        for name, _, _ in reversed(phases):
            if monitor is not None:
                tell(monitor, "phase_finish", name)
        return go_on


def _asked_precisions(network: Any) -> set[str]:
    """Precision flags that a weakly typed network needs: of its tensors and of its layers."""
    tensors = [
        tensor
        for layer in network._layers
        for tensor in (*layer._outputs, *layer._inputs)
        if layer._op != "Constant"
    ]
    kinds = {tensor._type_name for tensor in [*tensors, *network._inputs, *network._outputs]}
    for layer in network._layers:
        kinds |= {
            dtype.name for dtype in (layer._precision, *layer._output_types.values()) if dtype
        }
    quantised = any(layer._op == "QuantizeLinear" for layer in network._layers)
    return ({"FP16"} if "HALF" in kinds else set()) | ({"INT8"} if quantised else set())
