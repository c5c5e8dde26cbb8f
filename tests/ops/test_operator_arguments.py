"""Numbers as arguments of operators: NumPy's count as Python's do."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from differseg.ops.arguments import is_whole
from differseg.ops.fourier import irfft2, rfft, rfft2
from differseg.ops.gaussian import gaussian_lowpass
from differseg.ops.reassembly import reassemble
from differseg.ops.saliency import invert_displacement, saliency_displacement
from differseg.ops.sampling import identity_offsets, positions_to_grid
from differseg.ops.similarity import local_similarity
from differseg.ops.spectrum import radial_mask
from differseg.ops.wavelet import dwt2, idwt2, wavedec2

pytestmark = pytest.mark.usefixtures("one_thread")
Make = Callable[[int], int]

CALLS: list[Callable[[Tensor, Make], Tensor]] = [
    lambda x, n: rfft(x, n(-1)),
    lambda x, n: irfft2(rfft2(x), width=n(9)),
    lambda x, n: idwt2(dwt2(x), size_hw=(n(8), n(9))),
    lambda x, n: wavedec2(x, levels=n(2))[0],
    lambda x, n: gaussian_lowpass(x, 1.0, n(3)),
    lambda x, n: gaussian_lowpass(x, n(1)),
    lambda x, n: reassemble(
        x, x.repeat(1, 9, 1, 1), kernel_size=n(3), scale=n(1), dilation=n(2), groups=n(2)
    ),
    lambda x, n: local_similarity(x, n(3), n(2)),
    lambda x, n: saliency_displacement(x[:, :1].abs(), radius=n(2), fwhm=n(3)),
    lambda x, n: invert_displacement(x, iterations=n(2)),
    lambda x, n: identity_offsets(n(2), n(2)),
    lambda x, n: positions_to_grid(x, [n(8), n(9)]),
    lambda x, n: radial_mask((n(8), n(9)), high=0.2, profile="butterworth", order=n(3)),
]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("make", [np.int64, np.int32, np.uint8])
def test_whole_numbers_of_numpy(call: Callable[[Tensor, Make], Tensor], make: Make) -> None:
    x = torch.randn(1, 2, 8, 9)
    if call is CALLS[0] and make is np.uint8:
        pytest.skip("no negative axis in uint8")
    assert torch.equal(call(x, make), call(x, int))


def test_numbers_of_numpy() -> None:
    x = torch.rand(1, 1, 8, 9)
    for real in (np.float32, np.float64):
        assert torch.equal(gaussian_lowpass(x, real(1.5)), gaussian_lowpass(x, 1.5))
        moves = saliency_displacement(x, fwhm=real(2.5))
        assert torch.equal(moves, saliency_displacement(x, fwhm=2.5))
        assert torch.equal(radial_mask((8, 9), real(0.25)), radial_mask((8, 9), 0.25))


def test_what_is_whole() -> None:
    assert all(map(is_whole, (0, -3, np.int8(2))))
    assert not any(map(is_whole, (True, np.bool_(True), 1.0, np.float32(1), "1", None)))
