"""The metadata of an ONNX file, read without the onnx package and without its weights.

An ONNX file is one protobuf message, and a message may hold an entry of the same key twice: one
reader then takes the first and another the last.  Only the bytes themselves say how many there are.
Standard library only, because devices have no onnx package.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal, Protocol

from differseg.errors import ModelFileError

_METADATA_PROPS = 14  # in onnx.ModelProto
_KEY, _VALUE = 1, 2  # in onnx.StringStringEntryProto
_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5


class Readable(Protocol):
    """A path, or what can be read as one: a member of a bundle."""

    def open(self, mode: Literal["rb"]) -> BinaryIO:
        """Return it from its beginning, seekable."""


def metadata_values(path: Path | Readable, key: str) -> list[str]:
    """Return the value of every ``metadata_props`` entry of this key, in the file's order.

    Raises:
        ModelFileError: The file is truncated or not ONNX.
    """
    values = []
    try:
        with path.open("rb") as file:
            for _, entry in _fields(file, (_METADATA_PROPS,)):
                pair = dict(_fields(io.BytesIO(entry), (_KEY, _VALUE)))
                if pair.get(_KEY) == key.encode():
                    values.append(pair.get(_VALUE, b"").decode())
    except ValueError as error:
        raise ModelFileError(
            f"{path}: not an ONNX file, or a truncated one ({error}); export or copy it again"
        ) from None
    return values


def _fields(stream: BinaryIO, wanted: tuple[int, ...]) -> Iterator[tuple[int, bytes]]:
    """Yield number and bytes of the wanted fields of a message; the others are skipped."""
    end = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    while stream.tell() < end:
        number, kind = divmod(_varint(stream), 8)
        if kind == _VARINT:
            _varint(stream)
            continue
        if kind == _LENGTH:
            length = _varint(stream)
        elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
            length = 8 if kind == _EIGHT_BYTES else 4
        else:
            raise ValueError(f"a field of kind {kind}")
        if length > end - stream.tell():
            raise ValueError(f"field {number} ends behind the file")
        if kind == _LENGTH and number in wanted:
            yield number, stream.read(length)
        else:
            stream.seek(length, os.SEEK_CUR)


def _varint(stream: BinaryIO) -> int:
    """Read a number of seven bits a byte, the lowest first; the top bit says that more follow."""
    number = 0
    for shift in range(0, 70, 7):
        byte = stream.read(1)
        if not byte:
            raise ValueError("a number ends behind the file")
        number |= (byte[0] & 127) << shift
        if byte[0] < 128:
            return number
    raise ValueError("a number of more than ten bytes")
