"""Memory layouts: which one a result has, and pixels as rows for sums of weighted pixels."""

from __future__ import annotations

import torch
from torch import Tensor


def memory_format_of(x: Tensor) -> torch.memory_format:
    """Return the layout that the result has for the map ``x``, ``(N, C, H, W)``.

    Channels last where ``x`` is channels last and not contiguous as well, else contiguous.
    """
    if x.is_contiguous() or not x.is_contiguous(memory_format=torch.channels_last):
        return torch.contiguous_format
    return torch.channels_last


def empty_map(x: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Allocate ``(N, C, *size_hw)`` for the map ``x``: its N, C, dtype, device and layout."""
    return torch.empty(
        (x.shape[0], x.shape[1], *size_hw),
        dtype=x.dtype,
        device=x.device,
        memory_format=memory_format_of(x),
    )


def channels_last(x: Tensor) -> Tensor:
    """Return the map ``(N, C, H, W)`` with the channels of a pixel side by side in memory.

    The same values as ``x.contiguous(memory_format=torch.channels_last)``, of which ``x`` is
    returned itself where it is laid out so; several times faster on a CPU.
    """
    if x.is_contiguous(memory_format=torch.channels_last):
        return x
    out = torch.empty_like(x, memory_format=torch.channels_last)
    for image in range(x.shape[0]):  # PyTorch transposes matrices faster than it permutes axes
        out[image].flatten(1).t().copy_(x[image].flatten(1).t())
    return out


def rows_of_pixels(x: Tensor) -> Tensor:
    """Copy a map to a table of pixels, with a pixel of zeros behind them.

    Args:
        x: ``(N, C, H, W)``, any layout.

    Returns:
        ``(N, H * W + 1, C)``, contiguous; row ``y * W + x`` is a pixel, the last row is zero.
    """
    batch, channels, height, width = x.shape
    rows = x.new_empty(batch, height * width + 1, channels)
    rows[:, -1].zero_()
    for image in range(batch):  # see channels_last
        rows[image, :-1] = x[image].flatten(1).t()
    return rows


def weighted_pixel_sums(rows: Tensor, index: Tensor, weights: Tensor) -> Tensor:
    """Add up weighted pixels: the gather that reassembly and bilinear sampling both are.

    Args:
        rows: ``(P, C)``, contiguous, float32 or float64; one image of :func:`rows_of_pixels`.
        index: ``(Q, T)`` int32 or int64, contiguous, rows of ``rows``.
        weights: ``(Q, T)`` of the dtype of ``rows``, contiguous.

    Returns:
        ``(Q, C)``: ``out[q] = sum_t weights[q, t] * rows[index[q, t]]``.
    """
    # The weighted embedding sum is PyTorch's one fused gather: no (Q, T, C) tensor ever exists.
    return torch.nn.functional.embedding_bag(index, rows, per_sample_weights=weights, mode="sum")
