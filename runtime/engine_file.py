"""Open an engine file, and refuse before it is deserialised what must not be.

Deserialising an engine runs native code over its bytes, and a version-compatible engine even brings
code of its own.  So the bytes are handed out only when the sidecar beside the file vouches for
them: it is there and undamaged, its signature is good where a key is asked for, the bytes and the
plugin libraries have its hashes, and this machine is one that the engine was built for.  What is
handed out are the bytes that were hashed, so the file may change afterwards.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from differseg.engine_sidecar import BuiltFor, EngineSidecar, Library, PluginFile, sidecar_path
from differseg.errors import CheckFailedError, ManifestError, ModelFileError
from differseg.file_hash import sha256_of
from differseg.signing import Key

ENGINE_SUFFIXES = (".engine", ".plan", ".rtx")
"""Endings of engine files."""

_LARGEST_SIDECAR = 16 << 20


@dataclass(frozen=True)
class Host:
    """The machine that would run an engine.

    Attributes:
        library: Which library is installed.
        version: Its version, such as 10.3.0.
        platform: Such as ``linux-aarch64``.
        sm: Compute capability of the GPU, such as 8.7; None where it is not known.
        device: Name of the GPU.
    """

    library: Library
    version: str
    platform: str
    sm: str | None
    device: str | None = None


@dataclass(frozen=True)
class EngineFile:
    """An engine that may be deserialised here.

    Attributes:
        path: The file.
        data: Its bytes, which have the sidecar's hash.
        sidecar: What it is.
        plugins: The plugin libraries to load before it, checked too.
    """

    path: Path
    data: bytes
    sidecar: EngineSidecar
    plugins: tuple[Path, ...]


def is_engine(path: Path | str) -> bool:
    """Whether the name is that of an engine file."""
    return Path(path).suffix.lower() in ENGINE_SUFFIXES


def read_sidecar(engine: Path | str, key: Key | None = None) -> EngineSidecar:
    """Read the sidecar of an engine and, with a key, check its signature.

    Raises:
        ModelFileError: The engine or its sidecar is missing or cannot be read.
        ManifestError: The sidecar is damaged, or of another schema.
        CheckFailedError: With a key: it is not signed, or not by this key.
    """
    engine = Path(engine)
    beside = sidecar_path(engine)
    if not engine.is_file():
        raise ModelFileError(f"engine {engine}: there is no such file; make one with: {_build()}")
    if not beside.is_file():
        raise ModelFileError(
            f"engine {engine}: there is no sidecar {beside.name} beside it, so nothing says what "
            f"it is; copy it along, or build the engine with: {_build(engine)}"
        )
    try:
        with beside.open("rb") as file:
            data = file.read(_LARGEST_SIDECAR + 1)
    except OSError as error:
        raise ModelFileError(f"sidecar {beside}: cannot be read ({error.strerror})") from None
    if len(data) > _LARGEST_SIDECAR:
        raise ModelFileError(f"sidecar {beside}: larger than {_LARGEST_SIDECAR} bytes")
    try:
        sidecar = EngineSidecar.from_json(data.decode())
    except UnicodeDecodeError:
        raise ManifestError(f"sidecar {beside}: not UTF-8 text; copy it again") from None
    except ManifestError as error:
        raise ManifestError(f"sidecar {beside}: {error}") from None
    if key is not None:
        _check_signature(beside, sidecar, key)
    return sidecar


def open_engine_file(engine: Path | str, host: Host, key: Key | None = None) -> EngineFile:
    """Read an engine that may be deserialised on this machine.

    Args:
        engine: The file; its sidecar and plugin libraries lie beside it.
        host: This machine.
        key: Whose signature is asked for; None asks for none.

    Raises:
        ModelFileError: A file is missing, has another hash, or the engine is for another machine.
        ManifestError: The sidecar is damaged, or of another schema.
        CheckFailedError: With a key: the sidecar is not signed, or not by this key.
    """
    engine = Path(engine)
    sidecar = read_sidecar(engine, key)
    check_host(engine, sidecar.built_for, host)
    try:
        data = engine.read_bytes()
    except OSError as error:
        raise ModelFileError(f"engine {engine}: cannot be read ({error.strerror})") from None
    if len(data) != sidecar.engine_bytes or hashlib.sha256(data).hexdigest() != (
        sidecar.engine_sha256
    ):
        raise ModelFileError(
            f"engine {engine}: {len(data)} bytes that are not the {sidecar.engine_bytes} its "
            f"sidecar names (SHA-256 {sidecar.engine_sha256[:12]}...), so it was damaged or "
            f"exchanged; copy both again, or build it with: {_build(engine)}"
        )
    plugins = tuple(_plugin(engine, plugin) for plugin in sidecar.plugins)
    return EngineFile(engine, data, sidecar, plugins)


def check_host(engine: Path, built: BuiltFor, host: Host) -> None:
    """Refuse an engine of another library, version, platform or GPU.

    Raises:
        ModelFileError: Names what it was built for, what is here, and how to build it again.
    """
    again = f"build it here with: {_build(engine)}"
    names = {"tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT-RTX"}
    if built.library != host.library:
        raise ModelFileError(
            f"engine {engine}: built by {names[built.library]} {built.version}, here is "
            f"{names[host.library]} {host.version}; {again}"
        )
    if built.platform != host.platform:
        raise ModelFileError(
            f"engine {engine}: built for {built.platform}, this is {host.platform}, and engines "
            f"do not move between platforms; {again}"
        )
    if not _version_fits(built, host.version):
        raise ModelFileError(
            f"engine {engine}: built by {names[built.library]} {built.version}, here is "
            f"{host.version}; {again}"
        )
    if built.sm is None and built.library == "tensorrt":
        raise ModelFileError(
            f"engine {engine}: its sidecar does not say for which GPU it was built; {again}"
        )
    if built.sm is not None and not _gpu_fits(built, host.sm):
        here = f"SM {host.sm}" if host.sm else "not known"
        raise ModelFileError(
            f"engine {engine}: built for a GPU of SM {built.sm}"
            + (f" ({built.device})" if built.device else "")
            + f", the one here is {here}"
            + (f" ({host.device})" if host.device else "")
            + f"; {again}"
        )


def _version_fits(built: BuiltFor, here: str) -> bool:
    """Whether a release runs the engine: the same one, or for a compatible engine a newer one.

    Compatible engines cross majors only from 8 to 10 and from 10 to 11 (NVIDIA's TensorRT 11.4
    documentation, support matrix).
    """
    had, have = _numbers(built.version), _numbers(here)
    if not built.version_compatible:
        return had[:3] == have[:3]
    return had <= have and (had[0], have[0]) in {(n, n) for n in (8, 9, 10, 11)} | {
        (8, 10),
        (10, 11),
    }


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _gpu_fits(built: BuiltFor, here: str | None) -> bool:
    assert built.sm is not None
    if here is None:
        return False
    if built.hardware_compatibility == "ampere+":
        return _numbers(here) >= (8, 0)
    return built.sm == here


def _plugin(engine: Path, plugin: PluginFile) -> Path:
    """Return a plugin library beside the engine, checked against the sidecar."""
    path = engine.with_name(plugin.name)
    try:
        found = sha256_of(path)
    except OSError:
        raise ModelFileError(
            f"engine {engine}: it needs the plugin library {plugin.name}, which is not beside it; "
            "copy it there"
        ) from None
    if found != plugin.sha256:
        raise ModelFileError(
            f"plugin library {path}: SHA-256 {found[:12]}..., the sidecar of {engine.name} names "
            f"{plugin.sha256[:12]}...; a plugin is code, so copy the one that it was built with"
        )
    return path


def _check_signature(path: Path, sidecar: EngineSidecar, key: Key) -> None:
    signature = sidecar.signature
    if signature is None:
        raise CheckFailedError(
            f"sidecar {path}: not signed, and a key is asked for; build it again with --sign-key, "
            "or leave the key out to run engines that nobody vouches for"
        )
    if not key.verifies(sidecar.payload(), signature):
        other = "" if signature.key == key.name else f" (it names {signature.key}, not {key.name})"
        raise CheckFailedError(
            f"sidecar {path}: its signature is not of this key{other}, or it was changed "
            "afterwards; do not run this engine"
        )


def _build(engine: Path | None = None) -> str:
    return f"differseg build MODEL.onnx -o {engine or 'MODEL.engine'}"
