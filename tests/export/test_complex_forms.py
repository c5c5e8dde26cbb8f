"""Ways of writing complex numbers that people have: views of parts, broadcasting, shifted masks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from complex_programs import Inner, Of, as_real, check, written
from fourier_networks import noise
from torch import Tensor

from differseg.errors import InputError
from differseg.export.lowering.complex_rules import RULES

LAST_TWO = (-2, -1)
rfft2, fft2, ifft2 = torch.fft.rfft2, torch.fft.fft2, torch.fft.ifft2
fftshift, ifftshift = torch.fft.fftshift, torch.fft.ifftshift


def filled(z: Tensor) -> list[Tensor]:
    """Empty tensors that are written to, and slices with a step."""
    like, new = torch.empty_like(z), torch.empty(z.shape, dtype=z.dtype)
    like[:], new[..., ::2], new[..., 1::2] = z, z[..., ::2], 2j
    every_other = z.clone()
    every_other[:, 1::2] = 0
    every_other[..., -1:1:2] = 1
    every_other[:, :, ::3] = z[:, :, ::3].real
    return [like, new, every_other]


FORMS: dict[str, Callable[[Tensor], Any]] = {
    "views of parts": lambda z: (
        z.real.flatten(1),
        z.imag.view(2, -1),
        (z * z).real.flatten(1, 2),
        torch.view_as_real(z).flatten(1),
        torch.view_as_real(z).view(2, 4, 9, 12),
    ),
    "einsum, broadcast": lambda z: (
        torch.einsum("nchw,nchw->nhw", z, z[:, :1]),
        torch.einsum("nchw,ncdw->nhd", z[:1], z),
        torch.einsum("...hw,...w->...h", z[:1], z[:, :, 0]),
    ),
    "einsum of parts": lambda z: (
        torch.einsum("...hw,...vw->...hv", z.real, z.imag[:, :1]),
        torch.einsum("NCHW,CK", z.real, torch.ones(1, 5, dtype=z.real.dtype)),
    ),
    "truth": lambda z: (
        (z.real * 1j).to(torch.bool).float(),
        z.to(torch.bool).float(),
        (z == 0).float(),
        (z != z.conj()).float(),
        torch.zeros_like(z).to(torch.bool).float(),
    ),
    "without axes": lambda z: (z.mean().sum(), z.sum().mean() * z, z.sum().reshape(1)),
    "vectors": lambda z: (z[0, 0] @ z[0, 1, 0], z[0, 0, :, 0] @ z[0, 1], z @ z[0, 0, 0]),
    "scaled sums": lambda z: (
        torch.addmm(z[0, 0, :, :1], z[0, 0], z[0, 1].mT, beta=2, alpha=0.5),
        torch.baddbmm(z[:, 0], z[:, 1], z[:, 1, :6] * 2, alpha=3),
    ),
    "lengths": lambda z: (
        torch.linalg.vector_norm(z, dim=1),
        F.normalize(z, dim=1),
        torch.norm(z),
    ),
    "circular border": lambda z: F.pad(z, (1, 2, 1, 0), mode="circular"),
    "filled": filled,
}


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """Small programs run faster on one thread."""


@pytest.mark.parametrize("name", FORMS)
def test_form_of_complex_numbers(name: str) -> None:
    x = noise(2, 4, 9, 11).double()
    check(Of(lambda x: as_real(FORMS[name](rfft2(x)))), x)
    check(Of(lambda x: as_real(FORMS[name](torch.complex(x[..., :6], x[..., 5:])))), x)


def high_pass(x: Tensor) -> Tensor:
    mask = torch.zeros(x.shape)
    mask[..., 2:6, 3:7] = 1
    kept = fftshift(fft2(x, norm="forward")) * (1 - mask)
    back = ifftshift(torch.complex(kept.real, kept.imag))
    return ifft2(back, norm="forward").real.abs()


@pytest.mark.parametrize("size_hw", [(8, 10), (9, 11)], ids=str)
def test_a_spectrum_put_together_of_its_parts_is_not_moved(size_hw: tuple[int, int]) -> None:
    x = noise(2, 3, *size_hw)
    check(Of(high_pass), x)
    program = written(Of(high_pass), x)
    program.graph.eliminate_dead_code()
    moving: set[Any] = set()
    for node in program.graph.nodes:
        if node.name in program.graph_signature.user_inputs or moving & set(node.all_input_nodes):
            moving.add(node)
    assert moving
    assert not [node for node in moving if node.target is torch.ops.aten.roll.default]


def test_zeros_larger_than_a_shifted_spectrum_broadcast_it() -> None:
    def forward(x: Tensor) -> Any:
        z = fftshift(rfft2(x)[:1, :1], dim=LAST_TWO)
        mask = torch.ones(9, 6) > 0
        return as_real(torch.where(mask, z, torch.zeros(2, 4, 9, 6, dtype=z.dtype)))

    check(Of(forward), noise(2, 4, 9, 11).double())


def test_a_shift_of_the_batch_that_varies_is_refused() -> None:
    with pytest.raises(InputError, match=r"it rolls an axis that varies.*dim=\(-2, -1\)"):
        written(Of(lambda x: fftshift(fft2(x)).abs()), noise(2, 3, 8, 8), dynamic=True)


def test_a_rule_that_fails_is_named_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("sizes differ\nin two lines")

    monkeypatch.setitem(RULES, torch.ops.aten.angle, fail)
    said = r"aten\.angle\.default .*from filter\) .*\(RuntimeError: sizes differ\)"
    with pytest.raises(InputError, match=said) as caught:
        written(Inner(lambda x: rfft2(x).angle()), noise(1, 2, 8, 8))
    assert "\n" not in str(caught.value)
