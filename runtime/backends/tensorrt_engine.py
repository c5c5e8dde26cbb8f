"""From an engine file to an execution context: checked first, deserialised afterwards.

Follows TensorRT's Python API from 8.5 to 11; what differs between releases is in
:mod:`differseg.runtime.backends.tensorrt_api`.
"""

from __future__ import annotations

import importlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from differseg.engine_sidecar import EngineSidecar, Library
from differseg.errors import DifferSegError, MissingComponentError, ModelFileError
from differseg.runtime.backends.tensorrt_api import (
    load_plugin_library,
    logger_of,
    register_own_plugins,
    release_of,
)
from differseg.runtime.cuda import Cuda
from differseg.runtime.engine_file import EngineFile, Host, open_engine_file, read_sidecar
from differseg.runtime.gpu import platform_name
from differseg.signing import Key

_LOG = logging.getLogger(__name__)
_MIB = 1 << 20
_INSTALL = {
    "tensorrt": "JetPack brings it as python3-libnvinfer; on a desktop: pip install tensorrt",
    "tensorrt_rtx": "it comes with NVIDIA's TensorRT-RTX download, as a wheel",
}


@dataclass(frozen=True)
class LoadedEngine:
    """A deserialised engine.

    Attributes:
        trt: The module.
        engine: ``ICudaEngine``.
        context: ``IExecutionContext``.
        sidecar: What the engine is.
        keep: What must live as long as the engine.
    """

    trt: Any
    engine: Any
    context: Any
    sidecar: EngineSidecar
    keep: tuple[Any, ...]


def load_engine(path: Path, cuda: Cuda, key: Key | None) -> LoadedEngine:
    """Check an engine file and load it on this GPU.

    Raises:
        ModelFileError, ManifestError, CheckFailedError: As
            :func:`differseg.runtime.engine_file.open_engine_file`; or TensorRT cannot load it.
        MissingComponentError: The library that built it is not installed.
        DifferSegError: The GPU has not enough memory.
    """
    trt = _import(read_sidecar(path, key).built_for.library, path)
    host = Host(
        library=_library(trt),
        version=release_of(trt),
        platform=platform_name(),
        sm=cuda.sm,
        device=cuda.device,
    )
    file = open_engine_file(path, host, key)
    said: list[str] = []

    def say(severity: str, text: str) -> None:
        if severity == "WARNING":
            _LOG.info("TensorRT: %s", text)
        else:
            said.append(text)

    logger = logger_of(trt, say)
    plugins = _load_plugins(trt, logger, file)
    runtime = trt.Runtime(logger)
    if file.sidecar.built_for.version_compatible or file.sidecar.options.get("plugins_inside"):
        runtime.engine_host_code_allowed = True  # the sidecar's hash vouches for the code
    engine = runtime.deserialize_cuda_engine(file.data)
    if engine is None:
        raise _refused(file, said, cuda)
    context = engine.create_execution_context()
    if context is None:
        needed = _activation_bytes(engine)
        raise DifferSegError(
            f"engine {path}: the GPU has not enough memory for its activations: needed "
            f"{needed / _MIB:.0f} MiB, free {cuda.free_bytes() / _MIB:.0f} MiB; close other "
            "programs, or export a smaller --size"
        )
    return LoadedEngine(trt, engine, context, file.sidecar, (runtime, logger, plugins))


def _import(library: Library, path: Path) -> Any:
    try:
        return importlib.import_module(library)
    except ImportError as error:
        text = " ".join(str(error).split())
        raise MissingComponentError(
            f"engine {path}: the Python package '{library}' cannot be loaded ({text:.200}); "
            f"{_INSTALL[library]}; or run the .onnx file that the engine was built from"
        ) from None


def _library(trt: Any) -> Library:
    return "tensorrt_rtx" if trt.__name__ == "tensorrt_rtx" else "tensorrt"


def _load_plugins(trt: Any, logger: Any, file: EngineFile) -> tuple[Any, ...]:
    """Load the engine's plugin libraries, whose hashes were checked, and NVIDIA's own."""
    handles = []
    for path in file.plugins:
        try:
            handles.append(load_plugin_library(trt, str(path)))
        except OSError as error:
            raise ModelFileError(
                f"engine {file.path}: TensorRT cannot load its plugin library {path} ({error}); "
                "build it for this release with: python -m differseg.export.plugin_library"
            ) from None
    register_own_plugins(trt, logger)
    return tuple(handles)


def _refused(file: EngineFile, said: list[str], cuda: Cuda) -> DifferSegError:
    """Return why TensorRT did not load an engine that its sidecar says it should."""
    text = said[0] if said else "it gave no reason"
    low = " ".join(said).lower()
    again = f"build it again with: differseg build MODEL.onnx -o {file.path}"
    if "out of memory" in low or "outofmemory" in low:
        free_mib = cuda.free_bytes() / _MIB
        return DifferSegError(
            f"engine {file.path}: the GPU has not enough memory: its weights need about "
            f"{len(file.data) / _MIB:.0f} MiB, free are {free_mib:.0f} MiB; close other programs"
        )
    if "plugin" in low or "creator" in low:
        return ModelFileError(
            f"engine {file.path}: it holds an operator of a plugin library that is not loaded "
            f"({text:.200}); build it with: differseg build MODEL.onnx --plugin LIB.so -o "
            f"{file.path}"
        )
    return ModelFileError(f"engine {file.path}: TensorRT cannot load it ({text:.300}); {again}")


def _activation_bytes(engine: Any) -> int:
    """Return the bytes that a context needs; the old name is gone in TensorRT 11."""
    if hasattr(engine, "device_memory_size_v2"):
        return int(engine.device_memory_size_v2)
    return int(engine.device_memory_size)
