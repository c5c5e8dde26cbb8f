"""Warp and dynamic-offset sampler in PyTorch against the definitions and against grid_sample."""

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
from differseg.ops.sampling import (
    displacement_to_positions,
    grid_to_positions,
    identity_offsets,
    positions_to_grid,
    sample_offsets,
    warp,
)

pytestmark = pytest.mark.usefixtures("one_thread")
SIZES_AND_DTYPES = [
    *itertools.product(EVEN_ODD_PRIME_POWER, (torch.float32, torch.float16)),
    (EVEN_ODD_PRIME_POWER[0], torch.float64),
    (EVEN_ODD_PRIME_POWER[1], torch.bfloat16),
]


def _positions(batch: int, out_hw: tuple[int, int], size_hw: tuple[int, int]) -> Tensor:
    """Return places in a map of ``size_hw`` and up to 2 pixels around it."""
    extents = torch.tensor([size_hw[1], size_hw[0]]).view(2, 1, 1)
    return torch.rand(batch, 2, *out_hw) * (extents + 3) - 2


def _layout(layout: str) -> torch.memory_format:
    return torch.channels_last if layout == "channels_last" else torch.contiguous_format


@pytest.mark.parametrize(("batch", "layout"), BATCHES_AND_LAYOUTS)
@pytest.mark.parametrize(("size_hw", "dtype"), SIZES_AND_DTYPES)
def test_against_the_definition(
    size_hw: tuple[int, int],
    batch: int,
    layout: str,
    dtype: torch.dtype,
    measured: Callable[..., None],
) -> None:
    x = random_map(size_hw, batch=batch, channels=4, dtype=dtype, layout=layout)
    positions = _positions(batch, (17, 20), size_hw)
    scale, groups = [(2, 1), (1, 4), (3, 2)][sum(size_hw) % 3]
    part = x[..., :12, :11].contiguous(memory_format=_layout(layout))
    offsets = torch.randn(batch, 2 * groups * scale**2, 12, 11).to(dtype)
    for operator, y, expected in (
        ("warp", warp(x, positions), oracle.warp(x, positions)),
        (
            "sample_offsets",
            sample_offsets(part, offsets, scale=scale, groups=groups),
            oracle.sample_offsets(part, offsets, scale, groups),
        ),
    ):
        assert y.dtype == dtype
        assert y.is_contiguous(memory_format=_layout(layout))
        name = str(dtype).removeprefix("torch.")
        error = relative_error(y, expected)
        measured(operator, form="torch", dtype=name, error=error, limit=LIMITS[dtype])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_real_image(dtype: torch.dtype, sample_data: Path, measured: Callable[..., None]) -> None:
    x = real_map(sample_data, dtype)
    positions = _positions(1, (31, 40), (x.shape[2], x.shape[3]))
    part = x[..., 200:227, 300:323]
    offsets = (torch.randn(1, 24, 27, 23) + identity_offsets(3, 2)).to(dtype)
    name = str(dtype).removeprefix("torch.")
    for operator, y, expected in (
        ("warp", warp(x, positions), oracle.warp(x, positions)),
        (
            "sample_offsets",
            sample_offsets(part, offsets, groups=3),
            oracle.sample_offsets(part, offsets, 2, 3),
        ),
    ):
        error = relative_error(y, expected)
        measured(operator, form="torch", dtype=name, error=error, limit=LIMITS[dtype])


@pytest.mark.parametrize("dtype", LIMITS, ids=str)
@pytest.mark.parametrize("size_hw", [(7, 900), (1, 1), (3, 1), (64, 37)])
def test_identity_is_exact(size_hw: tuple[int, int], dtype: torch.dtype) -> None:
    x = random_map(size_hw, dtype=dtype)
    stay = displacement_to_positions(torch.zeros(2, 2, *size_hw))
    assert stay.dtype == torch.float32
    assert torch.equal(warp(x, stay), x)
    assert torch.equal(warp(x, stay.flip(-1)), x.flip(-1))
    assert torch.equal(sample_offsets(x, x.new_zeros(2, 2, *size_hw), scale=1), x)


@pytest.mark.parametrize("align_corners", [False, True])
def test_same_as_grid_sample(align_corners: bool) -> None:
    x = random_map((9, 7), dtype=torch.float64)
    positions = _positions(2, (6, 5), (9, 7)).double()
    grid = positions_to_grid(positions, (9, 7), align_corners=align_corners)
    back = grid_to_positions(grid, (9, 7), align_corners=align_corners)
    assert relative_error(back, positions) < 1e-14
    expected = functional.grid_sample(x, grid, padding_mode="border", align_corners=align_corners)
    assert relative_error(warp(x, positions), expected) < 1e-14
    corners = torch.tensor([[[0.0], [0.0]], [[6.0], [8.0]]]).view(2, 2, 1, 1)
    at = positions_to_grid(corners, (9, 7), align_corners=align_corners)
    edge = torch.tensor([1.0, 1.0] if align_corners else [1 - 1 / 7, 1 - 1 / 9])
    assert torch.allclose(at[:, 0, 0], torch.stack((-edge, edge)))


def test_grids_of_one_pixel() -> None:
    for align_corners in (False, True):
        grid = positions_to_grid(torch.zeros(1, 2, 1, 1), (1, 1), align_corners=align_corners)
        assert not grid.any()
        assert not grid_to_positions(grid, (1, 1), align_corners=align_corners).any()


def test_offsets_as_in_the_authors_sampler() -> None:
    """FreqFusion's own form: pixel centres at 0.5, a grid for grid_sample without corners."""
    groups, (height, width) = 4, (6, 9)
    x = random_map((height, width), channels=8, dtype=torch.float64)
    offsets = torch.randn(2, 8 * groups, height, width, dtype=torch.float64)
    centres_x = torch.arange(width) + 0.5
    centres_y = torch.arange(height)[:, None] + 0.5
    split = offsets.view(2, 2, groups, 2, 2, height, width)
    grid = torch.stack(
        (2 * (split[:, 0] + centres_x) / width - 1, 2 * (split[:, 1] + centres_y) / height - 1), -1
    )  # (N, G, 2, 2, h, w, 2)
    grid = grid.permute(0, 1, 4, 2, 5, 3, 6).reshape(2 * groups, 2 * height, 2 * width, 2)
    split_x = x.view(2 * groups, -1, height, width)
    expected = functional.grid_sample(split_x, grid, padding_mode="border", align_corners=False)
    y = sample_offsets(x, offsets, groups=groups)
    assert relative_error(y, expected.view(2, 8, 2 * height, 2 * width)) < 1e-13


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_identity_offsets_upsample_bilinearly(scale: int) -> None:
    x = random_map((5, 6), channels=6)
    offsets = identity_offsets(3, scale).expand(2, -1, 5, 6)
    expected = functional.interpolate(x, scale_factor=scale, mode="bilinear")
    y = sample_offsets(x, offsets, scale=scale, groups=3)
    assert relative_error(y, expected) < 1e-6


def test_identity_offsets_are_the_authors() -> None:
    across, down = [-0.25, 0.25, -0.25, 0.25], [-0.25, -0.25, 0.25, 0.25]
    assert identity_offsets(2, 2).flatten().tolist() == across * 2 + down * 2


def test_places_far_away_or_undefined_stay_in_the_map() -> None:
    x = random_map((5, 6), batch=1, channels=1)
    inf, nan = float("inf"), float("nan")
    for at, expected in (
        ((inf, 1e30), x[0, 0, 4, 5]),
        ((-inf, -1e30), x[0, 0, 0, 0]),
        ((-1e-9, 4.0), x[0, 0, 4, 0]),
        ((nan, nan), x[0, 0, 0, 0]),
    ):
        assert warp(x, torch.tensor(at).view(1, 2, 1, 1)).item() == expected
        offsets = torch.tensor(at).view(1, 2, 1, 1).expand(1, 2, 5, 6)
        assert sample_offsets(x, offsets, scale=1).isfinite().all()


def test_gradients() -> None:
    torch.manual_seed(0)  # a place on the edge of a cell has no derivative
    x = torch.randn(2, 4, 2, 3, dtype=torch.float64, requires_grad=True)
    positions = _positions(2, (3, 2), (2, 3)).double().requires_grad_()
    assert torch.autograd.gradcheck(warp, (x, positions))
    for scale, groups in ((2, 2), (1, 4), (3, 1)):
        offsets = torch.randn(2, 2 * groups * scale**2, 2, 3, dtype=torch.float64)
        call = lambda a, b, s=scale, g=groups: sample_offsets(a, b, scale=s, groups=g)  # noqa: E731
        assert torch.autograd.gradcheck(call, (x, offsets.requires_grad_()))
    assert torch.autograd.gradcheck(displacement_to_positions, (positions * 0.1,))


def test_gradients_on_the_border_are_those_of_grid_sample() -> None:
    x = random_map((4, 5), batch=1, dtype=torch.float64)
    places = torch.tensor([[0.0, 4.0, 2.0, -1.0, 2.5], [1.0, 3.0, 0.0, 1.5, 9.0]]).double()
    grads = []
    for own in (True, False):
        at = places.clone().view(1, 2, 1, 5).requires_grad_()
        grid = positions_to_grid(at, (4, 5), align_corners=True)
        sampled = functional.grid_sample(x, grid, padding_mode="border", align_corners=True)
        (warp(x, at) if own else sampled).sum().backward()
        grads.append(at.grad)
    assert relative_error(*grads) < 1e-12


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last], ids=str)
def test_gradients_in_float16(memory: torch.memory_format) -> None:
    x = random_map((12, 11), channels=4, mean=0, dtype=torch.float16)
    positions = _positions(2, (9, 10), (12, 11))
    offsets = torch.randn(2, 16, 12, 11).half()
    grads = []
    for dtype in (torch.float16, torch.float64):
        leaves = [
            leaf.detach().clone().requires_grad_()
            for leaf in (x.to(dtype).contiguous(memory_format=memory), positions, offsets.to(dtype))
        ]
        (warp(leaves[0], leaves[1]).square().sum() / 64).backward()
        (sample_offsets(leaves[0], leaves[2], groups=2).square().sum() / 64).backward()
        grads.append([leaf.grad for leaf in leaves])
    assert [grad.dtype for grad in grads[0]] == [torch.float16, torch.float32, torch.float16]
    for y, reference in zip(*grads, strict=True):
        assert relative_error(y, reference) < LIMITS[torch.float16]


class _Sampled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.offset = nn.Conv2d(4, 16, 3, padding=1)
        self.register_buffer("places", identity_offsets(2, 2))

    def forward(self, x: Tensor) -> Tensor:
        upsampled = sample_offsets(x, self.offset(x) + self.places, groups=2)
        moved = displacement_to_positions(upsampled[:, :2])
        grid = positions_to_grid(moved, (2 * x.shape[2], 2 * x.shape[3]))
        return warp(upsampled, moved) + grid.movedim(-1, 1).mean(1, keepdim=True)


def test_registered_operators_are_well_formed() -> None:
    operators = torch.ops.differseg
    for memory in (torch.contiguous_format, torch.channels_last):
        for dtype in (torch.float32, torch.float16):
            x = random_map((5, 6), channels=4, dtype=dtype)
            x = x.contiguous(memory_format=memory).requires_grad_()
            positions = _positions(2, (4, 3), (5, 6)).requires_grad_()
            offsets = torch.randn(2, 16, 5, 6).to(dtype).requires_grad_()
            tests = ("test_schema", "test_autograd_registration", "test_faketensor")
            if dtype == torch.float32:  # the last one compares with too narrow limits for 16 bits
                tests = (*tests, "test_aot_dispatch_dynamic")
            torch.library.opcheck(operators.warp.default, (x, positions), test_utils=tests)
            arguments = (x, offsets, 2, 2)
            torch.library.opcheck(operators.sample_offsets.default, arguments, test_utils=tests)


def test_compile_and_export() -> None:
    x = random_map((6, 7), channels=4, mean=0)
    model = _Sampled()
    grads = []
    for call in (model, torch.compile(model, backend="aot_eager", fullgraph=True)):
        leaf = x.clone().requires_grad_()
        call(leaf).square().sum().backward()
        grads.append(leaf.grad)
    assert torch.allclose(*grads, rtol=1e-4, atol=1e-4)
    batch = {"x": {0: torch.export.Dim("batch")}}
    program = torch.export.export(model, (x,), dynamic_shapes=batch)
    nodes = [str(node.target) for node in program.graph.nodes]
    assert nodes.count("differseg.sample_offsets.default") == 1
    assert nodes.count("differseg.warp.default") == 1
    other = random_map((6, 7), batch=5, channels=4)
    assert torch.allclose(program.module()(other), model(other), atol=1e-4)


REFUSED = [
    (lambda x: warp(x[0], x[:, :2]), "warp: x has 3 axes"),
    (lambda x: warp(x, x), "warp: positions has shape (2, 4, 6, 7), expected (N, 2, H', W')"),
    (lambda x: warp(x, x[:, :2].half()), "warp: positions are torch.float16, expected torch.fl"),
    (lambda x: warp(x, x[:, :2].long()), "warp: positions has torch.int64"),
    (lambda x: warp(x, x[:1, :2]), "are for 1 images, expected 2 as x; repeat them with posit"),
    (lambda x: sample_offsets(x, x), "offsets have shape (2, 4, 6, 7), expected (N, 2 * groups"),
    (lambda x: sample_offsets(x, x, scale=5), "scale is 5, expected a whole number from 1 to 4"),
    (lambda x: sample_offsets(x, x, groups=3), "groups is 3, expected a divisor of the 4 channels"),
    (lambda x: sample_offsets(x, x.int()), "sample_offsets: offsets has torch.int32"),
    (lambda x: x + identity_offsets(1, 0).sum(), "identity_offsets: scale is 0, expected"),
    (lambda x: displacement_to_positions(x), "displacement has shape (2, 4, 6, 7), expected"),
    (lambda x: positions_to_grid(x, (6, 7)), "becomes one by grid_to_positions"),
    (lambda x: positions_to_grid(x[:, :2], (0, 7)), "size_hw is (0, 7), expected height and width"),
    (lambda x: positions_to_grid(x[:, :2], (6, 7, 8)), "size_hw is (6, 7, 8), expected height"),
    (lambda x: positions_to_grid(x[:, :2], None), "size_hw is None, expected height and width"),
    (lambda x: grid_to_positions(x, (6, 7)), "expected (N, H', W', 2); move x and y to the last"),
]


@pytest.mark.parametrize(("call", "text"), REFUSED)
def test_refused(call: Callable[[Tensor], Tensor], text: str) -> None:
    class Wrong(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return call(x)

    x = torch.randn(2, 4, 6, 7)
    for attempt in (lambda: call(x), lambda: torch.export.export(Wrong(), (x,))):
        with pytest.raises(InputError) as caught:
            attempt()
        assert text in str(caught.value)
        assert "\n" not in str(caught.value)
