"""MSCAN: SegNeXt's trunk of multi-scale convolutional attention.

Source: "SegNeXt: Rethinking Convolutional Attention Design for Semantic Segmentation",
arXiv 2209.08575.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from differseg.modules.stochastic_depth import StochasticDepth

STRIPS = (7, 11, 21)
"""Lengths of the strip convolutions."""
LAYER_SCALE = 0.01

Widths = tuple[int, int, int, int]


class MSCAN(nn.Module):
    """Convolutional trunk with levels at strides 4, 8, 16 and 32.

    Args:
        channels: Widths of the four levels; the first one is even.
        depths: Blocks of each level.
        mlp_ratios: Hidden width of each level's blocks over its width.
        drop_path: Share of images that skip the last block's branches in training; it rises
            linearly from 0 at the first block.
        in_channels: Channels of the image.

    Shapes: ``(N, in_channels, H, W)`` float to four levels ``(N, channels[k], H/2**(k+2),
    W/2**(k+2))``; odd sides are rounded up.
    """

    def __init__(
        self,
        channels: Widths = (32, 64, 160, 256),
        *,
        depths: Widths = (3, 3, 5, 2),
        mlp_ratios: Widths = (8, 8, 4, 4),
        drop_path: float = 0.1,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        self.channels = channels
        rates = iter(torch.linspace(0, drop_path, sum(depths), device="cpu").tolist())
        before = in_channels
        for level, (width, depth, ratio) in enumerate(
            zip(channels, depths, mlp_ratios, strict=True), start=1
        ):
            embedding = Stem(before, width) if level == 1 else Downsampling(before, width)
            blocks = [Block(width, ratio * width, drop_path=next(rates)) for _ in range(depth)]
            self.add_module(f"patch_embed{level}", embedding)
            self.add_module(f"block{level}", nn.ModuleList(blocks))
            self.add_module(f"norm{level}", ChannelLayerNorm(width))
            before = width
        self._reset_parameters()

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the four levels of ``(N, in_channels, H, W)``, finest first."""
        levels = []
        for level in range(1, 5):
            x = self.get_submodule(f"patch_embed{level}")(x)  # (N, C_k, H/2**(k+2), W/2**(k+2))
            for block in self.get_submodule(f"block{level}").children():
                x = block(x)
            x = self.get_submodule(f"norm{level}")(x)
            levels.append(x)
        return levels

    def _reset_parameters(self) -> None:
        """Draw convolutions from a normal distribution that keeps the variance backwards."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = module.weight[0, 0].numel() * module.out_channels // module.groups
                nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
                if module.bias is not None:
                    nn.init.zeros_(module.bias)


class Stem(nn.Module):
    """Two 3x3 convolutions with stride 2: ``(N, C, H, W)`` to ``(N, out_channels, H/4, W/4)``."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        half = out_channels // 2
        self.proj = nn.Sequential(
            nn.Conv2d(in_channels, half, 3, stride=2, padding=1),
            nn.BatchNorm2d(half),
            nn.GELU(),
            nn.Conv2d(half, out_channels, 3, stride=2, padding=1),
            nn.BatchNorm2d(out_channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` to ``(N, out_channels, H/4, W/4)``."""
        return self.proj(x)


class Downsampling(nn.Module):
    """A 3x3 convolution with stride 2: ``(N, C, H, W)`` to ``(N, out_channels, H/2, W/2)``."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` to ``(N, out_channels, H/2, W/2)``."""
        return self.norm(self.proj(x))


class ChannelLayerNorm(nn.LayerNorm):
    """Layer normalisation over the channels of each pixel, ``(N, C, H, W)`` to the same."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``(N, C, H, W)``."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2).contiguous()


class Block(nn.Module):
    """Convolutional attention, then a convolutional perceptron, each around a scaled shortcut.

    Args:
        channels: Width.
        hidden: Width inside the perceptron.
        drop_path: Share of images that skip a branch in training.

    Shapes: ``(N, channels, H, W)`` float to the same.
    """

    exported_names: ClassVar[dict[str, str]] = {
        "proj_1": "attn.proj_1",
        "gate": "attn.spatial_gating_unit",
        "proj_2": "attn.proj_2",
        "fc1": "mlp.fc1",
        "dwconv": "mlp.dwconv",
        "fc2": "mlp.fc2",
    }
    """Part of the :class:`FoldedBlock` -> the part of this that it is made of."""
    exported_norms: ClassVar[dict[str, str]] = {"attn.proj_1": "norm1", "mlp.fc1": "norm2"}
    """Convolution -> the normalisation before it, which the folded one takes in."""

    def __init__(self, channels: int, hidden: int, *, drop_path: float = 0.0) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels)
        self.attn = SpatialAttention(channels)
        self.norm2 = nn.BatchNorm2d(channels)
        self.mlp = ConvPerceptron(channels, hidden)
        self.drop_path = StochasticDepth(drop_path)
        self.layer_scale_1 = nn.Parameter(torch.full((channels,), LAYER_SCALE))
        self.layer_scale_2 = nn.Parameter(torch.full((channels,), LAYER_SCALE))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` to ``(N, C, H, W)``."""
        scales = [scale[:, None, None] for scale in (self.layer_scale_1, self.layer_scale_2)]
        x = x + self.drop_path(scales[0] * self.attn(self.norm1(x)))
        return x + self.drop_path(scales[1] * self.mlp(self.norm2(x)))

    def exported_shortcut(self) -> Tensor:
        """Return the factor (C, 1, 1) of the first shortcut in the :class:`FoldedBlock`."""
        factor, _ = _affine(self.norm1)
        kept = 1 + self.layer_scale_1.detach().double() * factor
        return kept[:, None, None].to(self.layer_scale_1.dtype)

    def for_export(self, size_hw: tuple[int, int]) -> FoldedBlock:
        """Fold normalisations, layer scales and the inner shortcut into the 1x1 convolutions."""
        return FoldedBlock(self)


class SpatialAttention(nn.Module):
    """Gate features by what large strip convolutions see around them; with a shortcut.

    Shapes: ``(N, channels, H, W)`` float to the same.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj_1 = nn.Conv2d(channels, channels, 1)
        self.spatial_gating_unit = StripGate(channels)
        self.proj_2 = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` to ``(N, C, H, W)``."""
        return x + self.proj_2(self.spatial_gating_unit(F.gelu(self.proj_1(x))))


class StripGate(nn.Module):
    """Multiply features by a sum of depthwise convolutions of several sizes, mixed by a 1x1.

    Shapes: ``(N, channels, H, W)`` float to the same.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv0 = _depthwise(channels, 5, 5)
        for number, length in enumerate(STRIPS):
            self.add_module(f"conv{number}_1", _depthwise(channels, 1, length))
            self.add_module(f"conv{number}_2", _depthwise(channels, length, 1))
        self.conv3 = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Gate ``(N, C, H, W)`` by itself."""
        near = self.conv0(x)  # (N, C, H, W)
        seen = near
        for number in range(len(STRIPS)):
            across = self.get_submodule(f"conv{number}_1")(near)
            seen = seen + self.get_submodule(f"conv{number}_2")(across)
        return self.conv3(seen) * x


class ConvPerceptron(nn.Module):
    """1x1 to the hidden width, depthwise 3x3, GELU, 1x1 back.

    Shapes: ``(N, channels, H, W)`` float to the same.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, hidden, 1)
        self.dwconv = _depthwise(hidden, 3, 3)
        self.fc2 = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` to ``(N, C, H, W)``."""
        return self.fc2(F.gelu(self.dwconv(self.fc1(x))))


class FoldedBlock(nn.Module):
    """A :class:`Block` for inference with half as many passes over the features.

    With ``n = s x + t`` the first normalisation, ``x + scale * (proj_2(g) + n)`` is
    ``(1 + scale s) x + proj_2'(g)``: no normalised copy of the features is needed, neither for
    the shortcut nor for ``proj_1``, which takes ``s`` and ``t`` into its own weights.  The second
    branch is folded alike.  Products are formed in float64.
    """

    kept: Tensor

    def __init__(self, source: Block) -> None:
        super().__init__()
        attention, perceptron = source.attn, source.mlp
        factor, shift = _affine(source.norm1)
        scale = source.layer_scale_1.detach().double()
        self.proj_1 = _with_input_affine(attention.proj_1, factor, shift)
        self.gate = attention.spatial_gating_unit
        self.proj_2 = _with_output_affine(attention.proj_2, scale, scale * shift)
        self.register_buffer("kept", source.exported_shortcut())
        self.fc1 = _with_input_affine(perceptron.fc1, *_affine(source.norm2))
        self.dwconv = perceptron.dwconv
        scale = source.layer_scale_2.detach().double()
        self.fc2 = _with_output_affine(perceptron.fc2, scale, torch.zeros_like(scale))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` to ``(N, C, H, W)``."""
        x = x * self.kept + self.proj_2(self.gate(F.gelu(self.proj_1(x))))
        return x + self.fc2(F.gelu(self.dwconv(self.fc1(x))))


def _depthwise(channels: int, rows: int, columns: int) -> nn.Conv2d:
    padding = (rows // 2, columns // 2)
    return nn.Conv2d(channels, channels, (rows, columns), padding=padding, groups=channels)


def _affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return factor and shift of a batch normalisation in eval mode, each (C,) float64."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    factor = norm.weight.detach().double() / (norm.running_var.double() + norm.eps).sqrt()
    return factor, norm.bias.detach().double() - factor * norm.running_mean.double()


def _with_input_affine(conv: nn.Conv2d, factor: Tensor, shift: Tensor) -> nn.Conv2d:
    """Return the 1x1 convolution of ``factor * x + shift``."""
    weight = conv.weight.detach().double()[:, :, 0, 0]
    return _pointwise(conv, weight * factor, _bias(conv) + weight @ shift)


def _with_output_affine(conv: nn.Conv2d, factor: Tensor, shift: Tensor) -> nn.Conv2d:
    """Return the 1x1 convolution whose result is ``factor * y + shift``."""
    weight = conv.weight.detach().double()[:, :, 0, 0]
    return _pointwise(conv, factor[:, None] * weight, factor * _bias(conv) + shift)


def _bias(conv: nn.Conv2d) -> Tensor:
    assert conv.bias is not None
    return conv.bias.detach().double()


def _pointwise(like: nn.Conv2d, weight: Tensor, bias: Tensor) -> nn.Conv2d:
    conv = nn.Conv2d(like.in_channels, like.out_channels, 1).to(like.weight)
    with torch.no_grad():
        conv.weight.copy_(weight[:, :, None, None])
        conv.bias.copy_(bias)  # type: ignore[union-attr]
    return conv
