"""The Laplacian pyramid: what its levels hold, and that they add up."""

from __future__ import annotations

from collections.abc import Callable

import gaussian_oracle
import numpy as np
import pytest
import torch
from maps_under_test import EVEN_ODD_PRIME_POWER, LIMITS, random_map, relative_error
from torch import Tensor, nn

from differseg.errors import InputError
from differseg.ops.pyramid import laplacian_pyramid, reconstruct_pyramid

pytestmark = pytest.mark.usefixtures("one_thread")


def _enlarged(small: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """Interpolate the last two axes, pixel i at pixel 2i, the last one repeated."""
    for axis, extent in zip((2, 3), size_hw, strict=True):
        places = np.arange(extent) / 2
        known = np.arange(small.shape[axis])
        small = np.apply_along_axis(
            lambda row, p=places, k=known: np.interp(p, k, row), axis, small
        )
    return small


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("size_hw", [(17, 24), (9, 8), (3, 3)])
def test_levels(size_hw: tuple[int, int], dtype: torch.dtype) -> None:
    x = random_map(size_hw, channels=2, dtype=dtype)
    detail, small = laplacian_pyramid(x, 1)
    blurred = gaussian_oracle.lowpass(x, 1.0, 5, "reflect")[:, :, ::2, ::2]
    assert relative_error(small, blurred) < LIMITS[dtype]
    expected = x.double().numpy() - _enlarged(small.double().numpy(), size_hw)
    assert relative_error(detail, expected) < LIMITS[dtype]
    assert detail.dtype == small.dtype == dtype


@pytest.mark.parametrize("size_hw", EVEN_ODD_PRIME_POWER)
def test_levels_add_up(size_hw: tuple[int, int]) -> None:
    for dtype, limit in ((torch.float32, 2e-7), (torch.float16, 2e-3), (torch.float64, 1e-15)):
        x = random_map(size_hw, dtype=dtype)
        pyramid = laplacian_pyramid(x, 4)
        assert len(pyramid) == 5
        assert relative_error(reconstruct_pyramid(pyramid), x) <= limit


def test_a_constant_has_no_detail() -> None:
    *details, rest = laplacian_pyramid(torch.full((1, 1, 13, 16), 10.0), 2)
    assert all(detail.abs().max() < 5e-6 for detail in details)
    assert rest.mean() == pytest.approx(10.0)


def test_gradient_and_export() -> None:
    x = torch.randn(1, 1, 5, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a: tuple(laplacian_pyramid(a, 2)), x)

    class Split(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return reconstruct_pyramid([2 * level for level in laplacian_pyramid(x, 2)])

    program = torch.export.export(Split(), (x,))
    assert relative_error(program.module()(x).detach(), 2 * x.detach()) < 1e-14


REFUSED = [
    (lambda x: laplacian_pyramid(x, 0), "levels is 0, expected a whole number from 1"),
    (lambda x: laplacian_pyramid(x, 3), "at most 2 for maps of (6, 7)"),
    (lambda x: laplacian_pyramid(x, 1.0), "levels is 1.0, expected a whole number"),
    (lambda x: laplacian_pyramid(x[0], 1), "laplacian_pyramid: x has 3 axes"),
    (lambda x: reconstruct_pyramid([x]), "reconstruct_pyramid: 1 levels, expected"),
    (lambda x: reconstruct_pyramid([x, x]), "is (2, 3, 6, 7), expected (2, 3, 3, 4), half"),
    (
        lambda x: reconstruct_pyramid([x, x[:1, :, ::2, ::2]]),
        "pyramid[1] is (1, 3, 3, 4), expected (2, 3, 3, 4), half of",
    ),
    (lambda x: reconstruct_pyramid([x, x[:, :1, ::2, ::2]]), "pyramid[1] is (2, 1, 3, 4), exp"),
    (lambda x: laplacian_pyramid(x, True), "levels is True, expected a whole number"),
    (lambda x: reconstruct_pyramid(laplacian_pyramid(x, 1)[::-1]), "pass the largest level first"),
]


@pytest.mark.parametrize(("call", "text"), REFUSED)
def test_refused(call: Callable[[Tensor], object], text: str) -> None:
    with pytest.raises(InputError) as caught:
        call(torch.randn(2, 3, 6, 7))
    assert text in str(caught.value)
