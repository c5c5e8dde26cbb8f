"""The sidecar of an engine: the JSON file beside it that says what it is and where it may run.

An engine file is native code without a description.  ``model.engine.json`` repeats the manifest of
the ONNX file it was built from and adds what the engine itself cannot tell: its hash, the library,
GPU and options it was built with, and the plugin libraries that it needs.  Two things guard it: the
text must be exactly what :meth:`EngineSidecar.to_json` writes, with a checksum, so that any damage
shows; and a signature, where a key is used, so that any change shows.  Standard library only.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from differseg.errors import ManifestError
from differseg.manifest import Manifest
from differseg.schema import from_plain, parse_json, to_plain
from differseg.signing import Key, Signature

SIDECAR_SCHEMA = 1
"""Version of the document's layout; a reader refuses any other."""

Library = Literal["tensorrt", "tensorrt_rtx"]
HardwareCompatibility = Literal["none", "ampere+", "same_compute_capability"]

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class PluginFile:
    """A plugin library that the engine needs at run time, by name and content.

    Attributes:
        name: File name without folder.
        sha256: Hash of the file.
    """

    name: str
    sha256: str

    def __post_init__(self) -> None:
        """Refuse a name that leads to another folder, and a hash that is none."""
        if not self.name or self.name in (".", "..") or set(self.name) & set("/\\\0"):
            raise ManifestError(f"name: expected a file name without folder, got {self.name!r}")
        _check_hash("sha256", self.sha256)


@dataclass(frozen=True)
class BuiltFor:
    """Where an engine may run.

    Attributes:
        library: TensorRT, or TensorRT-RTX, whose engines are finished on the GPU that loads them.
        version: Version of the library, such as 10.3.0.
        platform: System and processor, such as ``linux-aarch64``; engines never move between them.
        sm: Compute capability of the GPU, such as 8.7; None where the engine is for several.
        device: Name of the GPU that it was built on; None where it was built without one.
        cuda, driver: Versions of the CUDA runtime and of the driver, where known.
        hardware_compatibility: Which other GPUs may run it.
        version_compatible: Whether newer releases of the library may run it.
    """

    library: Library
    version: str
    platform: str
    sm: str | None = None
    device: str | None = None
    cuda: str | None = None
    driver: str | None = None
    hardware_compatibility: HardwareCompatibility = "none"
    version_compatible: bool = False

    def __post_init__(self) -> None:
        """Check that versions can be compared."""
        if not re.fullmatch(r"\d+(\.\d+){1,3}", self.version):
            raise ManifestError(f"version: expected such as 10.3.0, got {self.version!r}")
        if self.sm is not None and not re.fullmatch(r"\d+\.\d", self.sm):
            raise ManifestError(f"sm: expected such as 8.7, got {self.sm!r}")


@dataclass(frozen=True)
class EngineSidecar:
    """The whole document; see the module's docstring.

    Attributes:
        engine_sha256, engine_bytes: The engine file.
        model_sha256: The ONNX file that it was built from.
        built_for: Where it may run.
        manifest: The ONNX file's manifest.
        plugins: Plugin libraries that are loaded before it; those inside the engine are not named.
        options: Build options by name, as given to the builder.
        build_s: Seconds that the build took.
        tools: Version of differseg, and of what drove the build.
        signature: Of everything above; None where no key was used.
    """

    engine_sha256: str
    engine_bytes: int
    model_sha256: str
    built_for: BuiltFor
    manifest: Manifest
    plugins: tuple[PluginFile, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    build_s: float = 0.0
    tools: dict[str, str] = field(default_factory=dict)
    schema: int = SIDECAR_SCHEMA
    signature: Signature | None = None

    def __post_init__(self) -> None:
        """Check hashes and size."""
        _check_hash("engine_sha256", self.engine_sha256)
        _check_hash("model_sha256", self.model_sha256)
        if self.engine_bytes < 1:
            raise ManifestError(f"engine_bytes: expected at least 1, got {self.engine_bytes}")

    def payload(self) -> bytes:
        """Return what a signature is of: the document without signature, in one fixed form."""
        document = to_plain(replace(self, signature=None))
        text = json.dumps(document, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
        return b"differseg engine sidecar\n" + text.encode()

    def signed(self, key: Key) -> EngineSidecar:
        """Return a copy that carries this key's signature.

        Raises:
            InputError: The key can only verify.
        """
        return replace(self, signature=key.sign(self.payload()))

    def to_json(self) -> str:
        """Write the document with its checksum; equal sidecars give equal text."""
        # A whole number in a field of fractions is read as a fraction, and is written as one.
        document = to_plain(from_plain(type(self), to_plain(self)))
        body = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
        document["checksum"] = hashlib.sha256(body.encode()).hexdigest()
        return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> EngineSidecar:
        """Read a document.

        Raises:
            ManifestError: Not JSON, another schema, a wrong field by name, or a text that is not
                what :meth:`to_json` wrote.
        """
        document = parse_json(text, "sidecar")
        if not isinstance(document, dict):
            raise ManifestError("sidecar: expected an object")
        if document.get("schema") != SIDECAR_SCHEMA:
            raise ManifestError(
                f"schema: this differseg reads schema {SIDECAR_SCHEMA}, got "
                f"{document.get('schema')!r}; build the engine again"
            )
        document.pop("checksum", None)
        sidecar = from_plain(cls, document)
        try:
            unchanged = sidecar.to_json() == text
        except UnicodeEncodeError:  # half of a surrogate pair, which JSON can spell
            unchanged = False
        if not unchanged:
            raise ManifestError(
                "checksum: the text is not the one that was written; copy the file again, or build "
                "the engine again"
            )
        return sidecar


def sidecar_path(engine: Path | str) -> Path:
    """Return where an engine's sidecar lies: ``model.engine`` -> ``model.engine.json``."""
    engine = Path(engine)
    return engine.with_name(f"{engine.name}.json")


def _check_hash(name: str, text: str) -> None:
    if not _SHA256.fullmatch(text):
        raise ManifestError(f"{name}: expected 64 hexadecimal digits, got {text!r:.80}")
