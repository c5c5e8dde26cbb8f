"""Build the TensorRT plugin library, or the kernels alone, with nvcc and nothing else.

``python -m differseg.export.plugin_library -o libdifferseg_plugins.so`` does what
``plugins/CMakeLists.txt`` does, where there is no CMake.  TensorRT itself is not needed, only its
headers: the library finds TensorRT in the process that loads it.
"""

from __future__ import annotations

import functools
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from differseg.errors import InputError, MissingComponentError
from differseg.export.plugin_toolchain import find_toolchain
from differseg.options import option, parse, run_main

SOURCES = Path(__file__).parent / "plugins"
ARCHITECTURES = ("75", "80", "86", "87", "89", "90", "100", "110", "120")
"""GPUs that a library is for by default, as far as nvcc knows them: Turing to Blackwell, with
Jetson Orin (87) and Thor (110)."""

CUDA_BIN = "/usr/local/cuda/bin"
"""Where the CUDA toolkit's packages put nvcc, which is rarely on the path of a Jetson."""

_FIRST_TENSORRT = 10
_VERSION = re.compile(r"#define (?:NV_TENSORRT|TRT)_(MAJOR|MINOR)(?:_ENTERPRISE)?\s+(\d+)")
_FLAGS = ("-std=c++17", "-O3", "-Xcompiler", "-fPIC,-Wall,-Wextra")

Say = Callable[[str], None]


@dataclass(frozen=True)
class PluginLibraryOptions:
    """Build differseg's TensorRT plugin library; needs nvcc, g++ and TensorRT's headers."""

    output: Path = option(Path("libdifferseg_plugins.so"), short="-o", metavar="LIB.so")
    """The library to write."""
    tensorrt_root: Path | None = option(None, metavar="DIR")
    """Folder with TensorRT's include/; by default $TENSORRT_ROOT, else the system's packages."""
    arch: tuple[str, ...] = option((), metavar="SM")
    """A GPU to build for, such as 87 for Jetson Orin (may be repeated); by default all that nvcc
    knows of 75, 80, 86, 87, 89, 90, 100, 110 and 120."""
    kernels_only: bool = False
    """Build the plain C functions without TensorRT."""
    machine: str | None = option(None, metavar="NAME")
    """Build for another processor, such as aarch64 for a Jetson from an x86-64 workstation; its
    cross compiler must be installed."""
    cuda_runtime: Path | None = option(None, metavar="DIR")
    """With --machine: folder with that processor's libcudart_static.a; by default the toolkit's."""


@dataclass(frozen=True)
class Headers:
    """TensorRT's headers: the folder and the version that they belong to."""

    folder: Path
    version: tuple[int, int]


def find_nvcc() -> str:
    """Find nvcc: on the path, in ``$CUDA_HOME``, in the system's toolkit or in Python's packages.

    Raises:
        MissingComponentError: There is no nvcc, or no host compiler beside it.
    """
    home = os.environ.get("CUDA_HOME")
    packages = Path(sysconfig.get_path("purelib"), "nvidia").glob("*/bin")
    places = [*([f"{home}/bin"] if home else []), CUDA_BIN, *map(str, sorted(packages))]
    nvcc = shutil.which("nvcc") or shutil.which("nvcc", path=os.pathsep.join(places))
    if nvcc is None:
        raise MissingComponentError(
            "nvcc is not installed, or neither on the path nor in /usr/local/cuda/bin; install "
            "the CUDA toolkit (on a Jetson: sudo apt install nvidia-jetpack; without root: pip "
            "install nvidia-cuda-nvcc nvidia-cuda-runtime nvidia-cuda-cccl) or set CUDA_HOME"
        )
    if shutil.which("g++") is None:
        raise MissingComponentError(
            "g++, the host compiler of nvcc, is not installed; install it with: "
            "sudo apt install g++"
        )
    return nvcc


def find_headers(root: Path | str | None = None, machine: str | None = None) -> Headers:
    """Find TensorRT's headers.

    Args:
        root: TensorRT's folder, with ``include``; by default the environment's ``TENSORRT_ROOT``,
            else the system's packages.
        machine: Processor whose packages are looked for; None for this machine's.

    Raises:
        MissingComponentError: There are none, or they are of a version without ``IPluginV3``.
    """
    named = root or os.environ.get("TENSORRT_ROOT") or None
    include = Path(named or "/usr", "include")
    for folder in (include, include / f"{machine or platform.machine()}-linux-gnu"):
        if (folder / "NvInferRuntime.h").is_file() and (folder / "NvInferVersion.h").is_file():
            text = (folder / "NvInferVersion.h").read_text(encoding="utf-8", errors="replace")
            found = {name: int(number) for name, number in _VERSION.findall(text)}
            version = found.get("MAJOR", 0), found.get("MINOR", 0)
            if version[0] < _FIRST_TENSORRT:
                raise MissingComponentError(
                    f"{folder}: these are the headers of TensorRT {version[0]}.{version[1]}, the "
                    "plugins need 10.0 or later; export with --ops portable for older ones"
                )
            return Headers(folder, version)
    raise MissingComponentError(
        f"{include}: TensorRT's headers (NvInferRuntime.h) are not there; "
        + ("give the folder that holds include/, " if named else "give --tensorrt-root DIR, ")
        + "or install them with: sudo apt install libnvinfer-headers-dev"
    )


def choose_architectures(nvcc: str, wanted: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the GPUs to build for: those wanted, or all of ours that this nvcc knows.

    Raises:
        InputError: A wanted one is not known to nvcc.
        MissingComponentError: None is wanted, and nvcc knows none of ours.
    """
    known = re.findall(r"sm_(\d+)", _output([nvcc, "--list-gpu-code"]))
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise InputError(
            f"--arch {unknown[0]}: this nvcc ({nvcc}) builds for {', '.join(known) or 'none'}; "
            "choose of these, or install another CUDA toolkit"
        )
    chosen = tuple(wanted) or tuple(name for name in ARCHITECTURES if name in known)
    if not chosen:
        raise MissingComponentError(
            f"{nvcc}: it builds for {', '.join(known) or 'no GPU'}, expected one of "
            f"{', '.join(ARCHITECTURES)}; install a CUDA toolkit (11.4 or later)"
        )
    return chosen


def build_library(
    output: Path | str,
    *,
    tensorrt_root: Path | str | None = None,
    architectures: Sequence[str] = (),
    kernels_only: bool = False,
    machine: str | None = None,
    cuda_runtime: Path | None = None,
    say: Say = print,
) -> Path:
    """Compile the sources and link the library.

    Args:
        output: The file to write; it appears only when it is whole.
        tensorrt_root: As of :func:`find_headers`.
        architectures: As of :func:`choose_architectures`.
        kernels_only: Leave out the plugins, and with them the need for TensorRT's headers.
        machine: As of :func:`differseg.export.plugin_toolchain.find_toolchain`.
        cuda_runtime: Likewise.
        say: Takes a line about each step, and the compilers' warnings.

    Returns:
        ``output`` as a path.

    Raises:
        InputError: An unknown GPU or processor, or the file cannot be written.
        MissingComponentError: A compiler or the headers are missing, or the compiler fails.
    """
    output = Path(output)
    if output.is_dir():
        raise InputError(f"{output}: is a folder; name the file to write, such as {output}/lib.so")
    nvcc = find_nvcc()
    gpus = choose_architectures(nvcc, architectures)
    toolchain = find_toolchain(nvcc, machine, cuda_runtime)
    say(f"nvcc: {nvcc}; {toolchain.machine}; GPUs: {' '.join(gpus)}")
    include: tuple[str, ...] = ()
    if not kernels_only:
        headers = find_headers(tensorrt_root, toolchain.machine)
        say(f"TensorRT's headers: {headers.folder} ({headers.version[0]}.{headers.version[1]})")
        include = ("-isystem", str(headers.folder))
    kernels, plugins = (sorted(SOURCES.glob(pattern)) for pattern in ("*.cu", "*.cpp"))
    if not kernels:
        raise MissingComponentError(
            f"{SOURCES}: this installation holds no CUDA sources; install differseg from its "
            "repository with: pip install -e ."
        )
    sources = kernels if kernels_only else kernels + plugins
    with _folder_beside(output) as folder:
        flags = (*_FLAGS, *toolchain.compiling, *_generate(gpus), *include)
        compiling = functools.partial(_compile, nvcc, flags, Path(folder), say)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = list(pool.map(compiling, sources))
        exports = SOURCES / ("kernels.map" if kernels_only else "plugins.map")
        part = Path(folder, output.name)
        _link([nvcc, *toolchain.linking], objects, exports, part)
        part.replace(output)  # a process that runs the former file keeps it
    say(f"{output}: {output.stat().st_size / 1e6:.1f} MB")
    return output


def _folder_beside(output: Path) -> tempfile.TemporaryDirectory[str]:
    """Make a temporary folder on the file system of the file to write."""
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(prefix=f".{output.stem}.", dir=output.parent)
    except OSError as error:
        raise InputError(
            f"{output}: cannot be written ({error.strerror}); choose another output path"
        ) from None


def _generate(gpus: Sequence[str]) -> list[str]:
    """Return nvcc's flags: machine code for each GPU, and PTX of the newest for later ones."""
    flags = [f"-gencode=arch=compute_{gpu},code=sm_{gpu}" for gpu in gpus]
    newest = max(gpus, key=int)
    return [*flags, f"-gencode=arch=compute_{newest},code=compute_{newest}"]


def _compile(nvcc: str, flags: Sequence[str], folder: Path, say: Say, source: Path) -> Path:
    start, result = time.perf_counter(), folder / f"{source.name}.o"
    warnings = _output([nvcc, *flags, "-c", str(source), "-o", str(result)])
    say(f"compiled {source.name} in {time.perf_counter() - start:.1f} s")
    if warnings.strip():
        say(warnings.strip())
    return result


def _link(nvcc: Sequence[str], objects: Sequence[Path], exports: Path, output: Path) -> None:
    """Link with the static CUDA runtime, whose symbols stay inside."""
    linker = f"--version-script={exports},--exclude-libs,ALL,--no-undefined"
    command = [*nvcc, "-shared", "-cudart", "static", "-Xlinker", linker, *map(str, objects)]
    _output([*command, "-o", str(output)])


def _output(command: Sequence[str]) -> str:
    """Run a command; returns what it printed.

    Raises:
        MissingComponentError: It fails; the text has its first line about an error.
    """
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    if done.returncode == 0:
        return done.stdout
    name = Path(command[0]).name
    inner = re.search(r"died due to signal (\d+)", done.stdout)  # a compiler that nvcc started
    ended_by = -done.returncode if done.returncode < 0 else int(inner[1]) if inner else 0
    if ended_by:
        raise MissingComponentError(
            f"{name} was ended by {signal.Signals(ended_by).name}, as where memory runs out; free "
            "some, or build for one GPU, such as --arch 87"
        )
    lines = [" ".join(line.split()) for line in done.stdout.splitlines() if line.strip()]
    first = next((line for line in lines if "error" in line.lower()), lines[-1] if lines else "")
    raise MissingComponentError(
        f"{name} failed with exit status {done.returncode}: {first:.300}; "
        "install a CUDA toolkit (11.4 or later) and a g++ that go together"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Build a library from a command line."""
    options = parse(PluginLibraryOptions, argv, "python -m differseg.export.plugin_library")
    build_library(
        options.output,
        tensorrt_root=options.tensorrt_root,
        architectures=options.arch,
        kernels_only=options.kernels_only,
        machine=options.machine,
        cuda_runtime=options.cuda_runtime,
    )
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
