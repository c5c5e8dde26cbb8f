"""Local pixel relations: a map refined by weights between neighbours at growing distances.

Source: Spatial Frequency Modulation (arXiv 2507.11893), the second part of its MSAU; the layers
are those of the relation module in the authors' public FreqFusion repository.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from differseg import ops

TAPS = 9


class LocalPixelRelation(nn.Module):
    """Refine a map by a cascade of weighted 3x3 sums, the taps further apart at each level.

    The weights follow from another map, the guide: each level convolves what the level before it
    saw and turns it into nine weights per pixel that sum to 1.  Dilation 1 smooths where neighbours
    belong together; larger ones relate pixels further away.

    Convention: taps row by row from top left; border pixels are repeated.

    Args:
        guide_channels: Width of the guide.
        dilations: Distance of the taps at each level, in pixels, 1 to 64.

    Shapes: a map ``(N, C, H, W)`` and a guide ``(N, guide_channels, H, W)`` to ``(N, C, H, W)``.
    """

    def __init__(self, guide_channels: int, dilations: Sequence[int] = (1, 2, 4, 8, 16)) -> None:
        super().__init__()
        self.dilations = tuple(dilations)
        self.entry = nn.Sequential(
            nn.Conv2d(guide_channels, TAPS, 3, padding=1), nn.BatchNorm2d(TAPS), nn.ReLU()
        )
        self.levels = nn.ModuleList(RelationLevel(dilation) for dilation in self.dilations)

    def forward(self, x: Tensor, guide: Tensor) -> Tensor:
        """Refine ``(N, C, H, W)`` under a guide ``(N, guide_channels, H, W)``."""
        relation = self.entry(guide)  # (N, 9, H, W)
        for dilation, level in zip(self.dilations, self.levels, strict=True):
            relation = level(relation)
            x = ops.reassemble(
                x,
                relation.to(x.dtype),
                kernel_size=3,
                dilation=dilation,
                border="edge",
                normalize="softmax",
            )
        return x


class RelationLevel(nn.Module):
    """One level's logits from the level before: a dilated 3x3 convolution and a normalisation.

    Args:
        dilation: Distance of the taps, in pixels.

    Shapes: ``(N, 9, H, W)`` float to ``(N, 9, H, W)``; border pixels are repeated.
    """

    def __init__(self, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.conv = nn.Conv2d(TAPS, TAPS, 3, dilation=dilation, bias=False)
        self.bn = nn.BatchNorm2d(TAPS)

    def forward(self, relation: Tensor) -> Tensor:
        """Map ``(N, 9, H, W)`` to logits ``(N, 9, H, W)``."""
        extended = F.pad(relation, (self.dilation,) * 4, mode="replicate")
        return self.bn(self.conv(extended))
