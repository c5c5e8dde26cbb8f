"""Decoders of a trunk whose levels were warped: from the levels to logits that lie as the image.

Source: Spatial Frequency Modulation (arXiv 2507.11893); the order of the steps is ours where the
source does not tell it, see each class.

Convention: ``levels[k]`` (stride ``2**(k+2)``) was taken before the sampler behind stage k warped
it, so it lies under the warps 0 ... k-1; ``displacements[k]`` is the warp of level k's size.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from differseg.backbones.mscan import ChannelLayerNorm
from differseg.modules.conv import ConvBn
from differseg.modules.nonuniform_upsampling import NonuniformUpsampling
from differseg.modules.pixel_relation import LocalPixelRelation

DROPOUT = 0.1


class FcnHead(nn.Module):
    """Convolutions and a classifier over one level (FCN, arXiv 1411.4038, as in MMSegmentation).

    Args:
        in_channels: Width of the level.
        width: Width of the convolutions.
        classes: Channels of the logits.
        depth: Number of 3x3 convolutions.
        joined: Convolve the level beside the result once more.

    Shapes: ``(N, in_channels, H, W)`` float to ``(N, classes, H, W)``.
    """

    def __init__(
        self, in_channels: int, width: int, classes: int, *, depth: int, joined: bool
    ) -> None:
        super().__init__()
        before = [in_channels] + [width] * (depth - 1)
        self.convs = nn.ModuleList(ConvBn(c, width, (3, 3)) for c in before)
        self.join = ConvBn(in_channels + width, width, (3, 3)) if joined else None
        self.dropout = nn.Dropout2d(DROPOUT)
        self.classify = nn.Conv2d(width, classes, 1)

    def forward(self, level: Tensor) -> Tensor:
        """Map ``(N, in_channels, H, W)`` to ``(N, classes, H, W)``."""
        x = level
        for conv in self.convs:
            x = F.relu(conv(x))  # (N, width, H, W)
        if self.join is not None:
            x = F.relu(self.join(torch.cat((level, x), dim=1)))
        return self.classify(self.dropout(x))


class FcnDecoder(nn.Module):
    """Segment the coarsest level, un-warp the logits step by step, refine them at stride 4.

    Ours: logits are resized to each sampler's size and un-warped there, from the last sampler to
    the first, then refined by local relations that are read from the logits themselves; the side
    output of stride 16 is un-warped as well, so that labels fit it.

    Args:
        channels: Widths of the four levels.
        width: Of the head; the side output's is half of it.
        classes: Channels of the logits.
        normalized: Whether the levels are normalised already.

    Shapes: four levels and three displacements to ``(N, classes, H/4, W/4)`` logits and, in
    training, a list of one side output of the same shape (else an empty one).
    """

    def __init__(
        self, channels: Sequence[int], width: int, classes: int, *, normalized: bool
    ) -> None:
        super().__init__()
        coarse, coarsest = channels[2:]
        self.norms = nn.ModuleList(
            nn.Identity() if normalized else ChannelLayerNorm(c) for c in (coarse, coarsest)
        )
        self.head = FcnHead(coarsest, width, classes, depth=2, joined=True)
        self.side_head = FcnHead(coarse, width // 2, classes, depth=1, joined=False)
        self.unwarping = NonuniformUpsampling()
        self.relation = LocalPixelRelation(classes)

    def forward(
        self, levels: Sequence[Tensor], displacements: Sequence[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """Decode four levels ``(N, C_k, H/2**(k+2), W/2**(k+2))``."""
        logits = self.head(self.norms[1](levels[3]))  # (N, K, H/32, W/32)
        logits = self.unwarping.through(logits, displacements)  # (N, K, H/4, W/4)
        logits = self.relation(logits, logits)
        if not self.training:
            return logits, []
        side = self.side_head(self.norms[0](levels[2]))  # (N, K, H/16, W/16)
        return logits, [self.unwarping.through(side, displacements[:2])]


class TopDownDecoder(nn.Module):
    """Join levels from coarse to fine; each step un-warps by one sampler, then adds a level.

    Ours, for edge devices: undone step by step, every warp leaves the sum exactly where the next
    finer level lies.  The relations are read from the finest level, which no warp has touched.

    Args:
        channels: Widths of the four levels.
        width: Of the decoder.
        classes: Channels of the logits.

    Shapes: as :class:`FcnDecoder`, without side outputs.
    """

    def __init__(self, channels: Sequence[int], width: int, classes: int) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(ConvBn(c, width) for c in channels)
        self.refinements = nn.ModuleList(ConvBn(width, width, (3, 3)) for _ in channels[:-1])
        self.unwarping = NonuniformUpsampling()
        self.classify = nn.Conv2d(width, classes, 1)
        self.relation = LocalPixelRelation(channels[0])

    def forward(
        self, levels: Sequence[Tensor], displacements: Sequence[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """Decode four levels ``(N, C_k, H/2**(k+2), W/2**(k+2))``."""
        x = F.relu(self.laterals[3](levels[3]))  # (N, D, H/32, W/32)
        for number in (2, 1, 0):
            x = self.unwarping(x, displacements[number])  # (N, D, H_k, W_k)
            x = F.relu(x + self.laterals[number](levels[number]))
            x = F.relu(self.refinements[number](x))
        return self.relation(self.classify(x), levels[0]), []
