"""Write a bundle: the same inputs give the same bytes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from differseg.bundle.index import (
    CALIBRATION_NAME,
    INDEX_NAME,
    LIBRARIES_FOLDER,
    MANIFEST_NAME,
    MODEL_NAME,
    PARITY_NAME,
    SOURCES_FOLDER,
    SUMS_NAME,
    BundleIndex,
    Member,
    sums_member,
    sums_text,
)
from differseg.bundle.layout import LARGEST_BUNDLE, Entry, local_header, total_size, trailer
from differseg.bundle.reading import opened, verify
from differseg.errors import InputError, ManifestError
from differseg.manifest import Manifest
from differseg.runtime.model_file import read_manifest
from differseg.signing import Key

SUFFIX = ".dsb"
"""Ending of a bundle's name."""

_BLOCK_BYTES = 1 << 20
_LARGEST_RECORD = 64 << 20
_SOURCES = (".c", ".cpp", ".cu", ".cuh", ".h", ".map", ".md", ".txt")

Content = Path | bytes


@dataclass(frozen=True)
class Written:
    """A bundle that was written.

    Attributes:
        path: Where it lies.
        index: What is inside.
        bytes: Its size.
        notes: What the user should know.
    """

    path: Path
    index: BundleIndex
    bytes: int
    notes: tuple[str, ...] = ()


def write_bundle(
    model: Path | str,
    out: Path | str,
    *,
    plugin_sources: bool | None = None,
    plugins: Sequence[Path] = (),
    calibration: Path | None = None,
    parity: Path | None = None,
    key: Key | None = None,
) -> Written:
    """Write a bundle; it appears whole and checked, or not at all.

    Args:
        model: An .onnx file with a manifest.
        out: The file to write; ends in .dsb.
        plugin_sources: Put the sources of the TensorRT plugin library in; None does where the
            graph has plugin nodes.
        plugins: Built plugin libraries (.so) to put in.
        calibration: What ``differseg quantize --json`` said of the model.
        parity: What ``differseg parity --json`` said of it.
        key: Signs the bundle.

    Raises:
        InputError: A file that cannot be put in, or a place that cannot be written.
        ModelFileError, ManifestError: The model cannot be used.
    """
    from differseg import __version__

    model, out = Path(model), Path(out)
    _check_place(out)
    manifest = read_manifest(model)
    contents, notes = _contents(model, manifest, plugin_sources, plugins)
    for option, name, path in (
        ("--calibration", CALIBRATION_NAME, calibration),
        ("--parity", PARITY_NAME, parity),
    ):
        if path is not None:
            contents[name], said = _record(option, path)
            notes += said
    members = [_member(name, contents[name]) for name in sorted(contents)]
    _check_calibration(calibration, contents, members)
    sums = sums_text(members).encode()
    contents[SUMS_NAME] = sums
    members = sorted([*members, sums_member(sums)], key=lambda member: member.name)
    index = BundleIndex(manifest.model, __version__, tuple(members))
    if key is not None:
        index = index.signed(key)
    size = _write(out, index, contents)
    return Written(out, index, size, tuple(notes))


def _check_place(out: Path) -> None:
    if out.suffix != SUFFIX:
        raise InputError(f"bundle: --out: expected a name that ends in {SUFFIX}, got '{out}'")
    if not out.parent.is_dir():
        raise InputError(f"bundle: --out: there is no folder {out.parent}")
    if out.is_dir():
        raise InputError(f"bundle: --out: {out} is a folder; name a file")


def _contents(
    model: Path, manifest: Manifest, plugin_sources: bool | None, plugins: Sequence[Path]
) -> tuple[dict[str, Content], list[str]]:
    contents: dict[str, Content] = {
        MODEL_NAME: model,
        MANIFEST_NAME: (manifest.to_json(indent=1) + "\n").encode(),
    }
    notes = []
    needed = manifest.operator_form == "plugin"
    if needed if plugin_sources is None else plugin_sources:
        from differseg.export.plugin_library import SOURCES

        for path in sorted(SOURCES.iterdir()):
            if path.suffix in _SOURCES:
                contents[f"{SOURCES_FOLDER}/{path.name}"] = path
    elif needed and not plugins:
        notes.append("the graph has plugin nodes, and neither sources nor a library are inside")
    for path in plugins:
        if path.suffix != ".so" or not path.is_file():
            raise InputError(f"bundle: --plugin: {path} is no library that ends in .so")
        name = f"{LIBRARIES_FOLDER}/{path.name}"
        if name in contents:
            raise InputError(f"bundle: --plugin: two libraries are called {path.name}")
        contents[name] = path
    return contents, notes


def _record(option: str, path: Path) -> tuple[bytes, list[str]]:
    """Read a JSON document to put in as it is."""
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_RECORD + 1)
        document = json.loads(data) if len(data) <= _LARGEST_RECORD else None
    except OSError as error:
        raise InputError(f"bundle: {option}: {path} cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise InputError(
            f"bundle: {option}: {path} is not one JSON document; take the last line of what the "
            "command printed: ... --json | tail -n 1 > FILE"
        )
    failed = option == "--parity" and document.get("passed") is False
    return data, [f"{path} says that the comparison failed"] if failed else []


def _check_calibration(
    path: Path | None, contents: Mapping[str, Content], members: Sequence[Member]
) -> None:
    """Refuse the record of another file, where it names one."""
    if path is None:
        return
    record = contents[CALIBRATION_NAME]
    assert isinstance(record, bytes)
    named = json.loads(record).get("sha256")
    (model,) = (member for member in members if member.name == MODEL_NAME)
    if named is not None and named != model.sha256:
        raise InputError(
            f"bundle: --calibration: {path} is of another file (SHA-256 {str(named)[:12]}..., the "
            f"model has {model.sha256[:12]}...); quantize again, or give the file that it is of"
        )


def _member(name: str, content: Content) -> Member:
    digest, size = hashlib.sha256(), 0
    for block in _blocks(content):
        digest.update(block)
        size += len(block)
    try:
        return Member(name, size, digest.hexdigest())
    except ManifestError as error:
        raise InputError(f"bundle: {content!s:.200} cannot be put in ({error})") from None


def _blocks(content: Content) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    try:
        with content.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                yield block
    except OSError as error:
        raise InputError(f"bundle: {content} cannot be read ({error.strerror})") from None


def _write(out: Path, index: BundleIndex, contents: Mapping[str, Content]) -> int:
    text = index.to_json().encode()
    files = [(INDEX_NAME, len(text)), *((m.name, m.bytes) for m in index.members)]
    if total_size(files) > LARGEST_BUNDLE:
        raise InputError(
            f"bundle: {total_size(files)} bytes, and a bundle holds {LARGEST_BUNDLE}; leave "
            "libraries out, or export a smaller configuration"
        )
    with _beside(out) as (file, part):
        entries = []
        for name, size in files:
            entries.append(
                _append(file, name, size, text if name == INDEX_NAME else contents[name])
            )
        file.write(trailer(entries))
        file.flush()
        with opened(part) as bundle:  # what was read twice may have changed in between
            verify(bundle)
        os.fsync(file.fileno())
        written = file.tell()
    return written


def _append(file: BinaryIO, name: str, size: int, content: Content) -> Entry:
    """Write a file behind its header, which is finished when the bytes have passed."""
    start, crc, count = file.tell(), 0, 0
    file.write(local_header(Entry(name, size, 0)))
    for block in _blocks(content):
        crc = zlib.crc32(block, crc)
        count += len(block)
        file.write(block)
    if count != size:
        raise InputError(f"bundle: {content!s:.200} changed while it was read; try again")
    end = file.tell()
    file.seek(start)
    file.write(local_header(Entry(name, size, crc)))
    file.seek(end)
    return Entry(name, size, crc)


@contextlib.contextmanager
def _beside(out: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """Give a file beside ``out`` and move it there when the block succeeds."""
    try:
        folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    except OSError as error:
        raise InputError(f"bundle: {out} cannot be written ({error.strerror})") from None
    try:
        part = folder / out.name
        with part.open("xb") as file:
            yield file, part
        os.replace(part, out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
