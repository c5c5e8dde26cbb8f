"""Run every kernel over many sizes, for the sanitizers to watch; see test_kernels_sanitized.py.

Values are not looked at here, only where threads read and write. Arrays come from the allocator
that the address sanitizer watches, and the emulation's shared memory is as large as a launch asks.
"""

from __future__ import annotations

from itertools import product

import emulated_kernels as kernels
import numpy as np

SIZES = [(1, 1), (5, 8), (9, 33)]
DTYPES = ("float32", "float16")


def _run_fourier() -> None:
    lengths = [1, 2, 3, 8, 11, 42]
    for dtype, height, width in product(DTYPES, lengths, lengths):
        kernels.rfft2(_noise(1, 3, height, width, dtype=dtype))
        kernels.irfft2(_noise(1, 3, 2, height, width // 2 + 1, dtype=dtype), width)
    for height, width in [(1, 5601), (5632, 1), (2, 5600), (2100, 3), (700, 2)]:
        kernels.rfft2(_noise(1, 1, height, width, dtype="float32"))
        kernels.irfft2(_noise(1, 1, 2, height, width // 2 + 1, dtype="float32"), width)


def _run_wavelet() -> None:
    for dtype, taps, mode, size_hw in product(DTYPES, (2, 6, 8, 40), kernels.MODES, SIZES):
        if mode == "reflect" and 1 in size_hw:
            continue
        bank = [0.5] * taps
        bands = kernels.dwt2(_noise(1, 2, *size_hw, dtype=dtype), bank, bank, mode)
        kernels.idwt2(bands, bank, bank, mode, size_hw)
        _off_its_words(dtype, size_hw, bank, mode)


def _off_its_words(dtype: str, size_hw: tuple[int, int], bank: list[float], mode: str) -> None:
    """Rows that begin one element into an allocation must not be accessed in wider words."""
    height, width = size_hw
    x = _noise(height * width + 1, dtype=dtype)[1:].reshape(1, 1, height, width)
    kernels.dwt2(x, bank, bank, mode)


def _run_reassembly() -> None:
    choices = product(DTYPES, (1, 3, 5, 7, 9), (1, 2, 3), (1, 3), kernels.BORDERS, SIZES)
    for dtype, kernel_size, scale, dilation, border, (height, width) in choices:
        x = _noise(1, 2, height, width, dtype=dtype)
        logits = _noise(1, kernel_size**2, scale * height, scale * width, dtype=dtype)
        kernels.reassemble(
            x, logits, kernel_size=kernel_size, scale=scale, dilation=dilation, border=border
        )


def _run_similarity() -> None:
    for dtype, kernel_size, dilation, size_hw in product(DTYPES, (3, 5, 7, 9), (1, 3), SIZES):
        kernels.local_similarity(_noise(1, 5, *size_hw, dtype=dtype), kernel_size, dilation)


def _noise(*shape: int, dtype: str) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


if __name__ == "__main__":
    _run_fourier()
    _run_wavelet()
    _run_reassembly()
    _run_similarity()
    print("clean")
