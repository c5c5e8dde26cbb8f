"""Put a ``tensorrt`` module together: surface and recipes of one release.

Source of the module's own functions: ``tensorrt/__init__.py`` of the wheels
(``python/packaging/bindings_wheel``) and ``pyPlugin.cpp``.
"""

from __future__ import annotations

import types
from importlib.machinery import ModuleSpec
from typing import Any

from contract.fake_tensorrt import (
    builder,
    config,
    context,
    engine,
    logger,
    network,
    parser,
    registry,
    runtime,
)
from contract.fake_tensorrt.values import ITEM_BYTES, TYPES, HostMemory, dims_classes
from contract.fake_tensorrt.world import World
from contract.pybind import NotModelledError, bound_class, bound_enum, made

_RECIPES = {
    name: value
    for module in (builder, config, context, engine, logger, network, parser, registry, runtime)
    for name, value in vars(module).items()
    if isinstance(value, type)
}
_SHORT_NAMES = {
    "float32": "FLOAT",
    "float16": "HALF",
    "bfloat16": "BF16",
    "int8": "INT8",
    "int32": "INT32",
    "int64": "INT64",
    "bool": "BOOL",
    "uint8": "UINT8",
    "fp8": "FP8",
    "int4": "INT4",
    "fp4": "FP4",
    "e8m0": "E8M0",
}


class _Module(types.ModuleType):
    """A module that tells what it lacks from what TensorRT lacks."""

    def __init__(self, name: str, others: list[str]) -> None:
        super().__init__(name)
        self._others = others

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and name in self._others:
            raise NotModelledError(f"{name} exists in this release; the test-bed lacks it")
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")


def tensorrt_module(world: World, name: str = "tensorrt") -> types.ModuleType:
    """A fresh module for a world."""
    surface, classes = world.generation.surface, world.classes
    for enum, table in surface["enums"].items():
        classes[enum] = bound_enum(enum, table, name)
    classes |= dims_classes()
    classes["IHostMemory"] = type(
        "IHostMemory",
        (HostMemory,),
        {"dtype": property(lambda self: classes["DataType"].INT8)},
    )
    for each, table in surface["classes"].items():
        if each not in classes:
            recipe = _RECIPES.get(each)
            classes[each] = bound_class(each, table, recipe, classes, {"_world": world})
    module = _Module(name, surface["others"])
    module.__dict__.update({k: v for k, v in classes.items() if k != "Severity"})
    module.__version__ = world.generation.version
    module.__spec__ = ModuleSpec(name, None)  # importlib.util.find_spec looks at it
    _add_severities(classes)
    types_of = classes["DataType"].__members__
    for short, member in _SHORT_NAMES.items():
        if short in surface["attributes"]:
            setattr(module, short, types_of[member])
    classes["DataType"].itemsize = property(lambda self: ITEM_BYTES[self.name])
    _add_functions(module, world)
    return module


def _add_severities(classes: dict[str, Any]) -> None:
    severity = classes["Severity"]
    for cls in (classes["ILogger"], classes["Logger"]):
        cls.Severity = severity
        for name, member in severity.__members__.items():
            setattr(cls, name, member)


def _add_functions(module: types.ModuleType, world: World) -> None:
    world.registry = made(world.classes["IPluginRegistry"], handles={})

    def init_libnvinfer_plugins(logger: Any, namespace: str) -> bool:
        """Registers what NVIDIA ships."""
        if not (logger is None or isinstance(logger, world.classes["ILogger"])):
            raise TypeError("init_libnvinfer_plugins(): incompatible function arguments")
        if not isinstance(namespace, str):
            raise TypeError("init_libnvinfer_plugins(): incompatible function arguments")
        world.builtin_plugins = True
        world.creators |= {(plugin, "1", namespace): None for plugin in registry.BUILTIN}
        return True

    def get_plugin_registry() -> Any:
        return world.registry

    def get_builder_plugin_registry(capability: Any) -> Any:
        return world.registry

    def get_nv_onnx_parser_version() -> int:
        return world.generation.numbers[0] * 10000 + world.generation.numbers[1] * 100

    def volume(iterable: Any) -> int:
        """Product of the elements."""
        total = 1
        for element in iterable:
            total *= element
        return total

    def nptype(trt_type: Any) -> Any:
        """NumPy's type; TypeError where it has none."""
        if trt_type.name in TYPES and hasattr(world.classes["DataType"], trt_type.name):
            return TYPES[trt_type.name][1]
        raise TypeError("Could not resolve TensorRT datatype to an equivalent numpy datatype.")

    for function in (
        init_libnvinfer_plugins,
        get_plugin_registry,
        get_builder_plugin_registry,
        get_nv_onnx_parser_version,
        volume,
        nptype,
    ):
        setattr(module, function.__name__, function)
