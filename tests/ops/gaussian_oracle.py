"""What the Gaussian operators must give: the definition, pixel by pixel, in float64.

Takes tensors or arrays of any floating type, returns float64 arrays.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def lowpass(
    x: Tensor | np.ndarray, sigma_c: float | Sequence[float], kernel_size: int, border: str
) -> np.ndarray:
    """Blur ``(N, C, H, W)``; ``sigma_c`` is one number or one a channel."""
    image = torch.as_tensor(x).double().numpy()
    channels, height, width = image.shape[1:]
    sigmas = [sigma_c] * channels if isinstance(sigma_c, float) else list(sigma_c)
    radius = kernel_size // 2
    y = np.zeros_like(image)
    for channel, sigma in enumerate(sigmas):
        weights = [math.exp(-(t * t) / (2 * sigma * sigma)) for t in range(-radius, radius + 1)]
        total = sum(weights)
        window = np.array([[a * b / total**2 for b in weights] for a in weights])  # (K, K)
        for row in range(height):
            rows, in_rows = _pixels(row, radius, height, border)
            for column in range(width):
                columns, in_columns = _pixels(column, radius, width, border)
                seen = image[:, channel][:, rows][:, :, columns]  # (N, K, K)
                inside = np.outer(in_rows, in_columns)
                y[:, channel, row, column] = (seen * window * inside).sum((1, 2))
    return y


def _pixels(centre: int, radius: int, extent: int, border: str) -> tuple[list[int], list[bool]]:
    """Return which pixels of a row the window sees, and whether each counts."""
    pixels, counts = [], []
    for position in range(centre - radius, centre + radius + 1):
        inside = 0 <= position < extent
        counts.append(inside or border != "zeros")
        if border == "reflect" and position < 0:
            position = -position
        elif border == "reflect" and position >= extent:
            position = 2 * (extent - 1) - position
        pixels.append(min(max(position, 0), extent - 1))
    return pixels, counts
