"""What reassembly must give: the definition, pixel by pixel, in float64.

Takes tensors or arrays of any floating type, returns float64 arrays.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def reassemble(
    x: Tensor | np.ndarray,
    kernels: Tensor | np.ndarray,
    *,
    kernel_size: int,
    scale: int = 1,
    dilation: int = 1,
    groups: int = 1,
    border: str = "zeros",
    normalize: str = "none",
) -> np.ndarray:
    """Sum ``(N, C, h, w)`` under ``(N, g * k * k, s * h, s * w)``: ``(N, C, s * h, s * w)``."""
    image = torch.as_tensor(x).double().numpy()
    weights = torch.as_tensor(kernels).double().numpy()
    if normalize != "none":
        weights = normalized(weights, kernel_size, groups, normalize)
    batch, channels, height, width = image.shape
    taps = [(i - kernel_size // 2) * dilation for i in range(kernel_size)]
    out = np.zeros((batch, channels, scale * height, scale * width))
    for row in range(scale * height):
        rows, in_rows = _pixels(row // scale, taps, height, border)
        for column in range(scale * width):
            columns, in_columns = _pixels(column // scale, taps, width, border)
            seen = image[:, :, rows][:, :, :, columns] * np.outer(in_rows, in_columns)
            seen = seen.reshape(batch, groups, channels // groups, kernel_size**2)
            kernel = weights[:, :, row, column].reshape(batch, groups, 1, kernel_size**2)
            out[:, :, row, column] = (seen * kernel).sum(-1).reshape(batch, channels)
    return out


def normalized(
    logits: Tensor | np.ndarray, kernel_size: int, groups: int, normalize: str
) -> np.ndarray:
    """Make kernels: a softmax over the taps, times a window, divided by the sum over the taps."""
    logits = torch.as_tensor(logits).double().numpy()
    taps = logits.reshape(logits.shape[0], groups, kernel_size**2, *logits.shape[2:])
    kernels = np.exp(taps - taps.max(2, keepdims=True))
    kernels = kernels / kernels.sum(2, keepdims=True)
    if normalize == "hamming":
        side = np.hamming(kernel_size)
        kernels = kernels * np.outer(side, side).reshape(-1, 1, 1)
        kernels = kernels / kernels.sum(2, keepdims=True)
    return kernels.reshape(logits.shape)


def _pixels(centre: int, taps: list[int], extent: int, border: str) -> tuple[list[int], list[bool]]:
    """Return which pixels the taps read along an axis, and whether each counts."""
    positions = [centre + tap for tap in taps]
    counts = [0 <= position < extent or border == "edge" for position in positions]
    return [min(max(position, 0), extent - 1) for position in positions], counts
