"""Gaussian low-pass of maps and its complement, with a fixed or a learned width.

Convention:
    Kernel: ``exp(-t^2 / (2 sigma^2))`` at the integers t = -r ... r, r = (kernel_size - 1) / 2,
    divided by its sum; the same along H and W, one pass each.
    Units: sigma in pixels.  It is clamped below at :data:`SMALLEST_SIGMA_PX`, where the kernel is
    the identity.
    Position: the result is aligned with the map (pixel centres keep their place).
    Border: beyond it the map goes on with its mirror image (c b | a b c, "reflect"), its outermost
    pixel ("edge") or zeros ("zeros").

Float16 and bfloat16 are computed in float32 and rounded once.  Any memory layout goes in; what
comes out is contiguous.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from differseg.errors import InputError
from differseg.ops.arguments import (
    check_choice,
    check_floating,
    check_layout,
    check_odd,
    check_positive,
)
from differseg.ops.borders import extend, fold
from differseg.ops.precision import convolution, exact, rounded

BORDERS = ("reflect", "edge", "zeros")
SMALLEST_SIGMA_PX = 0.01
MAX_KERNEL_SIZE = 1023


def gaussian_lowpass(
    x: Tensor,
    sigma: float | Tensor,
    kernel_size: int | None = None,
    border: str = "reflect",
) -> Tensor:
    """Blur maps with a Gaussian.

    Args:
        x: Maps ``(N, C, H, W)``, float32, float64, float16 or bfloat16.
        sigma: Standard deviation in pixels, above 0: a number, or a tensor ``(1,)`` or ``(C,)``,
            one a channel, through which gradients flow.
        kernel_size: Odd number of taps, 1 to 1023; ``2 * ceil(3 * sigma) + 1`` when not given.  A
            tensor's values are not known when a graph is traced, so it needs one.
        border: "reflect", "edge" or "zeros".

    Returns:
        Blurred maps ``(N, C, H, W)`` of the dtype of ``x``.

    Raises:
        InputError: Wrong rank, dtype or border, an empty axis, a sigma or kernel size out of
            range, or a kernel that reaches beyond the mirror image of the map.
    """
    sigma, kernel_size = _check("gaussian_lowpass", x, sigma, kernel_size, border)
    return torch.ops.differseg.gaussian(x, sigma, kernel_size, border)


def gaussian_highpass(
    x: Tensor,
    sigma: float | Tensor,
    kernel_size: int | None = None,
    border: str = "reflect",
) -> Tensor:
    """Subtract from maps their Gaussian low-pass.

    Args:
        x: As for :func:`gaussian_lowpass`.
        sigma: As for :func:`gaussian_lowpass`.
        kernel_size: As for :func:`gaussian_lowpass`.
        border: As for :func:`gaussian_lowpass`.

    Returns:
        What the low-pass leaves out, ``(N, C, H, W)`` of the dtype of ``x``.  The difference is
        taken before rounding, so that a large mean costs float16 nothing.

    Raises:
        InputError: As :func:`gaussian_lowpass`.
    """
    sigma, kernel_size = _check("gaussian_highpass", x, sigma, kernel_size, border)
    y = exact(x)
    return rounded(y - torch.ops.differseg.gaussian(y, sigma, kernel_size, border), x.dtype)


def _check(
    where: str, x: Tensor, sigma: float | Tensor, kernel_size: int | None, border: str
) -> tuple[Tensor, int]:
    """Check the arguments of both filters; return sigma as a tensor and the kernel size."""
    check_layout(where, "x", x, "N, C, H, W")
    check_choice(where, "border", border, BORDERS)
    if isinstance(sigma, Tensor):
        check_floating(where, "sigma", sigma)
        if tuple(sigma.shape) not in ((1,), (x.shape[1],)):
            raise InputError(
                f"{where}: sigma has shape {tuple(sigma.shape)}, expected (1,) or "
                f"({x.shape[1]},), one a channel; reshape it"
            )
        if kernel_size is None:
            raise InputError(
                f"{where}: kernel_size is not given, expected an odd number because sigma is a "
                "tensor; pass 2 * ceil(3 * s) + 1 for the largest sigma s that it may reach"
            )
    else:
        advice = "leave the filter out for none"
        sigma = check_positive(where, "sigma", sigma, "a number of pixels", advice)
        if kernel_size is None:
            kernel_size = 2 * math.ceil(3 * sigma) + 1
        sigma = torch.full((1,), sigma, dtype=exact(x).dtype, device=x.device)
    kernel_size = check_odd(where, "kernel_size", kernel_size, 1, MAX_KERNEL_SIZE)
    largest = 2 * min(x.shape[2:]) - 1
    if border == "reflect" and kernel_size > largest:
        raise InputError(
            f"{where}: kernel_size is {kernel_size}, expected at most {largest} for maps of "
            f"{tuple(x.shape[2:])} with border 'reflect'; take a smaller kernel_size or sigma, or "
            "border='edge'"
        )
    return sigma, kernel_size


def gaussian_taps(sigma: Tensor, kernel_size: int) -> Tensor:
    """Return the taps of each sigma, ``(len(sigma), kernel_size)``, summing to 1.

    Args:
        sigma: Standard deviations in pixels, ``(1,)`` or ``(C,)``, float32 or float64.
        kernel_size: Odd number of taps.
    """
    squares = _squared_distances(sigma, kernel_size)  # (1, K)
    spread = sigma.clamp(min=SMALLEST_SIGMA_PX)[:, None]
    weights = torch.exp(-squares / (2 * spread * spread))
    return weights / weights.sum(1, keepdim=True)


def _squared_distances(like: Tensor, kernel_size: int) -> Tensor:
    radius = kernel_size // 2
    return (torch.arange(kernel_size, device=like.device, dtype=like.dtype) - radius).square()[None]


def _filtered(x: Tensor, taps: Tensor, axis: int) -> Tensor:
    """Correlate each channel with its taps (C or 1, K) along an axis that has its margins."""
    channels = x.shape[1]
    taps = taps.expand(channels, -1)[:, None]  # (C, 1, K)
    weight = taps[:, :, None, :] if axis == -1 else taps[:, :, :, None]
    return convolution(x, weight, groups=channels)


def _mode(border: str) -> str:
    return "zero" if border == "zeros" else border


@torch.library.custom_op(
    "differseg::gaussian",
    mutates_args=(),
    schema="(Tensor x, Tensor sigma, int kernel_size, str border) -> Tensor",
)
def _gaussian(x: Tensor, sigma: Tensor, kernel_size: int, border: str) -> Tensor:
    y = exact(x).contiguous()
    taps = gaussian_taps(sigma.to(y.dtype), kernel_size)
    margins = (kernel_size // 2,) * 2
    for axis in (-1, -2):
        y = _filtered(extend(y, axis, margins, _mode(border)), taps, axis)
    return rounded(y, x.dtype).contiguous()  # (N, C, H, W)


@torch.library.custom_op(
    "differseg::filter_axis",
    mutates_args=(),
    schema="(Tensor x, Tensor taps, int axis) -> Tensor",
)
def _filter_axis(x: Tensor, taps: Tensor, axis: int) -> Tensor:
    """Filter as :func:`_filtered`, for the gradient of sigma and the gradients of that one."""
    return _filtered(x.contiguous(), taps, axis)


@_filter_axis.register_fake
def _(x: Tensor, taps: Tensor, axis: int) -> Tensor:
    size = list(x.shape)
    size[axis] -= taps.shape[1] - 1
    return x.new_empty(size)


@_gaussian.register_fake
def _(x: Tensor, sigma: Tensor, kernel_size: int, border: str) -> Tensor:
    return x.new_empty(x.shape)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, sigma, ctx.kernel_size, ctx.border = inputs
    ctx.save_for_backward(x, sigma)


def _adjoint(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
    x, sigma = ctx.saved_tensors
    of_x = _gradient_of_map(ctx, grad, sigma) if ctx.needs_input_grad[0] else None
    of_sigma = _gradient_of_sigma(ctx, grad, x, sigma) if ctx.needs_input_grad[1] else None
    return of_x, of_sigma, None, None


def _gradient_of_map(ctx: Any, grad: Tensor, sigma: Tensor) -> Tensor:
    """Filter with the same kernel, which is even; then fold the margins back."""
    radius, mode = ctx.kernel_size // 2, _mode(ctx.border)
    if radius and mode != "zero":
        grad = F.pad(grad, (radius,) * 4)
    y = torch.ops.differseg.gaussian(grad, sigma, ctx.kernel_size, "zeros")
    if mode == "zero":
        return y
    margins = (radius, radius)
    return fold(fold(y, -2, margins, mode), -1, margins, mode)


def _gradient_of_sigma(ctx: Any, grad: Tensor, x: Tensor, sigma: Tensor) -> Tensor:
    """Filter with the derivative of the taps along one axis at a time.

    The taps p satisfy ``dp/dsigma = p (t^2 - sum(p t^2)) / sigma^3``.
    """
    y = exact(x)
    spread = sigma.to(y.dtype)
    taps = gaussian_taps(spread, ctx.kernel_size)
    squares = _squared_distances(spread, ctx.kernel_size)
    centred = squares - (taps * squares).sum(1, keepdim=True)
    slopes = taps * centred / spread.clamp(min=SMALLEST_SIGMA_PX)[:, None] ** 3
    slopes = slopes * (spread >= SMALLEST_SIGMA_PX)[:, None]
    margins, mode = (ctx.kernel_size // 2,) * 2, _mode(ctx.border)
    y = extend(extend(y, -1, margins, mode), -2, margins, mode)
    filtered = torch.ops.differseg.filter_axis
    change = filtered(filtered(y, slopes, -1), taps, -2)
    change = change + filtered(filtered(y, taps, -1), slopes, -2)
    per_channel = (exact(grad) * change).sum((0, 2, 3))  # (C,)
    return (per_channel if sigma.shape[0] > 1 else per_channel.sum(0, keepdim=True)).to(sigma.dtype)


def _keep_filter(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, taps, ctx.axis = inputs
    ctx.save_for_backward(x, taps)


def _filter_adjoint(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
    x, taps = ctx.saved_tensors
    margin = taps.shape[1] - 1
    around = (margin, margin, 0, 0) if ctx.axis == -1 else (0, 0, margin, margin)
    of_x = torch.ops.differseg.filter_axis(F.pad(grad, around), taps.flip(1), ctx.axis)
    extent = grad.shape[ctx.axis]
    read = (x.narrow(ctx.axis, tap, extent) for tap in range(margin + 1))
    of_taps = torch.stack([(grad * part).sum((0, 2, 3)) for part in read], 1)  # (C, K)
    return of_x, of_taps.sum_to_size(taps.shape), None


_filter_axis.register_autograd(_filter_adjoint, setup_context=_keep_filter)
_gaussian.register_autograd(_adjoint, setup_context=_keep)
