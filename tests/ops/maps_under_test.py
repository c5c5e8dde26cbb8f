"""Inputs of the operator tests, and the error that is measured on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

EVEN_ODD_PRIME_POWER = [(48, 45), (37, 64), (45, 36), (64, 31), (32, 50)]
"""Heights and widths in which even, odd, prime and power-of-two extents meet, pixels."""

BATCHES_AND_LAYOUTS = [(1, "contiguous"), (3, "channels_last"), (3, "contiguous"), (1, "strided")]
"""Batch sizes, and how the map lies in memory; "strided" is every second pixel of a larger map."""

LIMITS = {torch.float32: 1e-5, torch.float16: 5e-3, torch.bfloat16: 4e-2, torch.float64: 1e-12}
"""Largest error of each dtype; bfloat16 has 8 bits, an eighth of float16's precision."""


def random_map(
    size_hw: tuple[int, int],
    *,
    batch: int = 2,
    channels: int = 5,
    mean: float = 10.0,
    dtype: torch.dtype = torch.float32,
    layout: str = "contiguous",
) -> Tensor:
    """Return noise of variance 1 around ``mean``, fresh each time; the seed is printed."""
    seed = torch.seed()
    print(f"torch.manual_seed({seed})")
    height, width = size_hw
    x = torch.randn(batch, channels, height, 2 * width).add(mean).to(dtype)[..., ::2]
    if layout == "channels_last":
        return x.contiguous(memory_format=torch.channels_last)
    return x.contiguous() if layout == "contiguous" else x


def real_map(sample_data: Path, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return a photograph ``(1, 3, H, W)``, 0 ... 1, of odd height and width."""
    import cv2

    path = sorted((sample_data / "mfnet" / "rgb").glob("*.png"))[0]
    image = cv2.imread(str(path))[:-1, :-1]  # (H, W, 3) uint8
    return torch.from_numpy(image).permute(2, 0, 1)[None].div(255).to(dtype)


def relative_error(y: Tensor | np.ndarray, reference: Tensor | np.ndarray) -> float:
    """Return ``max |y - reference| / max |reference|``; not a number where ``y`` is not one."""
    y, reference = torch.as_tensor(y), torch.as_tensor(reference)
    assert y.shape == reference.shape, f"{tuple(y.shape)}, expected {tuple(reference.shape)}"
    return float((y.double() - reference.double()).abs().max() / reference.double().abs().max())
