"""Our plugins' C++ objects, called from Python as TensorRT calls them, without TensorRT."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

from plugin_fields import CHAR, INT32, Collection, Fields

from differseg.export.rtx_abi import NativeObject

CREATOR = {
    "createPlugin": (4, "pspi"),
    "getFieldNames": (5, "p"),
    "getPluginName": (6, "s"),
    "getPluginVersion": (7, "s"),
    "getPluginNamespace": (8, "s"),
}
PLUGIN = {"getCapabilityInterface": (4, "pi"), "clone": (5, "p")}
CORE = {"getPluginName": (4, "s"), "getPluginVersion": (5, "s"), "getPluginNamespace": (6, "s")}
BUILD = {"getTimingCacheID": (12, "s"), "getMetadataString": (14, "s")}
RUNTIME = {"attachToContext": (7, "pp"), "getFieldsToSerialize": (8, "p")}

BUILD_PHASE, RUNTIME_PHASE = 0, 1


def read(address: int) -> dict[str, Any]:
    """Return the fields at an address as Python values."""
    collection = Collection.from_address(address)
    values: dict[str, Any] = {}
    for field in collection.fields[: collection.count]:
        if field.type == CHAR:
            values[field.name.decode()] = ctypes.string_at(field.data, field.length).decode()
        elif field.type == INT32:
            values[field.name.decode()] = ctypes.c_int32.from_address(field.data).value
        else:
            values[field.name.decode()] = list(
                (ctypes.c_float * field.length).from_address(field.data)
            )
    return values


def names(address: int) -> list[str]:
    """Return the names of the fields at an address."""
    collection = Collection.from_address(address)
    return [field.name.decode() for field in collection.fields[: collection.count]]


def creators(library: Path) -> dict[str, NativeObject]:
    """Return the creators of a library by the name of their plugin."""
    count = ctypes.c_int32()
    get = ctypes.CDLL(str(library)).getCreators
    get.restype, get.argtypes = ctypes.POINTER(ctypes.c_void_p), [ctypes.POINTER(ctypes.c_int32)]
    found = get(ctypes.byref(count))[: count.value]
    objects = [NativeObject(address, CREATOR, wrapped=False) for address in found]
    return {creator.getPluginName(): creator for creator in objects}


class Plugin:
    """One plugin object with its three capabilities."""

    def __init__(self, address: int | None) -> None:
        self.whole = NativeObject(address, PLUGIN, wrapped=False)
        parts = [self.whole.getCapabilityInterface(kind) for kind in range(3)]
        self.core, self.build, self.runtime = (
            NativeObject(part, table, wrapped=False)
            for part, table in zip(parts, (CORE, BUILD, RUNTIME), strict=True)
        )


def create(creator: NativeObject, attributes: dict[str, Any]) -> Plugin:
    """Create a plugin as the ONNX parser does; raises RuntimeError where there is none."""
    fields = Fields.of(attributes)
    return Plugin(creator.createPlugin("a node", fields.address, BUILD_PHASE))
