"""Constants of operators: made once, and never of one trace for another."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from differseg.ops.constants import constant
from differseg.ops.gaussian import gaussian_lowpass
from differseg.ops.reassembly import reassemble
from differseg.ops.saliency import saliency_displacement
from differseg.ops.wavelet import dwt2, idwt2

pytestmark = pytest.mark.usefixtures("one_thread")


def test_made_once_for_each_device_and_dtype() -> None:
    made = []

    def build(value: float) -> Tensor:
        made.append(value)
        return torch.full((2,), value, dtype=torch.float64, device="cpu")

    x = torch.ones(1)
    first = constant(build, 0.5, like=x)
    assert first.dtype == torch.float32
    assert constant(build, 0.5, like=torch.zeros(3)) is first
    assert constant(build, 0.5, like=x.double()).dtype == torch.float64
    assert constant(build, 0.5, like=x, dtype=torch.int64).dtype == torch.int64
    assert constant(build, 0.25, like=x).tolist() == [0.25, 0.25]
    assert made == [0.5, 0.5, 0.5, 0.25]


def test_those_made_in_inference_mode_take_part_in_gradients() -> None:
    with torch.inference_mode():
        ones = constant(torch.ones, 3, like=torch.zeros(1))
    leaf = torch.ones(3, requires_grad=True)
    (leaf * ones).sum().backward()
    assert leaf.grad.tolist() == [1, 1, 1]


def test_those_of_a_trace_stay_in_it() -> None:
    """The gradient of a border is traced with fake tensors, which no later call must meet."""

    def call(x: Tensor) -> Tensor:
        return dwt2(x, mode="symmetric").sum() + gaussian_lowpass(x, 1.0).square().sum()

    for size in (11, 13):
        grads = []
        for form in (torch.compile(call, backend="aot_eager", fullgraph=True), call):
            leaf = torch.linspace(-1, 1, size**2).view(1, 1, size, size).requires_grad_()
            form(leaf).backward()
            grads.append(leaf.grad)
        assert torch.allclose(*grads, atol=1e-6)


def test_nothing_is_made_from_numbers_at_a_second_call() -> None:
    """On a GPU that is a copy which the host waits for, and no CUDA graph can hold."""
    x = torch.randn(1, 4, 16, 16)

    def step() -> None:
        leaf = x.clone().requires_grad_()
        bands = dwt2(leaf, "db2", "symmetric")
        y = idwt2(bands, "db2", "symmetric") + idwt2(dwt2(leaf))
        y = y + gaussian_lowpass(leaf, 1.0)
        y = y + reassemble(leaf, y[:, :1].expand(-1, 9, -1, -1), kernel_size=3, normalize="hamming")
        (y * saliency_displacement(y[:, :1].square())[:, :1]).sum().backward()

    step()
    with torch.profiler.profile() as profile:
        step()
    assert "aten::lift_fresh" not in {
        event.name() for event in profile.profiler.kineto_results.events()
    }
