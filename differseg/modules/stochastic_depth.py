"""Stochastic depth: blocks that are left out at random in training (arXiv 1603.09382)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class StochasticDepth(nn.Module):
    """In training, set a branch to zero for a share of the images and enlarge it for the others.

    Args:
        share: Of the images, 0 <= share < 1.

    Shapes: ``(N, ...)`` float to the same; in eval mode nothing happens.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, branch: Tensor) -> Tensor:
        """Drop whole images of ``(N, ...)``."""
        if not self.training or self.share == 0:
            return branch
        shape = (branch.shape[0], *(1,) * (branch.dim() - 1))
        keep = torch.rand(shape, device=branch.device) >= self.share
        return branch * keep / (1 - self.share)
