"""Carry both bands up one level, guided by the finer level, and balance them at the end.

The second half of the Frequency-Guided Decoder; DifferSeg, arXiv 2606.08906.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

COARSE_SHARE = 0.6
"""Weight of the upsampled bands in the blend; the finer level has the rest."""
DETAIL_GAIN = 0.3
"""Share of the recovered detail that is added to both bands."""
RESIDUAL_GAIN = 0.5
"""Share of the plain sum of both bands in the balancer's output."""
_TRANSFORM_SIZES = (1, 3, 5)


class FrequencyGuidedUpsampler(nn.Module):
    """Upsample (low, high) by 2 along several learned paths and blend in the finer level.

    Each band has ``paths`` transposed convolutions, followed by a grouped 1x1, 3x3 and 5x5; a
    softmax over the paths of both bands, taken from their global averages, weighs them.

    Args:
        in_channels: Width of the coarse level.
        out_channels: Width of the finer level; a multiple of 4.
        paths: Learned paths per band, 1 to 3; the authors use 3.

    Shapes: coarse bands ``(N, in_channels, H/2, W/2)`` and fine bands
    ``(N, out_channels, H, W)`` to two ``(N, out_channels, H, W)`` float tensors.
    """

    def __init__(self, in_channels: int, out_channels: int, *, paths: int = 3) -> None:
        super().__init__()
        self.paths = paths
        self.low_upsamplers = _upsamplers(in_channels, out_channels, paths)
        self.high_upsamplers = _upsamplers(in_channels, out_channels, paths)
        self.low_transforms = _transforms(out_channels, paths)
        self.high_transforms = _transforms(out_channels, paths)
        self.path_selector = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(2 * paths * out_channels, out_channels // 2, 1),
            nn.ReLU(),
            nn.Conv2d(out_channels // 2, 2 * paths, 1),
            nn.Softmax(dim=1),
        )
        self.detail_recovery = nn.Sequential(
            nn.Conv2d(4 * out_channels, out_channels, 3, padding=1),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
            nn.Conv2d(out_channels, out_channels, 3, padding=2, dilation=2),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
            nn.Conv2d(out_channels, out_channels, 1),
        )

    def forward(
        self, coarse: tuple[Tensor, Tensor], fine: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Return (low, high) on the fine level's grid, each ``(N, out_channels, H, W)``."""
        low_paths = _run(self.low_upsamplers, self.low_transforms, coarse[0])
        high_paths = _run(self.high_upsamplers, self.high_transforms, coarse[1])
        share = self.path_selector(torch.cat(low_paths + high_paths, dim=1))  # (N, 2P, 1, 1)
        low = _blend(low_paths, share[:, : self.paths])  # (N, D, H, W)
        high = _blend(high_paths, share[:, self.paths :])  # (N, D, H, W)
        low = COARSE_SHARE * low + (1 - COARSE_SHARE) * fine[0]
        high = COARSE_SHARE * high + (1 - COARSE_SHARE) * fine[1]
        detail = self.detail_recovery(torch.cat([low, high, *fine], dim=1))  # (N, D, H, W)
        return low + DETAIL_GAIN * detail, high + DETAIL_GAIN * detail


class FrequencyBalancer(nn.Module):
    """Weigh the two bands of the finest level against each other and join them.

    Args:
        channels: Width of both bands and of the output.

    Shapes: two ``(N, channels, H, W)`` float tensors to one.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        # At least 8, so that a narrow network does not start with all hidden units dead.
        hidden = max(8, channels // 4)
        self.weight_predictor = nn.Sequential(
            nn.Conv2d(2 * channels, hidden, 1),
            nn.ReLU(),
            nn.Conv2d(hidden, 2, 1),
            nn.Softmax(dim=1),
        )
        self.final_fusion = nn.Sequential(
            nn.Conv2d(2 * channels, channels, 3, padding=1),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 1),
        )

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        """Join ``(N, C, H, W)`` low and high into ``(N, C, H, W)``."""
        both = torch.cat([low, high], dim=1)  # (N, 2C, H, W)
        share = self.weight_predictor(nn.functional.adaptive_avg_pool2d(both, 1))  # (N, 2, 1, 1)
        weighed = torch.cat([share[:, :1] * low, share[:, 1:] * high], dim=1)  # (N, 2C, H, W)
        return self.final_fusion(weighed) + RESIDUAL_GAIN * (low + high)


def _upsamplers(in_channels: int, out_channels: int, paths: int) -> nn.ModuleList:
    return nn.ModuleList(
        nn.Sequential(
            nn.ConvTranspose2d(in_channels, out_channels, 4, stride=2, padding=1),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
        )
        for _ in range(paths)
    )


def _transforms(channels: int, paths: int) -> nn.ModuleList:
    return nn.ModuleList(
        nn.Conv2d(channels, channels, size, padding=size // 2, groups=channels // 4)
        for size in _TRANSFORM_SIZES[:paths]
    )


def _run(upsamplers: nn.ModuleList, transforms: nn.ModuleList, band: Tensor) -> list[Tensor]:
    """Return the band along every path, each ``(N, D, H, W)``."""
    paths = zip(upsamplers, transforms, strict=True)
    return [transform(upsampler(band)) for upsampler, transform in paths]


def _blend(paths: list[Tensor], share: Tensor) -> Tensor:
    """Sum the paths, each times its ``(N, 1, 1, 1)`` share: ``(N, D, H, W)``."""
    blended = paths[0] * share[:, :1]
    for i, path in enumerate(paths[1:], start=1):
        blended = blended + path * share[:, i : i + 1]
    return blended
