"""Choosing per pixel and channel between a finer and a coarser map (FSANet's SFF).

Source: Jiang et al., IEEE TNNLS 36(5), 2025, doi 10.1109/TNNLS.2024.3426529.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from differseg.errors import InputError
from differseg.modules.conv import ConvBn


class SelectiveFusion(nn.Module):
    """Enlarge the coarser map to the finer grid and blend the two with learned weights.

    Args:
        channels: Width of both maps, a multiple of 4.
        keep_unused_norm: Also hold the authors' ``bn_out``, which no forward pass calls but their
            checkpoints contain.

    Shapes: ``(N, channels, H, W)`` and ``(N, channels, H/2, W/2)`` float to
    ``(N, channels, H, W)``.
    """

    def __init__(self, channels: int, *, keep_unused_norm: bool = False) -> None:
        super().__init__()
        both = 2 * channels
        self.value = ConvBn(both, both, (3, 3))
        self.gate = ConvBn(both, both, (3, 3))
        self.mix = nn.Conv2d(both, channels, 3, padding=1, bias=False)
        if keep_unused_norm:
            self.unused_norm = nn.BatchNorm2d(channels)
        self.attention = BlendWeights(channels)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Blend ``(N, C, H, W)`` with ``(N, C, H/2, W/2)``; returns ``(N, C, H, W)``."""
        size_hw = (fine.shape[-2], fine.shape[-1])
        coarse = F.interpolate(coarse, size=size_hw, mode="bilinear", align_corners=False)
        both = torch.cat((fine, coarse), dim=1)  # (N, 2C, H, W)
        mixed = self.mix(F.relu(self.value(both)) * torch.sigmoid(self.gate(both)))  # (N, C, H, W)
        share = self.attention(mixed)  # (N, C, H, W)
        return fine * share + coarse * (1 - share)


class BlendWeights(nn.Module):
    """Weights in 0..1 from each pixel and from the whole map (the authors' SEA).

    Args:
        channels: Width, a multiple of ``squeeze``.
        squeeze: Width over that of the bottlenecks.

    Shapes: ``(N, channels, H, W)`` float to the same, in 0..1.
    """

    def __init__(self, channels: int, *, squeeze: int = 4) -> None:
        super().__init__()
        hidden = channels // squeeze
        self.local = _bottleneck(channels, hidden)
        self.pooled = _bottleneck(channels, hidden)
        self.pixel = _bottleneck(channels, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """Return weights ``(N, C, H, W)``.

        Raises:
            InputError: A single image in training, which the normalisation of one pixel cannot use.
        """
        if self.pooled[1].training and x.shape[0] == 1:
            raise InputError(
                "BlendWeights: a batch of 1 in training, expected 2 or more, as the mean over the "
                "whole map is normalised over the batch; choose a larger batch"
            )
        whole = self.pooled(x.mean(dim=(2, 3), keepdim=True))  # (N, C, 1, 1)
        return torch.sigmoid(torch.sigmoid(self.pixel(x)) * (self.local(x) + whole))


def _bottleneck(channels: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, hidden, 1),
        nn.BatchNorm2d(hidden),
        nn.ReLU(),
        nn.Conv2d(hidden, channels, 1),
        nn.BatchNorm2d(channels),
    )
