"""Engines of the contract test-bed, built by our own worker inside the test's process."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from contract.install import Bed

from differseg.engine_sidecar import BuiltFor, EngineSidecar, PluginFile, sidecar_path
from differseg.export.build_worker import build
from differseg.export.engine_plan import EngineSettings, plan_engine
from differseg.export.modelfile import manifest_of, read_model
from differseg.runtime.gpu import platform_name
from differseg.signing import Key

Facts = list[dict[str, Any]]


def release_of(bed: Bed) -> tuple[int, int]:
    """Return major and minor number of the fake module."""
    major, minor = bed.tensorrt.__version__.split(".")[:2]
    return int(major), int(minor)


def built_by_worker(
    bed: Bed,
    model: Path,
    engine: Path,
    settings: EngineSettings | None = None,
    timing_cache: Path | None = None,
) -> Facts:
    """Build an engine; returns what the worker said."""
    plan = plan_engine(read_model(model), release_of(bed), settings or EngineSettings()).to_plain()
    if timing_cache is not None:
        plan["timing_cache"] = str(timing_cache)
    facts: Facts = []
    request = {"model": str(model), "engine": str(engine), "plan": plan}
    build(bed.tensorrt, request, lambda **fact: facts.append(fact))
    return facts


def engine_of(
    bed: Bed,
    model: Path,
    folder: Path,
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
    plugins: Sequence[Path] = (),
    key: Key | None = None,
    **built: Any,
) -> Path:
    """Build ``model.engine`` with its sidecar for the bed's device."""
    engine = folder / "model.engine"
    settings = EngineSettings(
        shapes=shapes,
        plugins=tuple(plugins),
        version_compatible=built.get("version_compatible", False),
        hardware=built.get("hardware_compatibility", "none"),
    )
    facts = built_by_worker(bed, model, engine, settings)
    assert facts[-1]["status"] == "built", facts
    write_sidecar(bed, model, engine, plugins=plugins, key=key, **built)
    return engine


def write_sidecar(
    bed: Bed,
    model: Path,
    engine: Path,
    *,
    plugins: Sequence[Path] = (),
    key: Key | None = None,
    **built: Any,
) -> EngineSidecar:
    """Write the sidecar of an engine as it is."""
    device = bed.machine.device
    assert device is not None
    manifest = manifest_of(read_model(model))
    assert manifest is not None
    version = ".".join(bed.tensorrt.__version__.split(".")[:3])
    data = engine.read_bytes()
    library: Any = bed.tensorrt.__name__
    built_for = BuiltFor(
        library, version, platform_name(), f"{device.sm[0]}.{device.sm[1]}", device.name
    )
    sidecar = EngineSidecar(
        engine_sha256=hashlib.sha256(data).hexdigest(),
        engine_bytes=len(data),
        model_sha256=hashlib.sha256(model.read_bytes()).hexdigest(),
        built_for=replace(built_for, **built),
        manifest=manifest,
        plugins=tuple(
            PluginFile(path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in plugins
        ),
    )
    if key is not None:
        sidecar = sidecar.signed(key)
    sidecar_path(engine).write_text(sidecar.to_json())
    return sidecar
