"""How NVIDIA's C++ objects are laid out, so that :mod:`ctypes` can call them.

The TensorRT-RTX libraries export three C functions; everything else is a virtual method, found by
its position in the object's table (Itanium C++ ABI, so Linux on x86-64 only).  The positions are
those of the public TensorRT 11.1 headers.  They are facts about a binary interface, which is why a
library version that is not in ``TESTED_VERSIONS`` must first pass the self-test of
:mod:`differseg.export.rtx`.  Standard library only: this runs inside the worker process.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

TESTED_VERSIONS = frozenset({"1.7.1"})
"""Libraries whose tables were checked method by method."""

Table = dict[str, tuple[int, str]]
"""Method -> (position, signature).  The first letter of a signature is the result: ``v`` nothing,
``b`` bool, ``i`` int32, ``z`` size, ``p`` pointer, ``s`` text, ``d`` dimensions by value;
``D`` as an argument is a pointer to dimensions."""

BUILDER: Table = {
    "createBuilderConfig": (5, "p"),
    "createNetworkV2": (6, "pi"),
    "createOptimizationProfile": (7, "p"),
    "buildSerializedNetwork": (11, "ppp"),
    "setMaxThreads": (14, "bi"),
}
NETWORK: Table = {
    "getNbLayers": (12, "i"),
    "getLayer": (13, "pi"),
    "getNbInputs": (14, "i"),
    "getInput": (15, "pi"),
    "getNbOutputs": (16, "i"),
    "getOutput": (17, "pi"),
}
CONFIG: Table = {
    "setFlags": (6, "vi"),
    "getFlags": (7, "i"),
    "addOptimizationProfile": (23, "ip"),
}
TF32_FLAG = 6
"""Bit of ``BuilderFlag::kTF32``."""
PROFILE: Table = {"setDimensions": (2, "bsiD"), "setShapeValuesV2": (8, "bsipi")}
REGISTRY: Table = {"loadLibrary": (6, "ps")}
MEMORY: Table = {"data": (2, "p"), "size": (3, "z")}
TENSOR: Table = {
    "getName": (3, "s"),
    "getDimensions": (5, "d"),
    "getType": (6, "i"),
    "isShapeTensor": (11, "b"),
}
LAYER: Table = {"getType": (2, "i")}
PARSER: Table = {"parseFromFile": (1, "bsi"), "getNbErrors": (3, "i"), "getError": (4, "pi")}
PARSER_ERROR: Table = {
    "code": (0, "i"),
    "desc": (1, "s"),
    "node": (5, "i"),
    "nodeName": (6, "s"),
    "nodeOperator": (7, "s"),
    "localFunctionStack": (8, "p"),
    "localFunctionStackSize": (9, "i"),
}

DTYPES = tuple("float32 float16 int8 int32 bool uint8 fp8 bfloat16 int64 int4 fp4 e8m0".split())
ERROR_CODES = tuple(
    "success internal_error mem_alloc_failed model_deserialize_failed invalid_value invalid_graph "
    "invalid_node unsupported_graph unsupported_node unsupported_node_attr unsupported_node_input "
    "unsupported_node_datatype unsupported_node_dynamic unsupported_node_shape "
    "refit_failed".split()
)
LAYER_TYPES = tuple(
    "convolution cast activation pooling lrn scale softmax deconvolution concatenation elementwise "
    "plugin unary padding shuffle reduce topk gather matrix_multiply ragged_softmax constant "
    "identity plugin_v2 slice shape parametric_relu resize trip_limit recurrence iterator "
    "loop_output select fill quantize dequantize condition conditional_input conditional_output "
    "scatter einsum assertion one_hot non_zero grid_sample nms reverse_sequence normalization "
    "plugin_v3 squeeze unsqueeze cumulative dynamic_quantize attention_input attention_output "
    "rotary_embedding kvcache_update moe dist_collective".split()
)
SEVERITIES = ("internal_error", "error", "warning", "info", "verbose")


def version_text(number: int) -> str:
    """Return ``getInferLibVersion()``, such as 10701, as text: 1.7.1."""
    return f"{number // 10000}.{number // 100 % 100}.{number % 100}"


def name_of(names: tuple[str, ...], number: int) -> str:
    """Return the name of an enumeration's value, or a number that a newer library may send."""
    return names[number] if 0 <= number < len(names) else f"code {number}"


class Dims(ctypes.Structure):
    """The library's dimensions: a count and up to eight extents (-1 is dynamic)."""

    _fields_ = (("count", ctypes.c_int32), ("extent", ctypes.c_int64 * 8))

    @classmethod
    def of(cls, shape: list[int]) -> Dims:
        """Build one from a shape of at most eight axes."""
        dims = cls(count=len(shape))
        for axis, extent in enumerate(shape):
            dims.extent[axis] = extent
        return dims

    def shape(self) -> list[int] | None:
        """Return the shape, or None where the rank itself is not known yet."""
        return list(self.extent[: self.count]) if 0 <= self.count <= 8 else None


_CTYPES: dict[str, Any] = {
    "v": None,
    "b": ctypes.c_bool,
    "i": ctypes.c_int32,
    "z": ctypes.c_size_t,
    "p": ctypes.c_void_p,
    "s": ctypes.c_char_p,
    "d": Dims,
    "D": ctypes.POINTER(Dims),
}


class NativeObject:
    """A C++ object whose virtual methods are called by name: ``network.getNbLayers()``.

    Args:
        address: The pointer that a factory returned.
        table: The methods of its class.
        wrapped: Whether the public object holds a pointer to the implementation (all classes of
            the core library but the plugin registry do; the parser's do not).
    """

    def __init__(self, address: int | None, table: Table, *, wrapped: bool = True) -> None:
        if not address:
            raise RuntimeError("the library returned no object")
        self.address = address
        self._table = table
        self._this = ctypes.c_void_p.from_address(address + 8).value if wrapped else address

    def __getattr__(self, name: str) -> Callable[..., Any]:
        position, signature = self._table[name]
        methods = ctypes.c_void_p.from_address(self._this or 0).value or 0
        address = ctypes.c_void_p.from_address(methods + 8 * position).value or 0
        kinds = [_CTYPES[letter] for letter in signature]
        function = ctypes.CFUNCTYPE(kinds[0], ctypes.c_void_p, *kinds[1:])(address)

        def call(*arguments: Any) -> Any:
            result = function(self._this, *map(_to_native, arguments))
            return result.decode("utf-8", "replace") if isinstance(result, bytes) else result

        return call


def _to_native(value: Any) -> Any:
    if isinstance(value, Dims):
        return ctypes.byref(value)
    if isinstance(value, NativeObject):
        return value.address
    return value.encode() if isinstance(value, str) else value


class Logger:
    """The library's logger interface laid out in Python memory; calls ``sink(severity, text)``."""

    def __init__(self, sink: Callable[[int, str], None]) -> None:
        self._sink = sink
        number = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)
        nothing = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
        log = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int32, ctypes.c_char_p)
        self._methods = (
            number(lambda _this: 0),  # language of the interface: C++
            number(lambda _this: 0),  # description of the interface
            nothing(lambda _this: None),  # the two destructors
            nothing(lambda _this: None),
            log(self._log),
        )
        addresses = [ctypes.cast(m, ctypes.c_void_p).value for m in self._methods]
        # An Itanium table: offset to top, type information (none), then the methods.
        self._table = (ctypes.c_void_p * 7)(0, 0, *addresses)
        self._object = (ctypes.c_void_p * 1)(ctypes.addressof(self._table) + 16)
        self.address = ctypes.addressof(self._object)

    def _log(self, _this: int, severity: int, text: bytes | None) -> None:
        # Must never raise into native code.
        self._sink(severity, (text or b"").decode("utf-8", "replace"))
