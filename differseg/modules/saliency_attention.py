"""Where a feature map has detail: one logit per pixel from a high-pass and pooled context.

Source: Spatial Frequency Modulation (arXiv 2507.11893).  The paper names the attention and leaves
its layers to code that was not at hand; both generators here follow the authors' development code.
Which of them the released weights use is not known.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from differseg.errors import InputError
from differseg.ops.constants import constant

AttentionMode = Literal["high-pass", "semantic"]
"""``high-pass`` is the authors' ``avg_lhpf_psp``, ``semantic`` their ``avgpsp_semantic_edge``."""
BINS = (1, 2, 3, 7)
"""Cells along a side of each pooled branch."""


class SaliencyAttention(nn.Module):
    """Logits of a saliency: smoothing, optionally a learned high-pass, pooled context, one logit.

    The last 1x1 convolution sees the map and, enlarged to its size, four pooled branches of a
    quarter of its width each.  It is linear, so each branch is brought to its logit before it is
    enlarged, which is the same and moves one channel instead of a quarter of all.

    Convention: the mean of the first step counts the zeros beyond the border; branches are
    enlarged with ``align_corners=True``.

    Args:
        channels: Width of the map, a multiple of 4.
        mode: ``high-pass`` or ``semantic``, see :data:`AttentionMode`.

    Shapes: ``(N, channels, H, W)`` float to ``(N, 1, H, W)`` logits.

    Raises:
        InputError: A mode that there is not, or a width that is no multiple of 4.
    """

    def __init__(self, channels: int, mode: AttentionMode = "high-pass") -> None:
        super().__init__()
        if mode not in get_args(AttentionMode):
            raise InputError(
                f"SaliencyAttention: mode: expected one of {', '.join(get_args(AttentionMode))}, "
                f"got {mode!r}"
            )
        if channels < 4 or channels % 4:
            raise InputError(
                f"SaliencyAttention: channels is {channels}, expected a positive multiple of 4"
            )
        self.high_pass = LearnedHighPass(channels) if mode == "high-pass" else nn.Identity()
        self.branches = nn.ModuleList(PooledBranch(channels, bins) for bins in BINS)
        self.predict = nn.Conv2d(2 * channels, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` to logits ``(N, 1, H, W)``.

        Raises:
            InputError: A single image in training, which the normalisation of one cell cannot use.
        """
        if self.training and x.shape[0] == 1:
            raise InputError(
                "SaliencyAttention: a batch of 1 in training, expected 2 or more, as the mean over "
                "the whole map is normalised over the batch; choose a larger batch"
            )
        size_hw = (x.shape[-2], x.shape[-1])
        x = self.high_pass(F.avg_pool2d(x, 3, stride=1, padding=1))  # (N, C, H, W)
        channels, weight = x.shape[1], self.predict.weight  # (1, 2C, 1, 1)
        logits = F.conv2d(x, weight[:, :channels], self.predict.bias)  # (N, 1, H, W)
        for number, branch in enumerate(self.branches):
            part = weight[:, channels + number * (channels // 4) :][:, : channels // 4]
            coarse = F.conv2d(branch(x), part)  # (N, 1, bins, bins)
            logits = logits + F.interpolate(
                coarse, size=size_hw, mode="bilinear", align_corners=True
            )
        return logits


class PooledBranch(nn.Module):
    """Means over a grid of cells, then a 1x1 convolution to a quarter of the width.

    Args:
        channels: Width of the map.
        bins: Cells along a side.

    Shapes: ``(N, channels, H, W)`` float to ``(N, channels // 4, bins, bins)``, >= 0.
    """

    def __init__(self, channels: int, bins: int) -> None:
        super().__init__()
        self.bins = bins
        self.conv = nn.Conv2d(channels, channels // 4, 1, bias=False)
        self.bn = nn.BatchNorm2d(channels // 4)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` to ``(N, C // 4, bins, bins)``."""
        rows = constant(mean_matrix, x.shape[-2], self.bins, like=x)
        columns = constant(mean_matrix, x.shape[-1], self.bins, like=x)
        means = (rows @ x) @ columns.T  # (N, C, bins, bins)
        return F.relu(self.bn(self.conv(means)))


def mean_matrix(size: int, bins: int) -> Tensor:
    """Return the matrix of adaptive mean pooling along an axis.

    Standard operators have no windows of uneven size; products with this matrix have.

    Convention: cell i covers pixels ``floor(i * size / bins)`` to ``ceil((i + 1) * size / bins)``,
    as in ``torch.nn.functional.adaptive_avg_pool2d``.

    Args:
        size: Pixels along the axis.
        bins: Cells along it.

    Returns:
        ``(bins, size)`` float64, each row sums to 1.
    """
    rows = []
    for cell in range(bins):
        start, end = cell * size // bins, -(-(cell + 1) * size // bins)
        share = 1 / (end - start)
        rows.append([share if start <= pixel < end else 0.0 for pixel in range(size)])
    return torch.tensor(rows, dtype=torch.float64, device="cpu")


class LearnedHighPass(nn.Module):
    """A map plus its own detail: ``2 x - lowpass(x)``, the low-pass learned for each channel.

    The low-pass is a 3x3 kernel of positive weights that sum to 1, a softmax of what is learned;
    at first it is near the mean of the eight neighbours, with less at the centre.

    Convention: zeros beyond the border.

    Args:
        channels: Width of the map.

    Shapes: ``(N, channels, H, W)`` float to the same.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        start = torch.ones(channels, 1, 3, 3)
        start[:, :, 1, 1] = 0
        self.weight = nn.Parameter(start)

    def kernel(self) -> Tensor:
        """Return the kernels ``(channels, 1, 3, 3)``; each sums to 1."""
        low = self.weight.flatten(1).softmax(1).view(self.weight.shape)
        centre = torch.zeros_like(self.weight)
        centre[:, :, 1, 1] = 2
        return centre - low

    def forward(self, x: Tensor) -> Tensor:
        """Filter ``(N, C, H, W)``."""
        return F.conv2d(x, self.kernel(), padding=1, groups=x.shape[1])

    def for_export(self, size_hw: tuple[int, int]) -> nn.Conv2d:
        """Return a plain convolution with the kernels as they are."""
        channels = self.weight.shape[0]
        conv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        conv.weight.data = self.kernel().detach()
        return conv
