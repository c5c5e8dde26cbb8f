"""A top-down pyramid decoder that learns how far each level trusts the one above it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from differseg.modules.conv import ConvBn
from differseg.modules.panet_decoder import LogitHead, resized
from differseg.modules.pooled_gates import pooled


class FpnDecoder(nn.Module):
    """Four fused levels into class logits of the finest level's grid, with one side output.

    The feature pyramid (arXiv 1612.03144) that the released code of frequency-guided RGB-thermal
    fusion (arXiv 2605.26273) has as the alternative to its bidirectional decoder.  Every level
    keeps its width; one learned number per level weighs its own features against those from
    above; a gate from the coarsest level weighs the finest one's channels between one half and
    one.

    Convention:
        Every resize is bilinear on pixel centres (``align_corners=False``) to the exact size of
        its target.  The 1x1 projection comes before the resize; the authors' comes behind it,
        which gives the same at up to four times the cost.

    Args:
        in_channels: Widths of the four levels, finest first.
        outputs: Number of logits per pixel.

    Shapes: four levels ``(N, in_channels[k], H_k, W_k)`` float to logits
    ``(N, outputs, H_0, W_0)``.
    """

    def __init__(self, in_channels: Sequence[int], outputs: int) -> None:
        super().__init__()
        finest, middle, coarsest = in_channels[0], in_channels[2], in_channels[-1]
        pairs = list(itertools.pairwise(in_channels))
        self.projections = nn.ModuleList(
            nn.Conv2d(above, width, 1, bias=False) for width, above in pairs
        )
        self.trusts = nn.ParameterList(nn.Parameter(torch.tensor(0.5)) for _ in pairs)
        self.refinements = nn.ModuleList(ConvBn(width, width, (3, 3)) for width, _ in pairs)
        self.finest_gate = nn.Conv2d(coarsest, finest, 1)
        self.main_head = LogitHead(finest, finest // 2, outputs)
        self.aux_head = LogitHead(middle, middle // 2, outputs)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Return the logits ``(N, outputs, H_0, W_0)`` alone."""
        return self._main(self._pyramid(levels), levels[-1])

    def forward_all(self, levels: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Return the logits and, in a list, the auxiliary head's ``(N, outputs, H_2, W_2)``."""
        pyramid = self._pyramid(levels)
        return self._main(pyramid, levels[-1]), [self.aux_head(pyramid[2])]

    def _pyramid(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Return the four levels after the pass, ``(N, in_channels[k], H_k, W_k)``."""
        refined = [levels[-1]]
        for index in (2, 1, 0):
            level = levels[index]
            above = resized(self.projections[index](refined[0]), level)
            trust = torch.sigmoid(self.trusts[index])
            merged = trust * level + (1 - trust) * above
            refined.insert(0, F.relu(self.refinements[index](merged)))
        return refined

    def _main(self, pyramid: Sequence[Tensor], coarsest: Tensor) -> Tensor:
        gate = torch.sigmoid(self.finest_gate(pooled(coarsest)))  # (N, in_channels[0], 1, 1)
        return self.main_head(pyramid[0] * (0.5 + 0.5 * gate))
