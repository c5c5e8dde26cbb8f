"""SegNeXt's decoder with frequency-aware fusion of its levels.

Source: SegNeXt (arXiv 2209.08575) with FreqFusion (arXiv 2408.12879) in the place of the resizing
of its levels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from differseg.modules.conv import ConvGroupNorm
from differseg.modules.hamburger import Hamburger

DROPOUT = 0.1
_CLASSIFIER_STD = 0.01


class SegNeXtHead(nn.Module):
    """Fuse levels from coarse to fine, find global context, classify at the finest level.

    Args:
        channels: Widths of the levels, finest first.
        fusions: The steps, coarse to fine: modules that take a fine level and all that is joined
            so far, and return both at the fine size with their widths kept.
        width: Width of the decoder; a multiple of ``norm_groups``.
        classes: Channels of the logits.
        join_groups: Blocks in which both results of a step are interleaved, so that every block
            holds channels of both.
        rank: Rank of the Hamburger's factorisation.
        norm_groups: Groups of the group normalisations.

    Shapes: levels ``(N, channels[k], H/2**k, W/2**k)`` float to logits ``(N, classes, H, W)``.
    """

    def __init__(
        self,
        channels: Sequence[int],
        fusions: Sequence[nn.Module],
        *,
        width: int = 256,
        classes: int,
        join_groups: int = 4,
        rank: int = 16,
        norm_groups: int = 32,
    ) -> None:
        super().__init__()
        self.join_groups = join_groups
        self.freqfusions = nn.ModuleList(fusions)
        self.squeeze = ConvGroupNorm(sum(channels), width, norm_groups)
        self.hamburger = Hamburger(width, rank=rank, norm_groups=norm_groups)
        self.align = ConvGroupNorm(width, width, norm_groups)
        self.dropout = nn.Dropout2d(DROPOUT)
        self.conv_seg = nn.Conv2d(width, classes, 1)
        nn.init.normal_(self.conv_seg.weight, std=_CLASSIFIER_STD)
        nn.init.zeros_(self.conv_seg.bias)  # type: ignore[arg-type]

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Return logits at the size of the finest level."""
        joined, *finer = reversed(levels)
        for fuse, level in zip(self.freqfusions, finer, strict=True):
            fine, coarse = fuse(level, joined)
            joined = self._joined(fine, coarse)  # (N, all channels so far, H/2**k, W/2**k)
        x = F.relu(self.squeeze(joined))  # (N, D, H, W)
        x = F.relu(self.align(self.hamburger(x)))  # (N, D, H, W)
        return self.conv_seg(self.dropout(x))  # (N, K, H, W)

    def _joined(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Interleave blocks of channels: fine 0, coarse 0, fine 1, coarse 1 ..."""
        blocks = [x.unflatten(1, (self.join_groups, -1)) for x in (fine, coarse)]
        return torch.cat(blocks, dim=2).flatten(1, 2)
