"""Amplitude, phase, complex products and radial masks."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from maps_under_test import random_map, relative_error
from torch import Tensor, nn

from differseg.errors import InputError
from differseg.ops.fourier import fft2, irfft2, rfft2
from differseg.ops.spectrum import (
    PROFILES,
    amplitude,
    complex_multiply,
    from_amplitude_phase,
    phase,
    radial_mask,
)

pytestmark = pytest.mark.usefixtures("one_thread")


def _joined(spectrum: Tensor) -> Tensor:
    return torch.complex(spectrum[:, :, 0], spectrum[:, :, 1])


def test_amplitude_and_phase() -> None:
    spectrum = rfft2(random_map((7, 10), dtype=torch.float64))
    assert relative_error(amplitude(spectrum), _joined(spectrum).abs()) < 1e-15
    assert relative_error(phase(spectrum), _joined(spectrum).angle()) < 1e-15
    again = from_amplitude_phase(amplitude(spectrum), phase(spectrum))
    assert relative_error(again, spectrum) < 1e-14


def test_an_empty_bin_has_phase_and_gradients_zero() -> None:
    """A dead channel must not turn a network's gradients into NaN."""
    for zero in (0.0, -0.0):
        spectrum = torch.full((1, 1, 2, 2, 2), zero, requires_grad=True)
        assert not phase(spectrum).any()
        (amplitude(spectrum).sum() + phase(spectrum).sum()).backward()
        assert torch.equal(spectrum.grad, torch.zeros_like(spectrum))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("value", [1e-17, 1e-20, 1e-23, 1e-30, 1e-40, 1e-170, 1e-310])
def test_tiny_bins_have_finite_gradients(value: float, dtype: torch.dtype) -> None:
    """Their squares vanish before they do, and zero over zero spreads from a bin to a network."""
    spectrum = torch.full((1, 1, 2, 1, 1), value, dtype=dtype, requires_grad=True)
    size, angle = amplitude(spectrum), phase(spectrum)
    normal = 2 * value**2 > torch.finfo(dtype).tiny
    assert size.item() == pytest.approx(value * 2**0.5 if normal else 0.0, rel=1e-6, abs=0)
    assert angle.item() == pytest.approx(torch.pi / 4 if normal else 0.0)
    (size.sum() + angle.sum()).backward()
    assert spectrum.grad.isfinite().all()


def test_gradients_behind_a_mask_that_leaves_tiny_bins() -> None:
    x = random_map((32, 32), mean=0).requires_grad_()
    spectrum = rfft2(x) * radial_mask((32, 32), high=0.07, profile="gaussian")
    (phase(spectrum).sum() + amplitude(spectrum).sum()).backward()
    assert x.grad.isfinite().all()


def test_amplitude_in_float16_does_not_overflow() -> None:
    spectrum = torch.full((1, 1, 2, 1, 1), 3e4, dtype=torch.float16)
    assert amplitude(spectrum).item() == pytest.approx(3e4 * 2**0.5, rel=1e-3)
    product = complex_multiply(spectrum, 1e-3 * spectrum)
    assert product[:, :, 0].abs().max() <= 8, "the two squares cancel before they are rounded"


def test_gradients() -> None:
    spectrum = torch.randn(1, 2, 2, 3, 2, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(2, 2, 3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(amplitude, spectrum)
    assert torch.autograd.gradcheck(phase, spectrum)
    assert torch.autograd.gradcheck(complex_multiply, (spectrum, weights))
    size, angle = (torch.randn(1, 1, 2, 3, dtype=torch.float64) for _ in range(2))
    assert torch.autograd.gradcheck(
        from_amplitude_phase, (size.requires_grad_(), angle.requires_grad_())
    )


def test_complex_products() -> None:
    a, b = (torch.randn(2, 3, 2, 4, 5, dtype=torch.float64) for _ in range(2))
    product = _joined(a) * _joined(b)
    assert relative_error(_joined(complex_multiply(a, b)).abs(), product.abs()) < 1e-14
    assert relative_error(complex_multiply(a, b)[:, :, 1], product.imag) < 1e-14
    weights = b[0]  # (C, 2, H, W): one filter for the whole batch
    assert torch.equal(complex_multiply(a, weights)[1], complex_multiply(a, b[:1])[1])
    assert complex_multiply(a, b.half()).dtype == torch.float64


@pytest.mark.parametrize("one_sided", [True, False])
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("size_hw", [(7, 10), (8, 9), (1, 6), (5, 1)])
def test_masks(size_hw: tuple[int, int], profile: str, one_sided: bool) -> None:
    height, width = size_hw
    fx = np.fft.rfftfreq(width) if one_sided else np.fft.fftfreq(width)
    radius = np.hypot(np.fft.fftfreq(height)[:, None], fx)
    low_pass = {
        "ideal": lambda c: (radius <= c).astype(float),
        "gaussian": lambda c: np.exp(-(radius**2) / (2 * c**2)),
        "butterworth": lambda c: 1 / (1 + (radius / c) ** 6),
    }[profile]

    def mask(low: float | None, high: float | None) -> Tensor:
        chosen = {"profile": profile, "order": 3, "one_sided": one_sided, "dtype": torch.float64}
        return radial_mask(size_hw, low, high, **chosen)

    for low, high, expected in (
        (None, 0.21, low_pass(0.21)),
        (0.21, None, 1 - low_pass(0.21)),
        (0.1, 0.33, low_pass(0.33) - low_pass(0.1)),
        (None, None, np.ones_like(radius)),
    ):
        assert mask(low, high).numpy() == pytest.approx(expected, abs=1e-14)
        assert 0 <= mask(low, high).min() <= mask(low, high).max() <= 1


@pytest.mark.parametrize("profile", PROFILES)
def test_bands_add_up_to_the_map(profile: str) -> None:
    x = random_map((21, 30))
    cut_offs = [None, 0.05, 0.12, 0.3, None]
    bands = [
        irfft2(rfft2(x) * radial_mask((21, 30), low, high, profile=profile), width=30)
        for low, high in itertools.pairwise(cut_offs)
    ]
    assert relative_error(sum(bands), x) < 1e-6


def test_a_low_pass_keeps_slow_waves_and_removes_fast_ones() -> None:
    place = torch.arange(32.0)
    slow, fast = (torch.cos(2 * torch.pi * f * place) for f in (2 / 32, 13 / 32))
    x = (slow[:, None] + fast).expand(1, 1, 32, 32)
    mask = radial_mask((32, 32), high=0.25)
    y = irfft2(rfft2(x) * mask)
    assert relative_error(y, slow[:, None].expand(1, 1, 32, 32)) < 1e-5
    full = radial_mask((32, 32), high=0.25, one_sided=False)
    kept = fft2(x).square().sum(2)[0, 0][full == 1].sum()
    assert kept == pytest.approx(fft2(slow[:, None].expand(1, 1, 32, 32)).square().sum().item())


def test_export() -> None:
    class Mixed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            z = rfft2(x)
            return complex_multiply(z, from_amplitude_phase(amplitude(z), phase(z)))

    x = random_map((6, 7))
    program = torch.export.export(Mixed(), (x,))
    assert torch.equal(program.module()(x), Mixed()(x))
    compiled = torch.compile(Mixed(), backend="aot_eager", fullgraph=True)
    assert relative_error(compiled(x), Mixed()(x)) < 1e-6


REFUSED = [
    (lambda: amplitude(torch.randn(2, 3, 4, 5)), "amplitude: spectrum has 4 axes"),
    (lambda: phase(torch.randn(2, 3, 1, 4, 5)), "expected (N, C, 2, H, W); the axis of extent 2"),
    (
        lambda: from_amplitude_phase(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 3)),
        "phase has shape (1, 1, 2, 3), expected (1, 1, 2, 2) as amplitude has",
    ),
    (
        lambda: complex_multiply(torch.ones(3, 3, 3), torch.ones(2, 3, 3)),
        "a has shape (3, 3, 3), expected (..., 2, H, W)",
    ),
    (
        lambda: complex_multiply(torch.ones(2, 3, 3), torch.ones(2, 3, 4)),
        "expected shapes that broadcast",
    ),
    (lambda: radial_mask((0, 4)), "size_hw is (0, 4), expected height and width"),
    (lambda: radial_mask((4, 4), 0.3, 0.2), "low is 0.3 and high is 0.2, expected low below high"),
    (lambda: radial_mask((4, 4), high=0.0), "high is 0.0, expected cycles per pixel above 0"),
    (lambda: radial_mask((4, 4), profile="butter"), "did you mean 'butterworth'?"),
    (lambda: radial_mask((4, 4), high=0.1, order=0), "order is 0, expected a whole number from 1"),
    (lambda: radial_mask((4, 4), high=0.1, order=2.5), "order is 2.5, expected a whole number"),
    (lambda: radial_mask((4, 4), high=0.1, order=float("nan")), "order is nan, expected a whole"),
    (lambda: radial_mask((4, 4), high=0.1, order="2"), "order is '2', expected a whole number"),
    (lambda: radial_mask((4, 4), "0.1"), "low is '0.1', expected cycles per pixel above 0"),
    (lambda: radial_mask(8), "size_hw is 8, expected height and width"),
    (lambda: radial_mask((8.5, 8)), "size_hw is (8.5, 8), expected height and width"),
]


@pytest.mark.parametrize(("call", "text"), REFUSED)
def test_refused(call: Callable[[], object], text: str) -> None:
    with pytest.raises(InputError) as caught:
        call()
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)
