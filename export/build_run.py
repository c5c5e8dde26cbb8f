"""One build from an ONNX file to an engine with sidecar: the work behind ``differseg build``."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx

from differseg import __version__
from differseg.engine_sidecar import BuiltFor, EngineSidecar, PluginFile, sidecar_path
from differseg.errors import CheckFailedError, DifferSegError, InputError, ManifestError
from differseg.export import rtx
from differseg.export.build_engine import BuildOptions
from differseg.export.build_process import Builder, BuiltEngine, find_builder, run_builder
from differseg.export.engine_cache import cache_folder, engine_key, locked_entry
from differseg.export.engine_plan import EnginePlan, plan_engine
from differseg.export.lint import lint
from differseg.export.modelfile import manifest_of, read_model, written_whole
from differseg.export.steps import Announce, Steps, bar, silent
from differseg.export.targets import Target, find_target
from differseg.export.trtexec import as_line, trtexec_arguments
from differseg.file_hash import sha256_of
from differseg.manifest import Manifest
from differseg.runtime.engine_file import read_sidecar
from differseg.runtime.gpu import cuda_version, find_gpu, platform_name
from differseg.schema import to_plain
from differseg.signing import Key, load_key

RTX_TARGET = "rtx1"
"""The target whose engines are built without a GPU."""

_Make = Callable[[Path], BuiltEngine]


@dataclass(frozen=True)
class BuildReport:
    """What was built.

    Attributes:
        path: The engine.
        sidecar: What stands beside it.
        log: Warnings of the builder.
        seconds: Duration of each step.
        from_cache: It was built before.
    """

    path: Path
    sidecar: EngineSidecar
    log: tuple[str, ...]
    seconds: dict[str, float]
    from_cache: bool = False

    def to_plain(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            "path": str(self.path),
            "from_cache": self.from_cache,
            "log": list(self.log),
            "seconds": self.seconds,
            "sidecar": to_plain(self.sidecar),
        }


@dataclass(frozen=True)
class _Model:
    """The file, read once."""

    path: Path
    proto: onnx.ModelProto
    manifest: Manifest
    sha256: str


@dataclass(frozen=True)
class _Job:
    """One build that is decided: for what, told what, and what does it."""

    built_for: BuiltFor
    plan: EnginePlan
    tools: dict[str, str]
    make: _Make


def run_build(options: BuildOptions, announce: Announce = silent) -> BuildReport:
    """Build an engine, or copy it from the cache.

    Args:
        options: What the command line takes.
        announce: Told about every step.

    Raises:
        InputError: An option that cannot be used, here or on this release.
        ModelFileError, ManifestError: The file is no ONNX file that differseg wrote.
        CheckFailedError: The target's lint, NVIDIA's parser or its builder refuses it.
        MissingComponentError: No builder is installed.
    """
    steps = Steps(announce)
    key = None if options.sign_key is None else load_key(options.sign_key)
    with steps("read") as said:
        model = _read(options.model)
        said.append(f"{model.manifest.model}, {model.manifest.precision}")
    if options.target == RTX_TARGET:
        job = _rtx_job(model, options)
    else:
        job = _tensorrt_job(model, options, steps)
    out = options.out or options.model.with_suffix(".rtx" if _is_rtx(job) else ".engine")
    if not options.cache:
        return BuildReport(out, *_build(model, job, out, key, steps), steps.seconds)
    return _through_cache(model, job, out, key, options, steps)


def _through_cache(
    model: _Model, job: _Job, out: Path, key: Key | None, options: BuildOptions, steps: Steps
) -> BuildReport:
    """Take the engine out of the cache; build it into the cache where it is not there."""
    facts = {
        "model": model.sha256,
        "plugins": [sha256_of(path) for path in options.plugin],
        "built_for": to_plain(job.built_for),
        "plan": _told(job.plan),
        "differseg": __version__,
    }
    with steps("cache") as said, locked_entry(engine_key(facts)) as entry:
        cached = entry / "model.engine"
        log: tuple[str, ...] = ()
        sidecar = _sound(cached)
        before = sidecar is not None
        if sidecar is None:
            sidecar, log = _build(model, job, cached, None, steps)
        said.append("built before" if before else "kept for the next time")
        if key is not None:
            sidecar = sidecar.signed(key)
        _copy(cached, out, sidecar, job.plan)
    return BuildReport(out, sidecar, log, steps.seconds, from_cache=before)


def trtexec_line(options: BuildOptions) -> str:
    """Return the line that builds the file on a target, for a shell there.

    Raises:
        InputError: TensorRT-RTX, which has another program, or an option that the release lacks.
        ModelFileError, ManifestError, CheckFailedError: As :func:`run_build`.
    """
    assert options.target is not None
    target = find_target(options.target)
    if target.name == RTX_TARGET:
        raise InputError(
            f"build: --print-trtexec: {target.label} has no trtexec; build it here with --target "
            f"{target.name}"
        )
    model = _read(options.model)
    _lint(model, target)
    plan = plan_engine(model.proto, target.version, options.settings())
    out = options.out or options.model.with_suffix(".engine")
    plan = replace(plan, plugins=tuple(map(str, options.plugin)))
    return as_line("trtexec", trtexec_arguments(options.model, out, plan, target.version))


def _read(path: Path) -> _Model:
    proto = read_model(path)
    try:
        manifest = manifest_of(proto)
    except ManifestError as error:
        raise ManifestError(f"build: {path}: {error}") from None
    if manifest is None:
        raise InputError(
            f"build: {path}: it holds no differseg manifest, so an engine of it could not say what "
            "it takes; export it with: differseg export --model NAME -o FILE.onnx"
        )
    return _Model(path, proto, manifest, sha256_of(path))


def _is_rtx(job: _Job) -> bool:
    return job.built_for.library == "tensorrt_rtx"


def _lint(model: _Model, target: Target) -> None:
    """Refuse what the release's parser is known not to read, with the node's name."""
    objections = [v for v in lint(model.proto, target) if v.level == "no"]
    if objections:
        first = objections[0]
        more = f" (and {len(objections) - 1} more)" if len(objections) > 1 else ""
        raise CheckFailedError(
            f"build: {model.path}: {target.label} does not take node '{first.node or first.op}': "
            f"{first.reason}{more}; {first.advice}"
        )


def _rtx_job(model: _Model, options: BuildOptions) -> _Job:
    """Decide a build by NVIDIA's TensorRT-RTX package."""
    target = find_target(RTX_TARGET)
    settings = options.settings()
    for name, given in {
        "--level": settings.level is not None,
        "--workspace-mib": settings.workspace_mib is not None,
        "--version-compatible": settings.version_compatible,
        "--hardware": settings.hardware != "none",
        "--plugins-inside": settings.plugins_inside,
    }.items():
        if given:
            raise InputError(f"build: {name}: {target.label} has no such choice; leave it out")
    rtx.find_libraries()
    _lint(model, target)
    plan = plan_engine(model.proto, target.version, settings)
    version = rtx.library_version()

    def make(out: Path) -> BuiltEngine:
        report = rtx.build(
            model.path,
            profiles=plan.profiles,
            values=settings.shapes,
            plugins=options.plugin,
            save=out,
            tf32=plan.tf32,
        )
        if not report.passed:
            raise CheckFailedError(
                f"build: {model.path}: {target.label} refuses it: {report.reason}"
            )
        log = tuple(line for line in report.log if line.startswith("warning"))
        return BuiltEngine(report.build_s, log=log)

    built_for = BuiltFor("tensorrt_rtx", version, platform_name())
    return _Job(built_for, plan, {"differseg": __version__}, make)


def _tensorrt_job(model: _Model, options: BuildOptions, steps: Steps) -> _Job:
    """Decide a build by the TensorRT that is installed."""
    with steps("find TensorRT") as said:
        builder = find_builder()
        gpu = find_gpu()
        said.append(f"{builder.kind}, TensorRT {builder.version}")
    target = _target_of(builder, options.target)
    _lint(model, target)
    plan = plan_engine(model.proto, builder.release, options.settings())
    built_for = BuiltFor(
        "tensorrt",
        builder.version,
        platform_name(),
        sm=gpu.sm if gpu else None,
        device=gpu.name if gpu else None,
        cuda=cuda_version(),
        driver=gpu.driver if gpu else None,
        hardware_compatibility=options.hardware,
        version_compatible=options.version_compatible,
    )

    def watch(phase: str, done: int, total: int) -> None:
        steps.announce(f"{phase} {bar(done, total)} {done} of {total}", None, "")

    def make(out: Path) -> BuiltEngine:
        timings = cache_folder() / "timing" / f"tensorrt-{builder.version}.cache"
        timings.parent.mkdir(parents=True, exist_ok=True)
        return run_builder(builder, model.path, out, plan, timings, watch)

    return _Job(built_for, plan, {"differseg": __version__, "builder": builder.kind}, make)


def _target_of(builder: Builder, wanted: str | None) -> Target:
    """Return the target that an installed release is.

    Raises:
        InputError: Another one is wanted, or differseg does not know the release.
    """
    major, minor = builder.release
    if wanted is not None:
        target = find_target(wanted)
        if target.version != builder.release:
            raise InputError(
                f"build: --target {wanted}: {target.label}, here is TensorRT {builder.version}; "
                "build on the device, or print the line for it with --print-trtexec"
            )
        return target
    try:
        return find_target(f"trt{major}.{minor}")
    except InputError:
        raise InputError(
            f"build: TensorRT {builder.version} is a release that differseg does not know; it "
            "knows 8.5, 8.6, 10.0 to 10.16 and 11.0 to 11.4"
        ) from None


def _build(
    model: _Model, job: _Job, out: Path, key: Key | None, steps: Steps
) -> tuple[EngineSidecar, tuple[str, ...]]:
    """Build into a place beside ``out`` and move engine and sidecar there when both are whole."""
    with written_whole(out) as part:
        with steps("build") as said:
            built = job.make(part)
            said.append(f"{part.stat().st_size / 1e6:.1f} MB")
        built_for = job.built_for
        if built.sm is not None:  # the builder says it of the GPU that it used
            built_for = replace(built_for, sm=built.sm, device=built.device)
        if built_for.library == "tensorrt" and built_for.sm is None:
            raise CheckFailedError(
                f"build: {out}: neither the builder nor nvidia-smi nor the device tree says which "
                "GPU this is, so the engine could not be checked when it is loaded"
            )
        sidecar = EngineSidecar(
            engine_sha256=sha256_of(part),
            engine_bytes=part.stat().st_size,
            model_sha256=model.sha256,
            built_for=built_for,
            manifest=model.manifest,
            plugins=_plugin_files(job.plan),
            options=_told(job.plan),
            build_s=built.build_s,
            tools=job.tools,
        )
        if key is not None:
            sidecar = sidecar.signed(key)
        _write_sidecar(out, sidecar)
        _copy_plugins(job.plan, out)
    return sidecar, built.log


def _told(plan: EnginePlan) -> dict[str, Any]:
    """Return the plan as JSON values, without the folders of this machine."""
    return replace(plan, plugins=tuple(Path(path).name for path in plan.plugins)).to_plain()


def _plugin_files(plan: EnginePlan) -> tuple[PluginFile, ...]:
    if plan.plugins_inside:
        return ()
    return tuple(PluginFile(Path(path).name, sha256_of(Path(path))) for path in plan.plugins)


def _copy_plugins(plan: EnginePlan, engine: Path) -> None:
    """Put the libraries that the engine needs beside it."""
    for path in () if plan.plugins_inside else map(Path, plan.plugins):
        beside = engine.with_name(path.name)
        if beside.resolve() != path.resolve():
            shutil.copyfile(path, beside)


def _write_sidecar(engine: Path, sidecar: EngineSidecar) -> None:
    with written_whole(sidecar_path(engine)) as part:
        part.write_text(sidecar.to_json())


def _sound(engine: Path) -> EngineSidecar | None:
    """Return the sidecar of an engine in the cache, None where it is to be built (again)."""
    try:
        sidecar = read_sidecar(engine)
    except DifferSegError:
        return None
    sound = engine.stat().st_size == sidecar.engine_bytes and (
        sha256_of(engine) == sidecar.engine_sha256
    )
    return sidecar if sound else None


def _copy(cached: Path, out: Path, sidecar: EngineSidecar, plan: EnginePlan) -> None:
    """Copy an engine out of the cache."""
    with written_whole(out) as part:
        shutil.copyfile(cached, part)
        _write_sidecar(out, sidecar)
        _copy_plugins(plan, out)
