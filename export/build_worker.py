"""The child process in which TensorRT's Python API builds an engine.

``python -m differseg.export.build_worker`` reads one JSON request from standard input and writes
facts as they become known, one JSON object a line; what the native code prints goes to standard
error.  A child process because a build cannot be interrupted from within Python, and because native
code that crashes or takes all memory then ends the child alone.  The parent is
:mod:`differseg.export.build_process`.

One path serves TensorRT 8.5 to 11: what a release does not have is not asked for, and members of
enumerations are taken by name, since their numbers differ between releases (NVIDIA/TensorRT,
python/src/infer/pyCore.cpp and pyGraph.cpp at the tags 8.5.3 to v11.1).
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from differseg.runtime.backends.tensorrt_api import (
    load_plugin_library,
    logger_of,
    register_own_plugins,
    release_of,
)

Emit = Callable[..., None]

_HARDWARE = {"ampere+": "AMPERE_PLUS", "same_compute_capability": "SAME_COMPUTE_CAPABILITY"}
_REPORT_EVERY_S = 0.1


class Refused(Exception):
    """The library said no; the text is what it said."""


def _make_monitor(trt: Any, emit: Emit) -> Any:
    """Return a progress monitor (TensorRT 10) that emits the outermost phases."""

    class Monitor(trt.IProgressMonitor):
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._steps: dict[str, int] = {}
            self._last_s = 0.0

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._steps[phase_name] = num_steps
            emit(progress=[phase_name, 0, num_steps])

        def step_complete(self, phase_name: str, step: int) -> bool:
            now_s = time.monotonic()
            if now_s - self._last_s >= _REPORT_EVERY_S:
                self._last_s = now_s
                emit(progress=[phase_name, step + 1, self._steps.get(phase_name, step + 1)])
            return True

        def phase_finish(self, phase_name: str) -> None:
            self._steps.pop(phase_name, None)

    return Monitor()


def _load_plugins(trt: Any, logger: Any, paths: Sequence[str], emit: Emit) -> None:
    """Load plugin libraries and NVIDIA's own plugins into the registry.

    Raises:
        Refused: The library cannot be loaded.
    """
    for path in paths:
        emit(stage="plugin", plugin=path)
        try:
            load_plugin_library(trt, path)
        except OSError as error:
            raise Refused(str(error)) from None
    register_own_plugins(trt, logger)


def _builder(trt: Any, logger: Any) -> Any:
    """Return a builder.

    Raises:
        Refused: There is no GPU that CUDA can use: the binding then returns no object.
    """
    try:
        return trt.Builder(logger)
    except TypeError:
        raise Refused("no builder without a GPU that CUDA can use; see nvidia-smi") from None


def network_flags(trt: Any, strongly_typed: bool) -> int:
    """Return the creation flags of a network, by the names that this release has."""
    members = trt.NetworkDefinitionCreationFlag
    flags = 0
    major = int(release_of(trt).split(".")[0])
    if major < 10 and hasattr(members, "EXPLICIT_BATCH"):
        flags |= 1 << int(members.EXPLICIT_BATCH)
    if strongly_typed and major == 10:
        flags |= 1 << int(members.STRONGLY_TYPED)
    return flags


def _parse(trt: Any, network: Any, logger: Any, model: str, emit: Emit) -> None:
    """Parse the file into the network.

    Raises:
        Refused: The parser does not take it; emits its errors.
    """
    emit(stage="parse")
    parser = trt.OnnxParser(network, logger)
    start_s = time.perf_counter()
    accepted = parser.parse_from_file(model)
    errors = [_error(parser.get_error(index)) for index in range(parser.num_errors)]
    emit(parse_s=round(time.perf_counter() - start_s, 3), errors=errors)
    if not accepted or errors:
        raise Refused(errors[0] if errors else "the parser refused the file without a reason")


def _error(error: Any) -> str:
    """Return one line of what the parser says about a node."""
    node = f"node {error.node()}"
    if hasattr(error, "node_name"):  # TensorRT 10
        node += f" '{error.node_name()}' ({error.node_operator()})"
    return f"{node}: {' '.join(error.desc().split())}"


def _configure(
    trt: Any, builder: Any, network: Any, plan: Mapping[str, Any], emit: Emit
) -> tuple[Any, Any]:
    """Return the configuration that the plan asks for, and its timing cache."""
    config = builder.create_builder_config()
    if "workspace_mib" in plan:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, plan["workspace_mib"] << 20)
    if "level" in plan:
        config.builder_optimization_level = plan["level"]
    if not plan.get("tf32"):
        config.clear_flag(trt.BuilderFlag.TF32)
    for name in plan.get("flags", ()):
        config.set_flag(getattr(trt.BuilderFlag, name))
    if plan.get("version_compatible"):
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if plan.get("hardware", "none") != "none":
        level = getattr(trt.HardwareCompatibilityLevel, _HARDWARE[plan["hardware"]])
        config.hardware_compatibility_level = level
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if plan.get("plugins_inside"):
        config.plugins_to_serialize = list(plan["plugins"])
    if plan.get("profiles"):
        profile = builder.create_optimization_profile()
        for name, shapes in plan["profiles"].items():
            profile.set_shape(name, *(tuple(shape) for shape in shapes))
        if config.add_optimization_profile(profile) < 0:
            raise Refused("the optimisation profile was refused")
    _pin(trt, network, config, frozenset(plan.get("pins", ())), emit)
    if hasattr(trt, "IProgressMonitor") and hasattr(config, "progress_monitor"):
        config.progress_monitor = _make_monitor(trt, emit)
    return config, _timing_cache(config, plan.get("timing_cache"))


def _pin(trt: Any, network: Any, config: Any, names: frozenset[str], emit: Emit) -> None:
    """Keep layers in float32 where the builder may narrow them (TensorRT 8)."""
    if not names:
        return
    config.set_flag(trt.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)
    pinned = 0
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        if layer.name not in names:
            continue
        pinned += 1
        layer.precision = trt.float32
        for place in range(layer.num_outputs):
            if layer.get_output(place).dtype in (trt.float32, trt.float16):
                layer.set_output_type(place, trt.float32)
    emit(pinned=pinned)


def _timing_cache(config: Any, path: str | None) -> Any:
    """Give the configuration the timings of earlier builds; returns the cache to be saved."""
    if path is None:
        return None
    data = Path(path).read_bytes() if os.path.isfile(path) else b""
    cache = config.create_timing_cache(data)
    if cache is None:  # damaged, or of another release
        cache = config.create_timing_cache(b"")
    if not config.set_timing_cache(cache, False):  # of another GPU: it starts anew
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, False)
    return cache


def build(trt: Any, request: Mapping[str, Any], emit: Emit) -> None:
    """Build one engine; every fact, the final ``status`` too, goes through ``emit``.

    Args:
        trt: The ``tensorrt`` module.
        request: ``model``, ``engine`` (the file to write) and ``plan``, see
            :class:`differseg.export.engine_plan.EnginePlan`, with ``timing_cache``.
        emit: Told the facts.
    """
    emit(version=release_of(trt), stage="create")
    plan = request["plan"]
    logger = logger_of(trt, lambda severity, text: emit(log=f"{severity.lower()}: {text}"))
    try:
        _load_plugins(trt, logger, plan.get("plugins", ()), emit)
        emit(stage="create")
        builder = _builder(trt, logger)
        network = builder.create_network(network_flags(trt, bool(plan.get("strongly_typed"))))
        _parse(trt, network, logger, request["model"], emit)
        emit(stage="build", layers=network.num_layers)
        config, cache = _configure(trt, builder, network, plan, emit)
        start_s = time.perf_counter()
        engine = builder.build_serialized_network(network, config)
        emit(build_s=round(time.perf_counter() - start_s, 3))
        if engine is None:
            raise Refused("")
    except Refused as refusal:
        emit(status="refused", reason=str(refusal))
        return
    data = memoryview(engine)
    Path(request["engine"]).write_bytes(data)
    if cache is not None:
        _save_cache(cache, Path(plan["timing_cache"]))
    emit(engine_bytes=data.nbytes, status="built")


def _save_cache(cache: Any, path: Path) -> None:
    part = path.with_name(f"{path.name}.{os.getpid()}")
    part.write_bytes(memoryview(cache.serialize()))
    part.replace(path)


def main() -> None:
    """Serve one request, then leave without running the library's static destructors."""
    facts = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)

    def emit(**values: Any) -> None:
        facts.write(json.dumps(values) + "\n")
        facts.flush()

    try:
        request = json.loads(sys.stdin.read())
        trt = importlib.import_module("tensorrt")
        if "model" in request:
            build(trt, request, emit)
        else:
            emit(version=release_of(trt), status="described")
    except Exception as error:  # the parent reports it; a traceback would go nowhere
        emit(status="crashed", reason=f"{type(error).__name__}: {error}")
    os._exit(0)


if __name__ == "__main__":
    main()
