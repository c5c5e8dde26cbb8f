"""Saliency displacement and its inversion in PyTorch against the definitions."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
import sampling_oracle as oracle
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
from torch.nn import functional

from differseg.errors import InputError
from differseg.ops.saliency import (
    invert_displacement,
    normalized_saliency,
    saliency_displacement,
)
from differseg.ops.sampling import displacement_to_positions, warp

pytestmark = pytest.mark.usefixtures("one_thread")
SIZES_AND_DTYPES = [
    *itertools.product(EVEN_ODD_PRIME_POWER, (torch.float32, torch.float16)),
    (EVEN_ODD_PRIME_POWER[0], torch.float64),
    (EVEN_ODD_PRIME_POWER[1], torch.bfloat16),
]


def _coordinates(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _smooth_saliency(size_hw: tuple[int, int], deviation: float, batch: int = 1) -> Tensor:
    """Return a saliency as a network makes it: from smooth logits."""
    coarse = (max(2, size_hw[0] // 6), max(2, size_hw[1] // 6))
    logits = random_map(coarse, batch=batch, channels=1, mean=0)
    logits = functional.interpolate(logits, size=size_hw, mode="bicubic", align_corners=True)
    return normalized_saliency(logits / logits.std() * deviation)


@pytest.mark.parametrize(("batch", "layout"), BATCHES_AND_LAYOUTS)
@pytest.mark.parametrize(("size_hw", "dtype"), SIZES_AND_DTYPES)
def test_displacement_against_the_definition(
    size_hw: tuple[int, int],
    batch: int,
    layout: str,
    dtype: torch.dtype,
    measured: Callable[..., None],
) -> None:
    radius, fwhm = [(5, 3.0), (1, 0.8), (3, 4.5)][(sum(size_hw) + batch) % 3]
    size_hw = size_hw[0] // 2, size_hw[1] // 2
    saliency = random_map(size_hw, batch=batch, channels=1, dtype=dtype, layout=layout)
    displacement = saliency_displacement(saliency, radius=radius, fwhm=fwhm)
    assert displacement.dtype == _coordinates(dtype)
    assert displacement.is_contiguous()
    measured(
        "saliency_displacement",
        form="torch",
        dtype=str(dtype).removeprefix("torch."),
        error=relative_error(displacement, oracle.saliency_displacement(saliency, radius, fwhm)),
        limit=LIMITS[dtype],
    )


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(("size_hw", "dtype"), SIZES_AND_DTYPES)
def test_inversion_against_the_definition(
    size_hw: tuple[int, int], batch: int, dtype: torch.dtype, measured: Callable[..., None]
) -> None:
    size_hw = size_hw[0] // 2, size_hw[1] // 2
    displacement = saliency_displacement(_smooth_saliency(size_hw, 1.0, batch)).to(dtype)
    if batch == 3:
        displacement = displacement.contiguous(memory_format=torch.channels_last)
    inverse = invert_displacement(displacement, iterations=7)
    assert inverse.dtype == _coordinates(dtype)
    assert inverse.is_contiguous()
    measured(
        "invert_displacement",
        form="torch",
        dtype=str(dtype).removeprefix("torch."),
        error=relative_error(inverse, oracle.invert_displacement(displacement, 7)),
        limit=LIMITS[dtype],
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_real_image(dtype: torch.dtype, sample_data: Path, measured: Callable[..., None]) -> None:
    x = real_map(sample_data, dtype)[..., 200:227, 300:341].mean(1, keepdim=True)
    saliency = normalized_saliency(5 * x).to(dtype)
    displacement = saliency_displacement(saliency)
    name, limit = str(dtype).removeprefix("torch."), LIMITS[dtype]
    error = relative_error(displacement, oracle.saliency_displacement(saliency, 5, 3.0))
    measured("saliency_displacement", form="torch", dtype=name, error=error, limit=limit)
    displacement = displacement.to(dtype)
    inverse = invert_displacement(displacement)
    error = relative_error(inverse, oracle.invert_displacement(displacement, 10))
    measured("invert_displacement", form="torch", dtype=name, error=error, limit=limit)


def test_same_as_the_coordinate_map_of_learning_to_zoom() -> None:
    """Weighted means of coordinates that go on linearly outside the map."""
    height, width, radius = 13, 17, 5
    saliency = normalized_saliency(torch.randn(1, 1, height, width, dtype=torch.float64))
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
    bell = torch.exp2(-4 * offsets**2 / 9)
    kernel = (bell[:, None] * bell)[None, None]
    extended = functional.pad(saliency, (radius,) * 4, mode="reflect")
    columns = torch.arange(-radius, width + radius).double().expand(extended.shape)
    rows = torch.arange(-radius, height + radius).double()[:, None].expand(extended.shape)
    mass = functional.conv2d(extended, kernel)
    x, y = (functional.conv2d(extended * c, kernel) / mass for c in (columns, rows))
    x[..., 0], x[..., -1] = 0, width - 1
    y[..., 0, :], y[..., -1, :] = 0, height - 1
    positions = displacement_to_positions(saliency_displacement(saliency))
    assert relative_error(positions, torch.cat((x, y), 1)) < 1e-13


def test_uniform_saliency_moves_nothing_and_a_peak_attracts() -> None:
    uniform = saliency_displacement(torch.full((1, 1, 12, 15), 3.0))
    assert uniform.abs().max() < 1e-6
    peak = torch.full((1, 1, 21, 21), 1e-3)
    peak[0, 0, 10, 10] = 100
    displacement = saliency_displacement(peak)
    assert displacement[0, :, 10, 8].tolist() == pytest.approx([2, 0], abs=0.01)
    assert displacement[0, :, 12, 9].tolist() == pytest.approx([1, -2], abs=0.01)
    assert displacement.abs().max() <= 5
    assert torch.equal(saliency_displacement(torch.zeros(1, 1, 8, 8)), torch.zeros(1, 2, 8, 8))


def test_the_lattice_spans_the_map_and_keeps_its_order() -> None:
    positions = displacement_to_positions(saliency_displacement(_smooth_saliency((30, 41), 1.0)))
    assert (positions[:, 0, :, 0] == 0).all()
    assert (positions[:, 0, :, -1] == 40).all()
    assert (positions[:, 1, 0] == 0).all()
    assert (positions[:, 1, -1] == 29).all()
    assert (positions[:, 0].diff(dim=-1) > 0).all()
    assert (positions[:, 1].diff(dim=-2) > 0).all()


def test_normalized_saliency_has_mean_one() -> None:
    for dtype in LIMITS:
        logits = random_map((9, 8), channels=1, mean=300).to(dtype)
        saliency = normalized_saliency(logits)
        assert saliency.dtype == _coordinates(dtype)
        assert torch.allclose(saliency.mean((1, 2, 3)), torch.ones((), dtype=saliency.dtype))
        expected = logits.double().flatten(1).softmax(1).view(logits.shape) * 72
        assert relative_error(saliency, expected) < 1e-5


@pytest.mark.parametrize(("deviation", "residual_px"), [(0.5, 0.002), (1.0, 0.02), (2.0, 0.3)])
def test_inversion_undoes_the_warp(deviation: float, residual_px: float) -> None:
    displacement = saliency_displacement(_smooth_saliency((48, 48), deviation))
    inverse = invert_displacement(displacement)
    places = displacement_to_positions(inverse)
    left_px = (inverse + warp(displacement, places)).norm(dim=1)
    assert left_px.mean() < residual_px
    assert left_px.mean() < 0.2 * displacement.norm(dim=1).mean()
    rows, columns = torch.meshgrid(torch.arange(48.0), torch.arange(48.0), indexing="ij")
    f = torch.stack((torch.sin(rows / 5), torch.cos(columns / 4)))[None]
    warped = warp(f, displacement_to_positions(displacement))
    assert (warp(warped, places) - f).abs().mean() < 0.5 * (warped - f).abs().mean()


def test_gradients() -> None:
    torch.manual_seed(0)  # a place on the edge of a cell has no derivative
    for size_hw, radius in (((5, 6), 3), ((4, 3), 2), ((2, 7), 1)):
        saliency = torch.rand(2, 1, *size_hw, dtype=torch.float64) + 0.1
        call = lambda s, r=radius: saliency_displacement(s, radius=r, fwhm=2.5)  # noqa: E731
        assert torch.autograd.gradcheck(call, saliency.requires_grad_())
    displacement = (torch.randn(2, 2, 4, 5, dtype=torch.float64) * 0.4).requires_grad_()
    for iterations in (1, 3, 6):
        call = lambda d, i=iterations: invert_displacement(d, iterations=i)  # noqa: E731
        assert torch.autograd.gradcheck(call, displacement)
    logits = torch.randn(2, 1, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(normalized_saliency, logits)


def test_gradients_in_float16() -> None:
    saliency = _smooth_saliency((14, 13), 1.0, batch=2).half()
    weights = torch.randn(2, 2, 14, 13)
    grads = []
    for dtype in (torch.float16, torch.float64):
        leaf = saliency.to(dtype).detach().requires_grad_()
        inverse = invert_displacement(saliency_displacement(leaf))
        (inverse * weights.to(inverse.dtype)).sum().backward()
        grads.append(leaf.grad)
    assert grads[0].dtype == torch.float16
    assert relative_error(*grads) < LIMITS[torch.float16]


class _Resampled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.Conv2d(4, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        displacement = saliency_displacement(normalized_saliency(self.attention(x)), radius=3)
        warped = warp(x, displacement_to_positions(displacement))
        return warp(warped.tanh(), displacement_to_positions(invert_displacement(displacement)))


def test_registered_operators_are_well_formed() -> None:
    operators = torch.ops.differseg
    for memory in (torch.contiguous_format, torch.channels_last):
        saliency = _smooth_saliency((8, 9), 1.0, batch=2)
        displacement = saliency_displacement(saliency)
        saliency, displacement = (
            leaf.contiguous(memory_format=memory).requires_grad_()
            for leaf in (saliency, displacement)
        )
        torch.library.opcheck(operators.saliency_displacement.default, (saliency, 4, 3.0))
        torch.library.opcheck(operators.invert_displacement.default, (displacement, 5))


def test_compile_and_export() -> None:
    x = random_map((9, 10), channels=4, mean=0)
    model = _Resampled()
    grads = []
    for call in (model, torch.compile(model, backend="aot_eager", fullgraph=True)):
        leaf = x.clone().requires_grad_()
        call(leaf).square().sum().backward()
        grads.append(leaf.grad)
    assert torch.allclose(*grads, rtol=1e-3, atol=1e-4)
    batch = {"x": {0: torch.export.Dim("batch")}}
    program = torch.export.export(model, (x,), dynamic_shapes=batch)
    nodes = [str(node.target) for node in program.graph.nodes]
    assert nodes.count("differseg.saliency_displacement.default") == 1
    assert nodes.count("differseg.invert_displacement.default") == 1
    assert nodes.count("differseg.warp.default") == 2
    other = random_map((9, 10), batch=5, channels=4, mean=0)
    assert torch.allclose(program.module()(other), model(other), atol=1e-4)


REFUSED = [
    (lambda x: normalized_saliency(x), "logits has shape (2, 3, 6, 7), expected (N, 1, H, W); "),
    (lambda x: saliency_displacement(x), "the axis of extent 1 is the second one"),
    (lambda x: saliency_displacement(x[:, :1, 0]), "saliency_displacement: saliency has 3 axes"),
    (lambda x: saliency_displacement(x[:, :1], radius=6), "expected H and W above radius=6"),
    (lambda x: saliency_displacement(x[:, :1], radius=0), "radius is 0, expected a whole number"),
    (lambda x: saliency_displacement(x[:, :1], fwhm=0), "fwhm is 0, expected pixels above 0"),
    (lambda x: saliency_displacement(x[:, :1], fwhm="3"), "fwhm is '3', expected pixels above 0"),
    (lambda x: saliency_displacement(x[:, :1], fwhm=True), "fwhm is True, expected pixels above"),
    (lambda x: invert_displacement(x), "displacement has shape (2, 3, 6, 7), expected (N, 2, H"),
    (lambda x: invert_displacement(x[:, :2], iterations=0), "iterations is 0, expected a whole"),
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
