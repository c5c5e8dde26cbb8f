"""nvcc compiles every CUDA source for every architecture, and has nothing to remark on it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

PLUGINS = Path(__file__).resolve().parents[2] / "export" / "plugins"
# Turing to Blackwell: Orin is 8.7, Thor 11.0, DGX Spark 12.1.
ARCHITECTURES = (75, 80, 86, 87, 89, 90, 100, 110, 120, 121)
WARNINGS = ["-Xcompiler=-Wall,-Wextra", "-Werror", "all-warnings"]


def _nvcc() -> str:
    """Return the nvcc of the machine, or of the package nvidia-cuda-nvcc, or skip."""
    packages = Path(sysconfig.get_path("purelib")) / "nvidia"
    candidates = [shutil.which("nvcc"), "/usr/local/cuda/bin/nvcc"]
    candidates += [str(path) for path in sorted(packages.glob("*/bin/nvcc"))]
    for candidate in candidates:
        if candidate and os.access(candidate, os.X_OK):
            return candidate
    pytest.skip("no nvcc; install the CUDA toolkit, or pip install nvidia-cuda-nvcc")


def _compile(nvcc: str, source: Path, architecture: int, out: Path) -> str:
    """Return what nvcc says, which is nothing when all is well."""
    target = f"-gencode=arch=compute_{architecture},code=sm_{architecture}"
    command = [nvcc, "-std=c++17", target, *WARNINGS, "-c", str(source), "-o"]
    command.append(str(out / f"{source.stem}.{architecture}.o"))
    done = subprocess.run(command, capture_output=True, text=True)
    said = (done.stdout + done.stderr).strip()
    return f"{source.name}, {architecture}:\n{said}" if said or done.returncode else ""


@pytest.mark.slow
def test_all_architectures_without_warnings(tmp_path: Path) -> None:
    nvcc = _nvcc()
    answer = subprocess.run([nvcc, "--list-gpu-code"], capture_output=True, text=True, check=True)
    known = [a for a in ARCHITECTURES if f"sm_{a}" in answer.stdout.split()]
    assert len(known) >= 4, f"{nvcc} knows {answer.stdout.split()}"
    sources = sorted(PLUGINS.glob("*.cu"), key=lambda path: path.name != "fourier.cu")
    assert len(sources) == 4
    jobs = [(source, architecture) for source in sources for architecture in known]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        said = list(pool.map(lambda job: _compile(nvcc, *job, tmp_path), jobs))
    assert not any(said), "\n".join(filter(None, said))
