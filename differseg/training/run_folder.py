"""What lies in a run's folder, and whether a command may go on in it.

``config.json`` (what was asked for), ``environment.json`` (one entry per start: versions, device,
threads, commit), ``metrics.jsonl`` (one line per epoch), ``last.pt`` (snapshot),
``best.safetensors`` (averaged weights of the best epoch) and ``pictures/epoch_003.jpg``.
Drawn synthetic scenes may lie beside them and are kept by a restart.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

import differseg
from differseg.errors import InputError
from differseg.training.snapshot import PARTIAL_SUFFIX, write_atomically

_PACKAGES = ("torch", "numpy", "opencv-python-headless", "opencv-python", "safetensors", "timm")


class RunFolder:
    """Paths and small files of one run.

    Args:
        path: The folder; made when it does not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.json"
        self.environment = path / "environment.json"
        self.metrics = path / "metrics.jsonl"
        self.snapshot = path / "last.pt"
        self.best = path / "best.safetensors"
        self.pictures = path / "pictures"

    def find(self, config: dict[str, Any], restart: bool = False) -> bool:
        """Look for a run to go on with; nothing is written.

        Args:
            config: What defines the run, as plain JSON values.
            restart: Do not go on with what is there, whatever its configuration.

        Returns:
            True where a snapshot of the same run is there and may be used.

        Raises:
            InputError: The folder holds a run with another configuration (the fields are named),
                or files that no run wrote.
        """
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"--out {self.path}: this is a file; give a folder")
        if not self.config.exists() and self.path.exists() and any(self.path.iterdir()):
            raise InputError(
                f"--out {self.path}: the folder holds files but no run (no config.json); "
                "give a new folder, or empty this one"
            )
        if restart or not self.snapshot.exists():
            return False
        self._compare(config)
        return True

    def begin(self, config: dict[str, Any]) -> None:
        """Make the folder ready for a new run; what an earlier one left there is deleted."""
        for file in (self.config, self.environment, self.metrics, self.snapshot, self.best):
            file.unlink(missing_ok=True)
        shutil.rmtree(self.pictures, ignore_errors=True)
        self.path.mkdir(parents=True, exist_ok=True)
        self._write_json(self.config, config)

    def tidy(self) -> None:
        """Remove what a kill may have left half done, and make the folder of pictures."""
        self.pictures.mkdir(exist_ok=True)
        for leftover in self.path.glob(f"*{PARTIAL_SUFFIX}"):
            leftover.unlink()

    def _compare(self, config: dict[str, Any]) -> None:
        try:
            earlier = json.loads(self.config.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(
                f"{self.config}: not readable ({error}); start the run again with --restart"
            ) from None
        now = json.loads(json.dumps(config))
        different = [
            f"{name} (was {earlier.get(name)!r}, now {now.get(name)!r})"
            for name in sorted({*earlier, *now})
            if earlier.get(name) != now.get(name)
        ]
        if different:
            raise InputError(
                f"--out {self.path}: a run with another configuration is here: "
                f"{', '.join(different)}; repeat its command to resume it, give another folder, "
                "or delete it with --restart"
            )

    def add_start(self, entry: dict[str, Any]) -> None:
        """Add this start's environment to ``environment.json``."""
        starts = []
        if self.environment.exists():
            starts = json.loads(self.environment.read_text(encoding="utf-8"))["starts"]
        self._write_json(self.environment, {"starts": [*starts, {**_environment(), **entry}]})

    def write_metrics(self, history: list[dict[str, Any]]) -> None:
        """Write one line per epoch; whole each time, so that a resumed run has no double lines."""
        text = "".join(json.dumps(line) + "\n" for line in history)
        write_atomically(self.metrics, lambda file: file.write(text.encode()))

    def picture(self, epoch: int) -> Path:
        """Return the path of an epoch's picture grid (epochs count from 1)."""
        return self.pictures / f"epoch_{epoch:03d}.jpg"

    @staticmethod
    def _write_json(path: Path, document: dict[str, Any]) -> None:
        text = json.dumps(document, indent=2) + "\n"
        write_atomically(path, lambda file: file.write(text.encode()))


def _environment() -> dict[str, Any]:
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
