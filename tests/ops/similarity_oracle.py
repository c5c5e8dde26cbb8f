"""What local similarity must give: the definition, pixel by pixel, in float64."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def local_similarity(x: Tensor | np.ndarray, kernel_size: int, dilation: int) -> np.ndarray:
    """Compare every pixel of ``(N, C, H, W)`` with its neighbours: ``(N, k * k - 1, H, W)``."""
    image = torch.as_tensor(x).double().numpy()
    batch, _, height, width = image.shape
    steps = [(i - kernel_size // 2) * dilation for i in range(kernel_size)]
    offsets = [(down, right) for down in steps for right in steps if (down, right) != (0, 0)]
    out = np.zeros((batch, len(offsets), height, width))
    for row in range(height):
        for column in range(width):
            pixel = image[:, :, row, column]
            for tap, (down, right) in enumerate(offsets):
                if 0 <= row + down < height and 0 <= column + right < width:
                    neighbour = image[:, :, row + down, column + right]
                    norms = [np.sqrt((vector**2).sum(1)) for vector in (pixel, neighbour)]
                    product = np.maximum(norms[0], 1e-8) * np.maximum(norms[1], 1e-8)
                    out[:, tap, row, column] = (pixel * neighbour).sum(1) / product
    return out
