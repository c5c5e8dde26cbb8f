"""Features into one logit per pixel."""

from __future__ import annotations

from torch import nn


class SegmentationHead(nn.Sequential):
    """Depthwise 3x3, batch normalisation, GELU and a 1x1 convolution to one channel.

    DifferSeg, arXiv 2606.08906 (``predtrans``): the same head serves the decoder's output and
    the three side outputs.

    Args:
        channels: Width of the features.

    Shapes: ``(N, channels, H, W)`` float to ``(N, 1, H, W)`` logits on the same grid.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels),
            nn.BatchNorm2d(channels),
            nn.GELU(),
            nn.Conv2d(channels, 1, 1),
        )
