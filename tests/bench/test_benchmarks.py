"""The commands under benchmarks/: wrong numbers are one line, before any engine is written."""

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.mark.parametrize(
    ("name", "flag"),
    [
        ("fourier", "--rounds"),
        ("operators", "--bursts"),
        ("reassembly", "--height"),
        ("reassembly", "--threads"),
    ],
)
def test_a_count_of_0_is_one_line_and_status_2(name, flag):
    command = [sys.executable, str(FOLDER / f"{name}.py"), flag, "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert done.stderr == f"error[E_INPUT]: {flag} 0: expected 1 or more\n"
    assert done.stdout == ""
