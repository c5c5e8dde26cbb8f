"""The attributes of a plugin node in the layout that TensorRT's parser hands over."""

from __future__ import annotations

import ctypes
from typing import Any

FLOAT32, INT32, CHAR, INT64 = 1, 5, 6, 10


class Field(ctypes.Structure):
    """A plugin field: type and number of the values at an address."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("data", ctypes.c_void_p),
        ("type", ctypes.c_int32),
        ("length", ctypes.c_int32),
    )


class Collection(ctypes.Structure):
    """What a plugin is created from."""

    _fields_ = (("count", ctypes.c_int32), ("fields", ctypes.POINTER(Field)))


class Fields:
    """A collection of fields that keeps what it points at."""

    def __init__(self, *fields: Field, keep: tuple[Any, ...] = ()) -> None:
        self._array = (Field * len(fields))(*fields)
        self._keep = keep
        self.collection = Collection(len(fields), self._array)
        self.address = ctypes.addressof(self.collection)

    @classmethod
    def of(cls, attributes: dict[str, Any]) -> Fields:
        """Write attributes as the ONNX parser does: a text has a length and no final zero."""
        fields, keep = [], []
        for name, value in attributes.items():
            data: Any
            if isinstance(value, str):
                kind, count, data = CHAR, len(value), (ctypes.c_char * 64)(*(value + "#").encode())
            elif isinstance(value, int):
                kind, count, data = INT32, 1, ctypes.c_int32(value)
            else:
                kind, count, data = FLOAT32, len(value), (ctypes.c_float * len(value))(*value)
            keep.append(data)
            fields.append(Field(name.encode(), ctypes.addressof(data), kind, count))
        return cls(*fields, keep=tuple(keep))
