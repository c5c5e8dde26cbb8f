"""Gates from pooled features: what a whole map, or a whole pixel, says about its channels."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from differseg.errors import InputError

PoolOrder = Literal["mean-max", "max-mean"]


class PooledGate(nn.Module):
    """A weight in 0..1 per output channel from the mean of every input channel.

    Squeeze and excitation (arXiv 1709.01507) with free widths: mean over the map, 1x1
    convolution, ReLU, 1x1 convolution, sigmoid.

    Args:
        in_channels: Width of what is pooled.
        hidden_channels: Width in between.
        out_channels: Number of weights.
        bias: Give both convolutions a bias.

    Shapes: ``(N, in_channels, H, W)`` float, any H and W (means of several maps may be
    concatenated as 1x1 maps), to ``(N, out_channels, 1, 1)`` in 0..1.
    """

    def __init__(
        self, in_channels: int, hidden_channels: int, out_channels: int, *, bias: bool = False
    ) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(in_channels, hidden_channels, 1, bias=bias)
        self.expand = nn.Conv2d(hidden_channels, out_channels, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, in_channels, H, W)`` to weights ``(N, out_channels, 1, 1)``."""
        return torch.sigmoid(self.expand(F.relu(self.reduce(pooled(x)))))


class PixelGate(nn.Module):
    """A weight in 0..1 per pixel from the mean and the maximum over the channels around it.

    The spatial attention of CBAM (arXiv 1807.06521).

    Args:
        kernel_size: Odd side of the convolution that looks at the two pooled maps.
        order: Which of the two pooled maps is the convolution's first channel.

    Shapes: ``(N, C, H, W)`` float to ``(N, 1, H, W)`` in 0..1.

    Raises:
        InputError: An ``order`` that there is not.
    """

    def __init__(self, kernel_size: int, order: PoolOrder = "mean-max") -> None:
        super().__init__()
        if order not in get_args(PoolOrder):
            raise InputError(
                f"PixelGate: order: expected one of {', '.join(get_args(PoolOrder))}, got {order!r}"
            )
        self.mean_first = order == "mean-max"
        self.conv = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` to weights ``(N, 1, H, W)``."""
        mean, largest = x.mean(1, keepdim=True), x.amax(1, keepdim=True)
        both = (mean, largest) if self.mean_first else (largest, mean)
        return torch.sigmoid(self.conv(torch.cat(both, dim=1)))


def pooled(x: Tensor) -> Tensor:
    """Return the mean of every channel, ``(N, C, H, W)`` to ``(N, C, 1, 1)``."""
    return x.mean((2, 3), keepdim=True)
