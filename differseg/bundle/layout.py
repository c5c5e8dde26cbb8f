"""Where every byte of a bundle stands: a ZIP archive of stored members that has one spelling.

Name, size and CRC-32 of the members decide every byte that is not theirs: no time, no comment, no
extra field, no gap, no compression, no ZIP64.  A reader need not parse an archive, which different
readers do differently; it computes what must stand there and compares.  The format is that of
PKWARE's APPNOTE.TXT, sections 4.3.7, 4.3.12 and 4.3.16.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

LARGEST_BUNDLE = 0xFFFFFFFE
"""Bytes of a bundle: what an archive without ZIP64 holds."""

_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_VERSION = 10  # 1.0: stored files, no folders
_MADE_ON_UNIX = 3 << 8 | 30
_NEW_YEAR_1980 = 0x21  # the first day that the format can spell
_PLAIN_FILE = 0o100644 << 16


@dataclass(frozen=True)
class Entry:
    """One file of the archive.

    Attributes:
        name: ASCII.
        bytes: Its size.
        crc: CRC-32 of its bytes.
    """

    name: str
    bytes: int
    crc: int


def header_size(name: str) -> int:
    """Return the bytes before a file's own."""
    return _LOCAL.size + len(name)


def local_header(entry: Entry) -> bytes:
    """Return what stands before a file's bytes."""
    name = entry.name.encode("ascii")
    packed = _LOCAL.pack(
        b"PK\3\4", _VERSION, 0, 0, 0, _NEW_YEAR_1980,
        entry.crc, entry.bytes, entry.bytes, len(name), 0,
    )  # fmt: skip
    return packed + name


def stored_size(header: bytes) -> int:
    """Return the size that a local header names."""
    return int(_LOCAL.unpack_from(header)[8])


def trailer(entries: Sequence[Entry]) -> bytes:
    """Return what stands behind the last file: the central directory and its end record."""
    parts, offset = [], 0
    for entry in entries:
        name = entry.name.encode("ascii")
        parts += [
            _CENTRAL.pack(
                b"PK\1\2", _MADE_ON_UNIX, _VERSION, 0, 0, 0, _NEW_YEAR_1980,
                entry.crc, entry.bytes, entry.bytes, len(name), 0, 0, 0, 0, _PLAIN_FILE, offset,
            ),
            name,
        ]  # fmt: skip
        offset += header_size(entry.name) + entry.bytes
    directory = b"".join(parts)
    count = len(entries)
    return directory + _END.pack(b"PK\5\6", 0, 0, count, count, len(directory), offset, 0)


def total_size(files: Sequence[tuple[str, int]]) -> int:
    """Return the bytes of an archive of files with these names and sizes."""
    return _END.size + sum(
        header_size(name) + size + _CENTRAL.size + len(name) for name, size in files
    )
