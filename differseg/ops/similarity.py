"""Local similarity: how much a pixel's features look like those of the pixels around it.

FreqFusion's offset generator is driven by it (arXiv 2408.12879): where neighbours differ, the
sampler may move towards the more consistent side.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import EllipsisType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from differseg.ops.arguments import check_layout, check_odd, check_range
from differseg.ops.layouts import channels_last
from differseg.ops.precision import exact

MAX_KERNEL_SIZE = 9
MAX_DILATION = 64
SMALLEST_NORM = 1e-8
"""Norms below this count as this, so that zero vectors have similarity 0 (as torch's cosine)."""


def local_similarity(x: Tensor, kernel_size: int = 3, dilation: int = 2) -> Tensor:
    """Compute the cosine similarity of every pixel with each of its neighbours.

    Source: FreqFusion's offset generator (arXiv 2408.12879).

    Convention:
        ``out[n, t, Y, X] = <a, b> / (|a| |b|)`` with ``a = x[n, :, Y, X]``,
        ``b = x[n, :, Y + (i - k // 2) * d, X + (j - k // 2) * d]``, k = kernel_size, d = dilation.
        Channel t runs over the taps (i, j) row by row, the centre left out.
        Border: neighbours outside the map are zero vectors, their similarity is 0.

    Args:
        x: Map ``(N, C, H, W)``, float32, float64, float16 or bfloat16, any memory layout.
        kernel_size: Neighbours and centre along a side: 3, 5, 7 or 9.
        dilation: Pixels between neighbours, 1 to 64.

    Returns:
        ``(N, kernel_size**2 - 1, H, W)``, contiguous, dtype of ``x``, values -1 to 1 (not clamped:
        rounding may exceed them by 1.2e-7).

    Raises:
        InputError: Wrong rank, dtype or option.
    """
    check_layout("local_similarity", "x", x, "N, C, H, W")
    kernel_size = check_odd("local_similarity", "kernel_size", kernel_size, 3, MAX_KERNEL_SIZE)
    dilation = check_range("local_similarity", "dilation", dilation, 1, MAX_DILATION)
    return torch.ops.differseg.local_similarity(x, kernel_size, dilation)


_Index = tuple[EllipsisType, slice, slice]


class _Pair(NamedTuple):
    """Two opposite taps: what one says of a pixel, the other says of the neighbour it reads."""

    tap: int
    opposite: int
    pixels: _Index
    neighbours: _Index


def _pairs(height: int, width: int, kernel_size: int, dilation: int) -> Iterator[_Pair]:
    """Walk the first half of the taps, those that have a neighbour inside the map."""
    half = kernel_size // 2
    taps = kernel_size**2 - 1
    for tap in range(taps // 2):
        up_px = (half - tap // kernel_size) * dilation  # the neighbour lies up_px higher
        right_px = (tap % kernel_size - half) * dilation  # and right_px to the right
        if up_px >= height or abs(right_px) >= width:
            continue
        columns = slice(max(0, -right_px), width - max(0, right_px))
        neighbours = slice(max(0, right_px), width + min(0, right_px))
        yield _Pair(
            tap,
            taps - 1 - tap,
            (..., slice(up_px, height), columns),
            (..., slice(0, height - up_px), neighbours),
        )


# The registered operators: no checks beyond torch's own, the function above is the public one.
# The gradient is one as well, so that a compiled graph keeps a single node for it.


@torch.library.custom_op(
    "differseg::local_similarity",
    mutates_args=(),
    schema="(Tensor x, int kernel_size, int dilation) -> Tensor",
)
def _local_similarity(x: Tensor, kernel_size: int, dilation: int) -> Tensor:
    batch, _, height, width = x.shape
    features = channels_last(exact(x))  # sums over channels are faster then
    norms = _norms(features).clamp(min=SMALLEST_NORM)  # (N, H, W)
    out = norms.new_zeros(batch, kernel_size**2 - 1, height, width)
    for pair in _pairs(height, width, kernel_size, dilation):
        dots = (features[pair.pixels] * features[pair.neighbours]).sum(1)
        cosines = dots / (norms[pair.pixels] * norms[pair.neighbours])
        out[:, pair.tap][pair.pixels] = cosines
        out[:, pair.opposite][pair.neighbours] = cosines
    return out.to(x.dtype)


@torch.library.custom_op(
    "differseg::local_similarity_gradient",
    mutates_args=(),
    schema="(Tensor grad, Tensor x, int kernel_size, int dilation) -> Tensor",
)
def _local_similarity_gradient(grad: Tensor, x: Tensor, kernel_size: int, dilation: int) -> Tensor:
    features, grads = exact(x).contiguous(), exact(grad)
    lengths = _norms(features).unsqueeze(1)  # (N, 1, H, W)
    norms = lengths.clamp(min=SMALLEST_NORM)
    units = features / norms
    of_units = torch.zeros_like(units)
    for pair in _pairs(x.shape[2], x.shape[3], kernel_size, dilation):
        both = grads[:, pair.tap, None][pair.pixels]
        both = both + grads[:, pair.opposite, None][pair.neighbours]  # (N, 1, h', w')
        of_units[pair.pixels].addcmul_(units[pair.neighbours], both)
        of_units[pair.neighbours].addcmul_(units[pair.pixels], both)
    along = (units * of_units).sum(1, keepdim=True) * (lengths > SMALLEST_NORM)
    return ((of_units - units * along) / norms).to(x.dtype)


def _norms(features: Tensor) -> Tensor:
    return torch.linalg.vector_norm(features, dim=1)  # (N, H, W)


@_local_similarity.register_fake
def _(x: Tensor, kernel_size: int, dilation: int) -> Tensor:
    batch, _, height, width = x.shape
    return x.new_empty(batch, kernel_size**2 - 1, height, width)


@_local_similarity_gradient.register_fake
def _(grad: Tensor, x: Tensor, kernel_size: int, dilation: int) -> Tensor:
    return x.new_empty(x.shape)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, ctx.kernel_size, ctx.dilation = inputs
    ctx.save_for_backward(x)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
    (x,) = ctx.saved_tensors
    operator = torch.ops.differseg.local_similarity_gradient
    return operator(grad, x, ctx.kernel_size, ctx.dilation), None, None


_local_similarity.register_autograd(_backward, setup_context=_keep)
