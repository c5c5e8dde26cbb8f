"""PVT v2: a pyramid of transformer blocks whose keys and values come from a coarser grid.

Source: "PVT v2: Improved Baselines with Pyramid Vision Transformer", arXiv 2106.13797, in the
form that FSANet uses: four levels, no classifier, normalisations with two different epsilons.
timm's ``pvt_v2`` has one epsilon everywhere, so this trunk is written here and needs no timm.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from differseg.modules.stochastic_depth import StochasticDepth

BLOCK_EPS = 1e-6
"""Of the normalisations before attention and MLP and at the end of a stage."""
TOKEN_EPS = 1e-5
"""Of the normalisations after a convolution: patch embedding and key reduction."""


class StageShape(NamedTuple):
    """What one stage is made of."""

    channels: int
    """Width."""
    depth: int
    """Blocks."""
    heads: int
    """Attention heads; a divisor of the width."""
    mlp_ratio: int
    """Hidden width of the MLP over the width."""
    reduction: int
    """Side of the squares of tokens that make one key and value."""


B2 = (
    StageShape(64, 3, 1, 8, 8),
    StageShape(128, 4, 2, 8, 4),
    StageShape(320, 6, 5, 4, 2),
    StageShape(512, 3, 8, 4, 1),
)
"""PVT v2-B2."""


class PvtV2(nn.Module):
    """Transformer trunk with levels at strides 4, 8, 16 and 32.

    Args:
        stages: Four shapes, finest first.
        drop_path: Share of images that skip the last block's branches in training; it rises
            linearly from 0 at the first block.

    Attributes:
        channels: Widths of the four levels.

    Shapes: ``(N, 3, H, W)`` float, H and W multiples of 32, to four levels
    ``(N, channels[k], H/2**(k+2), W/2**(k+2))``.
    """

    def __init__(self, stages: tuple[StageShape, ...] = B2, *, drop_path: float = 0.1) -> None:
        super().__init__()
        self.channels = tuple(stage.channels for stage in stages)
        total = sum(stage.depth for stage in stages)
        shares = iter(drop_path * index / max(total - 1, 1) for index in range(total))
        self.stages = nn.ModuleList()
        before = 3
        for index, shape in enumerate(stages):
            self.stages.append(
                Stage(before, shape, [next(shares) for _ in range(shape.depth)], first=index == 0)
            )
            before = shape.channels
        for module in self.modules():
            _initialise(module)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the four levels of ``(N, 3, H, W)``, finest first."""
        levels = []
        for stage in self.stages:
            x = stage(x)  # (N, C_k, H/2**(k+2), W/2**(k+2))
            levels.append(x)
        return levels


class Stage(nn.Module):
    """Strided convolution into tokens, transformer blocks, and back to a map.

    Args:
        in_channels: Width of the map that comes in.
        shape: Of the stage.
        shares: Of the images that skip the branches of each block in training.
        first: Stride 4 by a 7x7 convolution, otherwise 2 by a 3x3.

    Shapes: ``(N, in_channels, H, W)`` float to ``(N, shape.channels, H/stride, W/stride)``.
    """

    def __init__(
        self, in_channels: int, shape: StageShape, shares: list[float], *, first: bool
    ) -> None:
        super().__init__()
        kernel, stride = (7, 4) if first else (3, 2)
        self.embed = PatchEmbedding(in_channels, shape.channels, kernel, stride)
        self.blocks = nn.ModuleList(Block(shape, share) for share in shares)
        self.norm = nn.LayerNorm(shape.channels, eps=BLOCK_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, in_channels, H, W)`` to ``(N, C, h, w)``."""
        x = self.embed.proj(x)  # (N, C, h, w)
        grid_hw = (x.shape[-2], x.shape[-1])
        tokens = self.embed.norm(as_tokens(x))  # (N, h*w, C)
        for block in self.blocks:
            tokens = block(tokens, grid_hw)
        return as_map(self.norm(tokens), grid_hw)


class PatchEmbedding(nn.Module):
    """Holds the overlapping strided convolution and the normalisation of its tokens."""

    def __init__(self, in_channels: int, channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, channels, kernel, stride=stride, padding=kernel // 2)
        self.norm = nn.LayerNorm(channels, eps=TOKEN_EPS)


class Block(nn.Module):
    """Attention and MLP, each behind a normalisation and around a shortcut.

    Shapes: ``(N, h*w, C)`` float to the same, with the grid (h, w).
    """

    def __init__(self, shape: StageShape, share: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(shape.channels, eps=BLOCK_EPS)
        self.attn = ReducedAttention(shape.channels, shape.heads, shape.reduction)
        self.norm2 = nn.LayerNorm(shape.channels, eps=BLOCK_EPS)
        self.mlp = ConvMlp(shape.channels, shape.mlp_ratio * shape.channels)
        self.drop_path = StochasticDepth(share)

    def forward(self, tokens: Tensor, grid_hw: tuple[int, int]) -> Tensor:
        """Map ``(N, h*w, C)`` to ``(N, h*w, C)``."""
        tokens = tokens + self.drop_path(self.attn(self.norm1(tokens), grid_hw))
        return tokens + self.drop_path(self.mlp(self.norm2(tokens), grid_hw))


class ReducedAttention(nn.Module):
    """Attention of every token to a grid that is ``reduction`` times coarser on each side.

    Args:
        channels: Width.
        heads: Number of heads.
        reduction: Kernel and stride of the convolution in front of keys and values; 1 has none.

    Shapes: ``(N, h*w, C)`` float to the same; h and w multiples of ``reduction``.
    """

    def __init__(self, channels: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(channels, channels)
        self.kv = nn.Linear(channels, 2 * channels)
        self.proj = nn.Linear(channels, channels)
        self.reduction = reduction
        if reduction > 1:
            self.sr = nn.Conv2d(channels, channels, reduction, stride=reduction)
            self.norm = nn.LayerNorm(channels, eps=TOKEN_EPS)

    def forward(self, tokens: Tensor, grid_hw: tuple[int, int]) -> Tensor:
        """Map ``(N, h*w, C)`` to ``(N, h*w, C)``."""
        coarse = tokens
        if self.reduction > 1:
            coarse = self.norm(as_tokens(self.sr(as_map(tokens, grid_hw))))  # (N, n, C)
        key, value = map(self._per_head, self.kv(coarse).chunk(2, dim=-1))  # (N, heads, n, C/heads)
        query = self._per_head(self.q(tokens))  # (N, heads, h*w, C/heads)
        mixed = F.scaled_dot_product_attention(query, key, value)  # (N, heads, h*w, C/heads)
        return self.proj(mixed.transpose(1, 2).flatten(2))

    def _per_head(self, tokens: Tensor) -> Tensor:
        """Bring (N, n, C) to (N, heads, n, C / heads)."""
        return tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class ConvMlp(nn.Module):
    """MLP with a depthwise 3x3 convolution over the grid in its middle.

    Shapes: ``(N, h*w, C)`` float to the same, with the grid (h, w).
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden)
        self.dwconv = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.fc2 = nn.Linear(hidden, channels)

    def forward(self, tokens: Tensor, grid_hw: tuple[int, int]) -> Tensor:
        """Map ``(N, h*w, C)`` to ``(N, h*w, C)``."""
        hidden = self.dwconv(as_map(self.fc1(tokens), grid_hw))  # (N, E, h, w)
        return self.fc2(F.gelu(as_tokens(hidden)))

    def for_export(self, size_hw: tuple[int, int]) -> MapMlp:
        """Return the same function with all of it on the grid."""
        return MapMlp(self)


class MapMlp(nn.Module):
    """A :class:`ConvMlp` of convolutions alone: what is transposed is narrow, not hidden.

    Shapes: as :class:`ConvMlp`.
    """

    def __init__(self, source: ConvMlp) -> None:
        super().__init__()
        self.fc1, self.fc2 = _as_convolution(source.fc1), _as_convolution(source.fc2)
        self.dwconv = source.dwconv

    def forward(self, tokens: Tensor, grid_hw: tuple[int, int]) -> Tensor:
        """Map ``(N, h*w, C)`` to ``(N, h*w, C)``."""
        x = self.fc1(as_map(tokens, grid_hw))  # (N, E, h, w)
        return as_tokens(self.fc2(F.gelu(self.dwconv(x))))


def as_tokens(x: Tensor) -> Tensor:
    """Bring ``(N, C, h, w)`` to ``(N, h*w, C)``."""
    return x.flatten(2).transpose(1, 2)


def as_map(tokens: Tensor, grid_hw: tuple[int, int]) -> Tensor:
    """Bring ``(N, h*w, C)`` to ``(N, C, h, w)``."""
    return tokens.transpose(1, 2).unflatten(2, grid_hw)


def _as_convolution(layer: nn.Linear) -> nn.Conv2d:
    conv = nn.Conv2d(layer.in_features, layer.out_features, 1, device="meta")
    conv.weight = nn.Parameter(layer.weight[:, :, None, None], requires_grad=False)
    conv.bias = layer.bias
    return conv


def _initialise(module: nn.Module) -> None:
    """Set a layer's weights to the published rule, layer by layer."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Conv2d):
        fan_out = module.weight[0, 0].numel() * module.out_channels // module.groups
        nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
        if module.bias is not None:
            nn.init.zeros_(module.bias)
