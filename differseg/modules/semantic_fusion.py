"""Fusion of visible and thermal features deep in a network, where channels have meanings."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from differseg.modules.conv import ConvBn
from differseg.modules.pooled_gates import PixelGate, PooledGate, pooled


class SemanticFusion(nn.Module):
    """Weighs the channels of both modalities against each other, then refines the sum.

    Frequency-guided RGB-thermal fusion, arXiv 2605.26273 (its last two stages, "cross-modal
    attention" in the abstract; the text is known from the released code).  One gate over the
    pooled channels of both modalities gives each channel of each its weight, independently; the
    weighted sum is looked at with depthwise 3x3 and 5x5, then by a channel and a spatial
    attention, and the result is added with a learned factor.

    Args:
        channels: Width of the visible features and of the result.
        thermal_channels: Width of the thermal features; ``channels`` when None.
        reduction: The gates' hidden width is ``channels / reduction``.

    Shapes: visible ``(N, channels, H, W)`` and thermal ``(N, thermal_channels, H, W)`` float to
    ``(N, channels, H, W)``.
    """

    def __init__(
        self, channels: int, thermal_channels: int | None = None, *, reduction: int = 16
    ) -> None:
        super().__init__()
        hidden = max(channels // reduction, 1)
        self.thermal_projection = ConvBn(thermal_channels or channels, channels)
        self.cross_gate = PooledGate(2 * channels, hidden, 2 * channels)
        self.near = DepthwisePointwise(channels, 3)
        self.far = DepthwisePointwise(channels, 5)
        self.merge = ConvBn(2 * channels, channels)
        self.channel_attention = PooledGate(channels, hidden, channels)
        self.pixel_attention = PixelGate(7, "max-mean")
        self.refine = DepthwisePointwise(channels, 3)
        self.residual_scale = nn.Parameter(torch.full((1,), 0.1))

    def forward(self, visible: Tensor, thermal: Tensor) -> Tensor:
        """Fuse two maps of one size, see the class."""
        thermal = F.gelu(self.thermal_projection(thermal))  # (N, C, H, W)
        # Pooled one by one: the mean of a concatenation is the concatenation of the means.
        gate = self.cross_gate(torch.cat((pooled(visible), pooled(thermal)), dim=1))
        channels = visible.shape[1]
        fused = visible * gate[:, :channels] + thermal * gate[:, channels:]
        scales = self.merge(torch.cat((self.near(fused), self.far(fused)), dim=1))
        scales = scales * self.channel_attention(scales)
        scales = scales * self.pixel_attention(scales)
        return fused + self.residual_scale * self.refine(scales)  # (N, C, H, W)


class DepthwisePointwise(nn.Module):
    """A depthwise convolution with GELU and a linear 1x1, each with batch normalisation.

    Args:
        channels: Width of input and output.
        kernel_size: Odd side of the depthwise kernel.

    Shapes: ``(N, channels, H, W)`` float to the same shape.
    """

    def __init__(self, channels: int, kernel_size: int) -> None:
        super().__init__()
        self.depthwise = ConvBn(channels, channels, (kernel_size, kernel_size), groups=channels)
        self.pointwise = ConvBn(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` to ``(N, C, H, W)``."""
        return self.pointwise(F.gelu(self.depthwise(x)))
