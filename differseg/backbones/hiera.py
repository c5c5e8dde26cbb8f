"""SAM 2's Hiera image trunk with an adapter in front of every block.

The blocks are timm's (``timm.models.hieradet_sam2``), whose computation is that of SAM 2; the
position embedding, the adapters and the four outputs are ours (DifferSeg, sections 3.1 and 3.2 of
its spec).  timm needs torchvision, so both are imported when a trunk is built and not before.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from differseg.backbones.hiera_static import StaticBlock
from differseg.backbones.timm_import import import_timm
from differseg.errors import InputError
from differseg.modules.adapters import ChannelFrequencyAdapter, LinearAdapter

HieraSize = Literal["tiny", "small", "base_plus", "large"]
AdapterKind = Literal["linear", "fft"]

STRIDE = 32
_ADAPTERS = {"linear": LinearAdapter, "fft": ChannelFrequencyAdapter}


def create_hiera_trunk(size: HieraSize, adapter: AdapterKind | None) -> HieraTrunk:
    """Build a trunk with untrained weights; nothing is downloaded.

    With adapters the trunk itself is frozen and only they are trained, which is how DifferSeg is
    trained; without, everything is trainable.

    Args:
        size: Which of SAM 2's four trunks.
        adapter: Kind of adapter in front of each block, or None for the bare trunk.

    Raises:
        InputError: ``size`` or ``adapter`` is not one of the choices.
        MissingComponentError: timm is not installed or cannot be imported.
    """
    if size not in get_args(HieraSize):
        raise InputError(f"Hiera size '{size}' is unknown; choose {', '.join(get_args(HieraSize))}")
    if adapter is not None and adapter not in _ADAPTERS:
        raise InputError(f"adapter '{adapter}' is unknown; choose {', '.join(_ADAPTERS)} or None")
    # The weights are there to be loaded: one default initialisation is enough.
    source = import_timm("the Hiera backbone").create_model(
        f"sam2_hiera_{size}", pretrained=False, weight_init="skip"
    )
    trunk = HieraTrunk(source, adapter)
    if adapter is not None:
        trunk.freeze()
    return trunk


class HieraTrunk(nn.Module):
    """Four feature maps from one image, at strides 4, 8, 16 and 32.

    Attributes:
        channels: Width of each of the four maps.
    """

    def __init__(self, source: Any, adapter: AdapterKind | None) -> None:
        """Take over the layers of ``source``, a ``timm.models.hieradet_sam2.HieraDet``."""
        super().__init__()
        self.patch_embed = source.patch_embed
        self.position = PositionEmbedding(source.pos_embed, source.pos_embed_window)
        self.stage_ends = tuple(source.stage_ends)
        self.blocks = nn.ModuleList()
        stride = 4
        for block in source.blocks:
            self.blocks.append(AdaptedBlock(block, adapter, stride))
            stride = stride if block.q_stride is None else stride * 2
        self.channels = tuple(source.blocks[end].dim_out for end in self.stage_ends)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Compute the maps of an image.

        Args:
            image: (N, 3, H, W) float, normalised; H and W multiples of 32.

        Returns:
            Four tensors (N, C, H/s, W/s), s = 4, 8, 16, 32, C from ``channels``.

        Raises:
            InputError: H or W is not a multiple of 32.
        """
        height, width = image.shape[-2:]
        if height % STRIDE or width % STRIDE:
            raise InputError(
                f"image of {height}x{width} px: the Hiera trunk needs multiples of {STRIDE}, such "
                f"as {-(-height // STRIDE) * STRIDE}x{-(-width // STRIDE) * STRIDE}"
            )
        tokens = self.position(self.patch_embed(image))  # (N, H/4, W/4, E)
        maps = []
        for index, block in enumerate(self.blocks):
            tokens = block(tokens)
            if index in self.stage_ends:
                maps.append(tokens.permute(0, 3, 1, 2))  # (N, C, H/s, W/s)
        return maps

    def freeze(self) -> None:
        """Stop training everything but the adapters."""
        self.requires_grad_(False)
        for adapter in self.adapters():
            adapter.requires_grad_(True)

    def adapters(self) -> Iterator[nn.Module]:
        """Iterate over the adapters, in block order."""
        for block in self.blocks:
            if isinstance(block, AdaptedBlock) and block.adapter is not None:
                yield block.adapter


class AdaptedBlock(nn.Module):
    """A transformer block that sees its input corrected by an adapter.

    Args:
        block: A ``timm.models.hieradet_sam2.MultiScaleBlock``.
        adapter: Kind of adapter, or None.
        stride: Pixels of the network's input per token of the block's input.
    """

    def __init__(self, block: Any, adapter: AdapterKind | None, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.adapter = None if adapter is None else _ADAPTERS[adapter](block.dim)
        self.block = block

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the block's output, (N, h, w, C) -> (N, h, w, C) or (N, h/2, w/2, 2C)."""
        if self.adapter is not None:
            tokens = tokens + self.adapter(tokens)
        return self.block(tokens)

    def for_export(self, size_hw: tuple[int, int]) -> StaticBlock:
        """Write every shape as a constant: the graph is arithmetic, reshapes and transposes."""
        grid_hw = (size_hw[0] // self.stride, size_hw[1] // self.stride)
        return StaticBlock(self.block, self.adapter, grid_hw)


class PositionEmbedding(nn.Module):
    """Adds a coarse embedding stretched over the grid plus a small one repeated in every window.

    Convention:
        The coarse embedding is resized bicubically (a = -0.75, half-pixel centres, no
        antialiasing); the small one, 8 by 8, repeats from the top left corner.
    """

    def __init__(self, coarse: nn.Parameter, window: nn.Parameter) -> None:
        """Take over two parameters, (1, E, g, g) and (1, E, 8, 8)."""
        super().__init__()
        self.coarse = coarse
        self.window = window

    def embedding(self, grid_hw: tuple[int, int]) -> Tensor:
        """Return the sum of both for a grid of tokens, (1, h, w, E)."""
        height, width = grid_hw
        rows, columns = height // self.window.shape[2], width // self.window.shape[3]
        stretched = F.interpolate(self.coarse, size=(height, width), mode="bicubic")
        total = stretched + self.window.tile((1, 1, rows, columns))  # (1, E, h, w)
        return total.permute(0, 2, 3, 1)

    def forward(self, tokens: Tensor) -> Tensor:
        """Add the embedding, (N, h, w, E) -> (N, h, w, E)."""
        return tokens + self.embedding((tokens.shape[1], tokens.shape[2]))

    def for_export(self, size_hw: tuple[int, int]) -> BakedPositionEmbedding:
        """Add one constant instead of resizing the embedding in every run."""
        with torch.no_grad():
            return BakedPositionEmbedding(self.embedding((size_hw[0] // 4, size_hw[1] // 4)))


class BakedPositionEmbedding(nn.Module):
    """Adds a constant (1, h, w, E) to the tokens of one grid size."""

    def __init__(self, total: Tensor) -> None:
        super().__init__()
        self.total: Tensor
        self.register_buffer("total", total.contiguous())

    def forward(self, tokens: Tensor) -> Tensor:
        """Add the constant, (N, h, w, E) -> (N, h, w, E)."""
        return tokens + self.total
