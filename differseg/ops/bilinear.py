"""Bilinear reading of a map at given places, and its gradients: what all samplers share.

A place is a whole number of pixels plus a displacement.  The displacement alone is split into a
cell and a share of it, so that far from the origin of a wide map no digits are lost, and places
that are whole numbers read pixels exactly.  ``grid_sample``, which divides by the size of the map
and multiplies again, gives neither.

Convention:
    Pixel index units of the map that is read: centres at 0 ... H - 1 and 0 ... W - 1, x then y.
    Places outside are moved to the border, and have no gradient there, nor on the border itself
    (as ``grid_sample`` with ``padding_mode="border"``); what is not a number reads pixel 0.

Batches B may be images times groups.  Everything here works in float32 or float64.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from differseg.ops.layouts import rows_of_pixels, weighted_pixel_sums


class Cells(NamedTuple):
    """The cells that places lie in, along one axis: two neighbouring pixels and a share.

    Attributes:
        first: Index of the pixel before the place, int64.
        second: Index of the pixel behind it (the same on the border), int64.
        share: Weight of the second pixel, 0 to 1.
        inside: Whether the place was within the map, so that it has a gradient.
    """

    first: Tensor
    second: Tensor
    share: Tensor
    inside: Tensor


class Places(NamedTuple):
    """Places ``(B, H', W')`` in a map, as cells along both axes."""

    x: Cells
    y: Cells
    size_hw: tuple[int, int]

    def corners(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return pixels ``y * W + x`` and weights of the four corners, each ``(B, Q, 4)``."""
        width = self.size_hw[1]
        top, bottom = self.y.first * width, self.y.second * width
        left, right = self.x.first, self.x.second
        index = torch.stack((top + left, top + right, bottom + left, bottom + right), -1)
        across, down = self.x.share.to(dtype), self.y.share.to(dtype)
        upper, lower = 1 - down, down
        weights = torch.stack(
            (upper * (1 - across), upper * across, lower * (1 - across), lower * across), -1
        )
        return index.flatten(1, 2), weights.flatten(1, 2)


def places(displacement: Tensor, size_hw: tuple[int, int], *, scale: int = 0) -> Places:
    """Find the cells of displaced pixels.

    Args:
        displacement: ``(B, 2, H', W')``, x then y, in pixels, float32 or float64.
        size_hw: Height and width of the map that is read.
        scale: What is displaced: with 0 the origin (the displacements are positions), else pixel
            ``(Y // scale, X // scale)`` of the map.
    """
    height, width = displacement.shape[-2:]
    rows = columns = displacement.new_zeros(1)
    if scale:
        rows = _pixels(height, scale, displacement)[:, None]
        columns = _pixels(width, scale, displacement)
    return Places(
        _cells(displacement[:, 0], columns, size_hw[1]),
        _cells(displacement[:, 1], rows, size_hw[0]),
        size_hw,
    )


def _pixels(size: int, scale: int, like: Tensor) -> Tensor:
    return torch.arange(size, device=like.device).floor_divide(scale).to(like.dtype)


def _cells(displacement: Tensor, origin: Tensor, size: int) -> Cells:
    whole = displacement.floor()
    share = displacement - whole
    first = origin + whole
    within = (first >= 0) & (first < size - 1)  # false for what is not a number
    inside = within & ((first > 0) | (share > 0))
    share = torch.where(within, share, 0)
    first = torch.where(first >= 0, first, 0).clamp(max=size - 1).long()
    return Cells(first, (first + 1).clamp(max=size - 1), share, inside)


def read(x: Tensor, at: Places) -> Tensor:
    """Read the map ``(B, C, h, w)`` at the places: ``(B, C, H', W')``, a channels-last view."""
    batch, channels = x.shape[:2]
    rows = rows_of_pixels(x)  # (B, h*w + 1, C)
    index, weights = at.corners(x.dtype)
    index = index + _first_rows(rows)
    summed = weighted_pixel_sums(rows.flatten(0, 1), index.flatten(0, 1), weights.flatten(0, 1))
    return summed.view(batch, *at.x.first.shape[1:], channels).permute(0, 3, 1, 2)


def gradient_of_map(grad: Tensor, at: Places) -> Tensor:
    """Return the gradient with respect to the map, ``(B, C, h, w)``, a channels-last view."""
    batch, channels = grad.shape[:2]
    rows = grad.new_zeros(batch, at.size_hw[0] * at.size_hw[1], channels)
    index, weights = at.corners(grad.dtype)
    index = index + _first_rows(rows)
    grads = grad.permute(0, 2, 3, 1).reshape(-1, channels)  # (B*Q, C)
    for corner in range(4):
        weighted = grads * weights[..., corner].reshape(-1, 1)
        rows.flatten(0, 1).index_add_(0, index[..., corner].flatten(), weighted)
    return rows.view(batch, *at.size_hw, channels).permute(0, 3, 1, 2)


def gradient_of_displacement(grad: Tensor, x: Tensor, at: Places) -> Tensor:
    """Return the gradient with respect to the displacement, ``(B, 2, H', W')``, x then y."""
    channels = grad.shape[1]
    rows = rows_of_pixels(x)
    index, _ = at.corners(x.dtype)
    index = index + _first_rows(rows)
    grads = grad.permute(0, 2, 3, 1).reshape(-1, channels)  # (B*Q, C)
    corners = [
        (rows.flatten(0, 1)[index[..., corner].flatten()] * grads).sum(-1).view_as(at.x.share)
        for corner in range(4)
    ]
    top_left, top_right, bottom_left, bottom_right = corners
    across, down = at.x.share.to(x.dtype), at.y.share.to(x.dtype)
    of_x = torch.lerp(top_right - top_left, bottom_right - bottom_left, down)
    of_y = torch.lerp(bottom_left - top_left, bottom_right - top_right, across)
    return torch.stack((of_x * at.x.inside, of_y * at.y.inside), 1)


def _first_rows(rows: Tensor) -> Tensor:
    """Return the row that each image starts at when all are one table, ``(B, 1, 1)``."""
    batch, per_image = rows.shape[:2]
    return torch.arange(batch, device=rows.device).mul(per_image).view(-1, 1, 1)
