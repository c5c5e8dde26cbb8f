"""Adaptive resampling: detail is spread over more pixels before a map is halved.

Source: Spatial Frequency Modulation (arXiv 2507.11893), its ARS; the coordinate map is that of
Learning to Zoom (arXiv 1809.03355).  Radius 5 and width 3 at every sampler, the pinned border and
the normalised saliency are those of the authors' development code.

Convention:
    Displacements are in pixels, channel 0 = x (along W), channel 1 = y (along H); pixel p of the
    warped map reads the map at ``p + displacement[p]``, pixel centres at whole numbers, places
    beyond the border at the border.  In pixels there is nothing left of ``align_corners``: both
    settings of the authors' grids put the same pixel at the same place.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from differseg import ops
from differseg.modules.saliency_attention import AttentionMode, SaliencyAttention


class Resampled(NamedTuple):
    """What a sampler gives.

    Attributes:
        map: The warped map ``(N, C, H, W)``.
        displacement: ``(N, 2, H, W)``, x then y, in pixels; what undoes the warp needs it.
        saliency: ``(N, 1, H, W)``, mean 1 for each image.
    """

    map: Tensor
    displacement: Tensor
    saliency: Tensor


class AdaptiveResampling(nn.Module):
    """Warp a map so that places with detail are sampled densely.

    To be followed by the strided layer of the network it is put into, and undone behind the
    network's head by :class:`~differseg.modules.nonuniform_upsampling.NonuniformUpsampling`.

    Args:
        channels: Width of the map, a multiple of 4.
        mode: How the saliency is found, see
            :data:`~differseg.modules.saliency_attention.AttentionMode`.
        radius: Pixels that saliency reaches along each axis, 1 to 32; H and W are larger.
        fwhm: Width at half its height of the bell by which it reaches, in pixels, above 0.

    Shapes: ``(N, channels, H, W)`` float to :class:`Resampled`.

    Raises:
        InputError: A mode that there is not, or a width that is no multiple of 4.
    """

    def __init__(
        self,
        channels: int,
        mode: AttentionMode = "high-pass",
        *,
        radius: int = 5,
        fwhm: float = 3.0,
    ) -> None:
        super().__init__()
        self.radius = radius
        self.fwhm = fwhm
        self.attention = SaliencyAttention(channels, mode)

    def forward(self, x: Tensor) -> Resampled:
        """Warp ``(N, C, H, W)``.

        Raises:
            InputError: A map no larger than the radius; a single image in training.
        """
        saliency = ops.normalized_saliency(self.attention(x))  # (N, 1, H, W)
        displacement = ops.saliency_displacement(
            saliency, radius=self.radius, fwhm=self.fwhm
        )  # (N, 2, H, W)
        warped = ops.warp(x, ops.displacement_to_positions(displacement))  # (N, C, H, W)
        return Resampled(warped, displacement, saliency)
