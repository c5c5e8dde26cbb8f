"""Plain values: ``Dims`` and its like, ``IHostMemory``, ``DataType``'s mappings.

Sources: ``pyFoundationalTypes.cpp`` (``Dims`` compares with lists and tuples only, has no
iterator but ``__getitem__``; host memory has a buffer and nothing else), ``tensorrt/__init__.py``
of the wheels (``nptype``, ``volume``, ``DataType.itemsize``).
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import onnx


class Dims:
    """A shape; ``_numbers`` is None for the invalid one (``nbDims == -1``)."""

    MAX_DIMS = 8
    _fixed: int | None = None

    def __init__(self, *shape: Any) -> None:
        numbers: Any = shape[0] if len(shape) == 1 and self._fixed is None else shape
        if len(shape) == 1 and hasattr(shape[0], "__getitem__"):
            numbers = shape[0]
        if isinstance(numbers, (int, float, str)):
            raise TypeError(f"__init__(): incompatible constructor arguments: {shape!r}")
        try:
            self._numbers: list[int] | None = [operator.index(n) for n in numbers]
        except TypeError:
            raise TypeError(f"__init__(): incompatible constructor arguments: {shape!r}") from None
        if len(self._numbers) > self.MAX_DIMS:
            raise ValueError("Input length exceeds Dims::MAX_DIMS")
        if self._fixed is not None and shape and len(self._numbers) != self._fixed:
            raise ValueError(f"Input length {len(self._numbers)} does not match {self._fixed}")

    __hash__ = None

    def __len__(self) -> int:
        return -1 if self._numbers is None else len(self._numbers)

    def __getitem__(self, index: Any) -> Any:
        numbers = self._numbers or []
        if isinstance(index, slice):
            return tuple(numbers[index])
        if not -len(numbers) <= index < len(numbers):
            raise IndexError("Out of bounds")
        return numbers[index]

    def __setitem__(self, index: int, value: int) -> None:
        if self._numbers is None or not -len(self._numbers) <= index < len(self._numbers):
            raise IndexError("Out of bounds")
        self._numbers[index] = operator.index(value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (list, tuple)):
            raise TypeError(f"__eq__(): incompatible function arguments: {other!r}")
        return self._numbers == list(other)

    def __ne__(self, other: object) -> bool:  # bound without is_operator: Python's default
        return not self == other

    def __repr__(self) -> str:
        return repr(tuple(self._numbers or []))


def dims_classes() -> dict[str, type]:
    """``Dims`` and the ones of fixed length, fresh for one module."""
    base = type("Dims", (Dims,), {})
    fixed = {"Dims2": 2, "DimsHW": 2, "Dims3": 3, "Dims4": 4}
    return {"Dims": base} | {
        name: type(name, (base,), {"_fixed": length}) for name, length in fixed.items()
    }


def invalid_dims(cls: type) -> Any:
    """The shape of what does not exist."""
    made = cls([])
    made._numbers = None
    return made


class HostMemory(bytearray):
    """``IHostMemory``: bytes that ``bytes()``, ``memoryview()`` and ``file.write()`` take.

    A ``bytearray`` underneath because only C types have a buffer before Python 3.12; what it has
    beyond the real class is hidden.
    """

    dtype: Any
    _allowed = frozenset({"dtype", "nbytes", "__class__", "__enter__", "__exit__", "__buffer__"})

    def __getattribute__(self, name: str) -> Any:
        if name in HostMemory._allowed:
            return object.__getattribute__(self, name)
        raise AttributeError(f"'IHostMemory' object has no attribute {name!r}")

    @property
    def nbytes(self) -> int:
        return memoryview(self).nbytes

    def _refuse(self, *_: object) -> Any:
        raise TypeError("object of type 'IHostMemory' does not support this")

    __len__ = __getitem__ = __setitem__ = __iter__ = __contains__ = __add__ = _refuse

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return "<tensorrt.IHostMemory object>"

    __str__ = __repr__


def host_memory(cls: type[HostMemory], content: bytes) -> HostMemory:
    """Host memory with that content."""
    return cls(content)


TYPES = {  # member of DataType: (ONNX, NumPy, bytes)
    "FLOAT": (onnx.TensorProto.FLOAT, np.float32, 4),
    "HALF": (onnx.TensorProto.FLOAT16, np.float16, 2),
    "INT8": (onnx.TensorProto.INT8, np.int8, 1),
    "INT32": (onnx.TensorProto.INT32, np.int32, 4),
    "INT64": (onnx.TensorProto.INT64, np.int64, 8),
    "BOOL": (onnx.TensorProto.BOOL, np.bool_, 1),
    "UINT8": (onnx.TensorProto.UINT8, np.uint8, 1),
}
ITEM_BYTES = {name: size for name, (_, _, size) in TYPES.items()} | {
    "BF16": 2,
    "FP8": 1,
    "E8M0": 1,
    "INT4": 0.5,
    "FP4": 0.5,
}


def data_type(elem_type: int, int64_io: bool) -> str | None:
    """Member of ``DataType`` for an ONNX element type, None where there is none."""
    for name, (number, _, _) in TYPES.items():
        if number == elem_type:
            return "INT32" if name == "INT64" and not int64_io else name
    return None
