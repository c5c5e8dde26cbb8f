"""A Hiera block written for one grid of tokens, which is the form that is exported.

timm's block works out its windows from the tensor it gets, pads even where nothing is to be
padded, and takes q, k and v apart by slicing.  Here every shape is a constant, so the exported
graph holds only reshapes, transposes and the arithmetic.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class WindowGrid:
    """Cuts a grid of tokens into windows and puts it together again.

    Convention:
        Windows are numbered row by row, and so are the tokens inside one.  A grid that is no
        multiple of the window is padded with zeros at the bottom and at the right.

    Args:
        grid_hw: Tokens of the grid.
        window_hw: Tokens of a window; (0, 0) is one window over the whole grid.
    """

    def __init__(self, grid_hw: tuple[int, int], window_hw: tuple[int, int]) -> None:
        self.grid_hw = grid_hw
        self.window_hw = window_hw if any(window_hw) else grid_hw
        pairs = tuple(zip(grid_hw, self.window_hw, strict=True))
        self.count_hw = tuple(-(-tokens // window) for tokens, window in pairs)
        self.padded_hw = tuple(
            count * window for count, window in zip(self.count_hw, self.window_hw, strict=True)
        )

    def halved(self) -> WindowGrid:
        """Return the grid after 2x2 pooling inside every window."""
        (height, width), (window_h, window_w) = self.grid_hw, self.window_hw
        return WindowGrid((height // 2, width // 2), (window_h // 2, window_w // 2))

    def split(self, tokens: Tensor) -> Tensor:
        """Cut (N, h, w, C) into (N * windows, tokens of a window, C)."""
        (height, width), (rows, columns) = self.grid_hw, self.window_hw
        if self.padded_hw != self.grid_hw:
            bottom, right = self.padded_hw[0] - height, self.padded_hw[1] - width
            tokens = F.pad(tokens, (0, 0, 0, right, 0, bottom))  # (N, h', w', C)
        channels = tokens.shape[-1]
        # Batch and window row are one axis: five axes are enough for the transpose.
        strips = tokens.reshape(-1, rows, self.count_hw[1], columns, channels)
        return strips.transpose(1, 2).reshape(-1, rows * columns, channels)

    def join(self, windows: Tensor) -> Tensor:
        """Put (N * windows, tokens of a window, C) back together as (N, h, w, C)."""
        (height, width), (rows, columns) = self.grid_hw, self.window_hw
        channels = windows.shape[-1]
        strips = windows.reshape(-1, self.count_hw[1], rows, columns, channels)
        tokens = strips.transpose(1, 2).reshape(-1, *self.padded_hw, channels)  # (N, h', w', C)
        if self.padded_hw != self.grid_hw:
            tokens = tokens[:, :height, :width]
        return tokens


class StaticBlock(nn.Module):
    """The same function as an adapted timm block, for one grid size.

    The attention scale is folded into the query's weights, which is exact up to rounding.

    Args:
        block: A ``timm.models.hieradet_sam2.MultiScaleBlock``.
        adapter: What corrects the block's input, or None.
        grid_hw: Tokens of the block's input.
    """

    def __init__(self, block: Any, adapter: nn.Module | None, grid_hw: tuple[int, int]) -> None:
        super().__init__()
        self.adapter = adapter
        self.norm1, self.norm2, self.mlp = block.norm1, block.norm2, block.mlp
        self.shortcut = block.proj
        self.pool = block.pool
        self.heads = block.attn.num_heads
        self.qkv = _with_scaled_query(block.attn.qkv, block.attn.scale)
        self.proj = block.attn.proj
        self.grid = WindowGrid(grid_hw, block.window_size)
        self.out_grid = self.grid if self.pool is None else self.grid.halved()

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the block's output, (N, h, w, C) -> (N, h, w, C) or (N, h/2, w/2, 2C)."""
        if self.adapter is not None:
            tokens = tokens + self.adapter(tokens)
        normed = self.norm1(tokens)  # (N, h, w, C)
        if self.pool is not None:
            tokens = self._pooled(self.shortcut(normed))  # (N, h/2, w/2, 2C)
        tokens = tokens + self.out_grid.join(self._attention(self.grid.split(normed)))
        return tokens + self.mlp(self.norm2(tokens))

    def _attention(self, windows: Tensor) -> Tensor:
        """Attend inside every window, (B, n, C) -> (B, n or n/4, C')."""
        query, key, value = self.qkv(windows).chunk(3, dim=-1)  # (B, n, C') each
        if self.pool is not None:
            query = self._pooled(query.reshape(-1, *self.grid.window_hw, query.shape[-1]))
            query = query.flatten(1, 2)  # (B, n/4, C')
        query, key, value = self._per_head(query), self._per_head(key), self._per_head(value)
        attention = torch.softmax(query @ key.transpose(-2, -1), dim=-1)  # (B, heads, n/4, n)
        mixed = (attention @ value).transpose(1, 2).flatten(2)  # (B, n/4, C')
        return self.proj(mixed)

    def _per_head(self, tokens: Tensor) -> Tensor:
        """Bring (B, n, C) to (B, heads, n, C / heads)."""
        return tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def _pooled(self, tokens: Tensor) -> Tensor:
        """Take the maximum over 2x2 tokens, (B, h, w, C) -> (B, h/2, w/2, C)."""
        return self.pool(tokens.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def _with_scaled_query(qkv: nn.Linear, scale: float) -> nn.Linear:
    """Return the layer with the query's third of its rows times ``scale``."""
    factor = torch.ones_like(qkv.bias)
    factor[: len(factor) // 3] = scale
    scaled = nn.Linear(qkv.in_features, qkv.out_features, device="meta")
    scaled.weight = nn.Parameter(qkv.weight.detach() * factor[:, None], requires_grad=False)
    scaled.bias = nn.Parameter(qkv.bias.detach() * factor, requires_grad=False)
    return scaled
