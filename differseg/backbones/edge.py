"""A small residual trunk of dense 3x3 convolutions for edge devices.

Dense convolutions with batch normalisation and ReLU, which every engine fuses, and widths that
are multiples of 16, which fill the vector registers of CPUs and the tensor cores of GPUs.
Plain PyTorch: neither timm nor torchvision.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from differseg.modules.conv import ConvBn


class EdgeTrunk(nn.Module):
    """One stem per modality, then a residual body that all modalities share as one batch.

    The sensors differ in their first filters, not in what an object's outline looks like: so the
    stem is the modality's own and the body is shared, which also makes one batched pass of it.

    Args:
        stream_channels: Channels of each modality in order, such as ``(3, 1)``.
        stem_width: Width at stride 2.
        channels: Widths at strides 4, 8, 16 and 32.
        depths: Residual blocks at each of these strides.

    Shapes: streams ``(N, stream_channels[s], H, W)`` float, H and W multiples of 32, to four
    levels ``(S*N, channels[k], H/2**(k+2), W/2**(k+2))``, the streams one after another along
    the batch axis.
    """

    def __init__(
        self,
        stream_channels: Sequence[int] = (3,),
        *,
        stem_width: int = 16,
        channels: tuple[int, int, int, int] = (16, 32, 64, 96),
        depths: tuple[int, int, int, int] = (1, 2, 3, 2),
    ) -> None:
        super().__init__()
        self.channels = channels
        self.stems = nn.ModuleList(ConvBn(c, stem_width, (3, 3), stride=2) for c in stream_channels)
        before = (stem_width, *channels[:-1])
        self.stages = nn.ModuleList(
            _stage(c_in, c_out, depth)
            for c_in, c_out, depth in zip(before, channels, depths, strict=True)
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the four levels of one stream ``(N, 3, H, W)``."""
        return self.forward_streams([x])

    def forward_streams(self, streams: Sequence[Tensor]) -> list[Tensor]:
        """Return the four levels of all streams, stacked along the batch axis."""
        stemmed = [F.relu(stem(x)) for stem, x in zip(self.stems, streams, strict=True)]
        x = torch.cat(stemmed, dim=0)  # (S*N, stem_width, H/2, W/2)
        levels = []
        for stage in self.stages:
            x = stage(x)  # (S*N, channels[k], H/2**(k+2), W/2**(k+2))
            levels.append(x)
        return levels


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch normalisation around an identity shortcut.

    Shapes: ``(N, channels, H, W)`` float to the same shape, >= 0.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = ConvBn(channels, channels, (3, 3))
        self.conv2 = ConvBn(channels, channels, (3, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` to ``(N, C, H, W)``."""
        return F.relu(x + self.conv2(F.relu(self.conv1(x))))


def _stage(in_channels: int, out_channels: int, depth: int) -> nn.Sequential:
    down = nn.Sequential(ConvBn(in_channels, out_channels, (3, 3), stride=2), nn.ReLU())
    return nn.Sequential(down, *(ResidualBlock(out_channels) for _ in range(depth)))
