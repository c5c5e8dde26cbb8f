"""Programs with complex numbers, written out in real ones: every rule against PyTorch itself."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from complex_programs import LIMITS, Inner, Of, as_real, check, written
from fourier_networks import HalfPrecision, networks, noise
from torch import Tensor, nn

from differseg.errors import InputError
from differseg.export.lowering.complex_numbers import real_valued
from differseg.export.lowering.complex_pair import Pair

LAST_TWO = (-2, -1)
rfft2, irfft2, fft2, ifft2 = torch.fft.rfft2, torch.fft.irfft2, torch.fft.fft2, torch.fft.ifft2


class Owner(nn.Module):
    """Complex parameters, buffers and constants."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 1, 1, dtype=torch.cfloat))
        self.register_buffer("shift", torch.randn(5, dtype=torch.cfloat))

    def forward(self, x: Tensor) -> Tensor:
        spectrum = rfft2(x) * self.weight + self.shift + torch.tensor([1j, 2.0, 3.0, 4.0, 5.0])
        return irfft2(spectrum, s=x.shape[-2:])


TRANSFORMS = {
    "one-sided": lambda x: irfft2(rfft2(x), s=x.shape[-2:]),
    "norms": lambda x: [
        irfft2(rfft2(x, norm=norm) * 1j, s=x.shape[-2:], norm=other)
        for norm in ("backward", "ortho", "forward")
        for other in ("backward", "ortho", "forward")
    ],
    "padded and cropped": lambda x: irfft2(rfft2(x, s=(12, 5), norm="forward"), s=(7, 9)),
    "even and odd lengths": lambda x: [irfft2(rfft2(x), s=(x.shape[-2], n)) for n in (8, 9)],
    "other axes": lambda x: torch.fft.irfft2(rfft2(x, dim=(2, 1)), s=(9, 4), dim=(2, 1)),
    "axes apart": lambda x: torch.fft.irfftn(torch.fft.rfftn(x, dim=(1, 3)), (4, 11), (1, 3)),
    "batch axis": lambda x: torch.fft.irfft(torch.fft.rfft(x, dim=0), n=2, dim=0),
    "three axes": lambda x: torch.fft.irfftn(torch.fft.rfftn(x, dim=(1, 2, 3)), s=x.shape[1:]),
    "two-sided": lambda x: (fft2(x).real, fft2(x).imag, fft2(x).abs()),
    "two-sided, three axes": lambda x: torch.fft.fftn(x, dim=(1, 2, 3), norm="ortho").abs(),
    "two-sided, one axis": lambda x: torch.fft.fft(x, dim=2, n=11).imag,
    "inverse of real": lambda x: (ifft2(x).real, ifft2(x).imag),
    "there and back": lambda x: (ifft2(fft2(x) * 1j).imag, ifft2(fft2(x)).real),
    "real part of forward": lambda x: torch.fft.fft(fft2(x), dim=1).real,
    "real part of three axes": lambda x: torch.fft.ifftn(rfft2(x), dim=(1, 2, 3)).real,
    "imaginary part": lambda x: ifft2(rfft2(x)).imag,
    "hermitian": lambda x: (torch.fft.hfft(torch.fft.ihfft(x)), torch.fft.hfft2(rfft2(x))),
    "complex, each axis": lambda x: [
        torch.fft.ifft(rfft2(x), dim=dim, norm="ortho").abs() for dim in (0, 1, 2, 3)
    ],
    "vectors": lambda x: torch.fft.irfft(torch.fft.rfft(x[0, 0, 0])),
    "lines": lambda x: torch.fft.fft(torch.fft.rfft(x[0, 0]), dim=0).abs(),
    "five axes": lambda x: irfft2(rfft2(x[None]).transpose(0, 1), s=x.shape[-2:]),
    "one point": lambda x: (irfft2(rfft2(x[..., :1, :1]), s=(1, 1)), fft2(x[..., :2, :1]).real),
    "single width": lambda x: torch.fft.rfft(x[..., :1]).real,
}

ARITHMETIC = {
    "sums": lambda z, r: (z + 1, z - 2j, 3 - z, 1j + z, z + z.conj(), z - r, r + z, z.sum()),
    "alpha": lambda z, r: (torch.add(z, z, alpha=2), torch.sub(z, r, alpha=3)),
    "products": lambda z, r: (z * z, z * r, r * z, z * 2, z * 2j, z * (1 + 2j), r * 1j * z, -z),
    "broadcast": lambda z, r: (z[0, 0] * z, z * z[0, 0], r[0] + z, z + r[0, 0], z[:1] - z[0, :1]),
    "quotients": lambda z, r: (
        z / 2,
        z / 2j,
        z / (r + 9),
        r / (z + 40),
        z / (z + 40),
        1 / (z + 40),
    ),
    "scalars": lambda z, r: (z * torch.tensor(2j), z + torch.tensor(1.5), r * torch.tensor(1j)),
    "powers": lambda z, r: (z**2, z.square(), z**3, (z + 40) ** -2, torch.pow(z, 4)),
    "polar form": lambda z, r: (torch.polar(r, z.real), torch.exp(z * 0.1), torch.exp(1j * r)),
    "angles": lambda z, r: (z.angle(), torch.atan2(z.imag, z.real) * 2, torch.log(z + 40)),
    "turns": lambda z, r: (z.angle().cos(), torch.sin(z.angle()), z.sgn(), (z * 0).sgn()),
    "of parts": lambda z, r: (torch.complex(r, r * 2) * z, torch.complex(r, z.imag).abs()),
    "means": lambda z, r: (z.mean((2, 3), keepdim=True), z.sum(1), z.mean(), z.sum((0, -1))),
    "matrices": lambda z, r: (
        z @ z.mT,
        r.to(z.dtype) @ z.mT,
        z.mT @ r.to(z.dtype),
        torch.bmm(z[0], z[1].mT),
    ),
    "einsum": lambda z, r: (
        torch.einsum("nchw,ndhw->ncdh", z, z),
        torch.einsum("...hw,hw->...", z, r[0, 0].to(z.dtype)),
        torch.einsum("nchw,c->nchw", z, z[0, :, 0, 0]),
        torch.einsum("nchw,nchv,nch->nwv", z, z, z[..., 0]),
        torch.einsum("nchw->whn", z),
    ),
}

LAYOUT = {
    "parts": lambda z: (
        z.real,
        z.imag,
        torch.view_as_real(z),
        z.conj().imag,
        z.conj().resolve_conj(),
    ),
    "axes": lambda z: (
        z.permute(2, 0, 3, 1),
        z.transpose(1, -1),
        z.mT,
        z.movedim(1, -1),
        z[0, 0].T,
    ),
    "shapes": lambda z: (
        z.reshape(2, -1),
        z.flatten(2),
        z.view(2, 4, 3, 3, 6),
        z.flatten(1, 2).unflatten(1, (2, 18)),
        z.permute(0, 2, 3, 1).reshape(2, 9, -1),
        z.transpose(2, 3).contiguous().view(2, -1, 3, 3),
    ),
    "sizes": lambda z: (
        z[:, :1].expand(-1, 3, -1, -1),
        z[0].expand(3, 4, 9, 6),
        z.repeat(2, 1, 1, 3),
    ),
    "unit axes": lambda z: (z.unsqueeze(0), z.unsqueeze(-1), z[:1].squeeze(), z[:, :1].squeeze(1)),
    "pieces": lambda z: (
        z[..., 1:5:2, :],
        z[:, -1],
        z[..., -2:],
        z[:, [2, 0]],
        z[:, torch.tensor([1, 1]), torch.tensor([0, 2])],
        z.flip((1, 3)),
        z.select(2, 1),
        torch.narrow(z, 3, 1, 2),
    ),
    "split": lambda z: (*z.split(2, 1), *z.split([1, 3], 1), *z.chunk(2, -1), *z.unbind(1)),
    "joined": lambda z: (
        torch.cat([z, z * 2], 1),
        torch.stack([z, z.conj()], 2),
        torch.cat([z, z.real]),
    ),
    "padded": lambda z: (
        nn.functional.pad(z, (1, 2, 0, 3)),
        nn.functional.pad(z.permute(0, 2, 3, 1), (0, 1, -1, 2)),
    ),
    "shifted": lambda z: (
        torch.fft.fftshift(z, dim=LAST_TWO),
        torch.fft.ifftshift(z),
        torch.roll(z, (1, -2), (1, 3)),
        torch.roll(torch.roll(z, 2, 2), 7, 2),
    ),
    "masked": lambda z: (
        torch.where(z.real > 0, z, 0),
        torch.where(z.real > 0, z.conj(), z),
        torch.where(z.real > 0, torch.zeros_like(z), z),
        z.masked_fill(z.imag > 0, 2.0),
        z * (z.abs() > 1),
    ),
    "types": lambda z: (z.to(torch.complex128), z.to(torch.complex64), z.clone(), z.detach()),
    "constants": lambda z: (
        z + torch.ones_like(z),
        z * torch.full_like(z, 2 + 1j),
        torch.cat([z, torch.zeros(2, 1, 9, 6, dtype=z.dtype)], 1),
        torch.zeros_like(z) + z.real,
        torch.zeros_like(z).reshape(2, 4, -1)[..., ::2],
        z.new_ones(9, 6) * z,
    ),
}


def assigned(z: Tensor) -> list[Tensor]:
    """Slices, elements and masked elements that are written to."""
    low = torch.zeros_like(z)
    low[..., :3, :2] = z[..., :3, :2]
    low[..., -3:, :2] = z[..., -3:, :2]
    high = z.clone()
    high[..., :3, :2] = 0
    high[..., 5:, 1:] = 2j
    one = z.clone()
    one[:, 1] = z[:, 0]
    one.imag[..., 0, 0] = 0
    one *= 2
    mask = torch.zeros(z.shape[-2:], dtype=torch.bool)
    mask[2:4] = True
    one[:, :, mask] = 0
    return [low, high, one]


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """Small programs run faster on one thread."""


@pytest.mark.parametrize("dtype", LIMITS, ids=["float64", "float32"])
def test_transforms(dtype: torch.dtype) -> None:
    module = Of(lambda x: {name: transform(x) for name, transform in TRANSFORMS.items()})
    check(module, noise(2, 4, 9, 11).to(dtype))


def spectrum_of(x: Tensor, kind: str) -> Tensor:
    """Return (N, C, H, 6): packed, with axes that were only relabelled, or as two tensors."""
    if kind == "packed":
        return rfft2(x)
    if kind == "permuted":
        return rfft2(x.permute(0, 2, 3, 1), dim=(1, 2)).permute(0, 3, 1, 2)
    return torch.complex(x[..., :6], x[..., 5:].exp())


@pytest.mark.parametrize("kind", ["packed", "permuted", "split"])
def test_arithmetic(kind: str) -> None:
    def compute(x: Tensor) -> Any:
        z = spectrum_of(x, kind)
        return {name: as_real(rule(z, x[..., :6])) for name, rule in ARITHMETIC.items()}

    check(Of(compute), noise(2, 4, 9, 11).double())


def test_single_and_double_precision_together() -> None:
    def compute(x: Tensor, y: Tensor) -> Any:
        z = rfft2(x)
        return as_real((z + y, y - z, z * y, torch.complex(x, x) + y, z + 1.5, (z * 2j) @ z.mT))

    check(Of(compute), noise(3, 8, 1), noise(3, 8, 1, seed=1).double())


@pytest.mark.parametrize("kind", ["packed", "permuted", "split"])
def test_layout(kind: str) -> None:
    def compute(x: Tensor) -> Any:
        z = spectrum_of(x, kind)
        return {name: as_real(rule(z)) for name, rule in (LAYOUT | {"assigned": assigned}).items()}

    check(Of(compute), noise(2, 4, 9, 11).double())


SINGLE = ("fourier layer", "global filter", "complex attention")
"""Networks with a part in single precision, whatever the inputs."""


@pytest.mark.parametrize("name", [*SINGLE, "two-sided exchange", "high-pass, odd", "shifted masks"])
def test_network_of_any_batch(name: str) -> None:
    module, inputs = networks()[name]
    if name not in SINGLE:
        module, inputs = module.double(), tuple(value.double() for value in inputs)
    check(module, *inputs, dynamic=True)


def test_half_precision_around_a_transform_in_float32() -> None:
    module, x = HalfPrecision().half(), noise(2, 4, 8, 8).half()
    program = written(module, x)
    with torch.no_grad():
        expected, found = module(x), program.module()(x)
    assert found.dtype == torch.float16
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=2e-3)


def test_complex_parameters_buffers_and_constants_stay_what_they_are() -> None:
    module = Owner()
    before = copy.deepcopy(module.state_dict())
    x = noise(2, 4, 8, 8)
    check(module, x)
    program = written(module, x)
    assert set(program.state_dict) == {"weight", "shift"}
    assert program.state_dict["weight"].dtype == torch.float32
    assert module.weight.dtype == torch.cfloat
    assert module.weight.requires_grad
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_a_program_without_complex_numbers_is_not_touched() -> None:
    inputs = (noise(1, 4, 8, 8),)
    program = torch.export.export(nn.Conv2d(4, 4, 3).eval(), inputs)
    assert real_valued(program, inputs) is program


def test_nodes_keep_the_path_of_their_module() -> None:
    program = written(Inner(lambda x: rfft2(x).abs()), noise(1, 2, 4, 4))
    paths = {
        node.target.__name__: [path for path, _ in node.meta["nn_module_stack"].values()][-1]
        for node in program.graph.nodes
        if node.op == "call_function"
    }
    assert paths["rfft2.default"] == "filter"
    assert paths["linalg_vector_norm.default"] == "filter"


def test_a_shift_of_constant_masks_moves_no_spectrum() -> None:
    module, inputs = networks()["shifted masks"]
    program = written(module, *inputs)
    rolled = [n for n in program.graph.nodes if "roll" in getattr(n.target, "__name__", "")]
    assert rolled
    assert all(node.args[0].meta["val"].ndim == 2 for node in rolled)


def complex_output(x: Tensor) -> Tensor:
    return rfft2(x)


REFUSED = {
    "no rule": (lambda x: rfft2(x).tanh().abs(), r"aten\.tanh\.default of complex .* from filter"),
    "determinant": (lambda x: torch.linalg.det(rfft2(x)[..., :4, :4]).abs(), "from filter"),
    "power": (lambda x: (rfft2(x) ** 0.5).abs(), "only whole powers from -4 to 4"),
    "failing decomposition": (
        lambda x: torch.nan_to_num(rfft2(x)).abs(),
        r"aten\.nan_to_num\.default .* from filter",
    ),
    "memory": (lambda x: rfft2(x).view(torch.float32), "from filter.* use torch.view_as_real"),
    "complex output": (complex_output, "output 0 of the module is complex .*view_as_real"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_real_form_is_refused_in_one_line(name: str) -> None:
    function, said = REFUSED[name]
    with pytest.raises(InputError, match=said) as caught:
        written(Inner(function), noise(1, 2, 8, 8))
    assert "\n" not in str(caught.value)


def test_a_complex_input_is_refused() -> None:
    with pytest.raises(InputError, match="input 0 of the module is complex"):
        written(Of(torch.abs), noise(1, 2, 8, 2).to(torch.cfloat))


def test_a_pair_finds_its_axes_wherever_they_lie() -> None:
    packed = torch.arange(48.0).reshape(3, 2, 4, 2)  # axis 1 is (real, imaginary)
    pair = Pair.packed(packed, (1, -1, 2, 0))
    assert pair.shape == (2, 3, 4)
    assert torch.equal(pair.real, packed[:, 0].permute(2, 0, 1))
    assert torch.equal(pair.imag, packed[:, 1].permute(2, 0, 1))
    raised = pair.raised(5)
    assert raised.shape == (1, 1, 2, 3, 4)
    assert torch.equal(raised.imag[0, 0], pair.imag)
    assert math.prod(Pair.zeros((2, 3), torch.float32, torch.device("cpu")).real.shape) == 6
