"""Read a bundle and believe nothing of it that does not follow from its index.

The index comes first.  It decides the size of the file, where every member lies, and, with the
members' checksums, every byte between and behind them.  Whatever differs is refused: damage, an
archive that another tool wrote, bytes that were added anywhere.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import stat
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from differseg.bundle.index import INDEX_NAME, MANIFEST_NAME, MODEL_NAME, BundleIndex
from differseg.bundle.layout import (
    LARGEST_BUNDLE,
    Entry,
    header_size,
    local_header,
    stored_size,
    total_size,
    trailer,
)
from differseg.errors import CheckFailedError, ManifestError, ModelFileError
from differseg.manifest import METADATA_KEY, Manifest
from differseg.onnx_metadata import metadata_values
from differseg.signing import Key

_LARGEST_INDEX = 1 << 20
_LARGEST_MANIFEST = 16 << 20
_BLOCK_BYTES = 1 << 20

Write = Callable[[bytes], object]


@dataclass(frozen=True)
class Bundle:
    """An open bundle with a good index; its members are not checked yet.

    Attributes:
        path: Where it lies.
        file: Open for reading.
        index: What is inside.
        index_bytes: Size of the index.
    """

    path: Path
    file: BinaryIO
    index: BundleIndex
    index_bytes: int

    def files(self) -> list[tuple[str, int]]:
        """Return name and size of every file in it, the index first."""
        return [(INDEX_NAME, self.index_bytes), *((m.name, m.bytes) for m in self.index.members)]

    def offset(self, name: str) -> int:
        """Return where a file's bytes begin."""
        position = 0
        for other, size in self.files():
            position += header_size(other)
            if other == name:
                return position
            position += size
        raise KeyError(name)

    def refused(self, what: str) -> ModelFileError:
        """Return the error that says why the bundle is refused."""
        return ModelFileError(f"bundle {self.path}: {what}; copy or write it again")


@contextlib.contextmanager
def opened(path: Path | str) -> Iterator[Bundle]:
    """Open a bundle and read its index.

    Raises:
        ModelFileError: Missing, no bundle, damaged in its index, or of another size than its
            index says.
    """
    path = Path(path)
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ModelFileError(f"bundle {path}: expected a file")
        file = path.open("rb")
    except OSError as error:
        raise ModelFileError(f"bundle {path}: cannot be read ({error.strerror})") from None
    with file:
        yield _with_index(path, file)


def _with_index(path: Path, file: BinaryIO) -> Bundle:
    """Read the first member, which is all that needs to be found."""
    header = file.read(header_size(INDEX_NAME))
    if len(header) < header_size(INDEX_NAME) or not header.endswith(INDEX_NAME.encode()):
        raise ModelFileError(
            f"bundle {path}: not a bundle, or a damaged one; make one with: differseg bundle "
            "MODEL.onnx -o FILE.dsb"
        )
    size = stored_size(header)
    if size > _LARGEST_INDEX:
        raise ModelFileError(f"bundle {path}: its index is larger than {_LARGEST_INDEX} bytes")
    data = file.read(size)
    try:
        index = BundleIndex.from_json(data.decode("ascii"))
    except UnicodeDecodeError:
        raise ModelFileError(f"bundle {path}: its index is not ASCII text; copy it again") from None
    except ManifestError as error:
        raise ModelFileError(
            f"bundle {path}: its index is damaged or of another kind ({error}); copy or write it "
            "again"
        ) from None
    bundle = Bundle(path, file, index, size)
    expected, here = total_size(bundle.files()), os.fstat(file.fileno()).st_size
    if expected != here or expected > LARGEST_BUNDLE:
        raise bundle.refused(f"{here} bytes, and its index says {expected}")
    return bundle


def verify(bundle: Bundle, key: Key | None = None) -> None:
    """Check every byte of a bundle and, with a key, who signed it.

    Raises:
        ModelFileError: Any byte differs from what was written, or the manifest is not the model's.
        CheckFailedError: With a key: it is not signed, or not by this key.
    """
    each_file(bundle, lambda name: _ignored)
    if key is not None:
        _check_signature(bundle, key)
    _check_manifest(bundle)


def each_file(bundle: Bundle, sink: Callable[[str], Write]) -> None:
    """Read all files in one pass, check every byte of the bundle, and hand the files' bytes on.

    What a sink gets is only known to be good when this function has returned.

    Args:
        bundle: It is read from its beginning.
        sink: Called with each file's name; gives what takes its bytes.

    Raises:
        ModelFileError: Any byte differs from what was written.
    """
    hashes = {member.name: member.sha256 for member in bundle.index.members}
    hashes[INDEX_NAME] = hashlib.sha256(bundle.index.to_json().encode()).hexdigest()
    entries: list[Entry] = []
    bundle.file.seek(0)
    for name, size in bundle.files():
        header = bundle.file.read(header_size(name))
        digest, crc = _pass_on(bundle, size, sink(name))
        entries.append(Entry(name, size, crc))
        if digest != hashes[name]:
            raise bundle.refused(f"{name} is not the file that its index names (SHA-256)")
        if header != local_header(entries[-1]):
            raise bundle.refused(f"the header of {name} is damaged")
    if bundle.file.read() != trailer(entries):
        raise bundle.refused("its directory is damaged")


def _pass_on(bundle: Bundle, size: int, write: Write) -> tuple[str, int]:
    """Read a file's bytes in pieces; returns SHA-256 and CRC-32."""
    digest, crc = hashlib.sha256(), 0
    while size:
        block = bundle.file.read(min(size, _BLOCK_BYTES))
        if not block:
            raise bundle.refused("it became shorter while it was read")
        digest.update(block)
        crc = zlib.crc32(block, crc)
        write(block)
        size -= len(block)
    return digest.hexdigest(), crc


def _ignored(block: bytes) -> None:
    """Take a file's bytes and do nothing with them."""


def _check_signature(bundle: Bundle, key: Key) -> None:
    signature = bundle.index.signature
    if signature is None:
        raise CheckFailedError(
            f"bundle {bundle.path}: not signed, and a key is asked for; write it again with "
            "--key, or leave the key out to take bundles that nobody vouches for"
        )
    if not key.verifies(bundle.index.payload(), signature):
        other = "" if signature.key == key.name else f" (it names {signature.key}, not {key.name})"
        raise CheckFailedError(
            f"bundle {bundle.path}: its signature is not of this key{other}, or it was changed "
            "afterwards; do not use it"
        )


def _check_manifest(bundle: Bundle) -> None:
    """Refuse a bundle whose manifest is not the one inside its model."""
    member = bundle.index.member(MANIFEST_NAME)
    assert member is not None  # the index has it
    if member.bytes > _LARGEST_MANIFEST:
        raise bundle.refused(f"{MANIFEST_NAME} is larger than {_LARGEST_MANIFEST} bytes")
    try:
        bundle.file.seek(bundle.offset(MANIFEST_NAME))
        beside = Manifest.from_json(bundle.file.read(member.bytes).decode())
        inside = metadata_values(_ModelInside(bundle), METADATA_KEY)
        agree = len(inside) == 1 and Manifest.from_json(inside[0]) == beside
    except (ManifestError, UnicodeDecodeError) as error:
        raise bundle.refused(f"its manifest cannot be read ({error})") from None
    if not agree:
        raise bundle.refused(f"{MANIFEST_NAME} is not the manifest inside {MODEL_NAME}")


class _ModelInside:
    """The model in a bundle, to be read as a file of its own."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle

    def __str__(self) -> str:
        return f"bundle {self._bundle.path}: {MODEL_NAME}"

    def open(self, mode: Literal["rb"]) -> io.BufferedReader:
        member = self._bundle.index.member(MODEL_NAME)
        assert member is not None  # the index has it
        part = _Part(self._bundle.file, self._bundle.offset(MODEL_NAME), member.bytes)
        return io.BufferedReader(part)


class _Part(io.RawIOBase):
    """A stretch of a file, as a file of its own; closing it leaves the file open."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        self._file, self._start, self._size, self._at = file, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, origin + offset)
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        self._file.seek(self._start + self._at)
        count = min(len(buffer), max(0, self._size - self._at))
        data = self._file.read(count)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
