"""The error spectrum against a literal DFT of differences that are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from differseg.export.error_spectrum import BANDS, ErrorSpectrum, SpectrumSum


def spectrum_of(difference: np.ndarray, reference: np.ndarray | None = None) -> ErrorSpectrum:
    total = SpectrumSum()
    start = np.zeros_like(difference) if reference is None else reference
    total.add(start[None], (start + difference)[None])
    found = total.result()
    assert found is not None
    return found


def sinusoid(size_hw: tuple[int, int], cycles_hw: tuple[int, int]) -> np.ndarray:
    """A whole number of cycles over each side: one pair of bins of the DFT."""
    y, x = np.mgrid[: size_hw[0], : size_hw[1]]
    return np.cos(2 * np.pi * (cycles_hw[0] * y / size_hw[0] + cycles_hw[1] * x / size_hw[1]))


@pytest.mark.parametrize("size_hw", [(48, 64), (45, 63), (60, 80)])
@pytest.mark.parametrize("cycles_hw", [(0, 0), (3, 0), (0, 7), (5, -9), (12, 20), (24, 32)])
def test_a_sinusoid_lands_in_its_band(size_hw: tuple[int, int], cycles_hw: tuple[int, int]) -> None:
    wave = 0.01 * sinusoid(size_hw, cycles_hw)
    folded = [min(c % n, n - c % n) / n for c, n in zip(cycles_hw, size_hw, strict=True)]
    radius = math.hypot(*folded)
    expected = BANDS if radius > 0.5 else min(BANDS - 1, math.floor(radius * 2 * BANDS + 1e-9))
    found = spectrum_of(wave)
    powers = [band.error_power for band in found.bands]
    assert int(np.argmax(powers)) == expected
    assert powers[expected] == pytest.approx(float((wave**2).mean()), rel=1e-12)
    assert sum(powers) == pytest.approx(powers[expected], rel=1e-12)


def test_bands_equal_a_literal_two_sided_transform() -> None:
    rng = np.random.default_rng(3)
    reference, difference = rng.random((2, 36, 50))
    found = spectrum_of(difference, reference)
    power = np.abs(np.fft.fft2(difference)) ** 2 / (36 * 50) ** 2
    for number, band in enumerate(found.bands):
        total = 0.0
        for v in range(36):
            for u in range(50):
                radius = math.hypot(min(v, 36 - v) / 36, min(u, 50 - u) / 50)
                inside = band.low - 1e-9 <= radius < band.high - 1e-9
                if number == BANDS - 1:
                    inside = band.low - 1e-9 <= radius <= 0.5 + 1e-9
                elif number == BANDS:
                    inside = radius > 0.5 + 1e-9
                total += float(power[v, u]) * inside
        assert band.error_power == pytest.approx(total, rel=1e-9)
    assert found.error_power == pytest.approx(float((difference**2).mean()), rel=1e-12)
    reference_power = sum(band.reference_power for band in found.bands)
    assert reference_power == pytest.approx(float((reference**2).mean()), rel=1e-12)


def test_classes_are_added_and_images_averaged() -> None:
    total = SpectrumSum(bands=4)
    one = np.stack([sinusoid((32, 32), (2, 0)), sinusoid((32, 32), (0, 14))])
    total.add(np.zeros_like(one), one)
    total.add(np.zeros_like(one), np.zeros_like(one))
    found = total.result()
    assert found is not None
    assert found.images == 2
    assert [round(band.error_power, 12) for band in found.bands] == [0.25, 0, 0, 0.25, 0]
    assert found.bands[0].relative == math.inf


def test_relative_power_is_that_of_one_band() -> None:
    wave = sinusoid((40, 40), (0, 9))
    total = SpectrumSum()
    total.add((2 * wave)[None], (2 * wave + 0.1 * wave)[None])
    found = total.result()
    assert found is not None
    assert found.bands[4].relative == pytest.approx(0.05**2, rel=1e-9)
    same = SpectrumSum()
    same.add(np.zeros((1, 8, 8)), np.zeros((1, 8, 8)))
    equal = same.result()
    assert equal is not None
    assert {band.relative for band in equal.bands} == {None}


def test_an_output_that_is_not_finite_has_no_spectrum() -> None:
    total = SpectrumSum()
    broken = np.zeros((1, 16, 16))
    broken[0, 3, 3] = np.nan
    total.add(np.zeros((1, 16, 16)), broken)
    assert total.result() is None
