"""ResNet-50 for images of any number of channels; needs neither timm nor torchvision.

Source: "Deep Residual Learning for Image Recognition", arXiv 1512.03385, with the stride on the
3x3 convolution ("v1.5"), which is torchvision's and FSANet's form.  Entries of the state dict
have torchvision's names.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

EXPANSION = 4
"""Width of a block's output over that of its 3x3 convolution."""


class ResNet50(nn.Module):
    """Residual trunk with levels at strides 4, 8, 16 and 32, without pooling and classifier.

    Args:
        in_channels: Channels of the image.
        depths: Blocks of each level.

    Attributes:
        channels: Widths of the four levels.

    Shapes: ``(N, in_channels, H, W)`` float to four levels ``(N, channels[k], H/2**(k+2),
    W/2**(k+2))``, all >= 0; odd sides are rounded up.
    """

    def __init__(
        self, in_channels: int = 3, *, depths: tuple[int, int, int, int] = (3, 4, 6, 3)
    ) -> None:
        super().__init__()
        self.channels = tuple(64 * EXPANSION * 2**level for level in range(4))
        self.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        before = 64
        for level, (width, depth) in enumerate(zip(self.channels, depths, strict=True), start=1):
            first = BottleneckBlock(before, width, stride=1 if level == 1 else 2)
            rest = (BottleneckBlock(width, width) for _ in range(depth - 1))
            self.add_module(f"layer{level}", nn.Sequential(first, *rest))
            before = width
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the four levels of ``(N, in_channels, H, W)``, finest first."""
        x = F.relu(self.bn1(self.conv1(x)))  # (N, 64, H/2, W/2)
        x = F.max_pool2d(x, 3, stride=2, padding=1)  # (N, 64, H/4, W/4)
        levels = []
        for level in range(1, 5):
            x = self.get_submodule(f"layer{level}")(x)  # (N, C_k, H/2**(k+2), W/2**(k+2))
            levels.append(x)
        return levels


class BottleneckBlock(nn.Module):
    """1x1, 3x3 and 1x1 convolution with batch normalisation around a shortcut.

    Args:
        in_channels: Width of the input.
        out_channels: Width of the output, a multiple of :data:`EXPANSION`.
        stride: Of the 3x3 convolution and of the shortcut.

    Shapes: ``(N, in_channels, H, W)`` float to ``(N, out_channels, H/stride, W/stride)``, >= 0.
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1) -> None:
        super().__init__()
        width = out_channels // EXPANSION
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )
        else:
            self.downsample = nn.Sequential()

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, in_channels, H, W)`` to ``(N, out_channels, H/stride, W/stride)``."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))  # (N, D/4, H/stride, W/stride)
        return F.relu(self.bn3(self.conv3(y)) + self.downsample(x))
