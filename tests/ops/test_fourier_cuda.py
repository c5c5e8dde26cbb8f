"""The Fourier kernels, compiled for the CPU, against torch.fft in float64."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import emulated_kernels as kernels
import fourier_oracle as oracle
import numpy as np
import pytest
from emulated_plugins import Plugin
from maps_under_test import EVEN_ODD_PRIME_POWER

# Every radix alone and with others, lengths of one number, primes above the unrolled radices.
SIZES = [
    (1, 1), (1, 2), (2, 1), (3, 5), (7, 4), (8, 6), (11, 13), (22, 26), (30, 40), (60, 80),
    (49, 27), (121, 9), (128, 36), (240, 33), (12, 320), (3, 343), (2, 1031),
]  # fmt: skip
# Lines that leave room for few columns, fill shared memory, or exceed it.
LONG = [(1025, 2), (2100, 3), (1, 4093), (3, 4096), (5600, 2), (2, 5600), (5601, 1), (1, 6250)]
# More long lines than there are blocks for them: a block does another with the same buffers.
LONG.append((260, 5632))
LIMITS = {"float32": 1e-5, "float16": 5e-3}
ORTHO = kernels.NORMS.index("ortho")


def _check_rfft2(x: np.ndarray, norm: str, measured: Callable[..., None]) -> None:
    error = kernels.relative_error(kernels.rfft2(x, norm), oracle.rfft2(x, norm).numpy())
    name = str(x.dtype)
    measured("rfft2", form="emulated kernel", dtype=name, error=error, limit=LIMITS[name])


def _check_irfft2(
    spectrum: np.ndarray, width: int, norm: str, measured: Callable[..., None]
) -> None:
    expected = oracle.irfft2(spectrum, width, norm).numpy()
    error = kernels.relative_error(kernels.irfft2(spectrum, width, norm), expected)
    name = str(spectrum.dtype)
    measured("irfft2", form="emulated kernel", dtype=name, error=error, limit=LIMITS[name])


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("size_hw", [*SIZES, *EVEN_ODD_PRIME_POWER])
def test_against_torch(
    size_hw: tuple[int, int], batch: int, dtype: str, measured: Callable[..., None]
) -> None:
    height, width = size_hw
    for norm in kernels.NORMS:
        x = kernels.random_array(batch, 2, height, width, dtype=dtype, mean=10.0)
        if dtype == "float32" or norm != "backward" or height * width < 3000:
            _check_rfft2(x, norm, measured)  # float16 ends where a sum of tens does
        # Noise is the transform of no real map: the parts that torch ignores are in it.
        spectrum = kernels.random_array(batch, 2, 2, height, width // 2 + 1, dtype=dtype)
        _check_irfft2(spectrum, width, norm, measured)


@pytest.mark.parametrize("size_hw", LONG)
def test_long_lines(size_hw: tuple[int, int], measured: Callable[..., None]) -> None:
    height, width = size_hw
    _check_rfft2(kernels.random_array(1, 1, height, width, dtype="float32"), "ortho", measured)
    spectrum = kernels.random_array(1, 1, 2, height, width // 2 + 1, dtype="float32")
    _check_irfft2(spectrum, width, "ortho", measured)


def test_many_planes(measured: Callable[..., None]) -> None:
    x = kernels.random_array(7, 45, 6, 10, dtype="float32")
    _check_rfft2(x, "backward", measured)
    spectrum = kernels.random_array(7, 45, 2, 6, 6, dtype="float32")
    _check_irfft2(spectrum, 10, "backward", measured)


@pytest.mark.parametrize("scale", [1e30, 1e4, 5e-39])
def test_huge_mean_and_denormals(scale: float, measured: Callable[..., None]) -> None:
    noise = kernels.random_array(1, 2, 15, 20, dtype="float64")
    x = (scale * (noise if scale < 1 else 1 + 1e-3 * noise)).astype(np.float32)
    for norm in kernels.NORMS[:2]:
        _check_rfft2(x, norm, measured)
        _check_irfft2(np.stack((x, x[:, ::-1]), 2), 38, norm, measured)


def test_float16_keeps_its_range(measured: Callable[..., None]) -> None:
    """The sum of this map is 1.2e8, its mean and its root-mean-square sum are not."""
    x = np.full((1, 1, 48, 64), 40000, np.float16)
    x[..., ::3] = 30000
    _check_rfft2(x, "forward", measured)
    spectrum = oracle.rfft2(x, "forward").numpy().astype(np.float16)
    _check_irfft2(spectrum, 64, "forward", measured)


def test_zeros() -> None:
    assert not kernels.rfft2(np.zeros((1, 2, 6, 10), np.float32)).any()
    assert not kernels.irfft2(np.zeros((1, 2, 2, 6, 6), np.float32), 10).any()


def test_a_plane_does_not_see_another() -> None:
    x = kernels.random_array(1, 3, 5, 14, dtype="float32")
    spectrum = kernels.rfft2(x)
    x[0, 1, 2, 3] = np.nan
    spoilt = kernels.rfft2(x)
    assert np.isnan(spoilt[0, 1]).all()
    assert np.array_equal(spoilt[0, ::2], spectrum[0, ::2])


def test_there_and_back() -> None:
    x = kernels.random_array(2, 3, 45, 62, dtype="float32", mean=10.0)
    for norm in kernels.NORMS:
        back = kernels.irfft2(kernels.rfft2(x, norm), 62, norm)
        assert kernels.relative_error(back, x.astype(np.float64)) < 1e-6


@pytest.mark.parametrize("function", ["rfft2", "irfft2"])
def test_refused_arguments(function: str) -> None:
    name = f"differseg_{function}"
    from_, to = np.ones(2000, np.float32), np.ones(2000, np.float32)
    space = kernels.workspace(f"{name}_workspace", 0, 6, 8, 10)
    good = [0, from_, to, space, 6, 8, 10, ORTHO]
    assert kernels.status("fourier", name, *good) == 0
    for position, value in [
        (0, 2), (0, -1), (1, None), (2, None), (3, None), (4, -1), (5, 0), (5, -3), (6, 0),
        (7, 3), (7, -1),
    ]:  # fmt: skip
        bad = good.copy()
        bad[position] = value
        to.fill(1)
        assert kernels.status("fourier", name, *bad) == kernels.INVALID_VALUE, (position, value)
        assert (to == 1).all()
    assert kernels.status("fourier", name, 0, None, None, None, 0, 8, 10, ORTHO) == 0


@pytest.mark.parametrize("function", ["rfft2", "irfft2"])
def test_workspace_grows_with_the_size(function: str) -> None:
    name = f"differseg_{function}_workspace"
    extents = [*range(1, 40), 255, 256, 257, 1024, 1025, 5600, 5601, 8192]
    for fixed in (1, 100, 6000):
        along_h = [kernels.workspace_bytes(name, 0, 3, extent, fixed) for extent in extents]
        along_w = [kernels.workspace_bytes(name, 0, 3, fixed, extent) for extent in extents]
        assert along_h == sorted(along_h)
        assert along_w == sorted(along_w)
    assert kernels.workspace_bytes(name, 2, 3, 4, 4) == 0
    assert kernels.workspace_bytes(name, 0, 3, 0, 4) == 0


PLANS = """
#include "fourier_plan.cuh"
#include <cstdio>
using namespace differseg;

// Whether a plan's radices make up the length, and a block can hold its share.
bool isRight(const Plan& plan, const Tiling& tiling) {
    int64_t product = 1;
    for (int s = 0; s < plan.stages; ++s) {
        product *= plan.stage[s].radix;
    }
    return product == plan.length && tiling.threads >= 32 && tiling.threads <= kMostThreads
           && busiest(plan, tiling.lines, tiling.threads) > 0
           && sharedBytes(tiling, plan.length) <= kSharedBytes;
}

int main() {
    for (int length = 1; length <= kLongestTiled; ++length) {
        const Plan plan = PlanBuilder::build(length);
        const bool isGood = isRight(plan, tileColumns(plan, 1)) && isRight(plan, tileRows(plan, 1))
                            && isRight(plan, tileColumns(plan, 100000))
                            && isRight(plan, tileRows(plan, 100000));
        if (!isGood) {
            std::printf("%d ", length);
        }
    }
}
"""


def test_every_length_has_a_plan(tmp_path: Path) -> None:
    source = tmp_path / "plans.cpp"
    source.write_text(PLANS)
    program = kernels.compile_program(source, tmp_path / "plans")
    assert subprocess.run([program], capture_output=True, text=True).stdout == ""


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("batch", [1, 3])
def test_the_plugins_are_the_kernels(batch: int, dtype: str) -> None:
    x = kernels.random_array(batch, 2, 13, 10, dtype=dtype)
    spectrum = kernels.random_array(batch, 2, 2, 13, 6, dtype=dtype)
    for norm in kernels.NORMS:
        assert Plugin("rfft2", norm=norm).agrees(kernels.rfft2(x, norm), x)
        for width in (10, 11):
            expected = kernels.irfft2(spectrum, width, norm)
            assert Plugin("irfft2", width=width, norm=norm).agrees(expected, spectrum)


def test_the_plugins_take_no_planes_and_linear_floats_alone() -> None:
    plugin = Plugin("rfft2", norm="ortho")
    none = np.ones((0, 2, 13, 10), np.float32)
    assert plugin.status(none, out=np.ones((0, 2, 2, 13, 6), np.float32)) == 0
    floats, others = (0, 1), (2, 3, 4, 7)  # TensorRT's FLOAT, HALF, INT8, INT32, BOOL, BF16
    assert all(plugin.supports(0, t, t) for t in floats)
    assert not any(plugin.supports(0, t, t) for t in others)
    assert all(plugin.supports(1, t, t) for t in floats)
    assert not any(plugin.supports(1, t, 1 - t) for t in floats)
    assert not any(plugin.supports(p, 0, 0, packed) for p in (0, 1) for packed in range(1, 13))


def test_the_plugin_refuses_a_profile_of_other_widths(capfd: pytest.CaptureFixture[str]) -> None:
    plugin = Plugin("irfft2", width=10, norm="ortho")
    assert plugin.configure([(1, 3, 2, 2, 6)], [(4, 3, 2, 32, 6)])
    assert not plugin.configure([(1, 3, 2, 2, 2)], [(4, 3, 2, 32, 32)])
    assert "axis 4 of the spectrum has extent 2, expected 6" in capfd.readouterr().err
