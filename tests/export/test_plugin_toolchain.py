"""Cross-compiling the plugin library: flags, refusals, and the library itself."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from differseg.errors import InputError, MissingComponentError
from differseg.export import plugin_toolchain
from differseg.export.plugin_library import build_library
from differseg.export.plugin_toolchain import find_toolchain

AARCH64 = 183
"""``EM_AARCH64`` of the ELF header."""
RUNTIME = os.environ.get("DIFFERSEG_CROSS_CUDA_RUNTIME")

needs_cross_compiler = pytest.mark.skipif(
    shutil.which("nvcc") is None or shutil.which("aarch64-linux-gnu-g++") is None or not RUNTIME,
    reason="nvcc, aarch64-linux-gnu-g++ or $DIFFERSEG_CROSS_CUDA_RUNTIME, a folder with aarch64's "
    "libcudart_static.a, is missing",
)


@pytest.fixture(autouse=True)
def on_x86_64(monkeypatch):
    monkeypatch.setattr(plugin_toolchain.platform, "machine", lambda: "x86_64")


@pytest.fixture
def nvcc(tmp_path, monkeypatch):
    """A script that stands for the nvcc of a toolkit, and a path with a cross compiler.

    The toolkit has no runtime of another processor.
    """
    scripts = {"nvcc": f"echo '#$ TOP={tmp_path}/toolkit/bin/..'", "aarch64-linux-gnu-g++": ":"}
    (tmp_path / "toolkit/bin").mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    for name, text in scripts.items():
        tool = tmp_path / "bin" / name
        tool.write_text(f"#!/bin/sh\n{text}\n")
        tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return str(tmp_path / "bin/nvcc")


def put_runtime(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "libcudart_static.a").touch()
    return folder


def test_this_machine_needs_no_flags(nvcc):
    for machine in (None, "x86_64"):
        assert find_toolchain(nvcc, machine, None) == plugin_toolchain.Toolchain("x86_64")


def test_the_runtime_is_found_at_any_depth(nvcc, tmp_path):
    place = put_runtime(tmp_path / "arm/nvidia/cu13/lib")
    found = find_toolchain(nvcc, "aarch64", tmp_path / "arm")
    headers = str(tmp_path / "toolkit/include")
    assert found.compiling == ("-ccbin", "aarch64-linux-gnu-g++", "-I", headers)
    assert found.linking == (*found.compiling, "-L", str(place))


@pytest.mark.parametrize("target", ["aarch64-linux", "sbsa-linux"])
def test_the_toolkits_own_runtime_is_taken(nvcc, tmp_path, target):
    place = put_runtime(tmp_path / "toolkit/targets" / target / "lib")
    assert find_toolchain(nvcc, "aarch64", None).linking[-1] == str(place)


def test_what_is_missing_is_named(nvcc, tmp_path, monkeypatch):
    with pytest.raises(MissingComponentError, match=r"CUDA's runtime for aarch64 .*--cuda-runtime"):
        find_toolchain(nvcc, "aarch64", None)
    with pytest.raises(InputError, match=r"there is no libcudart_static\.a in it"):
        find_toolchain(nvcc, "aarch64", tmp_path)
    with pytest.raises(InputError, match=r"--machine arm64: expected one of aarch64, x86_64"):
        find_toolchain(nvcc, "arm64", None)
    with pytest.raises(InputError, match=r"--cuda-runtime .*; add --machine aarch64"):
        find_toolchain(nvcc, None, tmp_path)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingComponentError, match="sudo apt install g\\+\\+-aarch64-linux-gnu"):
        find_toolchain(nvcc, "aarch64", None)


def machine_of(library: Path) -> int:
    """Return ``e_machine`` of an ELF file."""
    header = library.read_bytes()[:20]
    assert header[:4] == b"\x7fELF"
    return int(struct.unpack("<H", header[18:20])[0])


def symbols(library: Path, *options: str) -> list[str]:
    command = ["aarch64-linux-gnu-nm", "-D", *options, str(library)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [line.split()[-1].split("@")[0] for line in said.splitlines()]


@needs_cross_compiler
@pytest.mark.parametrize("gpu", ["87", "110"])
def test_the_kernels_are_built_for_aarch64(tmp_path, gpu):
    library = build_library(
        tmp_path / "kernels.so",
        architectures=[gpu],
        kernels_only=True,
        machine="aarch64",
        cuda_runtime=Path(RUNTIME),
    )
    assert machine_of(library) == AARCH64
    assert "differseg_rfft2" in symbols(library, "--defined-only")
    assert not [name for name in symbols(library, "--undefined-only") if name.startswith("cuda")]


@needs_cross_compiler
@pytest.mark.skipif(not os.environ.get("TENSORRT_ROOT"), reason="TENSORRT_ROOT is not set")
@pytest.mark.parametrize("gpu", ["87", "110"])
def test_the_plugins_are_built_for_aarch64(tmp_path, gpu):
    library = build_library(
        tmp_path / "plugins.so", architectures=[gpu], machine="aarch64", cuda_runtime=Path(RUNTIME)
    )
    assert machine_of(library) == AARCH64
    assert "getCreators" in symbols(library, "--defined-only")
    assert not [name for name in symbols(library, "--undefined-only") if name.startswith("cuda")]
