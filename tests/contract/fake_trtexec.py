"""A fake ``trtexec``: the options of one release, and a fake engine as result.

:func:`write_trtexec` writes an executable that behaves as the real program does at its edges:
banner and verdict line, exit status, "Unknown option", errors of values; in between it builds with
the fake ``tensorrt`` of the same release.

Sources: NVIDIA/TensorRT ``samples/common/sampleOptions.cpp`` (options, per release in
``surface/``; ``--stronglyTyped`` switches the precision options off with a warning),
``samples/trtexec/trtexec.cpp``, ``samples/common/logging.h`` (``&&&& RUNNING``, ``PASSED``,
``FAILED``; the version in the banner).
"""

from __future__ import annotations

import stat
import sys
import time
from pathlib import Path
from typing import Any

_PRECISIONS = {"--fp16": "FP16", "--bf16": "BF16", "--int8": "INT8", "--fp8": "FP8"}
_MIB = 1 << 20


class UsageError(Exception):
    """A value or combination that the program refuses."""


def write_trtexec(folder: Path, generation: str, **bed: Any) -> Path:
    """Write the program.

    Args:
        folder: Where; the file is called ``trtexec``.
        generation: Release.
        bed: Arguments of :func:`contract.install.fake_tensorrt`, such as ``sm``.

    Returns:
        The executable file.
    """
    path = folder / "trtexec"
    root = Path(__file__).parents[1]
    path.write_text(
        f"#!{sys.executable}\n"
        f"import sys\nsys.path.insert(0, {str(root)!r})\n"
        "from contract.fake_trtexec import main\n"
        f"sys.exit(main(sys.argv[1:], {generation!r}, {bed!r}))\n",
        encoding="utf-8",
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def banner_number(version: tuple[int, ...]) -> str:
    """``v8601`` before 10, ``v100300`` since."""
    major, minor, patch = version[:3]
    if major < 10:
        return f"v{major * 1000 + minor * 100 + patch}"
    return f"v{major * 10000 + minor * 100 + patch}"


def main(words: list[str], generation: str, bed: dict[str, Any]) -> int:
    """Run once: 0 for PASSED, 1 for FAILED."""
    from contract.fake_tensorrt.generations import BY_NAME

    release = BY_NAME[generation]
    test = f"TensorRT.trtexec [TensorRT {banner_number(release.numbers)}]"
    if release.numbers >= (10, 8):
        test += f" [b{release.numbers[3] if len(release.numbers) > 3 else 0}]"
    _say("I", f"&&&& RUNNING {test} # trtexec {' '.join(words)}", bare=True)
    given = _arguments(words)
    passed = not given or "--help" in given or "-h" in given
    if not passed:
        unknown = {flag: v for flag, v in given.items() if flag not in release.surface["trtexec"]}
        for flag, values in unknown.items():
            for value in values:
                _say("E", f"Unknown option: {flag} {value}")
        try:
            passed = not unknown and _run(given, generation, bed)
        except UsageError as refused:
            _say("E", str(refused))
    _say("I", f"&&&& {'PASSED' if passed else 'FAILED'} {test} # trtexec", bare=True)
    return 0 if passed else 1


def _say(severity: str, text: str, bare: bool = False) -> None:
    stamp = time.strftime("[%m/%d/%Y-%H:%M:%S]")
    stream = sys.stderr if severity == "E" else sys.stdout
    print(text if bare else f"{stamp} [{severity}] {text}", file=stream, flush=True)


def _arguments(words: list[str]) -> dict[str, list[str]]:
    """Option -> its values; without ``=`` the value is empty."""
    found: dict[str, list[str]] = {}
    for word in words:
        flag, _, value = word.partition("=")
        found.setdefault(flag, []).append(value)
    return found


def _run(given: dict[str, list[str]], generation: str, bed: dict[str, Any]) -> bool:
    from contract.install import fake_tensorrt

    if "--onnx" not in given and "--loadEngine" not in given:
        raise UsageError("Model missing or format not recognized")
    if "--saveEngine" in given and "--loadEngine" in given:
        raise UsageError("Incompatible load and save engine options selected")
    with fake_tensorrt(generation, binding=None, **bed) as installed:
        return _Program(given, installed).run()


class _Program:
    """One run over an installed test-bed."""

    def __init__(self, given: dict[str, list[str]], bed: Any) -> None:
        self.given, self.bed, self.trt = given, bed, bed.tensorrt
        least = self.trt.Logger.VERBOSE if "--verbose" in given else self.trt.Logger.INFO
        self.logger = self.trt.Logger(least)

    def text(self, flag: str) -> str | None:
        """Value of an option that is given at most once."""
        return self.given[flag][-1] if flag in self.given else None

    def number(self, flag: str) -> int | None:
        """An integer; ``std::stoi`` refuses anything that does not start with one."""
        text = self.text(flag)
        try:
            return None if text is None else int(text)
        except ValueError:
            raise UsageError("stoi") from None

    def run(self) -> bool:
        if "--loadEngine" in self.given:
            plan = Path(self.given["--loadEngine"][-1]).read_bytes()
            return self.trt.Runtime(self.logger).deserialize_cuda_engine(plan) is not None
        for library in self.given.get("--plugins", []) + self.given.get("--staticPlugins", []):
            self.trt.get_plugin_registry().load_library(library)
        for library in self.given.get("--dynamicPlugins", []):
            self.trt.get_plugin_registry().load_library(library)
        builder = self.trt.Builder(self.logger)
        network = builder.create_network(self._creation_flags())
        parser = self.trt.OnnxParser(network, self.logger)
        if not parser.parse_from_file(self.given["--onnx"][-1]):
            for index in range(parser.num_errors):
                _say("E", str(parser.get_error(index)))
            _say("E", "Failed to parse onnx file")
            return False
        config = builder.create_builder_config()
        self._configure(config, builder)
        self._pin(network, config)
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            _say("E", "Engine could not be created from network")
            return False
        self._save_cache(config)
        _say("I", f"Created engine with size: {plan.nbytes / _MIB} MiB")
        if "--saveEngine" in self.given:
            Path(self.given["--saveEngine"][-1]).write_bytes(bytes(plan))
        return True

    def _creation_flags(self) -> int:
        members = self.trt.NetworkDefinitionCreationFlag.__members__
        flags = 1 << int(members["EXPLICIT_BATCH"]) if "EXPLICIT_BATCH" in members else 0
        if "--stronglyTyped" in self.given:
            flags |= 1 << int(members["STRONGLY_TYPED"])
        return flags

    def _configure(self, config: Any, builder: Any) -> None:
        trt, flag = self.trt, self.trt.BuilderFlag
        for option, name in _PRECISIONS.items():
            if option in self.given and "--stronglyTyped" in self.given:
                _say(
                    "W",
                    f"Invalid usage, setting {option[2:]} mode is not allowed if graph is "
                    f"strongly typed. Disabling BuilderFlag::k{name}.",
                )
            elif option in self.given:
                config.set_flag(flag.__members__[name])
        for option, name in (
            ("--versionCompatible", "VERSION_COMPATIBLE"),
            ("--vc", "VERSION_COMPATIBLE"),
            ("--excludeLeanRuntime", "EXCLUDE_LEAN_RUNTIME"),
            ("--errorOnTimingCacheMiss", "ERROR_ON_TIMING_CACHE_MISS"),
        ):
            if option in self.given:
                config.set_flag(flag.__members__[name])
        if "--noTF32" in self.given:
            config.clear_flag(flag.TF32)
        if (level := self.number("--builderOptimizationLevel")) is not None:
            config.builder_optimization_level = level
        if (streams := self.number("--maxAuxStreams")) is not None:
            config.max_aux_streams = streams
        self._hardware(config)
        self._pools(config)
        self._profile(config, builder)
        if "--setPluginsToSerialize" in self.given:  # unknown to 8.5, as the attribute is
            config.plugins_to_serialize = self.given["--setPluginsToSerialize"]
        verbosity = (self.text("--profilingVerbosity") or "").upper()
        if verbosity and verbosity not in trt.ProfilingVerbosity.__members__:
            raise UsageError(f"Unknown profilingVerbosity: {verbosity.lower()}")
        if verbosity:
            config.profiling_verbosity = trt.ProfilingVerbosity.__members__[verbosity]
        path = self.text("--timingCacheFile")
        if path is not None:
            stored = Path(path).read_bytes() if Path(path).is_file() else b""
            cache = config.create_timing_cache(stored) or config.create_timing_cache(b"")
            config.set_timing_cache(cache, False)

    def _hardware(self, config: Any) -> None:
        if not hasattr(self.trt, "HardwareCompatibilityLevel"):  # 8.5 has neither option nor levels
            return
        levels = self.trt.HardwareCompatibilityLevel.__members__
        names = {
            "none": "NONE",
            "ampere+": "AMPERE_PLUS",
            "samecomputecapability": "SAME_COMPUTE_CAPABILITY",
        }
        text = self.text("--hardwareCompatibilityLevel")
        if text is not None:
            name = names.get(text.lower())
            if name not in levels:
                raise UsageError(f"Unknown hardwareCompatibilityLevel: {text}")
            config.hardware_compatibility_level = levels[name]

    def _pools(self, config: Any) -> None:
        for part in filter(None, (self.text("--memPoolSize") or "").split(",")):
            pool, _, size = part.partition(":")
            if pool not in (
                "workspace",
                "dlaSRAM",
                "dlaLocalDRAM",
                "dlaGlobalDRAM",
                "tacticSharedMem",
            ):
                raise UsageError(f"Unknown memory pool: {pool}")
            unit = {"B": 1, "K": 1 << 10, "M": _MIB, "G": 1 << 30}.get(size[-1:].upper())
            try:
                value = float(size if unit is None else size[:-1]) * (unit or _MIB)
            except ValueError:
                raise UsageError("stod") from None
            if pool == "workspace":
                config.set_memory_pool_limit(self.trt.MemoryPoolType.WORKSPACE, int(value))

    def _profile(self, config: Any, builder: Any) -> None:
        shapes: dict[str, dict[str, tuple[int, ...]]] = {}
        for option, key in (("--minShapes", "min"), ("--optShapes", "opt"), ("--maxShapes", "max")):
            for part in filter(None, (self.text(option) or "").split(",")):
                name, _, sizes = part.rpartition(":")
                try:
                    numbers = tuple(int(size) for size in sizes.split("x"))
                except ValueError:
                    raise UsageError("stoi") from None
                shapes.setdefault(name.strip("'"), {})[key] = numbers
        if not shapes:
            return
        profile = builder.create_optimization_profile()
        for name, given in shapes.items():
            best = given.get("opt") or given.get("min") or given.get("max")
            profile.set_shape(name, given.get("min", best), best, given.get("max", best))
        config.add_optimization_profile(profile)

    def _pin(self, network: Any, config: Any) -> None:
        """``--layerPrecisions``, ``--layerOutputTypes`` and how binding they are."""
        types = {"fp32": "FLOAT", "fp16": "HALF", "int8": "INT8", "int32": "INT32"}
        binding = self.text("--precisionConstraints")
        if binding is not None:
            if binding not in ("obey", "prefer", "none"):
                raise UsageError(f"Unknown precision constraints: {binding}")
            if binding != "none":
                name = f"{binding.upper()}_PRECISION_CONSTRAINTS"
                config.set_flag(self.trt.BuilderFlag.__members__[name])
        for option in ("--layerPrecisions", "--layerOutputTypes"):
            for part in filter(None, (self.text(option) or "").split(",")):
                name, _, kind = part.rpartition(":")
                if kind not in types:
                    raise UsageError(f"Invalid DataType {kind}")
                member = self.trt.DataType.__members__[types[kind]]
                for layer in (network.get_layer(i) for i in range(network.num_layers)):
                    if layer.name == name and option == "--layerPrecisions":
                        layer.precision = member
                    elif layer.name == name:
                        layer.set_output_type(0, member)

    def _save_cache(self, config: Any) -> None:
        path = self.text("--timingCacheFile")
        if path is not None:
            Path(path).write_bytes(bytes(config.get_timing_cache().serialize()))


def plan_header(path: Path) -> dict[str, Any]:
    """For tests: the header of a fake engine file."""
    from contract.fake_tensorrt.plan import read_plan

    return read_plan(path.read_bytes())[0]
