"""A small two-input network with every construct that the exporter treats specially."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        self.depthwise = nn.Conv2d(outputs, outputs, 3, 1, 1, groups=outputs)
        self.bn_depthwise = nn.BatchNorm2d(outputs)
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn(self.conv(x)))
        return self.drop(F.gelu(self.bn_depthwise(self.depthwise(x))))


class ToyNetwork(nn.Module):
    """rgb (N, H, W, 3) uint8 and thermal (N, 1, H, W) float to probability (N, 1, H, W)."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Block(4, 8), Block(8, 16)])
        self.norm = nn.LayerNorm(16)
        self.bn_alone = nn.BatchNorm2d(16)
        self.up = nn.ConvTranspose2d(16, 8, 2, 2)
        self.bn_up = nn.BatchNorm2d(8)
        self.head = nn.Conv2d(8, 1, 1)
        self.register_buffer("mean", torch.tensor([0.4, 0.5, 0.6]).view(1, 3, 1, 1))

    def forward(self, rgb: Tensor, thermal: Tensor) -> Tensor:
        x = rgb.permute(0, 3, 1, 2).float() / 255.0  # uint8 is moved before it is cast
        x = torch.cat([(x - self.mean) / 0.2, thermal], dim=1)
        for block in self.blocks:
            x = block(x)
        x = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        first, second = x.split([5, 11], dim=1)
        pooled = x.mean(dim=(2, 3), keepdim=True)
        x = torch.cat([first * pooled[:, :5], second], dim=1)
        x = self.bn_alone(x)
        x = F.pad(x, (1, 0, 0, 1))[:, :, :-1, 1:]
        x = self.bn_up(self.up(x))
        x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        return torch.sigmoid(self.head(x))


def toy_network(seed: int = 0) -> ToyNetwork:
    """Build one whose batch statistics are far from the identity, in training mode."""
    torch.manual_seed(seed)
    network = ToyNetwork()
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.weight)
            nn.init.normal_(part.bias)
            nn.init.normal_(part.running_mean)
            nn.init.uniform_(part.running_var, 0.5, 2.0)
    return network


def toy_inputs(batch: int = 1, size: int = 32) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    rgb = torch.randint(0, 256, (batch, size, size, 3), generator=generator, dtype=torch.uint8)
    return {"rgb": rgb, "thermal": torch.rand((batch, 1, size, size), generator=generator)}
