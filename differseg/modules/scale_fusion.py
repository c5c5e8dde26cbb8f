"""Exchange between the levels of an encoder, twice (FSANet's CSFM, collaborative scale fusion).

Source: Jiang et al., IEEE TNNLS 36(5), 2025, doi 10.1109/TNNLS.2024.3426529.  No unit in here has
an activation.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Widths = tuple[int, int, int, int]


class StridedChain(nn.Module):
    """3x3 convolutions with stride 2 in a row, then one batch normalisation.

    Args:
        widths: Of the input and of each convolution's output.

    Shapes: ``(N, widths[0], H, W)`` float to ``(N, widths[-1], H/2**k, W/2**k)`` for k
    convolutions; odd sides are rounded up.
    """

    def __init__(self, *widths: int) -> None:
        super().__init__()
        self.steps = len(widths) - 1
        for step in range(1, self.steps + 1):
            conv = nn.Conv2d(widths[step - 1], widths[step], 3, stride=2, padding=1)
            self.add_module(f"conv{step}", conv)
        self.bn = nn.BatchNorm2d(widths[-1])

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, widths[0], H, W)`` to ``(N, widths[-1], H/2**k, W/2**k)``."""
        for step in range(1, self.steps + 1):
            x = self.get_submodule(f"conv{step}")(x)
        return self.bn(x)


class Upsampling(nn.Module):
    """1x1 convolution and batch normalisation, then bilinear enlargement.

    Convention: corner pixels lie on corner pixels (``align_corners=True``), as the authors have it
    here and nowhere else.

    Args:
        in_channels: Width of the input.
        out_channels: Width of the output.
        scale: Of both sides.

    Shapes: ``(N, in_channels, H, W)`` float to ``(N, out_channels, scale*H, scale*W)``.
    """

    def __init__(self, in_channels: int, out_channels: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.conv1 = nn.Conv2d(in_channels, out_channels, 1)
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, in_channels, H, W)`` to ``(N, out_channels, scale*H, scale*W)``."""
        x = self.bn(self.conv1(x))  # (N, D, H, W)
        size_hw = (self.scale * x.shape[-2], self.scale * x.shape[-1])
        return F.interpolate(x, size=size_hw, mode="bilinear", align_corners=True)


class CollaborativeScaleFusion(nn.Module):
    """Give each level what all levels see: first at strides 8 to 32, then at 16 and 32.

    ``downA_B`` brings level A down by B, ``upsampleA_B`` brings it up by B; a level with a second
    digit, such as 31, is level 3 after the first exchange.

    Args:
        channels: Widths c1 to c4 of the levels at strides 4, 8, 16 and 32.

    Attributes:
        out_channels: Widths of the four outputs: c1, 4 c2, 4 c2 + 4 c3 + 2 c4 and
            4 c2 + 4 c3 + 6 c4.

    Shapes: four maps ``(N, channels[k], H/2**(k+2), W/2**(k+2))`` float, H and W multiples of 32,
    to four maps ``(N, out_channels[k], ...)`` of the same sizes; the first is passed on as it is.
    """

    def __init__(self, channels: Widths) -> None:
        super().__init__()
        c1, c2, c3, c4 = channels
        self.out_channels = (c1, 4 * c2, 4 * (c2 + c3) + 2 * c4, 4 * (c2 + c3) + 6 * c4)
        self.down1_2 = StridedChain(c1, c2)
        self.down1_4 = StridedChain(c1, c2, c3)
        self.down1_8 = StridedChain(c1, c2, c3, c4)
        self.down2_2 = StridedChain(c2, c3)
        self.down2_4 = StridedChain(c2, c2, c4)
        self.down3_2 = StridedChain(c3, c4)
        self.upsample3_2 = Upsampling(c3, c2, 2)
        self.upsample4_2 = Upsampling(c4, c3, 2)
        self.upsample4_4 = Upsampling(c4, c2, 4)
        self.down21_2 = StridedChain(4 * c2, 4 * c2)
        self.down21_4 = StridedChain(4 * c2, 4 * c2, 4 * c2)
        self.down31_2 = StridedChain(4 * c3, 4 * c3)
        self.upsample41_2 = Upsampling(4 * c4, 2 * c4, 2)
        self.down32_2 = StridedChain(self.out_channels[2], 2 * c4)

    def forward(self, levels: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the four levels after both exchanges, finest first."""
        x1, x2, x3, x4 = levels
        x21 = torch.cat((self.down1_2(x1), x2, self.upsample3_2(x3), self.upsample4_4(x4)), dim=1)
        x31 = torch.cat((self.down1_4(x1), self.down2_2(x2), x3, self.upsample4_2(x4)), dim=1)
        x41 = torch.cat((self.down1_8(x1), self.down2_4(x2), self.down3_2(x3), x4), dim=1)
        x32 = torch.cat((self.down21_2(x21), x31, self.upsample41_2(x41)), dim=1)
        x42 = torch.cat((self.down21_4(x21), self.down31_2(x31), x41), dim=1)
        x43 = torch.cat((self.down32_2(x32), x42), dim=1)  # (N, 4 c2 + 4 c3 + 6 c4, H/32, W/32)
        return x1, x21, x32, x43
