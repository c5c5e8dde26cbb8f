"""Fusion of visible and thermal features that weighs thermal frequencies against each other."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from differseg import ops
from differseg.modules.conv import ConvBn
from differseg.modules.pooled_gates import PixelGate, PooledGate, pooled

KERNEL_SIZE = 7
SIGMA_PX = 2.0


class FrequencyFusion(nn.Module):
    """Adds to visible features what a low and a high band of thermal features say.

    Frequency-guided RGB-thermal fusion, arXiv 2605.26273 (its first two stages; the text is
    known from the released code).  The thermal map is split by a Gaussian; each band is masked
    by its own spatial attention; a channel gate mixes the bands; a scalar per image says how far
    the visible features are to be trusted inside the correction.  The shortcut is not gated, and
    the correction ends in a linear batch normalisation.

    Convention:
        The Gaussian has 7x7 taps, sigma 2 pixels and zeros beyond the border, so that the low
        band darkens there and the high band shows an edge: published weights expect it.

    Args:
        channels: Width of the visible features and of the result.
        thermal_channels: Width of the thermal features; ``channels`` when None.

    Shapes: visible ``(N, channels, H, W)`` and thermal ``(N, thermal_channels, H, W)`` float to
    ``(N, channels, H, W)``.
    """

    def __init__(self, channels: int, thermal_channels: int | None = None) -> None:
        super().__init__()
        self.thermal_projection = ConvBn(thermal_channels or channels, channels)
        self.low_attention = PixelGate(7)
        self.high_attention = PixelGate(3)
        self.band_gate = nn.Conv2d(2 * channels, channels, 1, bias=False)
        self.confidence = PooledGate(channels, max(channels // 2, 1), 1)
        self.join = ConvBn(2 * channels, channels, (3, 3))
        self.project = ConvBn(channels, channels)

    def forward(self, visible: Tensor, thermal: Tensor) -> Tensor:
        """Fuse two maps of one size, see the class."""
        bands = self._mixed_bands(F.gelu(self.thermal_projection(thermal)))
        trusted = visible * self.confidence(visible)
        correction = F.relu(self.join(torch.cat((trusted, bands), dim=1)))  # (N, C, H, W)
        return visible + self.project(correction)

    def _mixed_bands(self, thermal: Tensor) -> Tensor:
        low = ops.gaussian_lowpass(thermal, SIGMA_PX, KERNEL_SIZE, border="zeros")
        high = thermal - low
        low = low * self.low_attention(low)
        high = high * self.high_attention(high)
        # Pooled one by one: the mean of a concatenation is the concatenation of the means.
        strengths = torch.cat((pooled(low.abs()), pooled(high.abs())), dim=1)  # (N, 2C, 1, 1)
        share = torch.sigmoid(self.band_gate(strengths))  # (N, C, 1, 1)
        return share * low + (1 - share) * high
