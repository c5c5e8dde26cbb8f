"""Split each level into a low and a high band, and weigh the two (FGD, first half).

DifferSeg, arXiv 2606.08906.  "Frequency" is meant loosely: the low band is a learned blend of
depthwise convolutions, the high band is what is left.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

INTERACTION_GAIN = 0.1
"""Share of the low x high product that :class:`ScaleAttention` adds to both bands."""


class FrequencyDecomposer(nn.Module):
    """Split one level into a low and a gated high band.

    Three depthwise convolutions (3x3, 5x5, 7x7) are blended per pixel into the low band; the
    remainder is gated by three convolutions (1x1, 3x3, 5x5) of itself.

    Args:
        channels: Width of the level; a multiple of 4.
        keep_unused_fusion: Also hold the authors' ``low_freq_fusion``, which no forward pass
            calls but their checkpoints contain.

    Shapes: ``(N, channels, H, W)`` float to two such tensors, low and high.
    """

    def __init__(self, channels: int, *, keep_unused_fusion: bool = False) -> None:
        super().__init__()
        quarter = channels // 4
        self.low_pass_3x3 = _depthwise(channels, 3)
        self.low_pass_5x5 = _depthwise(channels, 5)
        self.low_pass_7x7 = _depthwise(channels, 7)
        self.low_freq_attention = nn.Sequential(
            nn.Conv2d(3 * channels, channels, 1),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, 3, 1),
            nn.Softmax(dim=1),
        )
        if keep_unused_fusion:
            self.low_freq_fusion = nn.Sequential(
                nn.Conv2d(3 * channels, channels, 1), nn.BatchNorm2d(channels), nn.ReLU()
            )
        self.high_freq_branches = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, quarter, size, padding=size // 2),
                nn.BatchNorm2d(quarter),
                nn.ReLU(),
            )
            for size in (1, 3, 5)
        )
        self.high_freq_fusion = nn.Sequential(
            nn.Conv2d(3 * quarter, channels, 1), nn.BatchNorm2d(channels), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the low and the high band of ``(N, C, H, W)``, each ``(N, C, H, W)``."""
        blurs = [self.low_pass_3x3(x), self.low_pass_5x5(x), self.low_pass_7x7(x)]
        blend = self.low_freq_attention(torch.cat(blurs, dim=1))  # (N, 3, H, W)
        low = blend[:, :1] * blurs[0] + blend[:, 1:2] * blurs[1] + blend[:, 2:] * blurs[2]
        rest = x - low  # (N, C, H, W)
        branches = [branch(rest) for branch in self.high_freq_branches]  # (N, C/4, H, W) each
        return low, rest * self.high_freq_fusion(torch.cat(branches, dim=1))


class ScaleAttention(nn.Module):
    """Weigh the channels of both bands of every level and let the bands interact.

    Despite the authors' name no level sees another one.

    Args:
        widths: One width per level; multiples of 8.

    Shapes: per level two ``(N, width, H, W)`` float tensors to two of the same shape.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.low_freq_attention = nn.ModuleList(_channel_gate(width) for width in widths)
        self.high_freq_attention = nn.ModuleList(_channel_gate(width) for width in widths)
        self.freq_interaction = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, width, 3, padding=1, groups=width // 8),
                nn.BatchNorm2d(width),
                nn.ReLU(),
                nn.Conv2d(width, width, 1),
            )
            for width in widths
        )

    def forward(self, bands: Sequence[tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
        """Return the weighed (low, high) of every level; shapes as given."""
        weighed = []
        for k, (low, high) in enumerate(bands):
            shared = INTERACTION_GAIN * self.freq_interaction[k](low * high)  # (N, C, H, W)
            low_gate, high_gate = self.low_freq_attention[k](low), self.high_freq_attention[k](high)
            weighed.append((low * low_gate + shared, high * high_gate + shared))
        return weighed


def _depthwise(channels: int, size: int) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, size, padding=size // 2, groups=channels)


def _channel_gate(channels: int) -> nn.Sequential:
    """Global average to one gate in 0..1 a channel: ``(N, C, H, W)`` to ``(N, C, 1, 1)``."""
    # At least 8, as at the authors' narrowest level: of 2 hidden units all can be dead at birth.
    hidden = max(8, channels // 8)
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(1),
        nn.Conv2d(channels, hidden, 1),
        nn.ReLU(),
        nn.Conv2d(hidden, channels, 1),
        nn.Sigmoid(),
    )
