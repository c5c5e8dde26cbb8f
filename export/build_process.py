"""Drive a builder in a child process: TensorRT's Python API, or ``trtexec``.

Both are told one :class:`~differseg.export.engine_plan.EnginePlan`.  The child alone touches the
GPU, so Ctrl-C ends a build at once, and a crash of native code is a report.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from differseg.errors import CheckFailedError, MissingComponentError
from differseg.export.child_process import ending, facts_in
from differseg.export.engine_plan import EnginePlan
from differseg.export.targets import Version
from differseg.export.trtexec import (
    banner_version,
    complaint,
    find_trtexec,
    said_of_gpu,
    trtexec_arguments,
)

Watch = Callable[[str, int, int], None]
"""Told the phase at work, its finished steps and all of them."""

_WORKER = ("-m", "differseg.export.build_worker")
_INSTALL = (
    "JetPack brings it as python3-libnvinfer; on a desktop: pip install tensorrt; without either, "
    "take the line of 'differseg build --print-trtexec --target NAME' to the device"
)


@dataclass(frozen=True)
class Builder:
    """What builds engines on this machine.

    Attributes:
        kind: TensorRT's Python API, or ``trtexec``.
        version: The release, such as 10.3.0.
        program: Path of ``trtexec``.
    """

    kind: Literal["python", "trtexec"]
    version: str
    program: Path | None = None

    @property
    def release(self) -> Version:
        """Major and minor number."""
        major, minor = self.version.split(".")[:2]
        return int(major), int(minor)


@dataclass(frozen=True)
class BuiltEngine:
    """A finished build.

    Attributes:
        build_s: Seconds of the builder alone.
        log: Its warnings.
        sm, device: Of the GPU, where the builder named it.
    """

    build_s: float
    log: tuple[str, ...] = ()
    sm: str | None = None
    device: str | None = None


def find_builder() -> Builder:
    """Return the builder of this machine, the Python API first.

    Raises:
        MissingComponentError: There is none, or it does not start.
    """
    problem = ""
    if importlib.util.find_spec("tensorrt") is not None:
        facts, how = _run_worker({}, lambda *_: None)
        if facts.get("status") == "described":
            return Builder("python", facts["version"])
        problem = f"the Python package 'tensorrt' does not start ({facts.get('reason') or how})"
    program = find_trtexec()
    if program is not None:
        version = _version_of(program)
        if version is not None:
            return Builder("trtexec", version, program)
        problem = problem or f"{program} does not start"
    raise MissingComponentError(f"build: {problem or 'TensorRT is not installed'}; {_INSTALL}")


def _version_of(program: Path) -> str | None:
    try:
        done = subprocess.run([str(program), "--help"], capture_output=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return banner_version(done.stdout.decode("utf-8", "replace"))


def run_builder(
    builder: Builder,
    model: Path,
    engine: Path,
    plan: EnginePlan,
    timing_cache: Path | None,
    watch: Watch,
) -> BuiltEngine:
    """Build ``engine`` from ``model``.

    Raises:
        CheckFailedError: The parser or the builder refuses the file, or the process ended.
    """
    if builder.kind == "trtexec":
        return _with_trtexec(builder, model, engine, plan, timing_cache)
    plain = plan.to_plain()
    if timing_cache is not None:
        plain["timing_cache"] = str(timing_cache)
    request = {"model": str(model), "engine": str(engine), "plan": plain}
    facts, how = _run_worker(request, watch)
    if facts.get("status") == "built":
        return BuiltEngine(facts["build_s"], log=tuple(facts["log"]))
    reason = facts.get("reason") or _first_error(facts["log"]) or how
    raise CheckFailedError(
        f"build: {model}: TensorRT {builder.version} refuses it in stage {facts['stage']}: {reason}"
        + _advice(reason)
    )


def _first_error(log: list[str]) -> str:
    return next((line for line in log if not line.startswith("warning")), "")


def _advice(reason: str) -> str:
    """Say what to do where the builder's words are known."""
    low = reason.lower()
    if "out of memory" in low or "insufficient memory" in low or "outofmemory" in low:
        return "; close other programs, or add --workspace-mib 1024 and --level 1"
    if "plugin" in low and "not found" in low:
        return "; add --plugin LIB.so, or export the model with --ops portable"
    return ""


def _run_worker(request: Mapping[str, Any], watch: Watch) -> tuple[dict[str, Any], str]:
    """Run the worker; returns its facts and how it ended.

    It runs in an empty folder, because ``python -m`` imports from the current one first.
    """
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    absolute = os.pathsep.join(os.path.abspath(path) for path in paths if path)
    facts: dict[str, Any] = {"stage": "start", "log": []}
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "stderr").open("w+b") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-X", "utf8", *_WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            cwd=folder,
            env=os.environ | {"PYTHONPATH": absolute},
            start_new_session=True,  # Ctrl-C of the terminal reaches this process alone
        )
        assert process.stdin is not None
        assert process.stdout is not None
        with _ended(process):
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(json.dumps(request).encode())
                process.stdin.close()
            for fact in facts_in(process.stdout):
                if "progress" in fact:
                    watch(*fact["progress"])
                if "log" in fact:
                    facts["log"].append(fact.pop("log"))
                facts.update(fact)
        stderr.seek(0)
        how = ending(process.returncode, stderr.read())
        return facts, f"the process ended with {how}"


@contextlib.contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Kill the process, and what it started, when the block is left early."""
    try:
        yield
        process.wait()
    finally:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


def _with_trtexec(
    builder: Builder, model: Path, engine: Path, plan: EnginePlan, timing_cache: Path | None
) -> BuiltEngine:
    arguments = trtexec_arguments(model, engine, plan, builder.release, timing_cache)
    process = subprocess.Popen(
        [str(builder.program), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    assert process.stdout is not None
    with _ended(process):
        output = process.stdout.read().decode("utf-8", "replace")
    if process.returncode != 0 or not engine.is_file():
        reason = complaint(output)
        raise CheckFailedError(
            f"build: {model}: trtexec {builder.version} refuses it: {reason}" + _advice(reason)
        )
    return BuiltEngine(_seconds_of(output), _warnings(output), **said_of_gpu(output))


def _seconds_of(output: str) -> float:
    """Return the seconds that the program names (``Engine built in 12.3 sec.``)."""
    match = re.search(r"Engine built in ([\d.]+) sec", output)
    return float(match[1]) if match else 0.0


def _warnings(output: str) -> tuple[str, ...]:
    lines = (line.partition("[W] ")[2].strip() for line in output.splitlines() if "[W] " in line)
    return tuple(dict.fromkeys(f"warning: {line}" for line in lines))
