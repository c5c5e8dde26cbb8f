"""What the samplers must give: the definitions, pixel by pixel, in float64.

Take tensors or arrays of any floating type, return float64 arrays.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor


def warp(x: Tensor | np.ndarray, positions: Tensor | np.ndarray) -> np.ndarray:
    """Read ``(N, C, H, W)`` at ``(N, 2, H', W')``, x then y, in pixels: ``(N, C, H', W')``."""
    image, places = _exact(x), _exact(positions)
    out = np.zeros((*image.shape[:2], *places.shape[2:]))
    for n in range(places.shape[0]):
        for row in range(places.shape[2]):
            for column in range(places.shape[3]):
                at_x, at_y = places[n, :, row, column]
                out[n, :, row, column] = _read(image[n], at_x, at_y)
    return out


def sample_offsets(
    x: Tensor | np.ndarray, offsets: Tensor | np.ndarray, scale: int, groups: int
) -> np.ndarray:
    """Read every group of ``(N, C, h, w)`` at its offsets: ``(N, C, s * h, s * w)``."""
    image, moves = _exact(x), _exact(offsets)
    batch, channels, height, width = image.shape
    moves = moves.reshape(batch, 2, groups, scale, scale, height, width)
    wide = channels // groups
    out = np.zeros((batch, channels, scale * height, scale * width))
    for n in range(batch):
        for group in range(groups):
            part = slice(group * wide, (group + 1) * wide)
            for row in range(scale * height):
                for column in range(scale * width):
                    y, sub_y = divmod(row, scale)
                    x_, sub_x = divmod(column, scale)
                    move_x, move_y = moves[n, :, group, sub_y, sub_x, y, x_]
                    out[n, part, row, column] = _read(image[n, part], x_ + move_x, y + move_y)
    return out


def saliency_displacement(saliency: Tensor | np.ndarray, radius: int, fwhm: float) -> np.ndarray:
    """Draw every pixel of ``(N, 1, H, W)`` to the saliency around it: ``(N, 2, H, W)``."""
    image = _exact(saliency)[:, 0]
    batch, height, width = image.shape
    steps = range(-radius, radius + 1)
    out = np.zeros((batch, 2, height, width))
    for row in range(height):
        for column in range(width):
            mass = np.full(batch, 1e-16)
            moment_x, moment_y = np.zeros(batch), np.zeros(batch)
            for down in steps:
                for right in steps:
                    near = math.exp(-4 * math.log(2) * (down**2 + right**2) / fwhm**2)
                    at = _reflected(row + down, height), _reflected(column + right, width)
                    weight = near * image[:, at[0], at[1]]
                    mass += weight
                    moment_x += weight * right
                    moment_y += weight * down
            if 0 < column < width - 1:
                out[:, 0, row, column] = moment_x / mass
            if 0 < row < height - 1:
                out[:, 1, row, column] = moment_y / mass
    return out


def invert_displacement(displacement: Tensor | np.ndarray, iterations: int) -> np.ndarray:
    """Find where every pixel came from by fixed-point steps on positions: ``(N, 2, H, W)``."""
    field = _exact(displacement)
    rows, columns = np.mgrid[: field.shape[2], : field.shape[3]]
    pixels = np.stack((columns, rows)).astype(np.float64)  # (2, H, W), x then y
    places = np.broadcast_to(pixels, field.shape).copy()
    for step in range(iterations):
        share = 1.0 if step < 3 else 0.5
        places = places + share * (pixels - places - warp(field, places))
    return places - pixels


def _exact(x: Tensor | np.ndarray) -> np.ndarray:
    return torch.as_tensor(x).double().numpy()


def _read(image: np.ndarray, at_x: float, at_y: float) -> np.ndarray:
    """Read ``(C, H, W)`` at one place, bilinearly, places outside moved to the border."""
    height, width = image.shape[1:]
    at_x, at_y = min(max(at_x, 0.0), width - 1.0), min(max(at_y, 0.0), height - 1.0)
    left, top = math.floor(at_x), math.floor(at_y)
    right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
    across, down = at_x - left, at_y - top
    upper = (1 - across) * image[:, top, left] + across * image[:, top, right]
    lower = (1 - across) * image[:, bottom, left] + across * image[:, bottom, right]
    return (1 - down) * upper + down * lower


def _reflected(position: int, extent: int) -> int:
    position = abs(position)
    return position if position < extent else 2 * (extent - 1) - position
