"""Fourier operators in PyTorch against torch.fft in float64 and against the definition."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import fourier_oracle as oracle
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
from differseg.ops.fourier import (
    NORMS,
    fft,
    fft2,
    full_spectrum,
    ifft2,
    irfft,
    irfft2,
    rfft,
    rfft2,
)

pytestmark = pytest.mark.usefixtures("one_thread")
DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
SMALL = [(3, 4), (4, 5), (2, 3), (5, 2), (1, 1)]


def _round_trips(x: Tensor, norm: str) -> list[tuple[str, Tensor, Tensor]]:
    """Return (operator, its result, what it must be) of every operator on a map."""
    height, width = x.shape[-2:]
    spectrum = oracle.rfft2(x, norm).to(x.dtype)
    columns = oracle.rfft(x, -2, norm).to(x.dtype)
    rows = oracle.rfft(x, -1, norm).to(x.dtype)
    both = torch.stack((x, x.flip(-1)), 2)
    back_rows = oracle.irfft(rows, -1, width, norm)
    back_columns = oracle.irfft(columns, -2, height, norm)
    return [
        ("rfft2", rfft2(x, norm), oracle.rfft2(x, norm)),
        ("irfft2", irfft2(spectrum, width=width, norm=norm), oracle.irfft2(spectrum, width, norm)),
        ("rfft", rfft(x, norm=norm), oracle.rfft(x, -1, norm)),
        ("rfft", rfft(x, -2, norm=norm), oracle.rfft(x, -2, norm)),
        ("irfft", irfft(rows, length=width, norm=norm), back_rows),
        ("irfft", irfft(columns, -2, length=height, norm=norm), back_columns),
        ("fft", fft(both, norm=norm), oracle.fft(both, -1, False, norm)),
        ("fft", fft(both, -2, inverse=True, norm=norm), oracle.fft(both, -2, True, norm)),
    ]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("batch", "layout"), BATCHES_AND_LAYOUTS)
@pytest.mark.parametrize("size_hw", EVEN_ODD_PRIME_POWER)
def test_against_float64(
    size_hw: tuple[int, int],
    batch: int,
    layout: str,
    dtype: torch.dtype,
    measured: Callable[..., None],
) -> None:
    for norm, mean in itertools.product(NORMS, (0.0, 10.0)):
        x = random_map(size_hw, batch=batch, mean=mean, dtype=dtype, layout=layout)
        for operator, y, reference in _round_trips(x, norm):
            assert y.dtype == dtype
            assert y.is_contiguous()
            measured(
                operator,
                form="torch",
                dtype=str(dtype).removeprefix("torch."),
                error=relative_error(y, reference),
                limit=LIMITS[dtype],
            )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_real_image(dtype: torch.dtype, sample_data: Path, measured: Callable[..., None]) -> None:
    for operator, y, reference in _round_trips(real_map(sample_data, dtype), "ortho"):
        error = relative_error(y, reference)
        name = str(dtype).removeprefix("torch.")
        measured(operator, form="torch", dtype=name, error=error, limit=LIMITS[dtype])


def test_definition() -> None:
    """The oracle itself: a literal sum, without any FFT."""
    x = torch.randn(1, 1, 5, 6, dtype=torch.float64)
    rows, columns = np.arange(5), np.arange(6)
    for norm, scale in (("backward", 1), ("ortho", 30**-0.5), ("forward", 1 / 30)):
        expected = np.zeros((2, 5, 4))
        for k in range(5):
            for m in range(4):
                angle = 2 * np.pi * (k * rows[:, None] / 5 + m * columns / 6)
                expected[0, k, m] = (x[0, 0].numpy() * np.cos(angle)).sum() * scale
                expected[1, k, m] = -(x[0, 0].numpy() * np.sin(angle)).sum() * scale
        assert relative_error(rfft2(x, norm)[0, 0], expected) < 1e-14


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("size_hw", [*EVEN_ODD_PRIME_POWER, (1, 1), (1, 8), (7, 1), (2, 2)])
def test_inverse_gives_back_the_map(size_hw: tuple[int, int], norm: str) -> None:
    x = random_map(size_hw, dtype=torch.float64)
    assert relative_error(irfft2(rfft2(x, norm), width=size_hw[1], norm=norm), x) < 1e-13
    for axis in (-1, -2):
        back = irfft(rfft(x, axis, norm=norm), axis, length=size_hw[axis], norm=norm)
        assert relative_error(back, x) < 1e-13


@pytest.mark.parametrize("width", [8, 9])
def test_spectra_of_no_real_map(width: int) -> None:
    """Along W the imaginary parts of bin 0 and of the Nyquist bin do not count; along H they do."""
    spectrum = torch.randn(2, 3, 2, 7, 5, dtype=torch.float64)
    joined = (spectrum[:, :, 0] + 1j * spectrum[:, :, 1]).numpy()
    columns = np.fft.ifft(joined, axis=-2)
    columns[..., 0] = columns[..., 0].real
    if width % 2 == 0:
        columns[..., -1] = columns[..., -1].real
    expected = np.fft.irfft(columns, width, axis=-1)
    assert relative_error(irfft2(spectrum, width=width, norm="backward"), expected) < 1e-13
    changed = spectrum.clone()
    changed[:, :, 1, 3, 0] += 1.0
    assert not torch.equal(irfft2(changed, width=width), irfft2(spectrum, width=width))


def test_float16_survives_a_mean_of_ten() -> None:
    x = random_map((96, 128), dtype=torch.float16)
    for norm in ("ortho", "forward"):
        assert rfft2(x, norm).isfinite().all()
    assert rfft2(x, "backward")[:, :, 0, 0, 0].isinf().all(), "the sum of 12288 tens is no float16"


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("size_hw", [(6, 7), (5, 8), (1, 1), (2, 1), (9, 2)])
def test_full_spectra(size_hw: tuple[int, int], norm: str) -> None:
    x = torch.randn(2, 3, *size_hw, dtype=torch.float64)
    z = torch.randn(2, 3, 2, *size_hw, dtype=torch.float64)
    joined = torch.complex(z[:, :, 0], z[:, :, 1])
    for y, expected in (
        (fft2(x, norm), torch.fft.fft2(x, norm=norm)),
        (ifft2(x, norm), torch.fft.ifft2(x, norm=norm)),
        (fft2(z, norm), torch.fft.fft2(joined, norm=norm)),
        (ifft2(z, norm), torch.fft.ifft2(joined, norm=norm)),
        (full_spectrum(rfft2(x, norm), width=size_hw[1]), torch.fft.fft2(x, norm=norm)),
    ):
        assert relative_error(y[:, :, 0], expected.real) < 1e-13
        assert (y[:, :, 1] - expected.imag).abs().max() < 1e-12


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("size_hw", SMALL)
def test_gradients(size_hw: tuple[int, int], norm: str) -> None:
    height, width = size_hw
    x = torch.randn(1, 2, height, width, dtype=torch.float64, requires_grad=True)
    both = torch.randn(1, 2, 2, height, width, dtype=torch.float64, requires_grad=True)
    rows = torch.randn(1, 2, 2, height, width // 2 + 1, dtype=torch.float64, requires_grad=True)
    columns = torch.randn(1, 2, 2, height // 2 + 1, width, dtype=torch.float64, requires_grad=True)
    for function, value in (
        (lambda a: rfft2(a, norm), x),
        (lambda a: irfft2(a, width=width, norm=norm), rows),
        (lambda a: rfft(a, -1, norm=norm), x),
        (lambda a: rfft(a, -2, norm=norm), x),
        (lambda a: irfft(a, -1, length=width, norm=norm), rows),
        (lambda a: irfft(a, -2, length=height, norm=norm), columns),
        (lambda a: fft(a, -1, norm=norm), both),
        (lambda a: fft(a, -2, inverse=True, norm=norm), both),
    ):
        assert torch.autograd.gradcheck(function, value)
        assert torch.autograd.gradgradcheck(function, value)


def test_gradient_in_float16() -> None:
    x = random_map((24, 31), dtype=torch.float16)
    weights = torch.randn(2, 24, 16)
    grads = []
    for dtype in (torch.float16, torch.float64):
        leaf = x.to(dtype).clone().requires_grad_()
        (rfft2(leaf) * weights.to(dtype)).sum().backward()
        grads.append(leaf.grad)
    assert grads[0].dtype == torch.float16
    assert relative_error(*grads) < LIMITS[torch.float16]


class _Gate(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y = irfft2(rfft2(x) * 0.5, width=x.shape[-1])
        y = irfft(rfft(y, -2), -2, length=x.shape[-2])
        return y + fft(torch.stack((x, x), 2), -1)[:, :, 0]


def test_registered_operators_are_well_formed() -> None:
    x = torch.randn(2, 3, 6, 7, requires_grad=True)
    both = torch.randn(2, 3, 2, 6, 7, requires_grad=True)
    operators = torch.ops.differseg
    for operator, arguments in (
        (operators.rfft2, (x, "ortho")),
        (operators.irfft2, (both, 13, "backward")),
        (operators.rfft, (x, -2, "forward")),
        (operators.irfft, (both, -2, 10, "ortho")),
        (operators.fft, (both, -1, True, "ortho")),
    ):
        torch.library.opcheck(operator.default, arguments)


def test_compile_and_export() -> None:
    x = random_map((6, 7), mean=0)
    eager, compiled = x.clone().requires_grad_(), x.clone().requires_grad_()
    _Gate()(eager).square().sum().backward()
    torch.compile(_Gate(), backend="aot_eager", fullgraph=True)(compiled).square().sum().backward()
    assert torch.allclose(eager.grad, compiled.grad, atol=1e-6)

    program = torch.export.export(
        _Gate(), (x,), dynamic_shapes={"x": {0: torch.export.Dim("batch")}}
    )
    nodes = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    for name in ("rfft2", "irfft2", "rfft", "irfft", "fft"):
        assert f"differseg.{name}.default" in nodes
    other = random_map((6, 7), batch=5)
    assert torch.equal(program.module()(other), _Gate()(other))


REFUSED = [
    (lambda x: rfft2(x[0]), "rfft2: x has 3 axes, shape (3, 6, 7), expected (N, C, H, W); "),
    (lambda x: rfft2(x.int()), "expected torch.float32, float64, float16 or bfloat16; convert"),
    (lambda x: rfft2(torch.complex(x, x)), "torch.stack((z.real, z.imag), 2)"),
    (lambda x: rfft2([x]), "rfft2: x is list, expected a tensor; "),
    (lambda x: rfft2(x, "orto"), "norm is 'orto', expected one of 'backward', 'ortho', 'forward'"),
    (lambda x: rfft2(x[..., :0]), "shape (2, 3, 6, 0), expected at least 1 along every axis"),
    (lambda x: irfft2(x), "expected (N, C, 2, H, W//2+1)"),
    (lambda x: irfft2(x[:, :, None]), "shape (2, 3, 1, 6, 7), expected (N, C, 2, H, W//2+1)"),
    (lambda x: irfft2(rfft2(x), width=8), "width is 8, expected 6 or 7 for a spectrum of 4 bins"),
    (lambda x: irfft2(rfft2(x), width=7.0), "width is 7.0, expected 6 or 7"),
    (lambda x: irfft2(rfft2(x), width=0), "width is 0, expected 6 or 7"),
    (lambda x: irfft2(rfft2(x[..., :1])), "width is not given and the spectrum has 1 bin"),
    (lambda x: irfft(rfft(x, -2), -2, length=8), "length is 8, expected 6 or 7"),
    (lambda x: rfft(x, 1), "axis is 1, expected -1 (along W) or -2 (along H); "),
    (lambda x: rfft(x, -1.0), "axis is -1.0, expected -1 (along W) or -2 (along H); "),
    (lambda x: irfft2(rfft2(x[..., :1]), width=True), "width is True, expected 1 for a spectrum"),
    (lambda x: fft(x), "fft: spectrum has 4 axes"),
    (lambda x: fft2(x[0, 0]), "fft2: x has 2 axes"),
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
