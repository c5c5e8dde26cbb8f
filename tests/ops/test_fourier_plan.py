"""Fourier plans in NumPy, every way of every axis, against torch.fft in float64."""

from __future__ import annotations

from collections.abc import Callable

import fourier_oracle as oracle
import numpy as np
import pytest

from differseg.export.lowering.fourier_cost import product_ns, taken_ns, transposed_ns
from differseg.export.lowering.fourier_plan import (
    Axis,
    cheapest,
    fft_plan,
    irfft2_plan,
    irfft_plan,
    rfft2_plan,
    rfft_plan,
)
from differseg.export.lowering.fourier_steps import Plan, Product

NORMS = ("backward", "ortho", "forward")
LIMIT = 1e-13
SIZES = [
    (12, 20),
    (20, 15),
    (15, 12),
    (13, 16),
    (16, 17),
    (30, 9),
    (45, 48),
    (1, 6),
    (4, 1),
    (1, 1),
]
"""Even, odd, prime, power of two, one; lengths that split evenly, unevenly and not at all."""

Array = np.ndarray


def _nth_split(count: int) -> Callable[[Axis], int | None]:
    """Return a choice of the n-th way of splitting an axis, None where there are not so many."""

    def choose(axis: Axis) -> int | None:
        ways = list(axis.estimates_ns())
        return ways[count] if count < len(ways) else None

    return choose


def _drawn(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).standard_normal(shape) + 10.0


def _check(plan: Plan, x: Array, expected: object) -> None:
    y, reference = plan.apply(x), np.asarray(expected)
    assert y.shape == reference.shape
    assert np.abs(y - reference).max() <= LIMIT * np.abs(reference).max()


@pytest.mark.parametrize("way", range(6))
@pytest.mark.parametrize("norm", NORMS)
def test_every_way_of_every_operator(norm: str, way: int) -> None:
    choose = _nth_split(way)
    for height, width in SIZES:
        size_hw = height, width
        x, both = _drawn(2, 3, height, width), _drawn(2, 3, 2, height, width)
        _check(rfft2_plan(3, size_hw, norm, choose), x, oracle.rfft2(x, norm))
        spectrum = _drawn(2, 3, 2, height, width // 2 + 1)
        back = oracle.irfft2(spectrum, width, norm)
        _check(irfft2_plan(3, size_hw, norm, choose), spectrum, back)
        for axis in (-1, -2):
            _check(rfft_plan(3, size_hw, axis, norm, choose), x, oracle.rfft(x, axis, norm))
            lines = np.take(both, range(size_hw[axis] // 2 + 1), axis=axis)
            back = oracle.irfft(lines, axis, size_hw[axis], norm)
            _check(irfft_plan(3, size_hw, axis, norm, choose), lines, back)
            for inverse in (False, True):
                expected = oracle.fft(both, axis, inverse, norm)
                _check(fft_plan(3, size_hw, axis, inverse, norm, choose), both, expected)


@pytest.mark.parametrize("size_hw", [(96, 128), (240, 320), (270, 480), (97, 241)])
def test_chosen_plans_of_feature_maps(size_hw: tuple[int, int]) -> None:
    x = _drawn(1, 2, *size_hw)
    spectrum = oracle.rfft2(x, "ortho").numpy()
    _check(rfft2_plan(2, size_hw, "ortho"), x, spectrum)
    _check(irfft2_plan(2, size_hw, "ortho"), spectrum, x)


def test_rounding_of_constants_is_all_that_float32_loses() -> None:
    x = _drawn(1, 2, 240, 320)
    y = rfft2_plan(2, (240, 320), "ortho").apply(x.astype(np.float32))
    reference = oracle.rfft2(x, "ortho").numpy()
    assert np.abs(y - reference).max() <= 1e-6 * np.abs(reference).max()


@pytest.mark.parametrize("make", [rfft2_plan, irfft2_plan])
def test_no_step_of_an_ortho_transform_nears_the_limit_of_float16(
    make: Callable[..., Plan],
) -> None:
    """A map of mean 10 has a bin of 10 sqrt(H W) = 5543; no sum on the way to it is larger."""
    height, width = 480, 640
    value = np.full((1, 1, height, width), 10.0)
    if make is irfft2_plan:
        value = oracle.rfft2(value, "ortho").numpy()
    for step in make(1, (height, width), "ortho").steps:
        value = step.apply(value)
        assert np.abs(value).max() <= 10.0 * np.sqrt(height * width) * 1.0001


def test_small_and_prime_axes_are_one_product() -> None:
    assert rfft2_plan(8, (16, 16), "ortho").choice == "W whole, H whole"
    assert rfft2_plan(8, (97, 241), "ortho").choice == "W whole, H whole"
    plan = irfft2_plan(8, (97, 241), "ortho")
    assert [type(step) for step in plan.steps].count(Product) == 2


def test_large_axes_are_two_stages_each() -> None:
    for make in (rfft2_plan, irfft2_plan):
        plan = make(32, (240, 320), "ortho")
        products = [step for step in plan.steps if isinstance(step, Product)]
        assert len(products) == 4
        assert max(product.matrix.shape[-1] for product in products) <= 40
        assert "whole" not in plan.choice
        assert "whole" in plan.reason


def test_the_choice_is_the_lowest_estimate_and_the_same_every_time() -> None:
    axes: list[Axis] = []

    def record(axis: Axis) -> int | None:
        axes.append(axis)
        return cheapest(axis)

    rfft2_plan(64, (96, 128), "ortho", record)
    for axis in axes:
        times_ns = axis.estimates_ns()
        assert times_ns == axis.estimates_ns()
        assert times_ns[cheapest(axis)] == min(times_ns.values())


def test_costs_grow_with_the_work() -> None:
    assert product_ns(1, 8, 8, 65) < product_ns(1, 8, 8, 81) < product_ns(1, 16, 16, 81)
    assert taken_ns(10, 64) < taken_ns(20, 64)
    assert transposed_ns(8, 64, 64) < transposed_ns(16, 64, 64)


def test_bins_that_are_their_own_conjugate_ignore_their_imaginary_part() -> None:
    for way in range(3):
        plan = irfft_plan(1, (1, 12), -1, "ortho", _nth_split(way))
        spectrum = np.zeros((1, 1, 2, 1, 7))
        spectrum[0, 0, 1, 0, [0, 6]] = 1e6
        assert np.all(plan.apply(spectrum) == 0.0)
