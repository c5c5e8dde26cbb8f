"""The kernels under the address and undefined-behaviour sanitizers, on the CPU."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def _sanitizer() -> str:
    """Return the library that must be loaded before Python, or skip."""
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    if compiler is None:
        pytest.skip("no C++ compiler; install g++ or name one in CXX")
    answer = subprocess.run(
        [compiler, "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    if not Path(answer).is_file():
        pytest.skip(f"{compiler} has no address sanitizer; install GCC's libasan")
    return answer


def _run(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "LD_PRELOAD": _sanitizer(),
        "DIFFERSEG_SANITIZE": "1",
        "ASAN_OPTIONS": "detect_leaks=0",
    }
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=Path(__file__).parent,
        env=environment,
        capture_output=True,
        text=True,
    )


def test_kernels_stay_within_their_memory() -> None:
    done = _run(["sanitized_kernels.py"])
    assert done.returncode == 0, done.stderr[-6000:]
    assert done.stdout.endswith("clean\n")


def test_the_sanitizer_watches() -> None:
    """An output one row too small is noticed, or the test above would prove nothing."""
    too_small = (
        "import numpy as np, emulated_kernels as k; x = np.ones((8, 1000), np.float32);"
        "k.status('similarity', 'differseg_local_similarity', 0, x, x[:-1].copy(), 1, 1, 1, 8000,"
        " 3, 1)"
    )
    done = _run(["-c", too_small])
    assert done.returncode != 0
    assert "heap-buffer-overflow" in done.stderr
