"""The machine and the software that a run was started with."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

import differseg

_PACKAGES = ("torch", "numpy", "opencv-python-headless", "opencv-python", "safetensors", "timm")


def describe_environment() -> dict[str, Any]:
    """Describe the machine and the software of this process."""
    versions = {"python": platform.python_version(), "differseg": differseg.__version__}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "versions": versions,
        "platform": platform.platform(),
        "processor": _processor(),
        "processors": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "git_commit": _git_commit(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def _git_commit() -> str | None:
    """Return the commit of the source tree that runs, with ``+`` for local changes."""
    source = Path(__file__).resolve().parents[2]
    if not (source / ".git").exists():
        return None
    ask = ["git", "-C", str(source)]
    try:
        commit = subprocess.run(
            [*ask, "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()
        changed = subprocess.run(
            [*ask, "diff", "--quiet", "HEAD"], capture_output=True, check=False, timeout=10
        ).returncode
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+" if changed else "")
