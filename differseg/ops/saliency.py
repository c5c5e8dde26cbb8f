"""Learned resampling by saliency: where a map is read densely, and how that is undone.

Spatial Frequency Modulation (arXiv 2507.11893) warps a feature map before each downsampling so
that salient places are sampled densely, and un-warps the result.  The coordinate map is that of
Learning to Zoom (arXiv 1809.03355): every pixel is drawn to the saliency around it.

Convention:
    Displacements are in pixels, channel 0 = x (along W), channel 1 = y (along H); output pixel p
    of the warp reads at ``p + displacement[p]`` (pixel centres at whole numbers).
    Coordinates are float32 even for saliencies of 16 bits (float64 for float64).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from differseg.errors import InputError
from differseg.ops import bilinear
from differseg.ops.arguments import check_layout, check_positive, check_range
from differseg.ops.constants import constant
from differseg.ops.precision import convolution, exact

MAX_RADIUS = 32
MAX_ITERATIONS = 100
FULL_STEPS = 3
"""Steps of the inversion before it is damped by half."""
SMALLEST_MASS = 1e-16
"""Added to the saliency around a pixel, so that a map without any divides by no zero."""


def normalized_saliency(logits: Tensor) -> Tensor:
    """Turn logits into a saliency of mean 1: a softmax over all positions, times their number.

    Source: Spatial Frequency Modulation (arXiv 2507.11893).

    Args:
        logits: ``(N, 1, H, W)``, float32, float64, float16 or bfloat16.

    Returns:
        ``(N, 1, H, W)``, float32 (float64 for float64), positive, mean 1 for each image.

    Raises:
        InputError: Wrong rank, dtype or number of channels.
    """
    check_layout("normalized_saliency", "logits", logits, "N, 1, H, W")
    shares = exact(logits).flatten(1).softmax(1)  # (N, H*W)
    return (shares * shares.shape[1]).view(logits.shape)


def saliency_displacement(saliency: Tensor, *, radius: int = 5, fwhm: float = 3.0) -> Tensor:
    """Compute how far a warp reads from every pixel: towards the saliency around it.

    Source: Spatial Frequency Modulation (arXiv 2507.11893), written as a displacement, which
    loses no digits on large maps: ``d = sum_q S(q) k(q - p) (q - p) / (sum_q S(q) k(q - p) +
    1e-16)`` with ``k(v) = exp(-4 ln 2 |v|**2 / fwhm**2)`` for |v| up to ``radius`` along each axis.

    Convention:
        Border: the saliency is reflected (without repeating the border pixels); x of the first and
        last column and y of the first and last row stay where they are, so that the warped lattice
        always spans the map.

    Args:
        saliency: ``(N, 1, H, W)``, not negative, which is not checked; see
            :func:`normalized_saliency`.  Its scale does not matter as long as the sum around a
            pixel is far above 1e-16 and finite.  float32, float64, float16 or bfloat16.
        radius: Pixels that the kernel reaches along each axis, 1 to 32 and less than H and W.
        fwhm: Width of the kernel at half its height, in pixels, above 0.

    Returns:
        Displacement ``(N, 2, H, W)``, x then y, in pixels, -radius to radius for a saliency that
        is not negative, float32 (float64 for float64).

    Raises:
        InputError: Wrong rank, dtype, number of channels or option; a map smaller than its
            padding.
    """
    check_layout("saliency_displacement", "saliency", saliency, "N, 1, H, W")
    radius = check_range("saliency_displacement", "radius", radius, 1, MAX_RADIUS)
    fwhm = check_positive("saliency_displacement", "fwhm", fwhm, "pixels", "the authors use 3")
    if min(saliency.shape[2:]) <= radius:
        raise InputError(
            f"saliency_displacement: saliency has shape {tuple(saliency.shape)}, expected H and W "
            f"above radius={radius}, as a map is reflected by that much; choose a smaller radius "
            "or a larger input"
        )
    return torch.ops.differseg.saliency_displacement(saliency, radius, fwhm)


def invert_displacement(displacement: Tensor, *, iterations: int = 10) -> Tensor:
    """Find where a warp put every pixel: the displacement that undoes the given one.

    If a map was warped with ``displacement`` (pixel p read at ``p + d(p)``), then warping the
    result with the inverse brings it back: the inverse v solves ``v(q) + d(q + v(q)) = 0``.  It is
    found by ``v <- v - s * (v + d(q + v))`` from v = 0, with s = 1 for 3 steps and then 0.5, which
    needs standard operators only.  Source: fixed-point inversion of a displacement field (Chen et
    al., Medical Physics 35, 2008), damped.

    Smooth saliencies leave a residual of a few hundredths of a pixel after 10 steps; where the
    warp folds, there is no inverse and the result is one of several.

    Args:
        displacement: ``(N, 2, H, W)``, x then y, in pixels; any floating dtype.
        iterations: Steps, 1 to 100.

    Returns:
        Displacement of the inverse ``(N, 2, H, W)``, x then y, in pixels, float32 (float64 for
        float64).

    Raises:
        InputError: Wrong rank, dtype, number of channels or option.
    """
    check_layout("invert_displacement", "displacement", displacement, "N, 2, H, W")
    iterations = check_range("invert_displacement", "iterations", iterations, 1, MAX_ITERATIONS)
    return torch.ops.differseg.invert_displacement(displacement, iterations)


# The registered operators: no checks beyond torch's own, the functions above are the public ones.
# Gradients are operators as well, so that a compiled graph keeps a single node for each.


@torch.library.custom_op(
    "differseg::saliency_displacement",
    mutates_args=(),
    schema="(Tensor saliency, int radius, float fwhm) -> Tensor",
)
def _saliency_displacement(saliency: Tensor, radius: int, fwhm: float) -> Tensor:
    moments, mass = _moments(exact(saliency), radius, fwhm)
    return _pinned(moments / mass).contiguous()


@torch.library.custom_op(
    "differseg::saliency_displacement_gradient",
    mutates_args=(),
    schema="(Tensor grad, Tensor saliency, int radius, float fwhm) -> Tensor",
)
def _saliency_displacement_gradient(
    grad: Tensor, saliency: Tensor, radius: int, fwhm: float
) -> Tensor:
    moments, mass = _moments(exact(saliency), radius, fwhm)
    of_moments = _pinned(exact(grad) / mass)  # (N, 2, H, W)
    of_mass = -(of_moments * moments / mass).sum(1, keepdim=True)  # (N, 1, H, W)
    kernels = constant(moment_kernels, radius, fwhm, like=moments)
    of_sums = torch.cat((of_moments, of_mass), 1)
    extended = convolution(of_sums, kernels, transposed=True)  # (N, 1, H + 2r, W + 2r)
    folded = _unreflected(_unreflected(extended, radius, -1), radius, -2)  # (N, 1, H, W)
    return folded.to(saliency.dtype).contiguous()


@torch.library.custom_op(
    "differseg::invert_displacement",
    mutates_args=(),
    schema="(Tensor displacement, int iterations) -> Tensor",
)
def _invert_displacement(displacement: Tensor, iterations: int) -> Tensor:
    return _inversion(exact(displacement), iterations)[-1].contiguous()


@torch.library.custom_op(
    "differseg::invert_displacement_gradient",
    mutates_args=(),
    schema="(Tensor grad, Tensor displacement, int iterations) -> Tensor",
)
def _invert_displacement_gradient(grad: Tensor, displacement: Tensor, iterations: int) -> Tensor:
    """Walk the steps back; they are recomputed, two channels each, rather than kept."""
    field = exact(displacement)
    size_hw = field.shape[2], field.shape[3]
    of_inverse = exact(grad)
    of_field = field.new_zeros(field.shape)
    steps = _inversion(field, iterations)
    for step in reversed(range(iterations)):
        at = bilinear.places(steps[step], size_hw, scale=1)
        share = step_share(step)
        of_read = -share * of_inverse
        of_field += bilinear.gradient_of_map(of_read, at)
        through = bilinear.gradient_of_displacement(of_read, field, at)
        of_inverse = (1 - share) * of_inverse + through
    return of_field.to(displacement.dtype)


def moment_kernels(radius: int, fwhm: float) -> Tensor:
    """Return the weights of x moment, y moment and mass of the saliency around a pixel.

    Args:
        radius: Pixels that the kernel reaches along each axis.
        fwhm: Width of the kernel at half its height, in pixels.

    Returns:
        ``(3, 1, 2 * radius + 1, 2 * radius + 1)`` float64.
    """
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float64, device="cpu")
    bell = torch.exp(-4 * math.log(2) * offsets**2 / fwhm**2)
    mass = bell[:, None] * bell
    return torch.stack((mass * offsets, mass * offsets[:, None], mass)).unsqueeze(1)


def _moments(saliency: Tensor, radius: int, fwhm: float) -> tuple[Tensor, Tensor]:
    """Return the moments of the saliency around every pixel, ``(N, 2, H, W)``, and its mass."""
    extended = functional.pad(saliency, (radius,) * 4, mode="reflect")
    kernels = constant(moment_kernels, radius, fwhm, like=extended)
    sums = convolution(extended, kernels)  # (N, 3, H, W)
    return sums[:, :2], sums[:, 2:] + SMALLEST_MASS


def unpinned(height: int, width: int) -> Tensor:
    """Return 0 where the border is pinned, else 1: ``(2, H, W)`` float64.

    Channel 0, x, is pinned in the outer columns, channel 1, y, in the outer rows.
    """
    mask = torch.ones(2, height, width, dtype=torch.float64)
    mask[0, :, 0] = mask[0, :, -1] = 0
    mask[1, 0] = mask[1, -1] = 0
    return mask


def _pinned(moves: Tensor) -> Tensor:
    """Multiply ``(N, 2, H, W)`` by :func:`unpinned`, in place."""
    for end in (0, -1):
        moves[:, 0].select(-1, end).zero_()
        moves[:, 1].select(-2, end).zero_()
    return moves


def _unreflected(extended: Tensor, radius: int, axis: int) -> Tensor:
    """Add what reflected pixels got to the pixels they mirror: the adjoint of reflecting."""
    size = extended.shape[axis] - 2 * radius
    inner = extended.narrow(axis, radius, size).clone()
    inner.narrow(axis, 1, radius).add_(extended.narrow(axis, 0, radius).flip(axis))
    mirrored = extended.narrow(axis, radius + size, radius).flip(axis)
    inner.narrow(axis, size - 1 - radius, radius).add_(mirrored)
    return inner


def step_share(step: int) -> float:
    """Return how much of its correction a step of the inversion takes."""
    return 1.0 if step < FULL_STEPS else 0.5


def _inversion(field: Tensor, iterations: int) -> list[Tensor]:
    """Return the inverse before every step and after the last, each ``(N, 2, H, W)``."""
    size_hw = field.shape[2], field.shape[3]
    steps = [field.new_zeros(field.shape)]
    for step in range(iterations):
        inverse = steps[-1]
        moved = bilinear.read(field, bilinear.places(inverse, size_hw, scale=1))
        steps.append(inverse - step_share(step) * (inverse + moved))
    return steps


def _coordinates(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32


@_saliency_displacement.register_fake
def _(saliency: Tensor, radius: int, fwhm: float) -> Tensor:
    batch, _, height, width = saliency.shape
    return saliency.new_empty(batch, 2, height, width, dtype=_coordinates(saliency))


@_saliency_displacement_gradient.register_fake
def _(grad: Tensor, saliency: Tensor, radius: int, fwhm: float) -> Tensor:
    return saliency.new_empty(saliency.shape)


@_invert_displacement.register_fake
def _(displacement: Tensor, iterations: int) -> Tensor:
    return displacement.new_empty(displacement.shape, dtype=_coordinates(displacement))


@_invert_displacement_gradient.register_fake
def _(grad: Tensor, displacement: Tensor, iterations: int) -> Tensor:
    return displacement.new_empty(displacement.shape)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, *ctx.attributes = inputs
    ctx.save_for_backward(x)


def _saliency_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
    (saliency,) = ctx.saved_tensors
    operator = torch.ops.differseg.saliency_displacement_gradient
    return operator(grad, saliency, *ctx.attributes), None, None


def _invert_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
    (displacement,) = ctx.saved_tensors
    operator = torch.ops.differseg.invert_displacement_gradient
    return operator(grad, displacement, *ctx.attributes), None


_saliency_displacement.register_autograd(_saliency_backward, setup_context=_keep)
_invert_displacement.register_autograd(_invert_backward, setup_context=_keep)
