"""Ask NVIDIA's own ONNX parser and engine builder about a file, on a machine without a GPU.

The PyPI package ``onnxruntime-ep-nv-tensorrt-rtx-cu13`` holds the TensorRT-RTX parser and its
ahead-of-time builder, which compiles on the CPU.  :func:`build` drives them in a child process
(:mod:`differseg.export.rtx_worker`), so that a crash of native code is a report and not a dead
program.

A pass proves that this TensorRT-RTX version parses the file and compiles an engine from it.  It
does not prove speed, numerical parity, or acceptance by the separate TensorRT product on a Jetson,
which shares the interface and much of the parser; :mod:`differseg.export.lint` covers those.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from differseg.errors import InputError, MissingComponentError
from differseg.export.child_process import ending, facts_in
from differseg.export.rtx_abi import TESTED_VERSIONS

PACKAGE = "onnxruntime_ep_nv_tensorrt_rtx"
INSTALL_HINT = "pip install 'differseg[rtx]'"
_TESTED_PACKAGE = "pip install onnxruntime-ep-nv-tensorrt-rtx-cu13==0.5.0"
TIMEOUT_S = 900.0
_COMMAND = ("-m", "differseg.export.rtx_worker")
_CORE = "libtensorrt_rtx"
_FROM_PLUGIN = "differseg: "

Status = Literal["built", "refused", "build_failed", "crashed", "timeout"]
Profiles = Mapping[str, Sequence[Sequence[int]]]


@dataclass(frozen=True)
class NodeError:
    """What NVIDIA's parser says about one node that it refuses."""

    node: int
    name: str
    op: str
    code: str
    description: str
    functions: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        where = f"node {self.node} {self.name!r} ({self.op})"
        inside = f" in function {' > '.join(self.functions)}" if self.functions else ""
        return f"{where}{inside}: {self.description} [{self.code}]"


@dataclass(frozen=True)
class RtxReport:
    """The outcome of one parse and build.

    Attributes:
        status: ``built``; ``refused`` by the parser; ``build_failed``; or the child process
            ``crashed`` or ran into the ``timeout``.
        version: Library version, such as 1.7.1.
        reason: One line on a failure, empty on a success.
        errors: Per-node errors of the parser.
        layers, layer_types: What the parser made of the graph.
        engine_bytes: Size of the compiled engine.
        memory: ``weights``, ``scratch`` and ``activation`` bytes as the builder reports them.
        parse_s, build_s: Seconds spent.
        log: Warnings and errors of the library.
        profiles: Min, opt and max shapes that the dynamic inputs were given.
    """

    status: Status
    version: str = ""
    reason: str = ""
    errors: tuple[NodeError, ...] = ()
    layers: int = 0
    layer_types: dict[str, int] = field(default_factory=dict)
    inputs: tuple[dict[str, Any], ...] = ()
    outputs: tuple[dict[str, Any], ...] = ()
    engine_bytes: int = 0
    memory: dict[str, int] = field(default_factory=dict)
    parse_s: float = 0.0
    build_s: float = 0.0
    log: tuple[str, ...] = ()
    profiles: Profiles = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether an engine was built."""
        return self.status == "built"

    @property
    def plugin_errors(self) -> tuple[str, ...]:
        """What differseg's own plugins object to."""
        return _plugin_errors(self.log)

    @property
    def sizes(self) -> str:
        """The profiles for people: ``x 1x3x256x256 to 4x3x512x512``."""
        spans = []
        for name, shapes in self.profiles.items():
            least, most = ("x".join(map(str, shape)) for shape in (shapes[0], shapes[-1]))
            spans.append(f"{name} {least}" + ("" if least == most else f" to {most}"))
        return ", ".join(spans)


@dataclass(frozen=True)
class Libraries:
    """Paths of the core library and of the ONNX parser."""

    core: Path
    parser: Path


def find_libraries() -> Libraries:
    """Find the installed TensorRT-RTX libraries.

    Raises:
        MissingComponentError: Another platform, or the package is not installed.
    """
    if not (sys.platform == "linux" and platform.machine() in ("x86_64", "AMD64")):
        raise MissingComponentError(
            "NVIDIA's parser without a GPU exists for Linux on x86-64 only, this is "
            f"{sys.platform} on {platform.machine()}; run 'differseg check --real' on a workstation"
        )
    found = importlib.util.find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise MissingComponentError(
            f"NVIDIA's parser and builder (package {PACKAGE}) is not installed; "
            f"install it with: {INSTALL_HINT}"
        )
    folder = Path(found.submodule_search_locations[0]).absolute()
    return Libraries(
        core=_newest(folder, _CORE),
        parser=_newest(folder, "libtensorrt_onnxparser_rtx"),
    )


def is_available() -> bool:
    """Whether :func:`build` can run on this machine."""
    try:
        find_libraries()
    except MissingComponentError:
        return False
    return True


def library_version() -> str:
    """Return the version of the installed library, such as 1.7.1.

    Raises:
        MissingComponentError: As :func:`find_libraries`; or the library does not load.
    """
    libraries = find_libraries()
    request = {"core": str(libraries.core), "parser": str(libraries.parser)}
    facts, how, _ = _collect(request, 120.0)
    if "version" not in facts:
        raise MissingComponentError(
            f"{libraries.core}: NVIDIA's parser and builder does not start ({how}); "
            f"install the tested version: {_TESTED_PACKAGE}"
        )
    return str(facts["version"])


def build(
    path: Path | str,
    *,
    profiles: Profiles | None = None,
    values: Mapping[str, Sequence[int]] | None = None,
    plugins: Sequence[Path | str] = (),
    threads: int | None = None,
    timeout_s: float = TIMEOUT_S,
    save: Path | str | None = None,
    tf32: bool = False,
) -> RtxReport:
    """Parse an ONNX file and compile an engine from it.

    Args:
        path: The ONNX file.
        profiles: Min, opt and max shape of every dynamic input.
        values: The numbers of every input that the graph makes a shape of.
        plugins: TensorRT plugin libraries to load first.  They are code that runs on this
            machine, in the child process: name only those that you trust.
        threads: Threads of the builder; its own choice by default.
        timeout_s: Limit for the child process, seconds.
        save: Where to write the engine; it is discarded by default.
        tf32: Allow TF32 in float32 products, which is the library's own default.

    Raises:
        InputError: There is no such file, a plugin library cannot be loaded, or the numbers of an
            input are needed and not given.
        MissingComponentError: The package is not installed, its process does not start, or it is
            a version whose binary interface does not pass the self-test.
    """
    libraries, model = find_libraries(), Path(path)
    for file in (model, *map(Path, plugins)):
        if not file.is_file():
            raise InputError(f"{file}: there is no such file")
    request = {
        "core": str(libraries.core),
        "parser": str(libraries.parser),
        "model": str(model.resolve()),
        "profiles": {name: [list(s) for s in shapes] for name, shapes in (profiles or {}).items()},
        "values": {name: list(numbers) for name, numbers in (values or {}).items()},
        "plugins": [str(Path(plugin).resolve()) for plugin in plugins],
        "threads": threads,
        "tf32": tf32,
        "save": None if save is None else str(Path(save).resolve()),
    }
    report = _run_worker(request, timeout_s)
    if report.status == "crashed" and not report.version:
        raise MissingComponentError(
            f"{libraries.core}: NVIDIA's parser and builder does not start ({report.reason}); "
            f"install the tested version: {_TESTED_PACKAGE}"
        )
    known = report.version in TESTED_VERSIONS or not report.version
    if not known and not _passes_self_test(libraries):
        raise MissingComponentError(
            f"{libraries.core}: differseg does not know this version ({report.version}) and its "
            f"self-test failed; install the tested one: {_TESTED_PACKAGE}"
        )
    report = replace(report, profiles=profiles or {})
    if report.status == "build_failed" and report.profiles:
        reason = f"{report.reason}; the sizes were {report.sizes}, give others with --shapes"
        return replace(report, reason=reason)
    return report


def _newest(folder: Path, stem: str) -> Path:
    """Return the real shared object of the highest version (short names may be text stubs)."""
    real = [path for path in folder.glob(f"{stem}.so*") if _is_elf(path)]
    if not real:
        raise MissingComponentError(
            f"{folder}: the installed {PACKAGE} holds no {stem}.so; reinstall it with: "
            f"{INSTALL_HINT}"
        )
    return max(real, key=lambda p: [int(n) for n in re.findall(r"\d+", p.name.split(".so")[1])])


def _is_elf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


_PROBE_INPUT = {"name": "x", "shape": [-1, 3, 4, 4], "dtype": "float32", "makes_shape": False}


@functools.cache
def _passes_self_test(libraries: Libraries) -> bool:
    """Whether the library's binary interface is the one that we call.

    It must parse and build a tiny model with known answers: a wrong table position shows as a
    crash or as a wrong name, shape, type or layer.
    """
    shapes = [[1, 3, 4, 4], [2, 3, 4, 4], [4, 3, 4, 4]]
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "probe.onnx"
        model.write_bytes(_probe_model())
        request = {"core": str(libraries.core), "parser": str(libraries.parser)}
        report = _run_worker(request | {"model": str(model), "profiles": {"x": shapes}}, 120.0)
    kinds = report.layer_types
    return (
        report.passed
        and report.inputs == (_PROBE_INPUT,)
        and report.outputs == ({"name": "y", "shape": [-1, 3, 4, 4], "dtype": "float16"},)
        and (kinds.get("activation"), kinds.get("unary"), kinds.get("cast")) == (2, 1, 1)
        and report.engine_bytes > 500
    )


def _probe_model() -> bytes:
    """Return an ONNX file of ``y = half(relu(-sigmoid(x)))`` with a dynamic batch."""
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("Sigmoid", ["x"], ["a"]),
        helper.make_node("Neg", ["a"], ["b"]),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("Cast", ["c"], ["y"], to=TensorProto.FLOAT16),
    ]
    shape: list[str | int | None] = ["n", 3, 4, 4]
    graph = helper.make_graph(
        nodes,
        "probe",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT16, shape)],
    )
    opset = [helper.make_opsetid("", 17)]
    return bytes(helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString())


def _collect(request: dict[str, Any], timeout_s: float) -> tuple[dict[str, Any], str, bool]:
    """Run the worker; returns its facts, how it ended, and whether it ran out of time.

    It runs in a folder of its own, because ``python -m`` imports from the current one first.  The
    folder holds the core library's short name, by which the parser opens it when it meets a plugin:
    it aborts when it does not find it.
    """
    command = [sys.executable, "-X", "utf8", *_COMMAND]
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    absolute = os.pathsep.join(os.path.abspath(path) for path in paths if path)
    late, how, spoken = False, "", b""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, f"{_CORE}.so").symlink_to(request["core"])
        searched = [folder, os.environ.get("LD_LIBRARY_PATH", "")]
        search = os.pathsep.join(path for path in searched if path)
        try:
            done = subprocess.run(
                command,
                input=json.dumps(request).encode(),
                capture_output=True,
                timeout=timeout_s,
                cwd=folder,
                env=os.environ | {"PYTHONPATH": absolute, "LD_LIBRARY_PATH": search},
            )
            output, spoken = done.stdout, done.stderr
            how = ending(done.returncode, spoken)
        except subprocess.TimeoutExpired as expired:
            output, late = expired.stdout or b"", True
    facts: dict[str, Any] = {"stage": "start", "log": []}
    for fact in facts_in(output.splitlines()):
        if "log" in fact:
            facts["log"].append(fact.pop("log"))
        facts.update(fact)
    # A library built for TensorRT 10 does not find the logger of 11: ILoggerFinder changed.
    lines = spoken.decode("utf-8", "replace").splitlines()
    facts["log"] += [f"error: {line}" for line in lines if line.startswith(_FROM_PLUGIN)]
    return facts, how, late


def _plugin_errors(log: Sequence[str]) -> tuple[str, ...]:
    errors = dict.fromkeys(line.removeprefix("error: ") for line in log)
    return tuple(line for line in errors if line.startswith(_FROM_PLUGIN))


def _run_worker(request: dict[str, Any], timeout_s: float) -> RtxReport:
    """Run one request and turn its facts into a report, whatever happened to the process.

    Raises:
        InputError: A plugin library cannot be loaded, or the numbers of an input are needed.
    """
    facts, how, late = _collect(request, timeout_s)
    status: Any = facts.get("status")
    reason = facts.get("reason", "")
    if late:
        status, reason = "timeout", f"no answer within {timeout_s:g} s during {facts['stage']}"
    elif status is None:
        status, reason = "crashed", f"the process ended in stage {facts['stage']} with {how}"
    if facts["stage"] == "plugin":
        raise InputError(
            f"{facts['plugin']}: NVIDIA's parser and builder cannot load this plugin library "
            f"({reason}); build it with: python -m differseg.export.plugin_library"
        )
    if status == "values_needed":
        name, shape = facts["input"]["name"], facts["input"]["shape"] or [1]
        example = "x".join("8" * abs(shape[0]))
        raise InputError(
            f"{request['model']}: the graph makes a shape of the numbers in input {name!r} (axes "
            f"{shape}), which the builder must know; give them, such as --shapes {name}:{example}"
        )
    errors = tuple(NodeError(**error) for error in facts.get("errors", ()))
    if status != "built" and not reason:
        spoken = [line for line in facts["log"] if line.startswith(("error", "internal_error"))]
        said = [*_plugin_errors(facts["log"]), str(errors[0])] if errors else spoken
        reason = " | ".join(said) or "no message from the library"
    copied = (
        "version", "layers", "layer_types", "engine_bytes", "memory", "parse_s", "build_s",
    )  # fmt: skip
    return RtxReport(
        status=status,
        reason=reason,
        errors=errors,
        inputs=tuple(facts.get("inputs", ())),
        outputs=tuple(facts.get("outputs", ())),
        log=tuple(facts["log"]),
        **{name: facts[name] for name in copied if name in facts},
    )
