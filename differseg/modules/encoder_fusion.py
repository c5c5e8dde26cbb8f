"""Adding what a second encoder sees to the features of the first (FSANet's MF).

Source: Jiang et al., IEEE TNNLS 36(5), 2025, doi 10.1109/TNNLS.2024.3426529.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class EncoderFusion(nn.Module):
    """Bring one level of a second encoder to the first one's width, weigh its channels, add it.

    Args:
        second_channels: Width of the second encoder's level.
        channels: Width of the first encoder's level, a multiple of ``squeeze``.
        squeeze: Width over that of the channel gate's bottleneck.

    Shapes: ``(N, channels, H, W)`` and ``(N, second_channels, H, W)`` float to
    ``(N, channels, H, W)``.
    """

    def __init__(self, second_channels: int, channels: int, *, squeeze: int = 16) -> None:
        super().__init__()
        self.project = nn.Conv2d(second_channels, channels, 1)
        self.gate = ChannelGate(channels, channels // squeeze)

    def forward(self, x: Tensor, second: Tensor) -> Tensor:
        """Return ``x`` with the second encoder's level added."""
        return x + self.gate(self.project(second))


class ChannelGate(nn.Module):
    """Squeeze and excitation without biases (arXiv 1709.01507).

    Shapes: ``(N, channels, H, W)`` float to the same.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.reduce = nn.Linear(channels, hidden, bias=False)
        self.expand = nn.Linear(hidden, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Weigh each channel of ``(N, C, H, W)`` by a number in 0..1 from all channels' means."""
        weight = torch.sigmoid(self.expand(F.relu(self.reduce(x.mean(dim=(2, 3))))))  # (N, C)
        return x * weight[:, :, None, None]
