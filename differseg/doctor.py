"""``differseg doctor``: what is installed, what would be used and why, what to install for more."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from differseg.options import parse

State = Literal["ok", "absent", "problem"]


@dataclass(frozen=True)
class DoctorOptions:
    """Say what is installed, which inference backend would be chosen and why."""

    json: bool = False
    """Print one JSON document instead of the table."""


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        part: What was looked at.
        state: ``ok``, ``absent`` (not needed for everything) or ``problem``.
        detail: Version, or what is wrong.
        advice: What to do to get it, empty when nothing is to be done.
    """

    part: str
    state: State
    detail: str
    advice: str = ""


_PACKAGES = (
    ("numpy", "numpy", "runtime"),
    ("rich", "rich", "runtime"),
    ("torch", "torch", "export"),
    ("onnx", "onnx", "export"),
    ("onnxscript", "onnxscript", "export"),
    ("safetensors", "safetensors", "export"),
    ("openvino", "openvino", "openvino"),
    ("TensorRT-RTX builder", "onnxruntime-ep-nv-tensorrt-rtx-cu13", "rtx"),
)
_ONNXRUNTIMES = ("onnxruntime", "onnxruntime-gpu")
_JETSON_RELEASE = Path("/etc/nv_tegra_release")
_PATIENCE_S = 60.0


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _package_findings() -> list[Finding]:
    findings = []
    for part, distribution, extra in _PACKAGES:
        version = _version(distribution)
        if version:
            findings.append(Finding(part, "ok", version))
        else:
            advice = f"pip install 'differseg[{extra}]'"
            findings.append(Finding(part, "absent", "not installed", advice))
    return findings


def _ask(command: list[str]) -> tuple[bool, list[str]]:
    """Run a command; gives success and the lines that it printed, at least one."""
    try:
        run = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_PATIENCE_S
        )
    except subprocess.TimeoutExpired:
        return False, [f"no answer within {_PATIENCE_S:g} s"]
    except OSError as error:
        return False, [f"cannot be run: {error.strerror}"]
    lines = (run.stdout if run.returncode == 0 else run.stderr or run.stdout).strip().splitlines()
    return run.returncode == 0, lines or [f"exit status {run.returncode}"]


def _probe(code: str) -> tuple[bool, str]:
    """Run a snippet in a fresh interpreter; gives success and the last line that it printed."""
    ok, lines = _ask([sys.executable, "-c", code])
    return ok, lines[-1]


def _onnxruntime_finding() -> Finding:
    """Look for the module: several distributions hold it, and each can fail to load."""
    advice = "pip install 'differseg[runtime]'"
    if importlib.util.find_spec("onnxruntime") is None:
        return Finding("onnxruntime", "absent", "not installed", advice)
    ok, text = _probe("import onnxruntime; print(onnxruntime.__version__)")
    if ok:
        return Finding("onnxruntime", "ok", text)
    found = [name for name in _ONNXRUNTIMES if _version(name)]
    removal = f"pip uninstall {' '.join(found)}, then " if found else ""
    return Finding("onnxruntime", "problem", text[:90], removal + advice)


def _opencv_finding() -> list[Finding]:
    ok, text = _probe(
        "import cv2, json; print(json.dumps([cv2.__version__, cv2.getBuildInformation()]))"
    )
    if not ok:
        return [Finding("OpenCV", "problem", text, "pip install 'differseg[runtime]'")]
    version, build = json.loads(text)
    yes = {
        name: bool(re.search(rf"{name}:\s+(?!NO|NONE)\S", build))
        for name in ("GStreamer", "FFMPEG", "GUI")
    }
    display = bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    findings = [Finding("OpenCV", "ok", version)]
    findings.append(
        Finding("OpenCV: GStreamer sources", "ok", "in this build")
        if yes["GStreamer"]
        else Finding(
            "OpenCV: GStreamer sources", "absent", "not in this build",
            "use the system's OpenCV (JetPack's and Debian's python3-opencv have GStreamer)",
        )
    )  # fmt: skip
    if yes["GUI"] and display:
        findings.append(Finding("OpenCV: window", "ok", "display found"))
    elif yes["GUI"]:
        findings.append(Finding("OpenCV: window", "absent", "no display", "run with --headless"))
    else:
        advice = "pip uninstall opencv-python-headless, then pip install 'differseg[preview]'"
        findings.append(Finding("OpenCV: window", "absent", "headless build", advice))
    return findings


def _timm_finding() -> Finding:
    version = _version("timm")
    if not version:
        return Finding(
            "timm (authors' backbones)", "absent", "not installed", "pip install 'differseg[timm]'"
        )
    ok, text = _probe("import timm; print(timm.__version__)")
    if ok:
        return Finding("timm (authors' backbones)", "ok", version)
    return Finding(
        "timm (authors' backbones)", "problem", text[:90],
        "install torch and torchvision from one and the same index (both CPU, or both CUDA)",
    )  # fmt: skip


def _gpu_finding() -> Finding:
    tool = shutil.which("nvidia-smi")
    if not tool:
        return Finding("NVIDIA GPU", "absent", "no nvidia-smi: everything runs on the CPU")
    query = [tool, "--query-gpu=name,driver_version", "--format=csv,noheader"]
    ok, lines = _ask(query)
    return Finding("NVIDIA GPU", "ok" if ok else "problem", lines[0][:90])


def _jetson_finding() -> Finding:
    release = _JETSON_RELEASE
    if not release.is_file():
        return Finding("Jetson", "absent", "this is not a Jetson")
    lines = release.read_text(errors="replace").strip().splitlines()
    return Finding("Jetson", "ok", lines[0][:80] if lines else f"{release} is empty")


def _camera_finding() -> Finding:
    devices = sorted(str(path) for path in Path("/dev").glob("video*"))
    if not devices:
        return Finding(
            "V4L2 cameras", "absent", "no /dev/video*", "use a file, an address or synthetic:"
        )
    return Finding("V4L2 cameras", "ok", ", ".join(devices))


_OUTLOOK = """
import dataclasses, json
from differseg.runtime.backends.choice import outlook
print(json.dumps(dataclasses.asdict(outlook())))
"""


def _backend_finding() -> Finding:
    """Say which engine would run an .onnx file, why, and what would bring a faster one."""
    ok, text = _probe(_OUTLOOK)
    if not ok:
        return Finding(
            "inference backend", "problem", text[:200], "pip install 'differseg[runtime]'"
        )
    found = json.loads(text)
    if found["chosen"] is None:
        return Finding("inference backend", "problem", f"none: {found['reason']}", found["advice"])
    advice = f"faster: {found['advice']}" if found["advice"] else ""
    return Finding("inference backend", "ok", f"{found['chosen']}, {found['reason']}", advice)


def diagnose() -> list[Finding]:
    """Look at the machine; loads heavy packages only in child processes."""
    from differseg import __version__

    python = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    return [
        Finding("differseg", "ok", __version__),
        Finding("Python", "ok", python),
        *_package_findings(),
        _onnxruntime_finding(),
        *_opencv_finding(),
        _timm_finding(),
        _gpu_finding(),
        _jetson_finding(),
        _camera_finding(),
        _backend_finding(),
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Print the report; exit status 1 when nothing here could run a model."""
    options = parse(DoctorOptions, argv, "differseg doctor")
    findings = diagnose()
    if options.json:
        print(json.dumps([asdict(finding) for finding in findings]))
    else:
        _print_table(findings)
    return int(any(f.part == "inference backend" and f.state == "problem" for f in findings))


def _print_table(findings: list[Finding]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("", "part", "found", "to have it", box=SIMPLE_HEAD, pad_edge=False)
    marks = {"ok": "[green]ok[/]", "absent": "[yellow]--[/]", "problem": "[bold red]!![/]"}
    for f in findings:
        table.add_row(marks[f.state], f.part, escape(f.detail), escape(f.advice))
    Console().print(table)
