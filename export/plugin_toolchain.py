"""The compilers' flags for a library that another processor runs: aarch64 boards from x86-64."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from differseg.errors import InputError, MissingComponentError

MACHINES = ("aarch64", "x86_64")


@dataclass(frozen=True)
class Toolchain:
    """What nvcc is told, beside the GPUs.

    Attributes:
        machine: Processor of the library, as ``uname -m`` says it.
        compiling: Flags of every compilation.
        linking: Flags of the link.
    """

    machine: str
    compiling: tuple[str, ...] = ()
    linking: tuple[str, ...] = ()


def find_toolchain(nvcc: str, machine: str | None, cuda_runtime: Path | None) -> Toolchain:
    """Find the host compiler and CUDA's runtime for a processor.

    Args:
        nvcc: CUDA's compiler.
        machine: Processor of the library; None for this machine's.
        cuda_runtime: Folder that holds the processor's ``libcudart_static.a`` at any depth; None
            looks in the toolkit, where NVIDIA's package cuda-cross-aarch64 puts it.

    Raises:
        InputError: Another processor than those known, or a runtime without another processor.
        MissingComponentError: The compiler or the runtime is missing.
    """
    machine = machine or platform.machine()
    if machine not in MACHINES:
        raise InputError(f"--machine {machine}: expected one of {', '.join(MACHINES)}")
    if machine == platform.machine():
        if cuda_runtime is not None:
            raise InputError(
                f"--cuda-runtime {cuda_runtime}: only a build for another processor needs it; add "
                f"--machine {next(name for name in MACHINES if name != machine)}, or leave it away"
            )
        return Toolchain(machine)
    compiler = f"{machine}-linux-gnu-g++"
    if shutil.which(compiler) is None:
        package = f"g++-{machine.replace('_', '-')}-linux-gnu"
        raise MissingComponentError(
            f"{compiler}, the host compiler of nvcc for {machine}, is not installed; install it "
            f"with: sudo apt install {package}"
        )
    toolkit = _toolkit(nvcc)
    compiling = ("-ccbin", compiler, "-I", str(toolkit / "include"))
    runtime = _find_runtime(toolkit, machine, cuda_runtime)
    return Toolchain(machine, compiling, (*compiling, "-L", str(runtime)))


def _toolkit(nvcc: str) -> Path:
    """Return the toolkit's folder as nvcc says it: the command itself may be a script elsewhere."""
    command = [nvcc, "--dryrun", "-E", "-x", "cu", os.devnull]
    said = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    top = re.search(r"^#\$ TOP=(.+)$", said.stdout, re.MULTILINE)
    return Path(top[1] if top else Path(nvcc).parent.parent).resolve()


def _find_runtime(toolkit: Path, machine: str, given: Path | None) -> Path:
    """Return the folder of the processor's ``libcudart_static.a``."""
    name = "libcudart_static.a"
    if given is not None:
        found = sorted(given.rglob(name))
        if not found:
            raise InputError(
                f"--cuda-runtime {given}: there is no {name} in it; name the folder into which "
                "NVIDIA's package nvidia-cuda-runtime for the processor was unpacked"
            )
        return found[0].parent
    names = (f"{machine}-linux", "sbsa-linux") if machine == "aarch64" else (f"{machine}-linux",)
    for target in names:
        if (toolkit / "targets" / target / "lib" / name).is_file():
            return toolkit / "targets" / target / "lib"
    raise MissingComponentError(
        f"{toolkit}/targets: CUDA's runtime for {machine} is not there; give --cuda-runtime DIR, "
        'see "The plugin library from a workstation" in jetson/README.md'
    )
