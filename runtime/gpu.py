"""Which GPU this machine has, asked without a CUDA binding; standard library only.

A desktop's ``nvidia-smi`` says it.  A Jetson's, where there is one, leaves out the compute
capability, which follows from the chip's name in the device tree (rbonghi/jetson_stats,
jtop/core/jetson_variables.py).
"""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

DEVICE_TREE = Path("/proc/device-tree")
"""Where Linux names the board and its chip."""
CUDA_FOLDER = Path("/usr/local/cuda")
"""Where the toolkit stands."""

_CHIPS = {"tegra194": "7.2", "tegra234": "8.7", "tegra264": "11.0"}
"""Xavier, Orin, Thor."""
_PATIENCE_S = 20.0


@dataclass(frozen=True)
class Gpu:
    """One GPU.

    Attributes:
        name: As its driver calls it.
        sm: Compute capability, such as 8.7.
        driver: Version of the driver, where known.
    """

    name: str
    sm: str
    driver: str | None = None


def platform_name() -> str:
    """Return system and processor, such as ``linux-aarch64``."""
    return f"{sys.platform}-{platform.machine().lower()}"


def cuda_version() -> str | None:
    """Return the version of the CUDA toolkit that JetPack and NVIDIA's packages install."""
    try:
        found = json.loads((CUDA_FOLDER / "version.json").read_text())["cuda"]["version"]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return str(found)


def find_gpu() -> Gpu | None:
    """Return the first NVIDIA GPU, None where there is none."""
    return _of_nvidia_smi() or _of_device_tree()


def _of_nvidia_smi() -> Gpu | None:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    query = [tool, "--query-gpu=name,compute_cap,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(
            query, capture_output=True, text=True, errors="replace", timeout=_PATIENCE_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    words = [word.strip() for word in done.stdout.partition("\n")[0].split(",")]
    if done.returncode != 0 or len(words) != 3 or not words[1].replace(".", "").isdigit():
        return None
    return Gpu(*words)


def _of_device_tree() -> Gpu | None:
    try:
        chips = (DEVICE_TREE / "compatible").read_bytes().decode(errors="replace")
        board = (DEVICE_TREE / "model").read_bytes().decode(errors="replace").strip("\0\n ")
    except OSError:
        return None
    sm = next((sm for chip, sm in _CHIPS.items() if chip in chips), None)
    return None if sm is None else Gpu(board, sm)
