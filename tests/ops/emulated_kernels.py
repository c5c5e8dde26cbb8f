"""The CUDA kernels without a GPU: their sources compiled for the CPU and called through ctypes.

``tests/ops/cuda_emulation`` stands in for CUDA's headers; every kernel is the very one that nvcc
compiles. Each call runs twice, the threads in ascending and in descending order between barriers,
and both results must agree to the bit: a missing barrier or unwritten shared memory shows there.

Arrays are NumPy's, C-contiguous, float32 or float16; behind every result lies a guard whose bytes
must not change. With ``DIFFERSEG_SANITIZE=1`` the sources are
compiled with the address and undefined-behaviour sanitizers.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

OPS = Path(__file__).resolve().parent
PLUGINS = OPS.parents[1] / "export" / "plugins"
EMULATION = OPS / "cuda_emulation" / "emulation.cpp"
INVALID_VALUE = 1  # cudaErrorInvalidValue
NORMS = ("backward", "ortho", "forward")
MODES = ("zero", "symmetric", "reflect", "periodic", "periodization")
BORDERS = ("zeros", "edge")
NORMALIZATIONS = ("none", "softmax", "hamming")
_DTYPES = {np.dtype(np.float32): 0, np.dtype(np.float16): 1}
_GUARD = 64  # bytes
_SANITIZERS = ["-O0", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]


@functools.cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="differseg-kernels-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def compile_sources(
    sources: Sequence[Path], out: Path, *flags: str, libraries: Sequence[Path] = ()
) -> None:
    """Compile C++ or CUDA sources for the CPU, against the stand-ins for CUDA's headers."""
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    if compiler is None:
        pytest.skip("no C++ compiler; install g++ or name one in CXX")
    command = [compiler, "-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", *flags]
    command += ["-Wno-unknown-pragmas", f"-I{EMULATION.parent}", f"-I{PLUGINS}", "-x", "c++"]
    command += [*map(str, sources), "-x", "none", *map(str, libraries), "-o", str(out)]
    # A sanitizer that is loaded before Python need not watch the compiler.
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr}"


@functools.cache
def library(stem: str) -> ctypes.CDLL:
    """Compile ``export/plugins/<stem>.cu`` for the CPU and load it."""
    out = _folder() / f"lib{stem}.so"
    sanitizers = _SANITIZERS if os.environ.get("DIFFERSEG_SANITIZE") == "1" else []
    sources = PLUGINS / f"{stem}.cu", EMULATION
    compile_sources(sources, out, "-fPIC", "-shared", *sanitizers)
    return ctypes.CDLL(str(out))


def compile_program(source: Path, out: Path) -> Path:
    """Compile a C++ program that includes the kernels' headers."""
    compile_sources([source, EMULATION], out)
    return out


def output(*shape: int, dtype: np.dtype) -> np.ndarray:
    """Return an array of NaN with a guard of 64 bytes behind it, which ``call`` looks at."""
    count = int(np.prod(shape))
    guarded = np.full(count + _GUARD // dtype.itemsize, np.nan, dtype)
    return guarded[:count].reshape(shape)


def call(stem: str, function: str, out: np.ndarray, *arguments: object) -> np.ndarray:
    """Call an entry point in both orders of threads and return what it wrote to ``out``.

    ``out`` is an ``output()`` and stands in the arguments where its address belongs. What a
    kernel leaves unwritten stays NaN.
    """
    results = []
    guarded = out.base
    assert guarded is not None
    for descending in (0, 1):
        guarded.fill(np.nan)
        library(stem).emulation_descending(descending)
        code = getattr(library(stem), function)(*map(_argument, arguments), None)
        assert code == 0, f"{function}: error {code}"
        assert np.isnan(guarded[out.size :]).all(), f"{function} writes beyond its output"
        results.append(out.tobytes())
    assert results[0] == results[1], f"{function}: the order of the threads changes the result"
    return out


def status(stem: str, function: str, *arguments: object) -> int:
    """Call an entry point that is expected to refuse, and return its answer."""
    return getattr(library(stem), function)(*map(_argument, arguments), None)


def _argument(value: object) -> object:
    if isinstance(value, np.ndarray):
        assert value.flags.c_contiguous
        return ctypes.c_void_p(value.ctypes.data)
    return value


def dtype_code(array: np.ndarray) -> int:
    """Return the number that the entry points know the array's dtype by."""
    return _DTYPES[array.dtype]


def workspace_bytes(function: str, code: int, planes: int, height: int, width: int) -> int:
    """Return what a Fourier transform asks for."""
    size = getattr(library("fourier"), function)
    size.restype = ctypes.c_size_t
    return int(size(code, planes, height, width))


def workspace(function: str, code: int, planes: int, height: int, width: int) -> np.ndarray:
    """Return the workspace that a Fourier transform asks for, full of NaN."""
    count = workspace_bytes(function, code, planes, height, width) // 4
    return np.full(count, np.nan, np.float32)  # aligned to 16 bytes by NumPy


def rfft2(x: np.ndarray, norm: str = "backward") -> np.ndarray:
    """Transform maps ``(N, C, H, W)`` to spectra ``(N, C, 2, H, W // 2 + 1)``."""
    batch, channels, height, width = x.shape
    out = output(batch, channels, 2, height, width // 2 + 1, dtype=x.dtype)
    sizes = dtype_code(x), batch * channels, height, width
    space = workspace("differseg_rfft2_workspace", *sizes)
    arguments = x, out, space, *sizes[1:], NORMS.index(norm)
    return call("fourier", "differseg_rfft2", out, sizes[0], *arguments)


def irfft2(spectrum: np.ndarray, width: int, norm: str = "backward") -> np.ndarray:
    """Transform spectra ``(N, C, 2, H, width // 2 + 1)`` to maps ``(N, C, H, width)``."""
    batch, channels, _, height, _ = spectrum.shape
    out = output(batch, channels, height, width, dtype=spectrum.dtype)
    sizes = dtype_code(spectrum), batch * channels, height, width
    space = workspace("differseg_irfft2_workspace", *sizes)
    arguments = spectrum, out, space, *sizes[1:], NORMS.index(norm)
    return call("fourier", "differseg_irfft2", out, sizes[0], *arguments)


def generator() -> np.random.Generator:
    """Return fresh random numbers; pytest shows the seed of a failing test."""
    seed = secrets.randbits(32)
    print(f"np.random.default_rng({seed})")
    return np.random.default_rng(seed)


def random_array(*shape: int, dtype: str, mean: float = 0.0) -> np.ndarray:
    """Return noise of variance 1 around ``mean``."""
    return (generator().standard_normal(shape) + mean).astype(dtype)


def filters(taps: Sequence[float]) -> ctypes.Array[ctypes.c_float]:
    """Return a filter as host memory."""
    return (ctypes.c_float * len(taps))(*taps)


def dwt2(
    x: np.ndarray, lowpass: Sequence[float], highpass: Sequence[float], mode: str
) -> np.ndarray:
    """Decompose maps ``(N, C, H, W)`` into bands ``(N, C, 4, h, w)``."""
    batch, channels, *size = x.shape
    taps = 2 if mode == "periodization" else len(lowpass)
    bands = [(extent + taps - 1) // 2 for extent in size]
    out = output(batch, channels, 4, *bands, dtype=x.dtype)
    banks = filters(lowpass), len(lowpass), filters(highpass), len(highpass)
    arguments = dtype_code(x), x, out, batch * channels, *size, *banks, MODES.index(mode)
    return call("wavelet", "differseg_dwt2", out, *arguments)


def idwt2(
    bands: np.ndarray,
    lowpass: Sequence[float],
    highpass: Sequence[float],
    mode: str,
    size_hw: tuple[int, int],
) -> np.ndarray:
    """Put maps ``(N, C, *size_hw)`` together from bands ``(N, C, 4, h, w)``."""
    batch, channels, _, *of_bands = bands.shape
    out = output(batch, channels, *size_hw, dtype=bands.dtype)
    banks = filters(lowpass), len(lowpass), filters(highpass), len(highpass)
    sizes = batch * channels, *of_bands, *size_hw
    arguments = dtype_code(bands), bands, out, *sizes, *banks, MODES.index(mode)
    return call("wavelet", "differseg_idwt2", out, *arguments)


def reassemble(
    x: np.ndarray,
    kernels: np.ndarray,
    *,
    kernel_size: int,
    scale: int = 1,
    dilation: int = 1,
    groups: int = 1,
    border: str = "zeros",
    normalize: str = "none",
) -> np.ndarray:
    """Reassemble maps ``(N, C, H, W)`` to ``(N, C, scale * H, scale * W)``."""
    batch, channels, height, width = x.shape
    out = output(batch, channels, scale * height, scale * width, dtype=x.dtype)
    attributes = kernel_size, scale, dilation, groups
    choices = BORDERS.index(border), NORMALIZATIONS.index(normalize)
    arguments = dtype_code(x), x, kernels, out, *x.shape, *attributes, *choices
    return call("reassembly", "differseg_reassemble", out, *arguments)


def local_similarity(x: np.ndarray, kernel_size: int, dilation: int) -> np.ndarray:
    """Compare pixels of ``(N, C, H, W)`` with their neighbours: ``(N, k * k - 1, H, W)``."""
    batch, _, height, width = x.shape
    out = output(batch, kernel_size**2 - 1, height, width, dtype=x.dtype)
    arguments = dtype_code(x), x, out, *x.shape, kernel_size, dilation
    return call("similarity", "differseg_local_similarity", out, *arguments)


def relative_error(actual: np.ndarray, expected: np.ndarray) -> float:
    """Return ``max |actual - expected| / max |expected|``, of zeros the difference itself."""
    assert actual.shape == expected.shape, f"{actual.shape}, expected {expected.shape}"
    difference = np.abs(actual.astype(np.float64) - expected).max()
    largest = np.abs(expected).max()
    return float(difference / largest) if largest > 0 else float(difference)
