"""Context from a cascade of strip convolutions (FSANet's HCF).

Source: Jiang et al., IEEE TNNLS 36(5), 2025, doi 10.1109/TNNLS.2024.3426529.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from differseg.modules.conv import ConvBn

REACHES = (3, 5, 7)
"""Lengths of the strips, one pair after the other."""


class StripContext(nn.Module):
    """Five views of the input; four of them join a cascade of 1xk and kx1 convolutions one by one.

    The ReLU at the end, after the fifth view is added, is the only activation.

    Args:
        in_channels: Width of the input.
        out_channels: Width of the output.

    Shapes: ``(N, in_channels, H, W)`` float to ``(N, out_channels, H, W)`` float, >= 0.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.views = nn.ModuleList(ConvBn(in_channels, out_channels) for _ in range(5))
        self.strips = nn.ModuleList(
            nn.Sequential(
                ConvBn(out_channels * (1 if index == 0 else 2), out_channels, (1, reach)),
                ConvBn(out_channels, out_channels, (reach, 1)),
            )
            for index, reach in enumerate(REACHES)
        )
        self.mix = ConvBn(2 * out_channels, out_channels, (3, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, in_channels, H, W)`` to ``(N, out_channels, H, W)``."""
        views = [view(x) for view in self.views]  # 5 x (N, D, H, W)
        y = views[0]
        for strip, view in zip(self.strips, views[1:4], strict=True):
            y = torch.cat((strip(y), view), dim=1)  # (N, 2D, H, W)
        return F.relu(views[4] + self.mix(y))
