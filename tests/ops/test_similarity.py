"""Local similarity in PyTorch against the definition, and its gradients."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
import similarity_oracle as oracle
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
from differseg.ops.similarity import local_similarity

pytestmark = pytest.mark.usefixtures("one_thread")
SIZES_AND_DTYPES = [
    *itertools.product(EVEN_ODD_PRIME_POWER, (torch.float32, torch.float16)),
    (EVEN_ODD_PRIME_POWER[0], torch.float64),
    (EVEN_ODD_PRIME_POWER[1], torch.bfloat16),
]
WINDOWS = [(3, 2), (3, 1), (5, 2), (3, 20), (7, 1), (9, 3)]
"""Kernel sizes and dilations; (3, 20) has neighbours along one axis only in most maps."""


@pytest.mark.parametrize(("batch", "layout"), BATCHES_AND_LAYOUTS)
@pytest.mark.parametrize(("size_hw", "dtype"), SIZES_AND_DTYPES)
def test_against_the_definition(
    size_hw: tuple[int, int],
    batch: int,
    layout: str,
    dtype: torch.dtype,
    measured: Callable[..., None],
) -> None:
    case = EVEN_ODD_PRIME_POWER.index(size_hw) + 2 * BATCHES_AND_LAYOUTS.index((batch, layout))
    window = WINDOWS[case % len(WINDOWS)]
    size_hw = size_hw[0] // 2, size_hw[1] // 2
    for mean in (0.0, 10.0):
        x = random_map(size_hw, batch=batch, mean=mean, dtype=dtype, layout=layout)
        y = local_similarity(x, *window)
        assert y.dtype == dtype
        assert y.is_contiguous()
        measured(
            "local_similarity",
            form="torch",
            dtype=str(dtype).removeprefix("torch."),
            error=relative_error(y, oracle.local_similarity(x, *window)),
            limit=LIMITS[dtype],
        )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_real_image(dtype: torch.dtype, sample_data: Path, measured: Callable[..., None]) -> None:
    x = real_map(sample_data, dtype)[..., 200:241, 300:353]
    error = relative_error(local_similarity(x), oracle.local_similarity(x, 3, 2))
    name = str(dtype).removeprefix("torch.")
    measured("local_similarity", form="torch", dtype=name, error=error, limit=LIMITS[dtype])


def test_order_of_the_neighbours() -> None:
    """Pixel (2, 3) resembles pixel (0, 5) alone: up 2 and right 2, the third neighbour."""
    x = torch.zeros(1, 30, 5, 6)
    x[0] = torch.eye(30).view(30, 5, 6)
    x[0, :, 0, 5] = x[0, :, 2, 3] * 4
    y = local_similarity(x)
    assert y[0, 2, 2, 3] == pytest.approx(1.0)
    assert y[0, 5, 0, 5] == pytest.approx(1.0), "seen from there it is down 2 and left 2"
    y[0, 2, 2, 3] = y[0, 5, 0, 5] = 0
    assert not y.any()


def test_zero_vectors_and_tiny_maps() -> None:
    x = random_map((4, 5), mean=0)
    x[:, :, 1, 2] = 0
    y = local_similarity(x, 3, 1)
    assert not y[:, :, 1, 2].any()
    assert y.isfinite().all()
    assert not local_similarity(torch.ones(2, 3, 1, 1)).any()
    assert local_similarity(torch.full((1, 2, 4, 4), 1e-6))[0, 7, 0, 0] == pytest.approx(1.0)
    assert local_similarity(torch.full((1, 1, 4, 4), 1e-9))[0, 7, 0, 0] == pytest.approx(0.01)
    large = torch.full((1, 64, 3, 3), 3e4).half()
    assert local_similarity(large, 3, 1)[0, :, 1, 1].tolist() == pytest.approx([1.0] * 8)


@pytest.mark.parametrize(("kernel_size", "dilation"), [(3, 2), (5, 1), (3, 1)])
def test_gradients(kernel_size: int, dilation: int) -> None:
    call = lambda a: local_similarity(a, kernel_size, dilation)  # noqa: E731
    for size_hw in ((4, 5), (1, 3), (5, 2)):
        x = torch.randn(2, 3, *size_hw, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(call, x)
    tiny = (torch.randn(1, 2, 4, 4, dtype=torch.float64) * 1e-9).requires_grad_()
    assert torch.autograd.gradcheck(call, tiny, eps=1e-13, atol=1.0, rtol=1e-4), "norms clamped"


def test_gradient_in_float16() -> None:
    x = random_map((12, 13), dtype=torch.float16)
    weights = torch.randn(2, 8, 12, 13)
    grads = []
    for dtype in (torch.float16, torch.float64):
        leaf = x.to(dtype).detach().requires_grad_()
        (local_similarity(leaf) * weights.to(dtype)).sum().backward()
        grads.append(leaf.grad)
    assert grads[0].dtype == torch.float16
    assert relative_error(*grads) < LIMITS[torch.float16]


class _Similarity(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return local_similarity(self.conv(local_similarity(x)), 3, 1)


def test_registered_operator_is_well_formed() -> None:
    for memory in (torch.contiguous_format, torch.channels_last):
        x = random_map((6, 5), mean=0).contiguous(memory_format=memory).requires_grad_()
        torch.library.opcheck(torch.ops.differseg.local_similarity.default, (x, 3, 2))


def test_compile_and_export() -> None:
    x = random_map((6, 7), mean=0)
    model = _Similarity()
    grads = []
    for call in (model, torch.compile(model, backend="aot_eager", fullgraph=True)):
        leaf = x.clone().requires_grad_()
        call(leaf).square().sum().backward()
        grads.append(leaf.grad)
    assert torch.allclose(*grads, atol=1e-5)
    batch = {"x": {0: torch.export.Dim("batch")}}
    program = torch.export.export(model, (x,), dynamic_shapes=batch)
    nodes = [str(node.target) for node in program.graph.nodes]
    assert nodes.count("differseg.local_similarity.default") == 2
    other = random_map((6, 7), batch=5)
    assert torch.allclose(program.module()(other), model(other), atol=1e-6)


REFUSED = [
    (lambda x: local_similarity(x[0]), "local_similarity: x has 3 axes"),
    (lambda x: local_similarity(x.int()), "local_similarity: x has torch.int32, expected"),
    (lambda x: local_similarity(x, 4), "kernel_size is 4, expected an odd number from 3 to 9"),
    (lambda x: local_similarity(x, 1), "kernel_size is 1, expected a whole number from 3 to 9"),
    (lambda x: local_similarity(x, 3, 0), "dilation is 0, expected a whole number from 1 to 64"),
    (lambda x: local_similarity(x, 3, 1.5), "dilation is 1.5, expected a whole number"),
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
