"""The reassembly kernel, compiled for the CPU, against literal loops in float64."""

from __future__ import annotations

from collections.abc import Callable

import emulated_kernels as kernels
import numpy as np
import pytest
from emulated_plugins import Plugin
from maps_under_test import EVEN_ODD_PRIME_POWER

LIMITS = {"float32": 1e-5, "float16": 5e-3}


def _expected(
    x: np.ndarray,
    logits: np.ndarray,
    *,
    kernel_size: int,
    scale: int = 1,
    dilation: int = 1,
    groups: int = 1,
    border: str = "zeros",
    normalize: str = "none",
) -> np.ndarray:
    """Sum up tap by tap, as the operator is defined."""
    batch, channels, height, width = x.shape
    rows, columns = np.arange(scale * height) // scale, np.arange(scale * width) // scale
    weights = logits.astype(np.float64).reshape(batch, groups, kernel_size**2, *logits.shape[2:])
    if normalize != "none":
        weights = np.exp(weights - weights.max(2, keepdims=True))
        if normalize == "hamming":
            window = np.hamming(kernel_size)
            weights *= np.outer(window, window).reshape(-1, 1, 1)
        weights /= weights.sum(2, keepdims=True)
    weights = np.repeat(weights, channels // groups, 1)  # (N, C, k * k, s * H, s * W)
    out = np.zeros((batch, channels, *logits.shape[2:]))
    for tap in range(kernel_size**2):
        row = rows + (tap // kernel_size - kernel_size // 2) * dilation
        column = columns + (tap % kernel_size - kernel_size // 2) * dilation
        inside = np.outer((row >= 0) & (row < height), (column >= 0) & (column < width))
        at = np.ix_(np.clip(row, 0, height - 1), np.clip(column, 0, width - 1))
        values = x.astype(np.float64)[:, :, at[0], at[1]]
        values = values if border == "edge" else np.where(inside, values, 0)
        out += weights[:, :, tap] * values
    return out


def _inputs(
    size_hw: tuple[int, int],
    kernel_size: int,
    *,
    batch: int = 1,
    channels: int = 4,
    scale: int = 1,
    groups: int = 1,
    dtype: str = "float32",
) -> tuple[np.ndarray, np.ndarray]:
    height, width = size_hw
    x = kernels.random_array(batch, channels, height, width, dtype=dtype, mean=10.0)
    taps = groups * kernel_size**2
    return x, kernels.random_array(batch, taps, scale * height, scale * width, dtype=dtype)


def _check(
    x: np.ndarray, logits: np.ndarray, measured: Callable[..., None], **options: object
) -> None:
    y, expected = kernels.reassemble(x, logits, **options), _expected(x, logits, **options)
    name, error = str(x.dtype), kernels.relative_error(y, expected)
    measured("reassemble", form="emulated kernel", dtype=name, error=error, limit=LIMITS[name])


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("kernel_size", [1, 3, 5, 7, 9])
def test_every_patch(kernel_size: int, scale: int, measured: Callable[..., None]) -> None:
    """Odd and even widths, maps smaller than the window, dilations beyond the map."""
    choice = 0
    for dilation in (1, 2, 3, 7):
        for size_hw in [(1, 1), (2, 3), (5, 4), (7, 10), (12, 9), (9, 34)]:
            for border in kernels.BORDERS:
                normalize = kernels.NORMALIZATIONS[choice % 3]
                groups = (1, 2, 4)[choice // 2 % 3]
                choice += 1
                batch = 16 if size_hw == (1, 1) else 1  # one pixel may be zero but for rounding
                x, logits = _inputs(size_hw, kernel_size, batch=batch, scale=scale, groups=groups)
                _check(
                    x, logits, measured, kernel_size=kernel_size, scale=scale, dilation=dilation,
                    groups=groups, border=border, normalize=normalize,
                )  # fmt: skip


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(("kernel_size", "scale", "dilation"), [(5, 2, 1), (3, 1, 2), (3, 1, 1)])
def test_against_loops(
    kernel_size: int,
    scale: int,
    dilation: int,
    batch: int,
    dtype: str,
    measured: Callable[..., None],
) -> None:
    options = {"kernel_size": kernel_size, "scale": scale, "dilation": dilation, "groups": 2}
    for size_hw, normalize in zip(EVEN_ODD_PRIME_POWER[:3], kernels.NORMALIZATIONS, strict=True):
        x, logits = _inputs(
            size_hw, kernel_size, batch=batch, channels=6, scale=scale, groups=2, dtype=dtype
        )
        _check(x, logits, measured, **options, border="edge", normalize=normalize)


def test_many_channels(measured: Callable[..., None]) -> None:
    """More channels than the threads of one place share out evenly."""
    for groups in (1, 37):
        x, logits = _inputs((5, 6), 3, channels=37, groups=groups)
        _check(x, logits, measured, kernel_size=3, groups=groups)


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("scale", [1, 2])
def test_rows_that_lie_off_their_pairs(
    scale: int, dtype: str, measured: Callable[..., None]
) -> None:
    whole, logits = _inputs((2, 33), 3, channels=1, scale=scale, dtype=dtype)
    x = whole.reshape(-1)[1:65].reshape(1, 1, 4, 16)
    logits = np.ascontiguousarray(logits.reshape(-1)[: 9 * 64 * scale**2])
    logits = logits.reshape(1, 9, 4 * scale, 16 * scale)
    _check(x, logits, measured, kernel_size=3, scale=scale)


@pytest.mark.parametrize("scale", [1e30, 1e4, 5e-39])
def test_huge_values_and_denormals(scale: float, measured: Callable[..., None]) -> None:
    x, logits = _inputs((6, 8), 5, scale=2)
    x = (x / 10 * scale).astype(np.float32)
    _check(x, logits, measured, kernel_size=5, scale=2, normalize="softmax")


def test_softmax_of_huge_logits(measured: Callable[..., None]) -> None:
    x, logits = _inputs((6, 8), 3)
    for normalize in ("softmax", "hamming"):
        _check(x, 1e4 * logits, measured, kernel_size=3, normalize=normalize)
        _check(x, logits - np.float32(1e6), measured, kernel_size=3, normalize=normalize)


@pytest.mark.parametrize("border", kernels.BORDERS)
@pytest.mark.parametrize("scale", [1, 2, 3])
def test_only_what_a_pixel_sees_reaches_it(scale: int, border: str) -> None:
    """Taps outside the map, which count for nothing, must not read infinities from within."""
    for dilation in (1, 2, 3):
        for kernel_size in (3, 5):
            options = {"kernel_size": kernel_size, "scale": scale, "dilation": dilation}
            x, logits = _inputs((7, 10), kernel_size, scale=scale)
            x[0, 0, [0, 6, 3], [0, 9, 5]] = np.nan
            y = kernels.reassemble(x, logits, **options, border=border)
            expected = _expected(x, logits, **options, border=border)
            assert np.array_equal(np.isnan(y), np.isnan(expected)), (dilation, kernel_size)


def test_refused_arguments() -> None:
    x, weights, y = (np.ones(5000, np.float32) for _ in range(3))
    good = [0, x, weights, y, 1, 4, 6, 5, 3, 2, 1, 2, 0, 1]
    call = "reassembly", "differseg_reassemble"
    assert kernels.status(*call, *good) == 0
    for position, value in [
        (0, 2), (1, None), (2, None), (3, None), (4, -1), (5, 0), (6, 0), (7, -2), (8, 2), (8, 11),
        (8, -1), (9, 0), (9, 5), (10, 0), (10, 65), (11, 0), (11, 3), (12, 2), (13, 3), (13, -1),
    ]:  # fmt: skip
        bad = good.copy()
        bad[position] = value
        y.fill(7)
        assert kernels.status(*call, *bad) == kernels.INVALID_VALUE, (position, value)
        assert (y == 7).all()
    assert kernels.status(*call, 0, None, None, None, 0, *good[5:]) == 0


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("batch", [1, 3])
def test_the_plugin_is_the_kernel(batch: int, dtype: str) -> None:
    x = kernels.random_array(batch, 4, 5, 6, dtype=dtype)
    logits = kernels.random_array(batch, 2 * 25, 10, 12, dtype=dtype)
    for border in kernels.BORDERS:
        for normalize in kernels.NORMALIZATIONS:
            attributes = {
                "kernel_size": 5, "scale": 2, "dilation": 3, "groups": 2, "border": border,
                "normalize": normalize,
            }  # fmt: skip
            expected = kernels.reassemble(x, logits, **attributes)  # type: ignore[arg-type]
            assert Plugin("reassemble", **attributes).agrees(expected, x, logits)


def test_the_plugin_refuses_a_profile_whose_shapes_differ(
    capfd: pytest.CaptureFixture[str],
) -> None:
    plugin = Plugin(
        "reassemble", kernel_size=3, scale=2, dilation=1, groups=1, border="zeros",
        normalize="none",
    )  # fmt: skip
    least = (1, 4, 8, 8), (1, 9, 16, 16)
    assert plugin.configure(least, [(4, 4, 32, 32), (4, 9, 64, 64)])
    assert not plugin.configure(least, [(4, 4, 32, 32), (4, 9, 64, 62)])
    said = "axis 3 of kernels has extent 62, expected 64"
    assert said in capfd.readouterr().err
