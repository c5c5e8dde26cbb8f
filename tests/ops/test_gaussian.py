"""The Gaussian operator in PyTorch against the definition, and what is built on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gaussian_oracle as oracle
import numpy as np
import pytest
import torch
from maps_under_test import (
    BATCHES_AND_LAYOUTS,
    EVEN_ODD_PRIME_POWER,
    LIMITS,
    random_map,
    real_map,
    relative_error,
)
from torch import Tensor, nn

from differseg.errors import InputError
from differseg.ops.gaussian import BORDERS, gaussian_highpass, gaussian_lowpass, gaussian_taps

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("dtype", LIMITS, ids=str)
@pytest.mark.parametrize(("batch", "layout"), BATCHES_AND_LAYOUTS)
@pytest.mark.parametrize("size_hw", EVEN_ODD_PRIME_POWER)
def test_against_the_definition(
    size_hw: tuple[int, int],
    batch: int,
    layout: str,
    dtype: torch.dtype,
    measured: Callable[..., None],
) -> None:
    border = BORDERS[(sum(size_hw) + batch) % 3]  # each one meets every dtype and layout
    x = random_map(size_hw, batch=batch, channels=2, dtype=dtype, layout=layout)
    sigma_c = torch.tensor([0.6, 1.7])
    low = gaussian_lowpass(x, sigma_c, 7, border)
    expected = oracle.lowpass(x, sigma_c.tolist(), 7, border)
    assert low.dtype == dtype
    assert low.is_contiguous()
    name = str(dtype).removeprefix("torch.")
    limit = 1e-7 if dtype == torch.float64 else LIMITS[dtype]  # sigma itself is float32
    error = relative_error(low, expected)
    measured("gaussian", form="torch", dtype=name, error=error, limit=limit)
    high = gaussian_highpass(x, sigma_c, 7, border)
    assert relative_error(high, x.double().numpy() - expected) < max(limit, 1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_real_image(dtype: torch.dtype, sample_data: Path, measured: Callable[..., None]) -> None:
    x = real_map(sample_data, dtype)[..., 200:261, 300:373]
    error = relative_error(gaussian_lowpass(x, 1.5), oracle.lowpass(x, 1.5, 11, "reflect"))
    name = str(dtype).removeprefix("torch.")
    measured("gaussian", form="torch", dtype=name, error=error, limit=LIMITS[dtype])


@pytest.mark.parametrize("border", BORDERS)
def test_one_sigma_and_maps_smaller_than_the_kernel(border: str) -> None:
    for size_hw in ((1, 1), (2, 5), (5, 3), (4, 4)):
        kernel_size = min(7, 2 * min(size_hw) - 1) if border == "reflect" else 7
        x = random_map(size_hw, dtype=torch.float64)
        expected = oracle.lowpass(x, 1.3, kernel_size, border)
        assert relative_error(gaussian_lowpass(x, 1.3, kernel_size, border), expected) < 1e-14


def test_kernel_size_follows_sigma() -> None:
    x = random_map((30, 31), dtype=torch.float64)
    for sigma, kernel_size in ((0.2, 3), (1.0, 7), (1.1, 9), (2.0, 13)):
        assert torch.equal(gaussian_lowpass(x, sigma), gaussian_lowpass(x, sigma, kernel_size))


def test_a_constant_stays_and_a_vanishing_sigma_is_the_identity() -> None:
    constant = torch.full((1, 2, 9, 8), 10.0)
    for border in ("reflect", "edge"):
        assert relative_error(gaussian_lowpass(constant, 1.5, border=border), constant) < 1e-6
        assert gaussian_highpass(constant, 1.5, border=border).abs().max() < 1e-5
    x = random_map((9, 8), channels=2)
    for sigma in (0.01, 0.0, -1.0):
        assert torch.equal(gaussian_lowpass(x, torch.tensor([sigma]), 5), x)
    assert gaussian_taps(torch.tensor([0.5, 2.0]), 9).sum(1) == pytest.approx([1.0, 1.0])


def test_the_mean_costs_the_highpass_nothing_in_float16() -> None:
    x = random_map((40, 41), mean=1000.0, dtype=torch.float16)
    expected = x.double().numpy() - oracle.lowpass(x, 1.0, 7, "reflect")
    assert relative_error(gaussian_highpass(x, 1.0), expected) < 1e-3


@pytest.mark.parametrize("border", BORDERS)
def test_gradients(border: str) -> None:
    for size_hw, kernel_size in (((4, 5), 5), ((3, 4), 5), ((2, 3), 3), ((2, 2), 1)):
        x = torch.randn(2, 2, *size_hw, dtype=torch.float64, requires_grad=True)
        for sigma_c in ([0.8], [0.6, 1.9]):
            sigma = torch.tensor(sigma_c, dtype=torch.float64, requires_grad=True)
            call = lambda a, s, k=kernel_size: gaussian_lowpass(a, s, k, border)  # noqa: E731
            assert torch.autograd.gradcheck(call, (x, sigma))
    assert torch.autograd.gradgradcheck(call, (x, sigma))
    assert torch.autograd.gradcheck(lambda a: gaussian_highpass(a, 1.2, 3, border), x)


def test_a_learned_sigma_finds_the_blur() -> None:
    x = random_map((24, 24), mean=0)
    wanted = gaussian_lowpass(x, 1.4, 9)
    sigma = nn.Parameter(torch.tensor([0.7]))
    optimiser = torch.optim.Adam([sigma], lr=0.1)
    for _ in range(150):
        optimiser.zero_grad()
        (gaussian_lowpass(x, sigma, 9) - wanted).square().mean().backward()
        optimiser.step()
    assert sigma.item() == pytest.approx(1.4, abs=0.02)


class _Filters(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.sigma = nn.Parameter(torch.tensor([0.8, 1.2, 2.0]))

    def forward(self, x: Tensor) -> Tensor:
        return gaussian_lowpass(x, self.sigma, 7) * gaussian_highpass(x, 1.5, border="edge")


def test_registered_operator_is_well_formed() -> None:
    x = torch.randn(2, 3, 8, 7, requires_grad=True)
    learned = torch.tensor([0.5, 1.0, 2.0], requires_grad=True)
    for sigma, border in ((torch.tensor([0.9]), "zeros"), (learned, "reflect")):
        torch.library.opcheck(torch.ops.differseg.gaussian.default, (x, sigma, 5, border))


def test_compile_and_export() -> None:
    x = random_map((12, 13), channels=3, mean=0)
    grads = []
    for compiled in (False, True):
        model = _Filters()
        call = torch.compile(model, backend="aot_eager", fullgraph=True) if compiled else model
        leaf = x.clone().requires_grad_()
        call(leaf).square().sum().backward()
        grads.append((leaf.grad, model.sigma.grad))
    for eager, other in zip(*grads, strict=True):
        assert torch.allclose(eager, other, rtol=1e-4, atol=1e-5)
    batch = {"x": {0: torch.export.Dim("batch")}}
    program = torch.export.export(_Filters(), (x,), dynamic_shapes=batch)
    nodes = [str(node.target) for node in program.graph.nodes]
    assert nodes.count("differseg.gaussian.default") == 2
    other = random_map((12, 13), batch=5, channels=3)
    assert torch.equal(program.module()(other), _Filters()(other))


REFUSED = [
    (lambda x: gaussian_lowpass(x[0], 1.0), "gaussian_lowpass: x has 3 axes"),
    (lambda x: gaussian_highpass(x.int(), 1.0), "gaussian_highpass: x has torch.int32, expected"),
    (lambda x: gaussian_lowpass(x[..., :0], 1.0), "expected at least 1 along every axis"),
    (lambda x: gaussian_lowpass(x, 1.0, border="mirror"), "expected one of 'reflect', 'edge'"),
    (lambda x: gaussian_lowpass(x, 0.0), "sigma is 0.0, expected a number of pixels above 0"),
    (lambda x: gaussian_lowpass(x, float("nan")), "sigma is nan, expected"),
    (lambda x: gaussian_lowpass(x, 1.0, 4), "kernel_size is 4, expected an odd number from 1 to"),
    (lambda x: gaussian_lowpass(x, 1.0, -3), "kernel_size is -3, expected a whole number from 1"),
    (lambda x: gaussian_lowpass(x, 1.0, 0), "kernel_size is 0, expected a whole number from 1"),
    (lambda x: gaussian_lowpass(x, 1.0, 3.0), "kernel_size is 3.0, expected a whole number"),
    (lambda x: gaussian_lowpass(x, 1.0, True), "kernel_size is True, expected a whole number"),
    (lambda x: gaussian_lowpass(x, True), "sigma is True, expected a number of pixels above 0"),
    (
        lambda x: gaussian_lowpass(x, 1e9, border="zeros"),
        "kernel_size is 6000000001, expected a whole number from 1 to 1023",
    ),
    (lambda x: gaussian_lowpass(x, "1"), "sigma is '1', expected a number of pixels above 0"),
    (lambda x: gaussian_lowpass(x, 3.0), "kernel_size is 19, expected at most 11 for maps of (6"),
    (lambda x: gaussian_lowpass(x, x.new_ones(1)), "kernel_size is not given"),
    (lambda x: gaussian_lowpass(x, x.new_ones(2), 3), "shape (2,), expected (1,) or (3,)"),
    (lambda x: gaussian_lowpass(x, x.new_ones(()), 3), "shape (), expected (1,) or (3,)"),
    (lambda x: gaussian_lowpass(x, x.new_ones(1).int(), 3), "sigma has torch.int32"),
]


@pytest.mark.parametrize(("call", "text"), REFUSED)
def test_refused(call: Callable[[Tensor], Tensor], text: str) -> None:
    class Wrong(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return call(x)

    x = torch.randn(2, 3, 6, 7)
    for attempt in (lambda: call(x), lambda: torch.export.export(Wrong(), (x,))):
        with pytest.raises(InputError) as caught:
            attempt()
        assert text in str(caught.value)
        assert "\n" not in str(caught.value)


def test_kernels_are_those_of_numpy() -> None:
    taps = gaussian_taps(torch.tensor([1.0], dtype=torch.float64), 5)[0].numpy()
    weights = np.exp(-(np.arange(-2, 3) ** 2) / 2)
    assert taps == pytest.approx(weights / weights.sum(), abs=1e-15)
