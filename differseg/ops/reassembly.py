"""Content-aware reassembly: every output pixel is its own weighted sum of the pixels around it.

One operator covers CARAFE upsampling (arXiv 1905.02188), the low-pass and high-pass kernels of
FreqFusion (arXiv 2408.12879; the low-pass is ``R``, the high-pass ``x - R``) and the local pixel
relations of Spatial Frequency Modulation (arXiv 2507.11893; 3x3 taps at dilations 1 ... 64 over a
repeated border).

Convention:
    ``out[n, c, Y, X] = sum_ij kernels[n, g*k*k + i*k + j, Y, X]
    * x[n, c, Y // s + (i - k // 2) * d, X // s + (j - k // 2) * d]`` with k = kernel_size,
    s = scale, d = dilation and g = c // (C / groups), the group of channel c.
    Taps: row by row, from top left to bottom right; channels of the kernels are group-major.
    Pixels: an output pixel belongs to the input pixel ``(Y // s, X // s)`` it lies in; nothing is
    shifted by half a pixel.
    Border: "zeros" counts taps outside the map as zero and does not renormalise (as CARAFE's
    kernels do, which trained weights rely on); "edge" repeats the border pixels.

Float16 and bfloat16 are computed in float32 and rounded once.  A channels-last map gives a
channels-last result, any other a contiguous one.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from differseg.errors import InputError
from differseg.ops.arguments import check_choice, check_layout, check_odd, check_range
from differseg.ops.constants import constant
from differseg.ops.layouts import empty_map
from differseg.ops.precision import exact
from differseg.ops.reassembly_forms import (
    Window,
    gradient_of_kernels,
    gradient_of_map,
    log_hamming,
    reassembled,
)

BORDERS = ("zeros", "edge")
NORMALIZATIONS = ("none", "softmax", "hamming")
WINDOWS = ("none", "hamming")
MAX_KERNEL_SIZE = 9
MAX_SCALE = 4
MAX_DILATION = 64


def reassemble(
    x: Tensor,
    kernels: Tensor,
    *,
    kernel_size: int,
    scale: int = 1,
    dilation: int = 1,
    groups: int = 1,
    border: str = "zeros",
    normalize: str = "none",
) -> Tensor:
    """Reassemble a map with one kernel per output pixel (see the module's convention).

    Source: FreqFusion's ``R`` and ``N`` (arXiv 2408.12879), which follow CARAFE.

    Args:
        x: Map ``(N, C, h, w)``, float32, float64, float16 or bfloat16.
        kernels: ``(N, groups * kernel_size**2, scale * h, scale * w)``, dtype of ``x``; kernels
            or, where ``normalize`` is not "none", the logits that they are made from; finite (an
            infinite tap outside the map gives NaN or counts as zero, as the form may be).
        kernel_size: Taps along a side, odd, 1 to 9.
        scale: Output pixels per input pixel along a side, 1 to 4.
        dilation: Pixels of ``x`` between taps, 1 to 64.
        groups: Groups of channels with kernels of their own; divides C.
        border: "zeros" or "edge".
        normalize: "none", "softmax" over the taps of each kernel, or "hamming" (the softmax
            times a Hamming window, divided by its sum).

    Returns:
        ``(N, C, scale * h, scale * w)``, dtype and memory layout of ``x``.

    Raises:
        InputError: Wrong rank, dtype, size, number of kernel channels or option.
    """
    check_layout("reassemble", "x", x, "N, C, H, W")
    check_layout("reassemble", "kernels", kernels, "N, groups*k*k, scale*H, scale*W")
    kernel_size = check_odd("reassemble", "kernel_size", kernel_size, 1, MAX_KERNEL_SIZE)
    scale = check_range("reassemble", "scale", scale, 1, MAX_SCALE)
    dilation = check_range("reassemble", "dilation", dilation, 1, MAX_DILATION)
    check_choice("reassemble", "border", border, BORDERS)
    check_choice("reassemble", "normalize", normalize, NORMALIZATIONS)
    groups = _check_groups(x, groups)
    _check_kernels(x, kernels, kernel_size, scale, groups)
    return torch.ops.differseg.reassemble(
        x, kernels, kernel_size, scale, dilation, groups, border, normalize
    )


def normalize_kernels(
    logits: Tensor, *, kernel_size: int, groups: int = 1, window: str = "none"
) -> Tensor:
    """Turn logits into kernels: a softmax over the taps of each, under a window.

    The same as ``normalize`` of :func:`reassemble`, for kernels that are used more than once.
    FreqFusion's normaliser (softmax times window, divided by the sum over the taps) is
    ``softmax(logits + log(window))``, which is how it is computed.

    Args:
        logits: ``(N, groups * kernel_size**2, H, W)``, float32, float64, float16 or bfloat16.
        kernel_size: Taps along a side, odd, 1 to 9.
        groups: Number of kernels per pixel.
        window: "none" or "hamming".

    Returns:
        Kernels of the shape and dtype of ``logits``; the taps of each sum to 1.

    Raises:
        InputError: Wrong rank, dtype, number of channels or option.
    """
    check_layout("normalize_kernels", "logits", logits, "N, groups*k*k, H, W")
    kernel_size = check_odd("normalize_kernels", "kernel_size", kernel_size, 1, MAX_KERNEL_SIZE)
    groups = check_range("normalize_kernels", "groups", groups, 1, logits.shape[1])
    check_choice("normalize_kernels", "window", window, WINDOWS)
    if logits.shape[1] != groups * kernel_size**2:
        raise InputError(
            f"normalize_kernels: logits have {logits.shape[1]} channels, expected groups * "
            f"kernel_size**2 = {groups * kernel_size**2}; change groups={groups} or "
            f"kernel_size={kernel_size}"
        )
    normalize = "hamming" if window == "hamming" else "softmax"
    return _normalized(exact(logits), kernel_size, groups, normalize).to(logits.dtype)


def hamming_window(kernel_size: int) -> Tensor:
    """Return the window of FreqFusion's kernels: the outer product of ``numpy.hamming``.

    Args:
        kernel_size: Taps along a side, odd, 1 to 9.

    Returns:
        ``(kernel_size, kernel_size)`` float64, values 0.0064 to 1.

    Raises:
        InputError: Kernel size out of range.
    """
    kernel_size = check_odd("hamming_window", "kernel_size", kernel_size, 1, MAX_KERNEL_SIZE)
    return _log_window(kernel_size).exp().view(kernel_size, kernel_size)


def _check_groups(x: Tensor, groups: int) -> int:
    groups = check_range("reassemble", "groups", groups, 1, x.shape[1])
    if x.shape[1] % groups:
        raise InputError(
            f"reassemble: groups is {groups}, expected a divisor of the {x.shape[1]} channels of "
            "x; change one of them"
        )
    return groups


def _check_kernels(x: Tensor, kernels: Tensor, kernel_size: int, scale: int, groups: int) -> None:
    if kernels.dtype != x.dtype or kernels.device != x.device:
        raise InputError(
            f"reassemble: kernels are {kernels.dtype} on {kernels.device}, expected {x.dtype} on "
            f"{x.device} as x; convert them with kernels.to(x)"
        )
    batch, _, height, width = x.shape
    expected = (batch, groups * kernel_size**2, scale * height, scale * width)
    if tuple(kernels.shape) != expected:
        raise InputError(
            f"reassemble: kernels have shape {tuple(kernels.shape)}, expected (N, groups * "
            f"kernel_size**2, scale * h, scale * w) = {expected} for x {tuple(x.shape)}; "
            "compute them at that size, or change scale, groups or kernel_size"
        )


def _normalized(logits: Tensor, kernel_size: int, groups: int, normalize: str) -> Tensor:
    """Return kernels ``(N, groups * k * k, H, W)`` in the precision of the logits."""
    if normalize == "none":
        return logits
    taps = logits.unflatten(1, (groups, kernel_size**2))  # (N, g, k*k, H, W)
    if normalize == "hamming":
        taps = taps + constant(_log_window, kernel_size, like=taps)
    return taps.softmax(2).flatten(1, 2)


def _log_window(kernel_size: int) -> Tensor:
    """Return the logarithm of the Hamming window, ``(k * k, 1, 1)``."""
    logarithms = torch.tensor(log_hamming(kernel_size), dtype=torch.float64, device="cpu")
    return logarithms[:, None, None]


# The registered operators: no checks beyond torch's own, the functions above are the public ones.

_ATTRIBUTES = (
    "int kernel_size, int scale, int dilation, int groups, str border, str normalize) -> Tensor"
)


@torch.library.custom_op(
    "differseg::reassemble",
    mutates_args=(),
    schema=f"(Tensor x, Tensor kernels, {_ATTRIBUTES}",
)
def _reassemble(
    x: Tensor,
    kernels: Tensor,
    kernel_size: int,
    scale: int,
    dilation: int,
    groups: int,
    border: str,
    normalize: str,
) -> Tensor:
    window = Window(kernel_size, scale, dilation, groups, border)
    weights = _normalized(exact(kernels), kernel_size, groups, normalize)
    return reassembled(exact(x), weights.contiguous(), window).to(x.dtype)


@torch.library.custom_op(
    "differseg::reassemble_map_gradient",
    mutates_args=(),
    schema=f"(Tensor grad, Tensor kernels, {_ATTRIBUTES}",
)
def _map_gradient(
    grad: Tensor,
    kernels: Tensor,
    kernel_size: int,
    scale: int,
    dilation: int,
    groups: int,
    border: str,
    normalize: str,
) -> Tensor:
    window = Window(kernel_size, scale, dilation, groups, border)
    weights = _normalized(exact(kernels), kernel_size, groups, normalize)
    return gradient_of_map(exact(grad), weights, window).to(grad.dtype)


@torch.library.custom_op(
    "differseg::reassemble_kernels_gradient",
    mutates_args=(),
    schema=f"(Tensor grad, Tensor x, Tensor kernels, {_ATTRIBUTES}",
)
def _kernels_gradient(
    grad: Tensor,
    x: Tensor,
    kernels: Tensor,
    kernel_size: int,
    scale: int,
    dilation: int,
    groups: int,
    border: str,
    normalize: str,
) -> Tensor:
    window = Window(kernel_size, scale, dilation, groups, border)
    gradient = gradient_of_kernels(exact(grad), exact(x), window)
    if normalize != "none":
        weights = _normalized(exact(kernels), kernel_size, groups, normalize)
        taps = groups, kernel_size**2
        weights, gradient = weights.unflatten(1, taps), gradient.unflatten(1, taps)
        mean = (weights * gradient).sum(2, keepdim=True)  # (N, g, 1, s*h, s*w)
        gradient = (weights * (gradient - mean)).flatten(1, 2)
    return gradient.to(grad.dtype).contiguous()


@_reassemble.register_fake
def _(x: Tensor, kernels: Tensor, kernel_size: int, scale: int, *attributes: Any) -> Tensor:
    return empty_map(x, (scale * x.shape[2], scale * x.shape[3]))


@_map_gradient.register_fake
def _(grad: Tensor, kernels: Tensor, kernel_size: int, scale: int, *attributes: Any) -> Tensor:
    return empty_map(grad, (grad.shape[2] // scale, grad.shape[3] // scale))


@_kernels_gradient.register_fake
def _(grad: Tensor, x: Tensor, kernels: Tensor, *attributes: Any) -> Tensor:
    return grad.new_empty(kernels.shape)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, kernels, *attributes = inputs
    ctx.save_for_backward(x, kernels)
    ctx.attributes = attributes


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, kernels = ctx.saved_tensors
    of_map = of_kernels = None
    if ctx.needs_input_grad[0]:
        of_map = torch.ops.differseg.reassemble_map_gradient(grad, kernels, *ctx.attributes)
    if ctx.needs_input_grad[1]:
        of_kernels = torch.ops.differseg.reassemble_kernels_gradient(
            grad, x, kernels, *ctx.attributes
        )
    return of_map, of_kernels, None, None, None, None, None, None


_reassemble.register_autograd(_backward, setup_context=_keep)
