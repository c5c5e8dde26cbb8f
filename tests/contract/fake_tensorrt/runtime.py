"""``Runtime``: bytes become an engine, or None and an error in the log.

Sources: ``pyCore.cpp``; ``NvInferRuntime.h`` (``deserializeCudaEngine`` returns null on any
failure; ``setEngineHostCodeAllowed``: false from the start; ``loadRuntime`` returns null on
failure).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from contract.cuda_status import CudaFault
from contract.fake_tensorrt.plan import PlanError, check_compatible, read_plan
from contract.pybind import made, takes


class Runtime:
    """State: ``_logger``, ``_host_code``."""

    @takes("ILogger")
    def _init(self, logger: Any) -> None:
        world = self._world
        if world.machine.device is None:
            world.error(logger, 6, "CUDA initialization failure with error: 100")
            raise TypeError("pybind11::init(): factory function returned nullptr")
        self._logger, self._host_code, self._threads = logger, False, 1
        self._dla_core = -1

    @takes("buffer")
    def deserialize_cuda_engine(self, serialized_engine: bytes) -> Any:
        world = self._world
        world.deserialisations += 1
        try:
            header, model = read_plan(serialized_engine)
            device = world.machine.device
            check_compatible(header, world.generation, device, self._host_code)
            if header["device"] != device.name:
                world.log(
                    self._logger,
                    "WARNING",
                    "Using an engine plan file across different models of devices is not "
                    "recommended and is likely to affect performance or even cause errors.",
                )
            for name, version, namespace in header["plugins"]:
                if (name, version, namespace) not in world.creators:
                    raise PlanError(
                        1,
                        "Serialization assertion creator failed. Cannot deserialize plugin since "
                        f"corresponding IPluginCreator not found in Plugin Registry: {name}",
                    )
            weights = world.machine.memory.allocate(len(model))
        except PlanError as refused:
            world.error(self._logger, refused.code, str(refused))
            return None
        except CudaFault as refused:
            world.error(self._logger, 1, f"out of memory: {refused.why}")
            return None
        return made(
            world.classes["ICudaEngine"],
            header=header,
            model=model,
            plan=serialized_engine,
            weights=weights,
            logger=self._logger,
            made=None,
        )

    @property
    def engine_host_code_allowed(self) -> bool:
        return self._host_code

    @engine_host_code_allowed.setter
    @takes("bool")
    def engine_host_code_allowed(self, value: bool) -> None:
        self._host_code = value

    @takes("str")
    def load_runtime(self, path: str) -> Any:
        if not Path(path).is_file():
            self._world.error(self._logger, 3, f"loadRuntime: cannot open {path}")
            return None
        made_runtime = self._world.classes["Runtime"](self._logger)
        return made_runtime

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
    def DLA_core(self) -> int:
        return self._dla_core

    @DLA_core.setter
    @takes("int")
    def DLA_core(self, value: int) -> None:
        self._dla_core = value

    @property
    def num_DLA_cores(self) -> int:
        return self._world.dla_cores

    def get_plugin_registry(self) -> Any:
        return self._world.registry
