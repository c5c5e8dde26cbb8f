"""Engine files of made-up bytes with real sidecars, for tests that never deserialise them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from differseg.engine_sidecar import BuiltFor, EngineSidecar, PluginFile, sidecar_path
from differseg.manifest import (
    ClassSpec,
    InputSpec,
    Manifest,
    OutputSpec,
    ThermalPolicy,
    WeightsRecord,
)
from differseg.runtime.engine_file import Host
from differseg.signing import Key

ORIN = Host("tensorrt", "10.3.0", "linux-aarch64", "8.7", "Orin")
BYTES = bytes(range(256)) * 8


def small_manifest() -> Manifest:
    """Return a manifest of RGB with thermal at 32x48."""
    rgb = InputSpec(
        "rgb", "rgb", (1, 32, 48, 3), "uint8", "NHWC", (0.0, 255.0), (0.5,) * 3, (0.2,) * 3, "RGB"
    )
    thermal = InputSpec(
        "thermal", "thermal", (1, 1, 32, 48), "float32", "NCHW", (0.0, 1.0), (0.5,), (0.5,),
        thermal_policy=ThermalPolicy(),
    )  # fmt: skip
    return Manifest(
        model="small",
        system="differseg",
        task="rgbt",
        inputs=(rgb, thermal),
        outputs=(OutputSpec("probability", "probability", (1, 1, 32, 48)),),
        classes=(ClassSpec(0, "background", (0, 0, 0)), ClassSpec(1, "Gebäude", (255, 64, 0))),
        threshold=0.5,
        weights=WeightsRecord("shipped"),
    )


def sidecar_of(data: bytes, **changes: Any) -> EngineSidecar:
    """Return a sidecar of these bytes, for an Orin with TensorRT 10.3."""
    sidecar = EngineSidecar(
        engine_sha256=hashlib.sha256(data).hexdigest(),
        engine_bytes=len(data),
        model_sha256="0" * 64,
        built_for=BuiltFor("tensorrt", "10.3.0", "linux-aarch64", "8.7", "Orin", "12.6"),
        manifest=small_manifest(),
        options={"strongly_typed": True, "level": 3},
        build_s=12.5,
        tools={"differseg": "0.1.0"},
    )
    return replace(sidecar, **changes)


def write_engine(
    folder: Path, data: bytes = BYTES, *, plugin: bytes | None = None, key: Key | None = None,
    **changes: Any,
) -> Path:  # fmt: skip
    """Write ``model.engine`` with its sidecar, and a plugin library where asked for."""
    engine = folder / "model.engine"
    engine.write_bytes(data)
    sidecar = sidecar_of(data, **changes)
    if plugin is not None:
        (folder / "libp.so").write_bytes(plugin)
        named = PluginFile("libp.so", hashlib.sha256(plugin).hexdigest())
        sidecar = replace(sidecar, plugins=(named,))
    if key is not None:
        sidecar = sidecar.signed(key)
    sidecar_path(engine).write_text(sidecar.to_json(), encoding="utf-8")
    return engine
