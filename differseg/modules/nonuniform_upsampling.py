"""Non-uniform upsampling: a map that was warped before a layer is brought back behind it.

Source: Spatial Frequency Modulation (arXiv 2507.11893), the first part of its MSAU.  The authors
interpolate over a Delaunay triangulation of the warped lattice, which is data-dependent, runs on
the CPU and is no standard operator; it is the reference of our tests.  What is here instead:

``fixed-point``
    The displacement that undoes the warp, by fixed-point steps, then one bilinear reading.  For
    smooth saliencies it stays near the triangulation (docs/models/sfm.md has the figures).
``radial``
    Weights for the 3x3 lattice points around a pixel that fall with their distance from it, with
    a learned width and sharpness.  Two scalars of the authors' development code; the unit of the
    width, here pixels, is our reading.

Convention: as in :mod:`~differseg.modules.adaptive_resampling`; lattice point p sits at
``p + displacement[p]`` in the image and carries pixel p of the map.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from differseg import ops
from differseg.errors import InputError

UnwarpMode = Literal["fixed-point", "radial"]


class NonuniformUpsampling(nn.Module):
    """Undo a warp, at the size of the warp.

    As in the source, gradients reach the map alone and not the displacement.

    Args:
        mode: ``fixed-point`` or ``radial``, see the module.
        iterations: Fixed-point steps, 1 to 100.

    Shapes: ``(N, C, h, w)`` float and a displacement ``(N, 2, H, W)`` to ``(N, C, H, W)``; a map
    of another size is resized bilinearly first (``align_corners=False``).

    Raises:
        InputError: A mode that there is not.
    """

    def __init__(self, mode: UnwarpMode = "fixed-point", *, iterations: int = 10) -> None:
        super().__init__()
        if mode not in get_args(UnwarpMode):
            raise InputError(
                f"NonuniformUpsampling: mode: expected one of {', '.join(get_args(UnwarpMode))}, "
                f"got {mode!r}"
            )
        self.mode = mode
        self.iterations = iterations
        self.weights = RadialWeights() if mode == "radial" else None

    def forward(self, x: Tensor, displacement: Tensor) -> Tensor:
        """Bring ``(N, C, h, w)`` back to where it was before the warp, ``(N, C, H, W)``."""
        size_hw = (displacement.shape[-2], displacement.shape[-1])
        displacement = displacement.detach()
        if x.shape[-2:] != size_hw:
            x = F.interpolate(x, size=size_hw, mode="bilinear", align_corners=False)
        if self.weights is not None:
            logits = self.weights(displacement).to(x.dtype)  # (N, 9, H, W)
            return ops.reassemble(x, logits, kernel_size=3, border="edge", normalize="softmax")
        inverse = ops.invert_displacement(displacement, iterations=self.iterations)
        return ops.warp(x, ops.displacement_to_positions(inverse))  # (N, C, H, W)

    def through(self, x: Tensor, displacements: Sequence[Tensor]) -> Tensor:
        """Undo several warps, the last one first.

        Args:
            x: ``(N, C, h, w)`` behind all the warps.
            displacements: ``(N, 2, H_k, W_k)`` in the order in which the network applied them.

        Returns:
            ``(N, C, H_0, W_0)``, before the first warp.
        """
        for displacement in reversed(displacements):
            x = self(x, displacement)
        return x


class RadialWeights(nn.Module):
    """Logits of the 3x3 lattice points around a pixel, by their distance from it.

    ``sharpness * exp(-4 ln 2 * distance**2 / width**2)``, distance and width in pixels; border
    points are repeated.

    Shapes: displacement ``(N, 2, H, W)`` to logits ``(N, 9, H, W)``, taps row by row.
    """

    def __init__(self) -> None:
        super().__init__()
        self.width = nn.Parameter(torch.tensor(0.1))
        self.sharpness = nn.Parameter(torch.tensor(1.0))

    def forward(self, displacement: Tensor) -> Tensor:
        """Map ``(N, 2, H, W)`` to ``(N, 9, H, W)``."""
        height, width = displacement.shape[-2:]
        places = ops.displacement_to_positions(displacement)
        pixels = ops.displacement_to_positions(torch.zeros_like(displacement))
        extended = F.pad(places, (1, 1, 1, 1), mode="replicate")  # (N, 2, H + 2, W + 2)
        squares = [
            (extended[:, :, row : row + height, column : column + width] - pixels).square().sum(1)
            for row in range(3)
            for column in range(3)
        ]
        bell = torch.exp(-4 * math.log(2) * torch.stack(squares, 1) / self.width**2)
        return self.sharpness * bell
