"""``trtexec`` lines for every release, and what its output says.

The line holds only flags that the release knows (:mod:`differseg.export.trtexec_flags`), and
everything that the Python API would be told, so that both ways build the same engine.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

from differseg.errors import InputError
from differseg.export.engine_plan import EnginePlan
from differseg.export.targets import Version
from differseg.export.trtexec_flags import has_flag

PLACES = (Path("/usr/src/tensorrt/bin/trtexec"), Path("/usr/local/tensorrt/bin/trtexec"))
"""Where JetPack and NVIDIA's archives put it when it is not on the path."""

_BANNER = re.compile(r"\[TensorRT v(\d+)\]")
_HARDWARE = {"ampere+": "ampere+", "same_compute_capability": "sameComputeCapability"}
_LONGEST_LINE = 100_000


def find_trtexec() -> Path | None:
    """Return the installed program, None where there is none."""
    found = shutil.which("trtexec")
    if found:
        return Path(found)
    return next((path for path in PLACES if path.is_file()), None)


def banner_version(output: str) -> str | None:
    """Return the release that its first lines name: ``v8602`` is 8.6.2, ``v101303`` 10.13.3."""
    match = _BANNER.search(output)
    if match is None:
        return None
    number = int(match[1])
    if number < 10_000:
        return f"{number // 1000}.{number // 100 % 10}.{number % 100}"
    return f"{number // 10_000}.{number // 100 % 100}.{number % 100}"


def trtexec_arguments(
    model: Path, engine: Path, plan: EnginePlan, version: Version, timing_cache: Path | None = None
) -> list[str]:
    """Return the arguments that build ``engine`` from ``model`` on a release.

    Raises:
        InputError: A name that its lists cannot hold, or a line longer than a system takes.
    """
    words = [f"--onnx={model}", f"--saveEngine={engine}"]
    words += [f"--{flag.lower()}" for flag in plan.flags]
    words += ["--noTF32"] * (not plan.tf32)
    if plan.pins:
        names = [_checked(name, model) for name in plan.pins]
        words.append("--precisionConstraints=obey")
        words.append("--layerPrecisions=" + ",".join(f"{name}:fp32" for name in names))
        words.append("--layerOutputTypes=" + ",".join(f"{name}:fp32" for name in names))
    if plan.strongly_typed and has_flag("--stronglyTyped", version):
        words.append("--stronglyTyped")
    for place, flag in enumerate(("--minShapes", "--optShapes", "--maxShapes")):
        if plan.profiles:
            sizes = (
                f"{_checked(name, model)}:{'x'.join(map(str, shapes[place]))}"
                for name, shapes in plan.profiles.items()
            )
            words.append(f"{flag}={','.join(sizes)}")
    words += _plugin_words(plan, version)
    if plan.workspace_mib is not None:
        words.append(f"--memPoolSize=workspace:{plan.workspace_mib}")
    if plan.level is not None:
        words.append(f"--builderOptimizationLevel={plan.level}")
    if plan.version_compatible:
        words.append("--versionCompatible")
    if plan.hardware != "none":
        words.append(f"--hardwareCompatibilityLevel={_HARDWARE[plan.hardware]}")
    if timing_cache is not None:
        words.append(f"--timingCacheFile={timing_cache}")
    words.append("--profilingVerbosity=detailed")
    words.append("--skipInference" if has_flag("--skipInference", version) else "--buildOnly")
    if sum(map(len, words)) > _LONGEST_LINE:
        raise InputError(
            f"build: {model}: {len(plan.pins)} nodes stay in float32, more than a command line "
            "holds; build with TensorRT's Python API"
        )
    return words


def _plugin_words(plan: EnginePlan, version: Version) -> list[str]:
    if not has_flag("--dynamicPlugins", version):
        return [f"--plugins={path}" for path in plan.plugins]
    words = [f"--dynamicPlugins={path}" for path in plan.plugins]
    if plan.plugins_inside:
        words += [f"--setPluginsToSerialize={path}" for path in plan.plugins]
    return words


def _checked(name: str, model: Path) -> str:
    """Refuse a name that its lists cannot hold: they know no escape (sampleOptions.cpp)."""
    if "," in name or "'" in name:
        raise InputError(
            f"build: {model}: trtexec cannot be told about '{name}', whose name holds a comma or "
            "quote; export the model again, or build with TensorRT's Python API"
        )
    return name


def as_line(program: str, arguments: Sequence[str]) -> str:
    """Return a line for a shell, one argument on each row."""
    return " \\\n    ".join([program, *map(shlex.quote, arguments)])


def said_of_gpu(output: str) -> dict[str, str]:
    """Return ``device`` and ``sm`` where the program's output names them."""
    found = {}
    for key, pattern in (
        ("device", r"Selected Device: (.+)"),
        ("sm", r"Compute Capability: (\d+\.\d+)"),
    ):
        match = re.search(pattern, output)
        if match:
            found[key] = match[1].strip()
    return found


def complaint(output: str) -> str:
    """Return the first error of a failed run, else its last line."""
    lines = [" ".join(line.split()) for line in output.splitlines() if line.strip()]
    errors = [line.partition("[E] ")[2] for line in lines if "[E] " in line]
    return (errors or lines or ["it printed nothing"])[0 if errors else -1][:300]
