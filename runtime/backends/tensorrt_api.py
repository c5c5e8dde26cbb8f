"""TensorRT's Python API where releases differ: version, logger and plugin libraries.

Building and running both need these.  Follows NVIDIA/TensorRT, python/src/infer/pyCore.cpp and
pyPlugin.cpp at the tags 8.5.3 to v11.1; what a release lacks is not asked for.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any


def release_of(trt: Any) -> str:
    """Return the numbers of the installed release: ``10.3.0.post12`` is 10.3.0."""
    numbers: list[str] = []
    for part in str(trt.__version__).split("."):
        if not part.isdigit():
            break
        numbers.append(part)
    return ".".join(numbers[:3])


def logger_of(trt: Any, say: Callable[[str, str], None]) -> Any:
    """Return a logger that hands on what is a warning or worse.

    Args:
        trt: The module.
        say: Takes the severity (INTERNAL_ERROR, ERROR or WARNING) and the message on one line.
    """

    class Logger(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            name = str(severity).rpartition(".")[2]
            if name in ("INTERNAL_ERROR", "ERROR", "WARNING"):
                say(name, " ".join(message.split()))

    return Logger()


def load_plugin_library(trt: Any, path: str) -> Any:
    """Load a plugin library; returns a handle that keeps it.

    Raises:
        OSError: It cannot be loaded.
    """
    registry = trt.get_plugin_registry()
    if not hasattr(registry, "load_library"):  # TensorRT 8.5
        return ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
    handle = registry.load_library(path)
    if handle is None:
        raise OSError("the plugin registry refused it")
    return handle


def register_own_plugins(trt: Any, logger: Any) -> None:
    """Make NVIDIA's own plugins known; TensorRT-RTX has none."""
    if hasattr(trt, "init_libnvinfer_plugins"):
        trt.init_libnvinfer_plugins(logger, "")
