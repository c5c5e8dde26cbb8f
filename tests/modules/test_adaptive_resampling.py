"""Adaptive resampling against the coordinate map of the specification, both align_corners."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from differseg import ops
from differseg.errors import InputError
from differseg.modules.adaptive_resampling import AdaptiveResampling

pytestmark = pytest.mark.usefixtures("one_thread")


def literal_warp(x, logits, radius, fwhm, align_corners):
    """The authors' way: a softmax, a kernel over continued coordinates, a clamped grid."""
    batch, _, height, width = x.shape
    saliency = height * width * logits.flatten(1).softmax(1).view(batch, 1, height, width)
    steps = torch.arange(-radius, radius + 1, dtype=x.dtype)
    squares = steps**2 + steps[:, None] ** 2
    kernel = torch.exp(-4 * math.log(2) * squares / fwhm**2)[None, None]
    padded = F.pad(saliency, (radius,) * 4, mode="reflect")
    mass = F.conv2d(padded, kernel) + 1e-16
    axes = []
    for size, shape in ((width, (1, -1)), (height, (-1, 1))):
        index = torch.arange(-radius, size + radius, dtype=x.dtype).view(shape)
        place = index / (size - 1) if align_corners else (index + 0.5) / size
        bound = 1 if align_corners else 1 - 1 / size
        mean = F.conv2d(padded * place, kernel) / mass
        axes.append((2 * mean - 1).clamp(-bound, bound)[:, 0])
    (grid_x, grid_y), bounds = axes, [1 if align_corners else 1 - 1 / n for n in (width, height)]
    grid_x[:, :, 0], grid_x[:, :, -1] = -bounds[0], bounds[0]
    grid_y[:, 0], grid_y[:, -1] = -bounds[1], bounds[1]
    grid = torch.stack((grid_x, grid_y), -1)
    warped = F.grid_sample(x, grid, padding_mode="border", align_corners=align_corners)
    return warped, grid


def sampler(size_hw, spread, radius=5, fwhm=3.0):
    """A sampler with logits of about ``spread`` and a map for it, in double precision."""
    torch.manual_seed(1)
    module = AdaptiveResampling(8, radius=radius, fwhm=fwhm).double().eval()
    x = torch.randn(2, 8, *size_hw, dtype=torch.float64)
    with torch.no_grad():
        module.attention.predict.weight *= spread / module.attention(x).std()
    return module, x


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(
    ("size_hw", "spread", "radius", "fwhm"),
    [((16, 21), 1.0, 5, 3.0), ((13, 30), 3.0, 5, 3.0), ((9, 8), 1.0, 3, 2.0)],
    ids=str,
)
def test_equals_the_coordinate_map_with_either_align_corners(
    size_hw, spread, radius, fwhm, align_corners
):
    module, x = sampler(size_hw, spread, radius, fwhm)
    with torch.no_grad():
        got = module(x)
        expected, grid = literal_warp(x, module.attention(x), radius, fwhm, align_corners)
    torch.testing.assert_close(got.map, expected, rtol=1e-9, atol=1e-9)
    positions = ops.displacement_to_positions(got.displacement)
    ours = ops.positions_to_grid(positions, size_hw, align_corners=align_corners)
    torch.testing.assert_close(ours, grid, rtol=1e-9, atol=1e-9)
    assert got.saliency.mean((1, 2, 3)).tolist() == pytest.approx([1, 1], abs=1e-12)


@pytest.mark.parametrize("mode", ["high-pass", "semantic"])
def test_uniform_saliency_changes_nothing(mode):
    torch.manual_seed(0)
    module = AdaptiveResampling(8, mode).eval()
    with torch.no_grad():
        module.attention.predict.weight.zero_()
    x = torch.randn(1, 8, 20, 33)
    got = module(x)
    torch.testing.assert_close(got.map, x, rtol=0, atol=1e-5)
    assert got.displacement.abs().max() < 1.4e-6
    assert torch.allclose(got.saliency, torch.ones(1), atol=1e-6)


def test_salient_places_are_sampled_densely():
    module, _ = sampler((24, 24), 1.0)
    logits = torch.zeros(1, 1, 24, 24, dtype=torch.float64)
    logits[0, 0, 12] = 3  # a salient row
    module.attention = Given(logits)
    displacement = module(torch.zeros(1, 8, 24, 24, dtype=torch.float64)).displacement
    rows = torch.arange(24) + displacement[0, 1, :, 12]
    steps = rows.diff()
    assert steps.min() > 0
    assert steps[11:13].max() < 0.7 < 1.2 < steps.max()
    assert displacement[0, 0].abs().max() < 1e-9


class Given(torch.nn.Module):
    def __init__(self, logits):
        super().__init__()
        self.logits = logits

    def forward(self, x):
        return self.logits


def test_the_loss_reaches_the_attention():
    module, x = sampler((16, 16), 1.0)
    module.train()(x).map.square().mean().backward()
    # The bias is the same everywhere, which a softmax over all places does not see.
    idle = [n for n, p in module.named_parameters() if p.grad is None or not p.grad.any()]
    assert set(idle) <= {"attention.predict.bias"}


def test_a_map_no_larger_than_the_radius_is_refused():
    module, x = sampler((16, 16), 1.0)
    with pytest.raises(InputError, match="radius=5"):
        module(x[:, :, :5])
