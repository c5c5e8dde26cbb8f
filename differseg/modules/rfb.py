"""Receptive-field blocks: a trunk level becomes a decoder level that sees several scales."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from differseg.modules.conv import ConvBn


class ReceptiveFieldBlock(nn.Module):
    """Four parallel branches of growing reach, concatenated, with a linear shortcut.

    The authors' block (DifferSeg, arXiv 2606.08906; sizes from SAM2-UNet): branch ``b`` of 1..3
    is 1x1, then 1xk, kx1 with ``k = 2b + 1``, then 3x3 with dilation ``k``.  The ReLU at the end
    is the only activation in the block.

    Args:
        in_channels: Width of the trunk level.
        out_channels: Width of the decoder level.

    Shapes: ``(N, in_channels, H, W)`` float to ``(N, out_channels, H, W)`` float, >= 0.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.branch0 = nn.Sequential(ConvBn(in_channels, out_channels))
        self.branch1 = self._branch(in_channels, out_channels, 3)
        self.branch2 = self._branch(in_channels, out_channels, 5)
        self.branch3 = self._branch(in_channels, out_channels, 7)
        self.conv_cat = ConvBn(4 * out_channels, out_channels, (3, 3))
        self.conv_res = ConvBn(in_channels, out_channels)

    @staticmethod
    def _branch(in_channels: int, out_channels: int, reach: int) -> nn.Sequential:
        return nn.Sequential(
            ConvBn(in_channels, out_channels),
            ConvBn(out_channels, out_channels, (1, reach)),
            ConvBn(out_channels, out_channels, (reach, 1)),
            ConvBn(out_channels, out_channels, (3, 3), dilation=reach),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, in_channels, H, W)`` to ``(N, out_channels, H, W)``."""
        branches = (self.branch0, self.branch1, self.branch2, self.branch3)
        joined = torch.cat([branch(x) for branch in branches], dim=1)  # (N, 4D, H, W)
        return F.relu(self.conv_cat(joined) + self.conv_res(x))  # (N, D, H, W)


class LightReceptiveFieldBlock(nn.Module):
    """The same idea for edge devices: reduce first, then depthwise 3x3 of growing dilation.

    One 1x1 convolution brings the level to the decoder's width; depthwise 3x3 convolutions with
    dilations 1, 3 and 5 widen the view at 9 multiply-adds a channel each; a 1x1 mixes them and
    a shortcut keeps the sharp features.

    Args:
        in_channels: Width of the trunk level.
        out_channels: Width of the decoder level.
        dilations: One depthwise branch each.

    Shapes: ``(N, in_channels, H, W)`` float to ``(N, out_channels, H, W)`` float, >= 0.
    """

    def __init__(
        self, in_channels: int, out_channels: int, dilations: tuple[int, ...] = (1, 3, 5)
    ) -> None:
        super().__init__()
        self.reduce = ConvBn(in_channels, out_channels)
        self.branches = nn.ModuleList(
            ConvBn(out_channels, out_channels, (3, 3), dilation=d, groups=out_channels)
            for d in dilations
        )
        self.mix = ConvBn(len(dilations) * out_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, in_channels, H, W)`` to ``(N, out_channels, H, W)``."""
        x = F.relu(self.reduce(x))  # (N, D, H, W)
        views = torch.cat([F.relu(branch(x)) for branch in self.branches], dim=1)
        return F.relu(x + self.mix(views))  # (N, D, H, W)
