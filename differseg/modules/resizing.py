"""Logits at a coarse stride brought to the size of the network's input."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

FEW_CHANNELS = 16
"""Up to so many channels, matrix products are faster than a resize in ONNX Runtime.

Its convolutions work on blocks of 8 or 16 channels, and so does the resize that follows one: with
one channel it computes 16, and then copies the one out.
"""


class OutputUpsampling(nn.Module):
    """Bilinear interpolation to the size of the network's input.

    Convention: pixel centres lie at half numbers (``align_corners=False``); beyond the outermost
    centres the border pixels are repeated.

    Args:
        channels: Channels of what is interpolated.
        scale: Output pixels per input pixel along a side.

    Shapes: ``(N, channels, H, W)`` float to ``(N, channels, scale * H, scale * W)``.
    """

    def __init__(self, channels: int, scale: int) -> None:
        super().__init__()
        self.channels = channels
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """Interpolate ``(N, C, H, W)``."""
        return F.interpolate(x, scale_factor=self.scale, mode="bilinear", align_corners=False)

    def for_export(self, size_hw: tuple[int, int]) -> nn.Module:
        """Interpolate few channels by two products with constant matrices."""
        if self.channels > FEW_CHANNELS:
            return self
        return MatrixUpsampling(size_hw, self.scale)


class MatrixUpsampling(nn.Module):
    """:class:`OutputUpsampling` at one size: a matrix for the rows, one for the columns.

    Args:
        size_hw: Height and width of the output; multiples of ``scale``.
        scale: Output pixels per input pixel along a side.

    Shapes: ``(N, C, H/scale, W/scale)`` float to ``(N, C, H, W)``.
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, size_hw: tuple[int, int], scale: int) -> None:
        super().__init__()
        height, width = size_hw
        self.register_buffer("rows", interpolation_matrix(height // scale, scale))
        self.register_buffer("columns", interpolation_matrix(width // scale, scale).T.contiguous())

    def forward(self, x: Tensor) -> Tensor:
        """Interpolate ``(N, C, H/scale, W/scale)``, the smaller product first."""
        return (self.rows.to(x.dtype) @ x) @ self.columns.to(x.dtype)  # (N, C, H, W)


def interpolation_matrix(size: int, scale: int) -> Tensor:
    """Return the matrix of linear interpolation along an axis.

    Args:
        size: Pixels along the axis.
        scale: Output pixels per input pixel.

    Returns:
        ``(scale * size, size)`` float32; each row holds the weights of one output pixel.
    """
    at = (torch.arange(scale * size, dtype=torch.float64) + 0.5) / scale - 0.5
    at = at.clamp(0, size - 1)
    distance = (at[:, None] - torch.arange(size, dtype=torch.float64)).abs()
    return (1 - distance).clamp(min=0).float()
