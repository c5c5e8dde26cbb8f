"""FreqFusion and its variants, written out in float64 from their description, one step a line.

Reassembly unfolds the map, similarities are dot products of shifted maps, and the sampler follows
the publication: offsets at the coarse size, in its pixels, from its pixels' centres.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from differseg.modules.freqfusion import FreqFusion, LocalSimilaritySampler

CHANNELS = 16, 24


def features(
    size_hw: tuple[int, int] = (6, 10), batch: int = 2, dtype: torch.dtype = torch.float64
) -> list[Tensor]:
    """A fine and a coarse level of noise."""
    generator = torch.Generator().manual_seed(1)
    height, width = size_hw
    shapes = (CHANNELS[0], 2 * height, 2 * width), (CHANNELS[1], height, width)
    return [torch.randn(batch, *shape, generator=generator, dtype=dtype) for shape in shapes]


def seeded(kind: type[FreqFusion] = FreqFusion, **options: Any) -> FreqFusion:
    """A float64 module whose weights all count."""
    torch.manual_seed(0)
    module = kind(*CHANNELS, compressed_channels=16, **options).double()
    with torch.no_grad():
        for name, value in module.named_parameters():
            value.normal_(std=0.3 if value.dim() > 1 else 0.5)
            if "norm" in name and name.endswith("weight"):
                value.add_(1)
    return module


def kernels(logits: Tensor, size: int, hamming: bool) -> Tensor:
    """Softmax over the taps, times a Hamming window, divided by the sum."""
    taps = logits.softmax(1)
    if hamming:
        window = np.outer(np.hamming(size), np.hamming(size)).reshape(1, -1, 1, 1)
        taps = taps * torch.from_numpy(window)
    return taps / taps.sum(1, keepdim=True)


def reassembled(x: Tensor, taps: Tensor, size: int, scale: int) -> Tensor:
    """Every output pixel's weighted sum of the pixels around its source."""
    n, c, h, w = x.shape
    patches = F.unfold(x, size, padding=size // 2).view(n, c * size**2, h, w)
    patches = patches.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    return (patches.view(n, c, size**2, scale * h, scale * w) * taps.unsqueeze(1)).sum(2)


def fused(module: FreqFusion, hr: Tensor, lr: Tensor, wavelet: bool = False) -> tuple:
    """Both outputs of ``module``, whose generators are called and nothing else of it.

    ``wavelet``: the fine level's generators read repeated Haar bands.
    """
    hamming = module.normalize == "hamming"

    def low(x: Tensor, logits: Tensor) -> Tensor:
        return reassembled(x, kernels(logits, 5, hamming), 5, 2)

    def high(x: Tensor, logits: Tensor) -> Tensor:
        return reassembled(x, kernels(logits, 3, hamming), 3, 1)

    h, c = module.hr_channel_compressor(hr), module.lr_channel_compressor(lr)
    if not wavelet:
        a_h = module.high_pass(h)
        h = 2 * h - high(h, a_h)
        b_h = module.low_pass(h)
    else:
        bands = haar(h)
        a_h = module.wavelet_high_pass(doubled(torch.stack(bands[1:], 2).flatten(1, 2)))
        b_h = module.low_pass(doubled(bands[0]))
        h = 2 * h - high(h, a_h)
    b = b_h + low(module.low_pass(c), b_h)
    a = a_h + low(module.high_pass(c), b)
    upsampled = low(lr, b)
    sharp = hr - high(hr, a)
    if module.hr_residual:
        sharp = hr + sharp
    if module.sampler is not None:
        upsampled = sampled(module.sampler, h, c, upsampled)
    return sharp, upsampled


def haar(x: Tensor) -> list[Tensor]:
    """Average, vertical change, horizontal change and both, of blocks (a b / c d)."""
    a, b = x[..., ::2, ::2], x[..., ::2, 1::2]
    c, d = x[..., 1::2, ::2], x[..., 1::2, 1::2]
    return [(a + b + c + d) / 2, (a + b - c - d) / 2, (a - b + c - d) / 2, (a - b - c + d) / 2]


def doubled(x: Tensor) -> Tensor:
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


def similarities(x: Tensor) -> Tensor:
    """Cosine with the 8 pixels two rows or columns away; zero where they lie outside."""
    height, width = x.shape[2:]
    padded = F.pad(x, (2, 2, 2, 2))
    found = []
    for i in range(3):
        for j in range(3):
            if (i, j) != (1, 1):
                other = padded[..., 2 * i : 2 * i + height, 2 * j : 2 * j + width]
                norms = x.norm(dim=1).clamp(min=1e-8) * other.norm(dim=1).clamp(min=1e-8)
                found.append((x * other).sum(1) / norms)
    return torch.stack(found, 1)


def sampled(sampler: LocalSimilaritySampler, h: Tensor, c: Tensor, x: Tensor) -> Tensor:
    h, c = sampler.norm_hr(h), sampler.norm_lr(c)
    h_sim, c_sim = similarities(h), similarities(c)
    if sampler.concatenate:
        h = h_sim = torch.cat([h, h_sim], 1)
        c = c_sim = torch.cat([c, c_sim], 1)
    groups, (height, width) = sampler.groups, c.shape[2:]
    offset = sampler.offset(c_sim) + F.pixel_unshuffle(sampler.hr_offset(h_sim), 2)
    scale = sampler.direct_scale(c) + F.pixel_unshuffle(sampler.hr_direct_scale(h), 2)
    quarter = torch.tensor([-0.25, 0.25], dtype=x.dtype)
    moved = (offset * scale.sigmoid()).view(-1, 2, groups, 2, 2, height, width)
    moved[:, 0] += quarter.view(1, 1, 1, 2, 1, 1)
    moved[:, 1] += quarter.view(1, 1, 2, 1, 1, 1)
    moved[:, 0] += torch.arange(width) + 0.5
    moved[:, 1] += (torch.arange(height) + 0.5).view(-1, 1)
    moved[:, 0] *= 2 / width
    moved[:, 1] *= 2 / height
    grid = (moved - 1).permute(0, 2, 5, 3, 6, 4, 1).reshape(-1, 2 * height, 2 * width, 2)
    blocks = x.reshape(x.shape[0] * groups, -1, *x.shape[2:])
    return F.grid_sample(blocks, grid, padding_mode="border", align_corners=False).view_as(x)
