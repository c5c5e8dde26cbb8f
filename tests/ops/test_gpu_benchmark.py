"""The GPU command, as far as a machine without one can run it: on the emulated kernels."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import emulated_kernels
import pytest
import torch

from differseg.errors import InputError

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "gpu"
_STEMS = {
    "rfft2": "fourier", "irfft2": "fourier", "dwt2": "wavelet", "idwt2": "wavelet",
    "reassemble": "reassembly", "local_similarity": "similarity",
}  # fmt: skip


class _Joined:
    """The emulated libraries, one an operator, as the one library that a GPU runs."""

    def __getattr__(self, name: str) -> Any:
        operator = name.removeprefix("differseg_").removesuffix("_workspace")
        return getattr(emulated_kernels.library(_STEMS[operator]), name)


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(FOLDER))
    import kernel_library

    return kernel_library.Kernels(_Joined())


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(FOLDER))
    import kernels

    return kernels


def test_without_a_gpu_it_says_so() -> None:
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, str(FOLDER / "kernels.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 3
    assert done.stderr.startswith("error[E_MISSING]: no CUDA GPU: torch ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--replays", "0"], "--replays: got 0, expected 1 or more"),
        (["--channels", "-5"], "--channels: got -5, expected 1 or more"),
        (["--size", "1x1"], "--size: got 1, expected 2 or more"),
        (["--library", "none.so"], "none.so: there is no such library; leave --library out"),
    ],
)
def test_bad_options_are_refused_at_once(
    command: Any, argv: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from differseg.options import run_main

    assert run_main(command.main, argv) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_a_library_of_something_else_is_refused(command: Any, tmp_path: Path) -> None:
    text = tmp_path / "text.so"
    text.write_text("not a library")
    with pytest.raises(InputError, match=r"text\.so: cannot be loaded .*; give a libdifferseg_ker"):
        command.load(text)
    with pytest.raises(InputError, match=r"libc\.so\.6: has no function differseg_rfft2; give a"):
        command.load(Path("libc.so.6"))


def test_the_sanitizer_sees_each_allocation(
    command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stand-in for compute-sanitizer: it writes down what it was called with."""
    tool = tmp_path / "compute-sanitizer"
    tool.write_text(f'#!/bin/sh\necho "$PYTORCH_NO_CUDA_MEMORY_CACHING $2" >> {tmp_path}/calls\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    log = command.Log(tmp_path / "log.txt", quiet=True)
    verdicts = command.run_sanitizer(tmp_path / "lib.so", log, tmp_path)
    tools = "memcheck", "initcheck", "racecheck", "synccheck"
    assert verdicts == dict.fromkeys(tools, "clean")
    assert (tmp_path / "calls").read_text().splitlines() == [f"1 {name}" for name in tools]


@pytest.mark.usefixtures("one_thread")
def test_its_checks_pass_and_can_fail(kernels: Any) -> None:
    from kernel_checks import INPUTS, LIMITS, cases, error_of

    operators = set()
    for dtype, kind in zip(LIMITS, ("denormal", "mean 10"), strict=True):
        assert kind in INPUTS
        walk = cases(kernels, dtype, kind, device="cpu", quick=True)
        for case in itertools.islice(walk, 0, None, 7):
            assert error_of(case) <= LIMITS[dtype], (case.operator, kind, case.text)
            operators.add(case.operator)
    assert operators == set(_STEMS)
    case.expected.add_(1)
    assert error_of(case) > LIMITS[dtype]
    case.expected.view(-1)[0] = float("nan")
    assert error_of(case) == float("inf")


@pytest.mark.usefixtures("one_thread")
def test_its_contestants_compute_the_same(kernels: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import kernel_times

    def microseconds(run: Any) -> float:
        start = time.perf_counter()
        run()
        return 1e6 * (time.perf_counter() - start)

    monkeypatch.setattr(kernel_times, "_microseconds", microseconds)
    monkeypatch.setattr(kernel_times, "_captured", lambda runs: lambda: [run() for run in runs])
    monkeypatch.setattr(kernel_times, "_cache_bytes", lambda: 100)
    for contest in kernel_times.contests(kernels, (12, 16), 3, device="cpu"):
        _, launch, others = contest.prepare()
        launch.run()
        for name, run in others.items():
            y = run()
            if y.is_complex():
                y = torch.stack((y.real, y.imag), 2)
            torch.testing.assert_close(
                launch.out, y, rtol=2e-2, atol=2e-3, msg=f"{contest}, {name}"
            )
        times = kernel_times.measure(contest, 1)
        assert times.kernel_us > 0
        assert set(times.others_us) == set(others)


def test_its_table_is_short(command: Any) -> None:
    row = {
        "operator": "local_similarity", "text": "k 3, d 2", "dtype": "float16", "kernel_us": 12.3,
        "gigabytes_per_s": 2345.6, "of_copy": 0.71, "others_us": {"PyTorch": 246.0},
    }  # fmt: skip
    head, line = command._table([row])
    assert len(head) <= 100
    assert line.split()[-4:] == ["2346", "71%", "20.0x", "-"]
