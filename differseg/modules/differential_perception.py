"""Differential Perception Fusion: two modalities merged by their gradients and their low band."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_GRADIENT_X = ((-1.0, 0.0, 1.0), (-2.0, 0.0, 2.0), (-1.0, 0.0, 1.0))
_LAPLACIAN = ((0.0, -1.0, 0.0), (-1.0, 4.0, -1.0), (0.0, -1.0, 0.0))


class DifferentialPerceptionFusion(nn.Module):
    """Fuse one level of RGB features with the same level of a second modality (DPF).

    Three learnable 3x3 differential kernels, shared by all channels (horizontal and vertical
    gradient, Laplacian), bring out structure in each modality; a per-pixel softmax over the two
    modalities says which one to trust; the weighted differences and a weighted low band are
    joined and added to both inputs.  DifferSeg, arXiv 2606.08906.

    The authors convolve a ``(N*C, 1, H, W)`` view; here the same kernel runs as a depthwise
    convolution, which gives the same numbers and keeps the batch axis for export.

    Args:
        channels: Width of both inputs and of the output.

    Shapes: two ``(N, channels, H, W)`` float tensors to one of the same shape.

    Convention: kernels are cross-correlated, zero padded by 1; x runs along columns, y along
    rows.  The low band is a 3x3 mean whose padding counts, so values shrink at the border.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        gradient_x = torch.tensor(_GRADIENT_X)
        self.rgb_proj = nn.Conv2d(channels, channels, 1)
        # The authors' key for the second modality, whichever it is.
        self.depth_proj = nn.Conv2d(channels, channels, 1)
        self.learnable_diff_x = nn.Parameter(gradient_x[None, None].clone())
        self.learnable_diff_y = nn.Parameter(gradient_x.t()[None, None].contiguous())
        self.learnable_laplacian = nn.Parameter(torch.tensor(_LAPLACIAN)[None, None])
        self.complementarity_net = nn.Sequential(
            nn.Conv2d(2 * channels, channels, 3, padding=1),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, 2, 1),
            nn.Softmax(dim=1),
        )
        self.fusion_net = nn.Sequential(
            nn.Conv2d(3 * channels, channels, 3, padding=1),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.BatchNorm2d(channels),
        )
        self.integration_net = nn.Sequential(
            nn.Conv2d(2 * channels, channels, 3, padding=1),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 1),
            nn.BatchNorm2d(channels),
        )

    def forward(self, rgb: Tensor, second: Tensor) -> Tensor:
        """Fuse two ``(N, C, H, W)`` feature maps into one ``(N, C, H, W)``."""
        r, m = self.rgb_proj(rgb), self.depth_proj(second)  # (N, C, H, W) each
        weights = self.complementarity_net(torch.cat([r, m], dim=1))  # (N, 2, H, W)
        weight_r, weight_m = weights[:, :1], weights[:, 1:]  # (N, 1, H, W) each
        differences = [
            weight_r * _depthwise(r, kernel) + weight_m * _depthwise(m, kernel)
            for kernel in (self.learnable_diff_x, self.learnable_diff_y, self.learnable_laplacian)
        ]
        fused = self.fusion_net(torch.cat(differences, dim=1))  # (N, C, H, W)
        low = _mean3(weight_r) * _mean3(r) + _mean3(weight_m) * _mean3(m)  # (N, C, H, W)
        return self.integration_net(torch.cat([fused, low], dim=1)) + r + m  # (N, C, H, W)


def _depthwise(x: Tensor, kernel: Tensor) -> Tensor:
    """Cross-correlate every channel of ``(N, C, H, W)`` with one ``(1, 1, 3, 3)`` kernel."""
    channels = x.shape[1]
    return F.conv2d(x, kernel.expand(channels, 1, 3, 3), padding=1, groups=channels)


def _mean3(x: Tensor) -> Tensor:
    """Return the 3x3 mean of ``(N, C, H, W)`` with zero padding counted in the divisor."""
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=True)
