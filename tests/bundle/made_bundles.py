"""Small bundles for tests, and bundles that no honest writer makes."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tiny_network import tiny_manifest, tiny_onnx, write_model

from differseg.bundle.index import SUMS_NAME
from differseg.bundle.layout import Entry, local_header, trailer


def small_model(folder: Path, **manifest: object) -> Path:
    return write_model(folder / "tiny.onnx", tiny_onnx(), tiny_manifest(**manifest))


def contents_of(model: Path) -> dict[str, bytes]:
    """Return the members of a plain bundle of the tiny network, without its list of hashes."""
    text = tiny_manifest().to_json(indent=1) + "\n"
    return {"manifest.json": text.encode(), "model.onnx": model.read_bytes()}


def with_sums(files: dict[str, bytes]) -> list[tuple[str, bytes]]:
    """Return the files in order with a list of hashes that is of them."""
    ordered = sorted(files.items())
    sums = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in ordered)
    return sorted([*ordered, (SUMS_NAME, sums.encode())])


def forged(path: Path, files: Sequence[tuple[str, bytes]], **changes: Any) -> Path:
    """Write a bundle whose checksums all agree, whatever its index says.

    Args:
        path: Where.
        files: Name and bytes, in this order.
        changes: Fields of the index that are set to something else.
    """
    members = [
        {"name": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in files
    ]
    document: dict[str, Any] = {"model": "tiny", "differseg": "0.1.0", "members": members}
    document |= {"schema": 1, "signature": None, **changes}
    body = json.dumps(document, indent=1)
    document["checksum"] = hashlib.sha256(body.encode()).hexdigest()
    index = (json.dumps(document, indent=1) + "\n").encode()
    written, entries = b"", []
    for name, data in (("bundle.json", index), *files):
        entries.append(Entry(name, len(data), zlib.crc32(data)))
        written += local_header(entries[-1]) + data
    path.write_bytes(written + trailer(entries))
    return path
