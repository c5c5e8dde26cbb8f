"""``IPluginRegistry`` and plugin libraries.

A fake library is a text file that :func:`write_plugin_library` makes: the names of its creators,
and for each an ONNX function that computes what the kernel would.

Sources: ``pyPlugin.cpp``; ``NvInferRuntimeCommon.h`` (``loadLibrary``: null on failure); names of
built-in plugins: ``plugin/`` of NVIDIA/TensorRT.
"""

from __future__ import annotations

import base64
import ctypes
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
from contract.fake_tensorrt.world import World
from contract.pybind import takes

_FIRST_LINE = b"fake TensorRT plugin library\n"
BUILTIN = ("InstanceNormalization_TRT", "ModulatedDeformConv2d", "ScatterND", "ROIAlign_TRT")


def write_plugin_library(
    path: Path, creators: Mapping[str, onnx.FunctionProto | None], namespace: str = ""
) -> Path:
    """Write a library.

    Args:
        path: Where, usually with the suffix ``.so``.
        creators: Operator -> ONNX function that computes it; None for one that is never run.
        namespace: The plugins' namespace.
    """
    functions = {
        name: base64.b64encode(function.SerializeToString()).decode() if function else None
        for name, function in creators.items()
    }
    document = {"namespace": namespace, "creators": functions}
    path.write_bytes(_FIRST_LINE + json.dumps(document).encode())
    return path


def read_plugin_library(content: bytes) -> dict[tuple[str, str, str], onnx.FunctionProto | None]:
    """``(name, version, namespace)`` -> function; ValueError for any other file."""
    if not content.startswith(_FIRST_LINE):
        raise ValueError("invalid ELF header")
    document = json.loads(content[len(_FIRST_LINE) :])
    return {
        (name, "1", document["namespace"]): (
            onnx.FunctionProto.FromString(base64.b64decode(text)) if text else None
        )
        for name, text in document["creators"].items()
    }


@contextmanager
def registering_on_load(world: World) -> Iterator[None]:
    """While it lasts, ``ctypes.CDLL`` of a fake library registers its creators.

    A real library does so when it is loaded (``REGISTER_TENSORRT_PLUGIN``); before 8.6, whose
    registry cannot load one, there is no other way.
    """
    original = ctypes.CDLL

    class Library(original):  # type: ignore[valid-type, misc]
        def __init__(self, name: Any, *given: Any, **named: Any) -> None:
            path = Path(name) if name is not None else None
            if path is not None and path.is_file():
                content = path.read_bytes()
                if content.startswith(_FIRST_LINE):
                    self._name = str(path)
                    world.creators |= read_plugin_library(content)
                    return
            super().__init__(name, *given, **named)

    ctypes.CDLL = Library  # type: ignore[misc]
    try:
        yield
    finally:
        ctypes.CDLL = original  # type: ignore[misc]


class _Creator:
    """A plugin creator, as far as a builder looks at it."""

    def __init__(self, name: str, version: str, namespace: str) -> None:
        self.name, self.plugin_version, self.plugin_namespace = name, version, namespace


class IPluginRegistry:
    """One for the module."""

    @takes("str")
    def load_library(self, plugin_path: str) -> Any:
        world = self._world
        try:
            found = read_plugin_library(Path(plugin_path).read_bytes())
        except (OSError, ValueError) as problem:
            world.messages.append(("ERROR", f"Unable to load library: {plugin_path}: {problem}"))
            return None
        world.creators |= found
        self._handles[plugin_path] = list(found)
        return _Library(plugin_path)

    @takes("any")
    def deregister_library(self, handle: Any) -> None:
        for key in self._handles.pop(handle.path, ()):
            self._world.creators.pop(key, None)

    def _find(self, name: str, version: str, namespace: str) -> Any:
        known = (name, version, namespace) in self._world.creators
        return _Creator(name, version, namespace) if known else None

    @takes("str", "str", "str")
    def get_creator(self, type: str, version: str, plugin_namespace: str = "") -> Any:
        return self._find(type, version, plugin_namespace)

    @takes("str", "str", "str")
    def get_plugin_creator(self, type: str, version: str, plugin_namespace: str = "") -> Any:
        return self._find(type, version, plugin_namespace)

    @property
    def all_creators(self) -> list[Any]:
        return [_Creator(*key) for key in self._world.creators]

    @property
    def plugin_creator_list(self) -> list[Any]:
        return [_Creator(*key) for key in self._world.creators]

    @property
    def parent_search_enabled(self) -> bool:
        return True


class _Library:
    """What ``load_library`` returns: opaque."""

    def __init__(self, path: str) -> None:
        self.path = path
