"""The local similarity kernel, compiled for the CPU, against literal loops in float64."""

from __future__ import annotations

from collections.abc import Callable

import emulated_kernels as kernels
import numpy as np
import pytest
from emulated_plugins import Plugin

LIMITS = {"float32": 1e-5, "float16": 5e-3}
INVALID_CONFIGURATION = 9
SIZES = [(1, 1), (2, 3), (5, 4), (7, 10), (9, 40), (13, 32)]


def _expected(x: np.ndarray, kernel_size: int, dilation: int) -> np.ndarray:
    """Compare pixel by pixel, as the operator is defined."""
    batch, _, height, width = x.shape
    exact = x.astype(np.float64)
    half = kernel_size // 2
    taps = [tap for tap in range(kernel_size**2) if tap != kernel_size**2 // 2]
    out = np.zeros((batch, len(taps), height, width))
    for channel, tap in enumerate(taps):
        down, right = (tap // kernel_size - half) * dilation, (tap % kernel_size - half) * dilation
        for row in range(max(0, -down), min(height, height - down)):
            for column in range(max(0, -right), min(width, width - right)):
                a, b = exact[:, :, row, column], exact[:, :, row + down, column + right]
                norms = [np.maximum(np.linalg.norm(v, axis=1), 1e-8) for v in (a, b)]
                out[:, channel, row, column] = (a * b).sum(1) / (norms[0] * norms[1])
    return out


def _check(x: np.ndarray, kernel_size: int, dilation: int, measured: Callable[..., None]) -> None:
    y, expected = (
        kernels.local_similarity(x, kernel_size, dilation),
        _expected(x, kernel_size, dilation),
    )
    name, error = str(x.dtype), kernels.relative_error(y, expected)
    measured(
        "local_similarity", form="emulated kernel", dtype=name, error=error, limit=LIMITS[name]
    )


@pytest.mark.parametrize("dilation", [1, 2, 5])
@pytest.mark.parametrize("kernel_size", [3, 5, 7, 9])
def test_against_loops(kernel_size: int, dilation: int, measured: Callable[..., None]) -> None:
    for size_hw, channels in zip(SIZES, (1, 2, 3, 5, 9, 4), strict=True):
        x = kernels.random_array(1, channels, *size_hw, dtype="float32")
        _check(x, kernel_size, dilation, measured)


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("mean", [0.0, 10.0])
def test_batches(mean: float, batch: int, dtype: str, measured: Callable[..., None]) -> None:
    x = kernels.random_array(batch, 19, 11, 17, dtype=dtype, mean=mean)
    _check(x, 3, 2, measured)
    _check(x, 5, 3, measured)


@pytest.mark.parametrize("scale", [1e15, 1e4, 1e-7, 1e-9, 1e-15])
def test_huge_vectors_and_tiny_ones(scale: float, measured: Callable[..., None]) -> None:
    """Norms are clamped at 1e-8: between the tiny scales the cosine turns into a product."""
    x = (scale * kernels.random_array(1, 6, 8, 9, dtype="float64")).astype(np.float32)
    _check(x, 3, 1, measured)


def test_zeros_and_denormals() -> None:
    x = np.zeros((1, 3, 6, 7), np.float32)
    assert not kernels.local_similarity(x, 3, 2).any()
    x[:] = 1e-39
    assert np.abs(kernels.local_similarity(x, 3, 2)).max() < 1e-30


def test_neighbours_outside_are_zero_whatever_lies_inside() -> None:
    x = np.full((1, 2, 5, 6), np.nan, np.float32)
    y = kernels.local_similarity(x, 3, 2)
    expected = _expected(x, 3, 2)
    assert np.array_equal(np.isnan(y), np.isnan(expected))
    assert (y[~np.isnan(y)] == 0).all()


def test_refused_arguments() -> None:
    x, y = np.ones(3000, np.float32), np.ones(3000, np.float32)
    good = [0, x, y, 2, 4, 6, 5, 3, 2]
    call = "similarity", "differseg_local_similarity"
    assert kernels.status(*call, *good) == 0
    for position, value in [
        (0, 3), (1, None), (2, None), (3, -1), (4, 0), (5, 0), (6, -1), (7, 1), (7, 4), (7, 11),
        (7, -3), (8, 0), (8, 65),
    ]:  # fmt: skip
        bad = good.copy()
        bad[position] = value
        y.fill(7)
        assert kernels.status(*call, *bad) == kernels.INVALID_VALUE, (position, value)
        assert (y == 7).all()
    assert kernels.status(*call, 0, None, None, 0, *good[4:]) == 0


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("batch", [1, 3])
def test_the_plugin_is_the_kernel(batch: int, dtype: str) -> None:
    x = kernels.random_array(batch, 4, 5, 6, dtype=dtype)
    plugin = Plugin("local_similarity", kernel_size=5, dilation=2)
    assert plugin.agrees(kernels.local_similarity(x, 5, 2), x)


def test_the_plugin_refuses_maps_that_the_kernel_refuses(capfd: pytest.CaptureFixture[str]) -> None:
    plugin = Plugin("local_similarity", kernel_size=3, dilation=1)
    least = [(1, 1, 8, 8)]
    assert plugin.configure(least, [(1, 1, 30000, 30000)])
    assert not plugin.configure(least, [(1, 1, 40000, 40000)])
    assert "maps of 40000 x 40000, expected at most 1073741823 pixels" in capfd.readouterr().err
    assert not plugin.configure(least, [(1, 1, 1, 1 << 30)])
    assert "extent 1073741824, expected 1 to 1073741823" in capfd.readouterr().err
    assert not plugin.configure(least, [(1 << 16, 1 << 16, 1, 1)])
    assert "65536 x 65536 planes, expected at most 2147483647" in capfd.readouterr().err


def test_the_plugin_says_why_a_kernel_did_not_start(capfd: pytest.CaptureFixture[str]) -> None:
    """More places than a grid has blocks; nothing of them is read."""
    x = np.lib.stride_tricks.as_strided(np.ones(1, np.float32), (3, 1, 1, 1 << 29), (0,) * 4)
    out = np.lib.stride_tricks.as_strided(np.ones(1, np.float32), (3, 80, 1, 1 << 29), (0,) * 4)
    status = Plugin("local_similarity", kernel_size=9, dilation=64).status(x, out=out)
    assert status == INVALID_CONFIGURATION
    said = capfd.readouterr().err
    assert "invalid configuration argument; use a smaller batch or smaller maps" in said
