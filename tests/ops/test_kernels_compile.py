"""nvcc compiles every CUDA source for every architecture, and has nothing to remark on it."""

from __future__ import annotations

import os
import re
import subprocess
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from differseg.errors import MissingComponentError
from differseg.export.plugin_library import ARCHITECTURES, SOURCES, find_nvcc

GPUS = (*ARCHITECTURES, "121")  # DGX Spark, which runs the code for 120
IN_EVERY_RUN = [ARCHITECTURES[0], "87", GPUS[-1]]
WARNINGS = ["-Xcompiler=-Wall,-Wextra", "-Werror", "all-warnings"]
# Bytes that a kernel may keep in memory for want of registers. Column passes hold a line's share in
# two blocks a multiprocessor; in the others a few numbers outside their loops are all.
MOST_SPILLED = {"fourier": 144, "reassembly": 48, "similarity": 48, "wavelet": 48}
_ENTRY = re.compile(r"ptxas info +: Compiling entry function '(.+)' for 'sm_\d+'")
_SPILLS = re.compile(r" +\d+ bytes stack frame, (\d+) bytes spill stores")


def spilling(said: str, most: int) -> list[str]:
    """Read ``ptxas -v``: each kernel that spills more than so many bytes, and each warning."""
    remarks, kernel = [], ""
    for line in said.splitlines():
        if entry := _ENTRY.match(line):
            kernel = entry[1]
        elif spills := _SPILLS.match(line):
            if int(spills[1]) > most:
                remarks.append(f"{kernel} spills {spills[1]} bytes, expected at most {most}")
        elif not line.startswith("ptxas info"):
            remarks.append(line)
    return remarks


def _compile(nvcc: str, source: Path, architecture: str, out: Path) -> str:
    """Return what there is to remark, which is nothing when all is well."""
    target = f"-gencode=arch=compute_{architecture},code=sm_{architecture}"
    command = [nvcc, "-std=c++17", target, *WARNINGS, "-Xptxas=-v", "-c", str(source), "-o"]
    command.append(str(out / f"{source.stem}.{architecture}.o"))
    done = subprocess.run(command, capture_output=True, text=True)
    said = "\n".join(spilling(done.stdout + done.stderr, MOST_SPILLED[source.stem]))
    return f"{source.name}, {architecture}:\n{said}" if said or done.returncode else ""


def _known(nvcc: str, gpus: list[str]) -> list[str]:
    """Return the GPUs to compile for: all from CUDA 13 on, and those that an older one knows."""
    codes, version = (
        subprocess.run([nvcc, flag], capture_output=True, text=True, check=True).stdout
        for flag in ("--list-gpu-code", "--version")
    )
    missing = [gpu for gpu in gpus if f"sm_{gpu}" not in codes.split()]
    release = re.search(r"release (\d+)", version)
    assert release, version
    if missing:
        assert int(release[1]) < 13, f"{nvcc}, CUDA {release[1]}, does not know {missing}"
        warnings.warn(f"not compiled for {missing}: {nvcc} is of CUDA {release[1]}", stacklevel=2)
    return [gpu for gpu in gpus if gpu not in missing]


@pytest.mark.parametrize(
    "gpus",
    [
        pytest.param(IN_EVERY_RUN, marks=pytest.mark.early, id="oldest, Orin, newest"),
        pytest.param([gpu for gpu in GPUS if gpu not in IN_EVERY_RUN], marks=pytest.mark.slow),
    ],
)
def test_architectures_without_warnings_or_spills(tmp_path: Path, gpus: list[str]) -> None:
    try:
        nvcc = find_nvcc()
    except MissingComponentError as error:
        pytest.skip(str(error))
    sources = sorted(SOURCES.glob("*.cu"), key=lambda path: path.name != "fourier.cu")
    assert {source.stem for source in sources} == set(MOST_SPILLED)
    jobs = [(source, architecture) for source in sources for architecture in _known(nvcc, gpus)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        said = list(pool.map(lambda job: _compile(nvcc, *job, tmp_path), jobs))
    assert not any(said), "\n".join(filter(None, said))


def test_a_spill_is_read() -> None:
    said = (
        "ptxas info    : 0 bytes gmem\n"
        "ptxas info    : Compiling entry function '_Z1kv' for 'sm_110'\n"
        "ptxas info    : Function properties for _Z1kv\n"
        "    608 bytes stack frame, 1580 bytes spill stores, 968 bytes spill loads\n"
        "ptxas info    : Used 128 registers, used 0 barriers\n"
    )
    assert spilling(said, 1580) == []
    assert spilling(said, 48) == ["_Z1kv spills 1580 bytes, expected at most 48"]
    assert spilling("a.cu(3): warning: never used", 48) == ["a.cu(3): warning: never used"]
