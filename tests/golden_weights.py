"""Weights and inputs of the golden values: noise that follows from an entry's published name.

The rule is section 8 of DifferSeg's specification: every entry is filled from a generator seeded
with the CRC-32 of its published name, so two implementations with different names inside agree.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn


def fill(model: nn.Module, published_name: Callable[[str], str | None]) -> None:
    """Overwrite every entry of the state dict by its rule, in float32."""
    with torch.no_grad():
        for key, value in model.state_dict().items():
            name = published_name(key)
            assert name is not None, key
            value.copy_(torch.from_numpy(_noise(name, tuple(value.shape))))


def _noise(name: str, shape: tuple[int, ...]) -> np.ndarray:
    generator = np.random.RandomState(zlib.crc32(name.encode()))
    unit = generator.random_sample(shape)
    sign = 2 * unit - 1
    if name.endswith("num_batches_tracked"):
        values = np.zeros(shape)
    elif name.endswith("running_var"):
        values = 1 + 0.5 * unit
    elif name.endswith("running_mean") or "pos_embed" in name:
        values = 0.1 * sign
    elif len(shape) <= 1:
        values = 1 + 0.1 * sign if name.endswith("weight") else 0.1 * sign
    else:
        gain = np.sqrt(3 * shape[0] / np.prod(shape)) * (0.25 if len(shape) == 2 else 1)
        values = sign * gain
    return np.asarray(values, dtype=np.float32)


def noise_image(seed: int, channels: int, size_hw: tuple[int, int]) -> Tensor:
    """Return standard normal noise (1, channels, H, W), float32."""
    values = np.random.RandomState(seed).standard_normal((1, channels, *size_hw))
    return torch.from_numpy(values.astype(np.float32))


def mean_and_std(values: Tensor) -> tuple[float, float]:
    """Return mean and population standard deviation, accumulated in float64."""
    exact = values.double()
    return exact.mean().item(), exact.std(unbiased=False).item()
