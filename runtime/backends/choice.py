"""Which engine runs a model file: one table, in the order of preference.

``auto`` takes the first engine that reads the file, is installed and suits the machine.  One that
is installed and does not load is passed over with a warning.  An engine that the user names is
taken, or it is an error: nothing else is tried.
"""

from __future__ import annotations

import functools
import importlib.util
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from differseg.errors import DifferSegError, InputError, MissingComponentError, ModelFileError
from differseg.runtime.backends import Backend, BackendName, CpuPrecision
from differseg.runtime.backends.cpu_features import is_x86
from differseg.runtime.backends.options import EngineOptions
from differseg.runtime.backends.providers import (
    EXECUTION_PROVIDERS,
    INSTALL,
    RTX_PACKAGE,
    Provider,
)
from differseg.runtime.engine_file import ENGINE_SUFFIXES
from differseg.runtime.gpu import find_gpu
from differseg.runtime.model_file import import_onnxruntime, one_line, read_manifest
from differseg.signing import load_key

_LOG = logging.getLogger("differseg.runtime")


def _nothing() -> str | None:
    return None


def _either(words: tuple[str, ...]) -> str:
    return " or ".join(part for part in (", ".join(words[:-1]), words[-1]) if part)


@dataclass(frozen=True)
class Candidate:
    """One engine in the table.

    Attributes:
        name: As the user names it.
        label: As people call it.
        suffixes: Endings of the files that it reads.
        merit: Why it is taken where it can be.
        install: What brings it.
        precisions: What ``--cpu-precision`` may ask of it.
        missing: Say what is not installed, or None; cheap.
        unsuited: Say why ``auto`` should not take it on this machine, or None; cheap.
        open: Load a file; the text is why.
        start: Import the engine without a file; returns its version.
    """

    name: BackendName
    label: str
    suffixes: tuple[str, ...]
    merit: str
    install: str
    missing: Callable[[], str | None]
    open: Callable[[Path, EngineOptions, str], Backend]
    start: Callable[[], str]
    precisions: tuple[CpuPrecision, ...] = ()
    unsuited: Callable[[], str | None] = _nothing

    def passed_over(self, suffix: str, options: EngineOptions) -> str | None:
        """Say why ``auto`` does not take it for such a file and such options; None where it may."""
        if suffix not in self.suffixes:
            return f"reads {_either(self.suffixes)} files"
        if options.cpu_precision is not None and options.cpu_precision not in self.precisions:
            return f"cannot be told to compute in {options.cpu_precision}"
        return self.unsuited() or self.missing()


def _find(package: str) -> str | None:
    return None if importlib.util.find_spec(package) else "not installed"


@functools.cache
def _no_gpu() -> str | None:
    return None if find_gpu() else "no NVIDIA GPU"


def _not_x86() -> str | None:
    return None if is_x86() else "measured on x86 processors alone"


def _cuda_missing() -> str | None:
    missing = _find("onnxruntime")
    if missing:
        return missing
    has = EXECUTION_PROVIDERS["CUDA"] in import_onnxruntime().get_available_providers()
    return None if has else "not in this build of ONNX Runtime"


def _open_onnxruntime(provider: Provider) -> Callable[[Path, EngineOptions, str], Backend]:
    def load(path: Path, options: EngineOptions, why: str) -> Backend:
        from differseg.runtime.backends.onnxruntime import OnnxRuntimeBackend

        return OnnxRuntimeBackend(path, threads=options.threads, provider=provider, why=why)

    return load


def _open_openvino(path: Path, options: EngineOptions, why: str) -> Backend:
    from differseg.runtime.backends.openvino import OpenVinoBackend

    return OpenVinoBackend(
        path, threads=options.threads, cpu_precision=options.cpu_precision, why=why
    )


def _tensorrt_missing() -> str | None:
    return _find("tensorrt") and _find("tensorrt_rtx")


def _open_tensorrt(path: Path, options: EngineOptions, why: str) -> Backend:
    from differseg.runtime.backends.tensorrt import TensorRtBackend

    key = None if options.engine_key is None else load_key(options.engine_key)
    return TensorRtBackend(path, key=key, why=why)


def _start_onnxruntime() -> str:
    return f"ONNX Runtime {import_onnxruntime().__version__}"


def _start_openvino() -> str:
    from differseg.runtime.backends.openvino import import_openvino

    module: Any = import_openvino()
    return f"OpenVINO {module.__version__.partition('-')[0]}"


def _start_tensorrt() -> str:
    try:
        import tensorrt
    except (ImportError, OSError) as error:
        raise MissingComponentError(f"TensorRT cannot be loaded ({one_line(error)})") from None
    return f"TensorRT {tensorrt.__version__}"


CANDIDATES: tuple[Candidate, ...] = (
    Candidate(
        name="tensorrt",
        label="TensorRT",
        suffixes=ENGINE_SUFFIXES,
        merit="the file is an engine",
        install="JetPack, or pip install tensorrt, and pip install 'differseg[tensorrt]'",
        missing=_tensorrt_missing,
        open=_open_tensorrt,
        start=_start_tensorrt,
    ),
    Candidate(
        name="onnxruntime-cuda",
        label="ONNX Runtime CUDA",
        suffixes=(".onnx",),
        merit="the NVIDIA GPU is faster than any processor",
        install=INSTALL["CUDA"],
        missing=_cuda_missing,
        unsuited=_no_gpu,
        open=_open_onnxruntime("CUDA"),
        start=_start_onnxruntime,
    ),
    Candidate(
        name="onnxruntime-rtx",
        label="ONNX Runtime RTX",
        suffixes=(".onnx",),
        merit="the NVIDIA GPU is faster than any processor",
        install=INSTALL["RTX"],
        missing=lambda: _find("onnxruntime") or _find(RTX_PACKAGE),
        unsuited=_no_gpu,
        open=_open_onnxruntime("RTX"),
        start=_start_onnxruntime,
    ),
    Candidate(
        name="openvino",
        label="OpenVINO",
        suffixes=(".onnx",),
        merit="it is the fastest engine on x86 processors",
        install="pip install 'differseg[openvino]'",
        missing=lambda: _find("openvino"),
        unsuited=_not_x86,
        open=_open_openvino,
        start=_start_openvino,
        precisions=("f32", "bf16", "f16"),
    ),
    Candidate(
        name="onnxruntime",
        label="ONNX Runtime",
        suffixes=(".onnx",),
        merit="it runs on every processor",
        install=INSTALL["CPU"],
        missing=lambda: _find("onnxruntime"),
        open=_open_onnxruntime("CPU"),
        start=_start_onnxruntime,
        precisions=("f32",),
    ),
)
"""Every engine, the preferred one first."""


def choose(
    path: Path, options: EngineOptions, warn: Callable[[str], None] | None = None
) -> Backend:
    """Open a model file; see :func:`differseg.runtime.backends.open_backend`."""
    if options.backend not in get_args(BackendName):
        names = ", ".join(get_args(BackendName))
        raise InputError(f"backend: expected one of {names}, got {options.backend!r}")
    if options.threads is not None and options.threads < 1:
        raise InputError(f"threads: expected a number of at least 1, got {options.threads}")
    if options.engine_key is not None and path.suffix.lower() not in ENGINE_SUFFIXES:
        raise InputError(
            f"--engine-key: engines are signed, and {path} is none; leave it out, or give an engine"
        )
    if options.backend != "auto":
        return _named(path, options)
    return _automatic(path, options, warn or _LOG.warning)


def _named(path: Path, options: EngineOptions) -> Backend:
    candidate = next(entry for entry in CANDIDATES if entry.name == options.backend)
    if path.suffix.lower() not in candidate.suffixes and _is_known(path):
        raise ModelFileError(
            f"model {path}: --backend {candidate.name} reads {_either(candidate.suffixes)} "
            "files; leave --backend out, or give a file that it reads"
        )
    if options.cpu_precision is not None and options.cpu_precision not in candidate.precisions:
        raise InputError(
            f"--cpu-precision {options.cpu_precision}: {candidate.label} computes in what the file "
            "says; choose with --backend openvino, or leave it out"
        )
    missing = candidate.missing()
    if missing is not None:
        raise MissingComponentError(
            f"--backend {candidate.name}: {missing}; install it with: {candidate.install}"
        )
    return candidate.open(path, options, "asked for")


def _is_known(path: Path) -> bool:
    """Say whether some engine reads files of this ending; others are told what they are."""
    return any(path.suffix.lower() in entry.suffixes for entry in CANDIDATES)


def _automatic(path: Path, options: EngineOptions, warn: Callable[[str], None]) -> Backend:
    suffix = path.suffix.lower() if _is_known(path) else ".onnx"
    if suffix == ".onnx":
        read_manifest(path)  # a fault of the file is not one of an engine: no other can read it
    passed: dict[str, str] = {}
    failures: dict[str, DifferSegError] = {}
    for candidate in CANDIDATES:
        reason = candidate.passed_over(suffix, options)
        if reason is None:
            try:
                backend = candidate.open(path, options, because(candidate, passed))
            except DifferSegError as error:
                failures[candidate.label] = error
                reason = f"does not load this file: {error}"
            else:
                for label, failure in failures.items():
                    warn(f"{label} is passed over for {candidate.label}: {failure}")
                return backend
        passed[candidate.label] = reason
    if failures:
        raise list(failures.values())[-1]
    raise MissingComponentError(
        f"model {path}: no engine can run it here ({_listed(passed)}); install one with: "
        + _advice(suffix, options)
    )


def because(candidate: Candidate, passed: dict[str, str]) -> str:
    """Return the sentence that says why an engine was chosen and the earlier ones were not."""
    return f"chosen because {candidate.merit}" + (f" ({_listed(passed)})" if passed else "")


def _listed(passed: dict[str, str]) -> str:
    """Name engines and what speaks against them; those of one reason together."""
    reasons: dict[str, list[str]] = {}
    for label, reason in passed.items():
        reasons.setdefault(reason, []).append(label)
    return "; ".join(f"{', '.join(labels)}: {reason}" for reason, labels in reasons.items())


def _advice(suffix: str, options: EngineOptions) -> str:
    """Say what would bring the engines that could run such a file on this machine."""
    able = [
        candidate
        for candidate in CANDIDATES
        if suffix in candidate.suffixes
        and candidate.unsuited() is None
        and options.cpu_precision in (None, *candidate.precisions)
    ]
    return " or ".join(candidate.install for candidate in able)


@dataclass(frozen=True)
class Outlook:
    """What ``auto`` would do with a file here.

    Attributes:
        chosen: The engine and its version; None where none would run.
        reason: Why this one and not the earlier ones.
        advice: What to install for a faster engine, empty where there is none.
    """

    chosen: str | None
    reason: str
    advice: str


def outlook(suffix: str = ".onnx") -> Outlook:
    """Say which engine ``auto`` would take for files of an ending, without a file."""
    passed: dict[str, str] = {}
    wanted: list[str] = []
    for candidate in CANDIDATES:
        reason = candidate.passed_over(suffix, EngineOptions())
        if reason is None:
            try:
                version = candidate.start()
            except DifferSegError as error:
                reason = str(error)
            else:
                advice = " or ".join(wanted)
                return Outlook(f"{candidate.name}: {version}", because(candidate, passed), advice)
        if suffix in candidate.suffixes and candidate.unsuited() is None:
            wanted.append(candidate.install)
        passed[candidate.label] = reason
    return Outlook(None, _listed(passed), " or ".join(wanted))
