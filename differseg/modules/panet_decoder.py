"""A bidirectional pyramid decoder: down from coarse to fine, up again, then all levels at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from differseg.modules.conv import ConvBn
from differseg.modules.pooled_gates import PooledGate


class PanetDecoder(nn.Module):
    """Four fused levels into class logits of the finest level's grid, with side outputs.

    The path aggregation of PANet (arXiv 1803.01534) as frequency-guided RGB-thermal fusion (arXiv
    2605.26273) uses it; the text is known from the released code.  All levels come to one width;
    a top-down and a bottom-up pass exchange what they know; a gate from the coarsest input
    weighs the channels between one half and one; the levels are joined on the finest grid.

    Convention:
        Every resize is bilinear on pixel centres (``align_corners=False``) to the exact size of
        its target, so sizes need not halve evenly from level to level.

    Args:
        in_channels: Widths of the four levels, finest first.
        width: Width of all levels inside.
        outputs: Number of logits per pixel.
        deep_supervision: Have one more linear side output for each of the four levels.
        light_join: Join the levels by :class:`CascadeJoin` instead of :class:`DenseJoin`.

    Shapes: four levels ``(N, in_channels[k], H_k, W_k)`` float to logits
    ``(N, outputs, H_0, W_0)``.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        width: int,
        outputs: int,
        *,
        deep_supervision: bool,
        light_join: bool = False,
    ) -> None:
        super().__init__()
        wide = (3, 3)
        self.laterals = nn.ModuleList(ConvBn(c, width) for c in in_channels)
        self.top_down = nn.ModuleList(ConvBn(width, width, wide) for _ in range(3))
        self.halvings = nn.ModuleList(ConvBn(width, width, wide, stride=2) for _ in range(3))
        self.bottom_up = nn.ModuleList(ConvBn(2 * width, width, wide) for _ in range(3))
        self.context = PooledGate(in_channels[-1], width, width, bias=True)
        self.join = CascadeJoin(width) if light_join else DenseJoin(width)
        self.head = LogitHead(width, width, outputs, dropout=0.1)
        self.aux_head = LogitHead(width, width // 2, outputs)
        deep = 4 if deep_supervision else 0
        self.deep_heads = nn.ModuleList(nn.Conv2d(width, outputs, 1) for _ in range(deep))

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Return the logits ``(N, outputs, H_0, W_0)`` alone."""
        return self._main(self._paths(levels), levels[-1])

    def forward_all(self, levels: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Return the logits and the side outputs, each on its own level's grid.

        Returns:
            Logits ``(N, outputs, H_0, W_0)``, and a list: the auxiliary head's
            ``(N, outputs, H_2, W_2)``, then with deep supervision one ``(N, outputs, H_k, W_k)``
            for each level k.
        """
        paths = self._paths(levels)
        deep = [head(path) for head, path in zip(self.deep_heads, paths, strict=False)]
        return self._main(paths, levels[-1]), [self.aux_head(paths[2]), *deep]

    def _paths(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Return the four levels after both passes, ``(N, width, H_k, W_k)``, finest first."""
        lateral = [F.relu(conv(x)) for conv, x in zip(self.laterals, levels, strict=True)]
        down = [lateral[3]]
        for index in (2, 1, 0):
            above = resized(down[0], lateral[index])
            down.insert(0, F.relu(self.top_down[index](lateral[index] + above)))
        up = [down[0]]
        for index in (0, 1, 2):
            target = down[index + 1]
            below = resized(F.relu(self.halvings[index](up[-1])), target)
            up.append(F.relu(self.bottom_up[index](torch.cat((target, below), dim=1))))
        return up

    def _main(self, paths: Sequence[Tensor], coarsest: Tensor) -> Tensor:
        weights = 0.5 + 0.5 * self.context(coarsest)  # (N, width, 1, 1)
        return self.head(self.join([path * weights for path in paths]))


class DenseJoin(nn.Module):
    """All levels side by side on the finest grid, then two 3x3 convolutions.

    Args:
        width: Width of each of the four levels and of the result.

    Shapes: four levels ``(N, width, H_k, W_k)`` float, finest first, to ``(N, width, H_0, W_0)``,
    >= 0.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mix = ConvBn(4 * width, 2 * width, (3, 3))
        self.blend = ConvBn(2 * width, width, (3, 3))

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Map the four levels to ``(N, width, H_0, W_0)``."""
        stack = torch.cat([resized(level, levels[0]) for level in levels], dim=1)
        x = F.relu(self.mix(stack))  # (N, 2 * width, H_0, W_0)
        return F.relu(self.blend(x))


class CascadeJoin(nn.Module):
    """The levels added up from coarse to fine, each through its own 1x1, then one 3x3.

    A 1x1 convolution gives the same before a resize as behind it, so it works where the map is
    small; with it most of the dense join's cost, two thirds of a small decoder, is gone.

    Args:
        width: Width of each of the four levels and of the result.

    Shapes: as for :class:`DenseJoin`.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mix = nn.ModuleList(ConvBn(width, width) for _ in range(4))
        self.blend = ConvBn(width, width, (3, 3))

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Map the four levels to ``(N, width, H_0, W_0)``."""
        total = self.mix[3](levels[3])
        for index in (2, 1, 0):
            level = self.mix[index](levels[index])
            total = level + resized(total, level)  # (N, width, H_index, W_index)
        return F.relu(self.blend(F.relu(total)))


class LogitHead(nn.Module):
    """A 3x3 convolution with batch normalisation and ReLU, then a 1x1 convolution to logits.

    Args:
        in_channels: Width of the features.
        hidden_channels: Width in between.
        outputs: Number of logits per pixel.
        dropout: Probability with which training drops a whole channel.

    Shapes: ``(N, in_channels, H, W)`` float to ``(N, outputs, H, W)``.
    """

    def __init__(
        self, in_channels: int, hidden_channels: int, outputs: int, *, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.features = ConvBn(in_channels, hidden_channels, (3, 3))
        self.dropout = nn.Dropout2d(dropout)
        self.logits = nn.Conv2d(hidden_channels, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, in_channels, H, W)`` to logits ``(N, outputs, H, W)``."""
        return self.logits(self.dropout(F.relu(self.features(x))))


def resized(x: Tensor, like: Tensor) -> Tensor:
    """Bring ``x`` to the height and width of ``like``; a map that has them stays as it is."""
    if x.shape[-2:] == like.shape[-2:]:
        return x
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)
