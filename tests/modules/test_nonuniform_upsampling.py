"""Un-warping against the authors' definition, a Delaunay triangulation of the warped lattice."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from delaunay_oracle import triangulated, unwarped
from torch.nn import functional as F

from differseg import ops
from differseg.errors import InputError
from differseg.modules.nonuniform_upsampling import NonuniformUpsampling

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE_PX = 48


def smooth(channels, cells, generator, size_px=SIZE_PX):
    """Noise that changes over ``size_px / cells`` pixels."""
    coarse = torch.randn(1, channels, cells, cells, generator=generator)
    return F.interpolate(coarse, size=(size_px, size_px), mode="bicubic", align_corners=True)


def warp_of(deviation, generator, size_px=SIZE_PX):
    """The displacement of a smooth saliency whose logits have this standard deviation."""
    logits = smooth(1, size_px // 6, generator, size_px)
    saliency = ops.normalized_saliency(logits / logits.std() * deviation)
    return ops.saliency_displacement(saliency)


@pytest.mark.parametrize(
    ("deviation", "near", "residual_px", "undone"),
    [(0.5, 0.0049, 0.001, 15), (1, 0.0116, 0.005, 15), (2, 0.0225, 0.05, 15)],
)
def test_fixed_point_stays_near_the_triangulation(deviation, near, residual_px, undone):
    generator = torch.Generator().manual_seed(0)
    displacement = warp_of(deviation, generator)
    values = smooth(3, 12, generator)
    got = NonuniformUpsampling()(values, displacement)[0].double().numpy()
    expected = unwarped(values[0].double().numpy(), displacement[0].double().numpy())
    assert np.isfinite(expected).all()
    difference = np.abs(got - expected).mean()
    without = np.abs(values[0].numpy() - expected).mean()
    assert difference <= near
    assert without > undone * difference
    inverse = ops.invert_displacement(displacement)
    left = inverse + ops.warp(displacement, ops.displacement_to_positions(inverse))
    assert left.abs().max() <= residual_px


def test_a_warp_and_its_undoing_give_the_map_back():
    generator = torch.Generator().manual_seed(3)
    displacement, image = warp_of(1, generator), smooth(2, 6, generator)
    warped = ops.warp(image, ops.displacement_to_positions(displacement))
    back = NonuniformUpsampling()(warped, displacement)
    assert (warped - image).abs().mean() > 6 * (back - image).abs().mean()


def test_several_warps_are_undone_the_last_one_first():
    generator = torch.Generator().manual_seed(4)
    image = smooth(2, 4, generator, 96)
    first, second = warp_of(1, generator, 96), warp_of(1, generator, 48)
    half = F.avg_pool2d(ops.warp(image, ops.displacement_to_positions(first)), 2)
    half = ops.warp(half, ops.displacement_to_positions(second))
    unwarping = NonuniformUpsampling()
    quarter = F.avg_pool2d(half, 2)
    back = unwarping.through(quarter, [first, second])
    assert back.shape == image.shape
    one_by_one = unwarping(unwarping(quarter, second), first)
    assert torch.equal(back, one_by_one)
    plain = F.interpolate(quarter, size=(96, 96), mode="bilinear", align_corners=False)
    assert (back - image).abs().mean() < 0.6 * (plain - image).abs().mean()


def test_gradients_reach_the_map_alone():
    generator = torch.Generator().manual_seed(5)
    displacement = warp_of(1, generator).requires_grad_()
    values = smooth(2, 8, generator).requires_grad_()
    NonuniformUpsampling()(values, displacement).square().sum().backward()
    assert values.grad is not None
    assert values.grad.abs().min() >= 0
    assert values.grad.any()
    assert displacement.grad is None


def test_radial_weights_are_a_softmax_over_bells():
    generator = torch.Generator().manual_seed(6)
    displacement, values = warp_of(1, generator, 12).double(), smooth(2, 4, generator, 12).double()
    module = NonuniformUpsampling("radial").double()
    assert (module.weights.width.item(), module.weights.sharpness.item()) == (
        pytest.approx(0.1),
        1,
    )
    with torch.no_grad():
        module.weights.width.fill_(1.5)
        module.weights.sharpness.fill_(4.0)
        got = module(values, displacement)[0]
    for y, x in ((0, 0), (5, 7), (11, 3)):
        logits, taps = [], []
        for i in (-1, 0, 1):
            for j in (-1, 0, 1):
                row, column = min(max(y + i, 0), 11), min(max(x + j, 0), 11)
                at_x, at_y = displacement[0, :, row, column].tolist()
                distance = (column + at_x - x) ** 2 + (row + at_y - y) ** 2
                logits.append(4 * math.exp(-4 * math.log(2) * distance / 1.5**2))
                taps.append(values[0, :, row, column])
        weights = torch.tensor(logits, dtype=torch.float64).softmax(0)
        expected = sum(w * tap for w, tap in zip(weights, taps, strict=True))
        torch.testing.assert_close(got[:, y, x], expected, rtol=1e-6, atol=1e-6)


def test_radial_weights_learn():
    generator = torch.Generator().manual_seed(7)
    module = NonuniformUpsampling("radial")
    module(smooth(2, 4, generator, 12), warp_of(1, generator, 12)).square().sum().backward()
    assert all(p.grad.any() for p in module.parameters())
    assert len(list(module.parameters())) == 2


def test_an_unknown_mode_is_named():
    with pytest.raises(InputError, match="expected one of fixed-point, radial, got 'mesh'"):
        NonuniformUpsampling("mesh")


def test_oracle_triangulates_a_square_with_a_point_inside():
    triangles = triangulated(np.array([(0, 0), (4, 0), (0, 4), (4, 4), (1, 2.0)]))
    assert {frozenset(t) for t in triangles.tolist()} == {
        frozenset(t) for t in ((0, 1, 4), (0, 2, 4), (2, 3, 4), (1, 3, 4))
    }


def test_oracle_reproduces_a_plane_wherever_the_lattice_lies():
    generator = torch.Generator().manual_seed(8)
    displacement = warp_of(1.5, generator, 18)[0].double().numpy()
    rows, columns = np.mgrid[:18, :18].astype(float)
    values = 2 + 0.3 * (columns + displacement[0]) - 0.7 * (rows + displacement[1])
    expected = 2 + 0.3 * columns - 0.7 * rows
    np.testing.assert_allclose(unwarped(values[None], displacement)[0], expected, atol=1e-4)
