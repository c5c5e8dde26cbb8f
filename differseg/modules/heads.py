"""Features into one logit per pixel."""

from __future__ import annotations

from torch import nn


class SegmentationHead(nn.Sequential):
    """Depthwise 3x3, batch normalisation, GELU and a 1x1 convolution to logits.

    DifferSeg, arXiv 2606.08906 (``predtrans``): the same head serves the decoder's output and
    the three side outputs.  With ``scale`` above 1 the 1x1 convolution predicts every pixel of a
    finer grid by itself (sub-pixel convolution, arXiv 1609.05158), which draws sharper outlines
    than an interpolation and costs less than one.

    Args:
        channels: Width of the features.
        scale: Pixels of the output per side of a pixel of the features.

    Shapes: ``(N, channels, H, W)`` float to ``(N, 1, scale*H, scale*W)`` logits.
    """

    def __init__(self, channels: int, *, scale: int = 1) -> None:
        super().__init__(
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels),
            nn.BatchNorm2d(channels),
            nn.GELU(),
            nn.Conv2d(channels, scale**2, 1),
        )
        if scale > 1:
            self.append(nn.PixelShuffle(scale))
