"""Convolutions followed by a normalisation, the units that the other modules are made of."""

from __future__ import annotations

from torch import Tensor, nn


class ConvBn(nn.Module):
    """A convolution without bias, then batch normalisation; no activation.

    Args:
        in_channels: Width of the input.
        out_channels: Width of the output.
        kernel_hw: Kernel rows and columns; odd.
        stride: Step in both directions.
        dilation: Spacing of the kernel's taps.
        groups: Number of channel groups.

    Shapes: ``(N, in_channels, H, W)`` float to ``(N, out_channels, H/stride, W/stride)``; the
    padding keeps the grid where ``stride`` is 1.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_hw: tuple[int, int] = (1, 1),
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
    ) -> None:
        super().__init__()
        rows, columns = kernel_hw
        self.conv = nn.Conv2d(
            in_channels,
            out_channels,
            kernel_hw,
            stride=stride,
            padding=(dilation * (rows // 2), dilation * (columns // 2)),
            dilation=dilation,
            groups=groups,
            bias=False,
        )
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, in_channels, H, W)`` to ``(N, out_channels, H/stride, W/stride)``."""
        return self.bn(self.conv(x))


class ConvGroupNorm(nn.Module):
    """A 1x1 convolution without bias, then group normalisation; no activation.

    Args:
        in_channels: Width of the input.
        out_channels: Width of the output; a multiple of ``groups``.
        groups: Groups of the normalisation.

    Shapes: ``(N, in_channels, H, W)`` float to ``(N, out_channels, H, W)``.
    """

    def __init__(self, in_channels: int, out_channels: int, groups: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.gn = nn.GroupNorm(groups, out_channels)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, in_channels, H, W)`` to ``(N, out_channels, H, W)``."""
        return self.gn(self.conv(x))
