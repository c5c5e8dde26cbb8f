"""ConvNeXt V2 (arXiv 2301.00808) as an image trunk; the layers are timm's.

timm needs torchvision, so both are imported when a trunk is built and not before.
"""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from differseg.backbones.timm_import import import_timm
from differseg.errors import InputError

ConvNextV2Size = Literal["nano", "tiny", "base"]


def create_convnextv2_trunk(size: ConvNextV2Size, in_channels: int = 3) -> ConvNextV2Trunk:
    """Build a trunk with untrained weights; nothing is downloaded.

    Args:
        size: Which of the published networks.
        in_channels: Channels of the image.

    Raises:
        InputError: A size that there is not.
        MissingComponentError: timm is not installed or cannot be imported.
    """
    if size not in get_args(ConvNextV2Size):
        known = ", ".join(get_args(ConvNextV2Size))
        raise InputError(f"ConvNeXt V2 size '{size}' is unknown; choose {known}")
    source = import_timm("the ConvNeXt V2 backbone").create_model(
        f"convnextv2_{size}", pretrained=False, in_chans=in_channels, num_classes=0
    )
    return ConvNextV2Trunk(source)


class ConvNextV2Trunk(nn.Module):
    """Four feature maps from one image, at strides 4, 8, 16 and 32.

    The maps are the stages' own outputs, without a normalisation.  Sides that are no multiples
    of 32 lose what is left over at the bottom and at the right, stage by stage.

    Attributes:
        channels: Width of each of the four maps.
    """

    def __init__(self, source: Any) -> None:
        """Take over the layers of ``source``, a ``timm.models.convnext.ConvNeXt``."""
        super().__init__()
        self.stem = source.stem
        self.stages = source.stages
        self.channels = tuple(info["num_chs"] for info in source.feature_info)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Compute the maps of an image.

        Args:
            image: (N, in_channels, H, W) float, normalised; both sides at least 32.

        Returns:
            Four tensors (N, C, H/s, W/s), s = 4, 8, 16, 32, C from ``channels``.
        """
        x = self.stem(image)  # (N, C, H/4, W/4)
        maps = []
        for stage in self.stages:
            x = stage(x)  # (N, C, H/s, W/s)
            maps.append(x)
        return maps

    def for_export(self, size_hw: tuple[int, int]) -> ConvNextV2Trunk:
        """Write every block in its shorter form, in place."""
        for stage in self.stages:
            stage.blocks = nn.Sequential(*(ShortBlock(block) for block in stage.blocks))
        return self


class ShortBlock(nn.Module):
    """The same function as a timm block, with one pass over the wide map where timm has five.

    Convention:
        Global response normalisation is ``x + weight * x * n + bias``: the bias goes through the
        linear layer behind it once and for all, and the rest is one factor per channel,
        ``1 + weight * n``.  ``n = g / (mean(g) + eps)`` for the L2 norms g over the map does not
        change when all g are divided by the root of the number of pixels, and eps with them:
        root mean squares stay far from the end of float16, sums over 57600 pixels do not.

    Args:
        block: A ``timm.models.convnext.ConvNeXtBlock`` with response normalisation, whose layers
            are 1x1 convolutions or linear; both become 1x1 convolutions.

    Shapes: ``(N, C, H, W)`` float to the same shape.
    """

    def __init__(self, block: Any) -> None:
        super().__init__()
        mlp = block.mlp
        self.conv_dw, self.norm = block.conv_dw, block.norm
        self.widen, self.narrow = _pointwise(mlp.fc1), _pointwise(mlp.fc2)
        self.gain, self.eps = mlp.grn.weight, mlp.grn.eps
        with torch.no_grad():
            exact = self.narrow.weight[:, :, 0, 0].double() @ mlp.grn.bias.double()
            bias = self.narrow.bias.double() + exact  # type: ignore[union-attr]
            self.narrow.bias = nn.Parameter(bias.to(self.gain.dtype))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` to ``(N, C, H, W)``."""
        y = self.conv_dw(x).permute(0, 2, 3, 1)  # (N, H, W, C)
        norm = self.norm
        y = F.layer_norm(y, norm.normalized_shape, norm.weight, norm.bias, norm.eps)
        y = F.gelu(self.widen(y.permute(0, 3, 1, 2)))  # (N, 4C, H, W)
        return x + self.narrow(y * self._response(y))

    def _response(self, x: Tensor) -> Tensor:
        """Return the factor of every channel, (N, 4C, H, W) to (N, 4C, 1, 1)."""
        size = (x * x).mean((2, 3), keepdim=True).sqrt()
        eps = self.eps / math.sqrt(x.shape[2] * x.shape[3])
        return 1 + self.gain.view(1, -1, 1, 1) * (size / (size.mean(1, keepdim=True) + eps))


def _pointwise(layer: nn.Linear | nn.Conv2d) -> nn.Conv2d:
    """Return a layer as a 1x1 convolution with a bias of its own."""
    outputs, inputs = layer.weight.shape[:2]
    conv = nn.Conv2d(inputs, outputs, 1, device="meta")
    conv.weight = nn.Parameter(layer.weight.detach().reshape(outputs, inputs, 1, 1))
    conv.bias = layer.bias
    return conv
