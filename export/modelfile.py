"""ONNX files on disk: read one with plain words for what is wrong, write one whole or not at all.

The manifest is *appended*: a protobuf message may be continued at the end of its file, so the
figures of checks that read the written file can be added to it without writing the weights twice.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError, EncodeError

from differseg.errors import InputError, ManifestError, ModelFileError
from differseg.manifest import METADATA_KEY, Manifest
from differseg.onnx_metadata import metadata_values

PROTOBUF_LIMIT = (1 << 31) - 1
"""Bytes that one protobuf message may hold."""


def read_model(path: Path | str) -> onnx.ModelProto:
    """Read an ONNX file without external data.

    Raises:
        ModelFileError: Missing, empty, truncated, or not ONNX.
    """
    path = Path(path)
    if not path.is_file():
        kind = "is a folder" if path.is_dir() else "there is no such file"
        raise ModelFileError(f"{path}: {kind}; expected an ONNX file")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read ({error.strerror})") from None
    if not data:
        raise ModelFileError(f"{path}: the file is empty; export the model again")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError:
        raise ModelFileError(
            f"{path}: not an ONNX file, or a truncated one ({len(data)} bytes do not parse); "
            "export or copy it again"
        ) from None
    if not model.graph.output or not model.opset_import:
        raise ModelFileError(f"{path}: not an ONNX file (it holds no graph with an output)")
    return model


def manifest_of(model: onnx.ModelProto) -> Manifest | None:
    """Return the manifest inside a model, None where there is none.

    Raises:
        ManifestError: There is one with a wrong field, or more than one.
    """
    texts = [entry.value for entry in model.metadata_props if entry.key == METADATA_KEY]
    if len(texts) > 1:
        raise ManifestError(
            f"the model holds {len(texts)} manifests, expected one; export it again"
        )
    return Manifest.from_json(texts[0]) if texts else None


def append_manifest(path: Path, manifest: Manifest) -> None:
    """Add the manifest to a file that has none.

    Raises:
        ManifestError: The file has one.
    """
    if metadata_values(path, METADATA_KEY):
        raise ManifestError(
            f"{path}: holds a manifest already, expected none; export it again to change it"
        )
    part = onnx.ModelProto()
    part.metadata_props.add(key=METADATA_KEY, value=manifest.to_json())
    with path.open("ab") as file:
        file.write(part.SerializeToString())


def serialize(model: onnx.ModelProto) -> bytes:
    """Return a model's bytes; equal models give equal bytes.

    Raises:
        ModelFileError: It is larger than one protobuf message may be.
    """
    try:
        return bytes(model.SerializeToString(deterministic=True))
    except (EncodeError, ValueError):
        raise ModelFileError(
            f"the model is larger than {PROTOBUF_LIMIT} bytes, which is what one ONNX file holds; "
            "export a smaller configuration"
        ) from None


@contextlib.contextmanager
def written_whole(path: Path | str, *, keep_failed: bool = False) -> Iterator[Path]:
    """Give a place beside ``path`` and move the file there to ``path`` when the block succeeds.

    Args:
        path: Where the file shall stand; missing folders are made.
        keep_failed: Move it also when the block raises, so that it can be looked at.

    Yields:
        A path of the same file name in a temporary folder on the same file system.

    Raises:
        InputError: The place cannot be written.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path}: is a folder; name the file to write, such as {path}/model.onnx")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{path.stem}.", dir=path.parent))
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror}); choose another output path"
        ) from None
    part, success = folder / path.name, False
    try:
        yield part
        success = True
    finally:
        if part.exists() and (success or keep_failed):
            part.replace(path)
        shutil.rmtree(folder, ignore_errors=True)
