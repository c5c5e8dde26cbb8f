"""The wavelet kernels, compiled for the CPU, against PyWavelets in float64."""

from __future__ import annotations

from collections.abc import Callable

import emulated_kernels as kernels
import numpy as np
import pytest
import pywt
import wavelet_oracle as oracle
from emulated_plugins import Plugin
from maps_under_test import EVEN_ODD_PRIME_POWER

# The three unrolled lengths, then lengths of the tiled kernels up to the longest.
WAVELETS = ["haar", "db2", "bior2.2", "db4", "bior4.4", "db10", "sym20"]
SIZES = [(1, 1), (1, 8), (2, 3), (3, 2), (5, 8), (7, 16), (8, 24), (17, 40), (33, 70), (70, 33)]
LIMITS = {"float32": 1e-5, "float16": 5e-3}


def _decompose(x: np.ndarray, wavelet: str, mode: str) -> np.ndarray:
    bank = pywt.Wavelet(wavelet)
    return kernels.dwt2(x, bank.dec_lo, bank.dec_hi, mode)


def _reconstruct(
    bands: np.ndarray, wavelet: str, mode: str, size_hw: tuple[int, int]
) -> np.ndarray:
    bank = pywt.Wavelet(wavelet)
    return kernels.idwt2(bands, bank.rec_lo, bank.rec_hi, mode, size_hw)


def _check(
    size_hw: tuple[int, int],
    batch: int,
    dtype: str,
    wavelet: str,
    mode: str,
    measured: Callable[..., None],
) -> None:
    x = kernels.random_array(batch, 2, *size_hw, dtype=dtype, mean=10.0)
    expected = oracle.dwt2(x, wavelet, mode).numpy()
    error = kernels.relative_error(_decompose(x, wavelet, mode), expected)
    measured("dwt2", form="emulated kernel", dtype=dtype, error=error, limit=LIMITS[dtype])

    bands = kernels.random_array(*expected.shape, dtype=dtype)
    bands[:, :, 0] += 10  # the average alone: details of this size would cancel it
    map_ = oracle.idwt2(bands, wavelet, mode).numpy()
    for crop in {(0, 0), (min(1, map_.shape[2] - 1), min(1, map_.shape[3] - 1))}:
        height, width = map_.shape[2] - crop[0], map_.shape[3] - crop[1]
        y = _reconstruct(bands, wavelet, mode, (height, width))
        error = kernels.relative_error(y, map_[:, :, :height, :width])
        measured("idwt2", form="emulated kernel", dtype=dtype, error=error, limit=LIMITS[dtype])


@pytest.mark.parametrize("mode", kernels.MODES)
@pytest.mark.parametrize("wavelet", WAVELETS)
def test_against_pywavelets(wavelet: str, mode: str, measured: Callable[..., None]) -> None:
    for size_hw in SIZES:
        if mode != "reflect" or 1 not in size_hw:
            batch = 8 if size_hw == (1, 1) else 1  # one pixel may be zero but for rounding
            _check(size_hw, batch, "float32", wavelet, mode, measured)


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("wavelet", WAVELETS[:5])
@pytest.mark.parametrize("size_hw", [*EVEN_ODD_PRIME_POWER, (6, 48)])
def test_batches(
    size_hw: tuple[int, int], wavelet: str, dtype: str, measured: Callable[..., None]
) -> None:
    for mode in ("symmetric", "periodization"):
        _check(size_hw, 3, dtype, wavelet, mode, measured)


@pytest.mark.parametrize("dtype", LIMITS)
def test_rows_that_lie_off_their_words(dtype: str, measured: Callable[..., None]) -> None:
    """A map that begins one element into an allocation is read and written element by element."""
    whole = kernels.random_array(2 * 16 * 32 + 1, dtype=dtype)
    x = whole[1:].reshape(1, 2, 16, 32)
    for wavelet in ("haar", "db2"):
        expected = oracle.dwt2(x, wavelet, "zero").numpy()
        error = kernels.relative_error(_decompose(x, wavelet, "zero"), expected)
        measured("dwt2", form="emulated kernel", dtype=dtype, error=error, limit=LIMITS[dtype])
    bands = whole[1:].reshape(1, 1, 4, 16, 16)
    expected = oracle.idwt2(bands, "haar", "zero").numpy()
    error = kernels.relative_error(_reconstruct(bands, "haar", "zero", (32, 32)), expected)
    measured("idwt2", form="emulated kernel", dtype=dtype, error=error, limit=LIMITS[dtype])


@pytest.mark.parametrize("scale", [1e30, 1e4, 5e-39])
@pytest.mark.parametrize("wavelet", ["haar", "db2", "db10"])
def test_huge_mean_and_denormals(wavelet: str, scale: float, measured: Callable[..., None]) -> None:
    noise = kernels.random_array(1, 2, 16, 24, dtype="float64")
    x = (scale * (noise if scale < 1 else 1 + 1e-3 * noise)).astype(np.float32)
    error = kernels.relative_error(
        _decompose(x, wavelet, "reflect"), oracle.dwt2(x, wavelet, "reflect").numpy()
    )
    measured("dwt2", form="emulated kernel", dtype="float32", error=error, limit=1e-5)
    bands = x.reshape(1, 1, 4, 8, 24)
    size_hw = (4, 20)
    expected = oracle.idwt2(bands, wavelet, "periodization", size_hw).numpy()
    error = kernels.relative_error(_reconstruct(bands, wavelet, "periodization", size_hw), expected)
    measured("idwt2", form="emulated kernel", dtype="float32", error=error, limit=1e-5)


def test_zeros() -> None:
    for wavelet in ("haar", "db2", "db10"):
        bands = _decompose(np.zeros((1, 1, 9, 16), np.float32), wavelet, "symmetric")
        assert not bands.any()
        assert not _reconstruct(bands, wavelet, "symmetric", (9, 16)).any()


@pytest.mark.parametrize("mode", kernels.MODES)
@pytest.mark.parametrize("wavelet", ["haar", "db4", "bior4.4"])
def test_there_and_back(wavelet: str, mode: str) -> None:
    x = kernels.random_array(1, 2, 45, 64, dtype="float32", mean=10.0)
    back = _reconstruct(_decompose(x, wavelet, mode), wavelet, mode, (45, 64))
    assert kernels.relative_error(back, x.astype(np.float64)) < 1e-6


def _banks(taps: int) -> list[object]:
    return [kernels.filters([1.0] * taps), taps, kernels.filters([1.0] * taps), taps]


def _refuses(function: str, good: list[object], bad_values: list[tuple[int, object]]) -> None:
    out = good[2]
    assert isinstance(out, np.ndarray)
    assert kernels.status("wavelet", function, *good) == 0
    for position, value in bad_values:
        bad = good.copy()
        bad[position] = value
        out.fill(7)
        refused = kernels.status("wavelet", function, *bad)
        assert refused == kernels.INVALID_VALUE, (position, value)
        assert (out == 7).all()
    empty = good.copy()
    empty[1:4] = [None, None, 0]
    assert kernels.status("wavelet", function, *empty) == 0


def test_refused_decompositions() -> None:
    x, bands = np.ones(1000, np.float32), np.ones(2000, np.float32)
    good = [0, x, bands, 2, 8, 10, *_banks(4), kernels.MODES.index("zero")]
    wrong = [(0, 2), (1, None), (2, None), (3, -1), (4, 0), (5, -1), (6, None), (7, 2), (8, None)]
    _refuses("differseg_dwt2", good, [*wrong, (9, 6), (10, 5), (10, -1)])
    reflect = kernels.MODES.index("reflect")
    for taps, height, mode in [(3, 8, 0), (42, 8, 0), (0, 8, 0), (4, 1, reflect)]:
        arguments = [0, x, bands, 2, height, 10, *_banks(taps), mode]
        assert kernels.status("wavelet", "differseg_dwt2", *arguments) == kernels.INVALID_VALUE


def test_refused_reconstructions() -> None:
    bands, x = np.ones(2000, np.float32), np.ones(2000, np.float32)
    good = [0, bands, x, 2, 6, 7, 10, 12, *_banks(4), kernels.MODES.index("zero")]
    wrong = [(0, 2), (1, None), (2, None), (3, -1), (4, 0), (5, -1), (6, 11), (7, 13), (7, 0)]
    _refuses("differseg_idwt2", good, [*wrong, (8, None), (9, 2), (11, 6), (12, 5), (12, -1)])


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("wavelet", ["db2", "sym20"])
def test_the_plugins_are_the_kernels(wavelet: str, batch: int, dtype: str) -> None:
    bank = pywt.Wavelet(wavelet)
    for mode in kernels.MODES:
        x = kernels.random_array(batch, 2, 13, 10, dtype=dtype)
        expected = kernels.dwt2(x, bank.dec_lo, bank.dec_hi, mode)
        plugin = Plugin("dwt2", lowpass=bank.dec_lo, highpass=bank.dec_hi, mode=mode)
        assert plugin.agrees(expected, x)
        bands = kernels.random_array(*expected.shape, dtype=dtype)
        size = {"height": 12, "width": 9}
        expected = kernels.idwt2(bands, bank.rec_lo, bank.rec_hi, mode, (12, 9))
        plugin = Plugin("idwt2", lowpass=bank.rec_lo, highpass=bank.rec_hi, mode=mode, **size)
        assert plugin.agrees(expected, bands)


def test_the_plugins_refuse_maps_that_the_kernels_refuse(capfd: pytest.CaptureFixture[str]) -> None:
    bank = {"lowpass": [0.5, 0.5], "highpass": [0.5, -0.5]}
    for shape, said in {
        (1, 2, 1, 8): "mode reflect needs 2 pixels along an axis, but the height is 1; use another",
        (1, 2, 8, 1): "mode reflect needs 2 pixels along an axis, but the width is 1; use another",
    }.items():
        assert not Plugin("dwt2", mode="reflect", **bank).configure([shape], [(4, 2, 8, 8)])
        assert said in capfd.readouterr().err
        assert Plugin("dwt2", mode="symmetric", **bank).configure([shape], [(4, 2, 8, 8)])
    inverse = Plugin("idwt2", mode="zero", height=11, width=14, **bank)
    least, most = (1, 2, 4, 2, 2), (1, 2, 4, 32, 32)
    assert inverse.configure([(1, 2, 4, 6, 7)], [most])
    assert not inverse.configure([least], [most])
    assert "height is 11, but 2 coefficients make at most 4 samples" in capfd.readouterr().err


def test_the_longest_axis() -> None:
    """A mirrored axis repeats after twice its length, which must be an int."""
    x, out = np.ones(4, np.float32), np.ones(4, np.float32)
    taps = kernels.filters([0.5, 0.5])
    longest = [0, x, out, 0, 1, (1 << 30) - 1, taps, 2, taps, 2, kernels.MODES.index("symmetric")]
    assert kernels.status("wavelet", "differseg_dwt2", *longest) == 0
    longest[5] = 1 << 30
    assert kernels.status("wavelet", "differseg_dwt2", *longest) == kernels.INVALID_VALUE
