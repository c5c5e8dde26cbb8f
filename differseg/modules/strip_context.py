"""Context from a cascade of strip convolutions (FSANet's HCF).

Source: Jiang et al., IEEE TNNLS 36(5), 2025, doi 10.1109/TNNLS.2024.3426529.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from differseg.modules.conv import ConvBn

REACHES = (3, 5, 7)
"""Lengths of the strips, one pair after the other."""


class StripContext(nn.Module):
    """Five views of the input; four of them join a cascade of 1xk and kx1 convolutions one by one.

    The ReLU at the end, after the fifth view is added, is the only activation.

    Args:
        in_channels: Width of the input.
        out_channels: Width of the output.

    Shapes: ``(N, in_channels, H, W)`` float to ``(N, out_channels, H, W)`` float, >= 0.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.views = nn.ModuleList(ConvBn(in_channels, out_channels) for _ in range(5))
        self.strips = nn.ModuleList(
            nn.Sequential(
                ConvBn(out_channels * (1 if index == 0 else 2), out_channels, (1, reach)),
                ConvBn(out_channels, out_channels, (reach, 1)),
            )
            for index, reach in enumerate(REACHES)
        )
        self.mix = ConvBn(2 * out_channels, out_channels, (3, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, in_channels, H, W)`` to ``(N, out_channels, H, W)``."""
        return self.cascade([view(x) for view in self.views])

    def cascade(self, views: Sequence[Tensor]) -> Tensor:
        """Join the five views, each ``(N, out_channels, H, W)``."""
        y = views[0]
        for strip, view in zip(self.strips, views[1:4], strict=True):
            y = torch.cat((strip(y), view), dim=1)  # (N, 2D, H, W)
        return F.relu(views[4] + self.mix(y))

    def for_export(self, size_hw: tuple[int, int]) -> JoinedStripContext:
        """Return the same function with one convolution for all five views."""
        return JoinedStripContext(self)


class JoinedStripContext(nn.Module):
    """A :class:`StripContext` that reads its wide input once instead of five times.

    Shapes: as :class:`StripContext`.
    """

    def __init__(self, source: StripContext) -> None:
        super().__init__()
        self.views = joined([view for view in source.views if isinstance(view, ConvBn)])
        self.source = source
        self.source.views = nn.ModuleList()

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, in_channels, H, W)`` to ``(N, out_channels, H, W)``."""
        return self.source.cascade(self.views(x).chunk(5, dim=1))


def joined(units: Sequence[ConvBn]) -> ConvBn:
    """Return one unit whose output is that of several on the same input, one after another.

    Args:
        units: Of the same input width, kernel and stride; in eval mode.
    """
    first = units[0].conv
    out_channels = sum(unit.conv.out_channels for unit in units)
    kernel_hw = (first.kernel_size[0], first.kernel_size[1])
    unit = ConvBn(first.in_channels, out_channels, kernel_hw, stride=first.stride[0])
    unit = unit.to(first.weight.device, first.weight.dtype).eval().requires_grad_(False)
    with torch.no_grad():
        unit.conv.weight.copy_(torch.cat([u.conv.weight for u in units]))
        for name in ("weight", "bias", "running_mean", "running_var"):
            parts = [getattr(u.bn, name) for u in units]
            getattr(unit.bn, name).copy_(torch.cat(parts))
    return unit
