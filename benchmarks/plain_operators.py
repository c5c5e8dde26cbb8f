"""The frequency operators as publications write them in PyTorch, for ``authors_export.py``.

Ordinary PyTorch calls without any of this package's forms: neighbourhoods are unfolded, kernels
are normalised step by step, and maps are sampled with ``grid_sample``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from differseg import ops
from differseg.ops.saliency import FULL_STEPS


def reassemble(
    x: Tensor,
    kernels: Tensor,
    *,
    kernel_size: int,
    scale: int = 1,
    dilation: int = 1,
    border: str = "zeros",
    normalize: str = "none",
) -> Tensor:
    """Unfold the map, repeat it to the size of the kernels, weigh and sum (CARAFE)."""
    batch, channels, height, width = x.shape
    taps = kernel_size**2
    if normalize != "none":
        kernels = kernels.softmax(1)
    if normalize == "hamming":
        window = np.outer(np.hamming(kernel_size), np.hamming(kernel_size)).reshape(1, -1, 1, 1)
        kernels = kernels * torch.from_numpy(window).to(kernels)
        kernels = kernels / kernels.sum(1, keepdim=True)
    reach = kernel_size // 2 * dilation
    mode = {"zeros": "constant", "edge": "replicate", "reflect": "reflect"}[border]
    patches = F.unfold(F.pad(x, (reach,) * 4, mode=mode), kernel_size, dilation=dilation)
    patches = patches.reshape(batch, channels * taps, height, width)
    if scale > 1:
        patches = F.interpolate(patches, scale_factor=scale, mode="nearest")
    patches = patches.reshape(batch, channels, taps, scale * height, scale * width)
    return (patches * kernels.unsqueeze(1)).sum(2)


def local_similarity(x: Tensor, kernel_size: int = 3, dilation: int = 2) -> Tensor:
    """Unfold the map and compare every neighbourhood with its centre."""
    batch, channels, height, width = x.shape
    taps, centre = kernel_size**2, kernel_size**2 // 2
    patches = F.unfold(x, kernel_size, padding=kernel_size // 2 * dilation, dilation=dilation)
    patches = patches.reshape(batch, channels, taps, height, width)
    cosines = F.cosine_similarity(patches[:, :, centre : centre + 1], patches, dim=1)
    return torch.cat((cosines[:, :centre], cosines[:, centre + 1 :]), dim=1)


def sample_offsets(x: Tensor, offsets: Tensor, *, scale: int = 2, groups: int = 1) -> Tensor:
    """Build a grid of positions and sample every group of channels."""
    batch, channels, height, width = x.shape
    split = offsets.reshape(batch, 2, groups, scale, scale, height, width)
    split = split.permute(0, 2, 3, 4, 5, 6, 1)  # (N, G, s, s, h, w, 2)
    columns, rows = torch.arange(width) + 0.5, torch.arange(height) + 0.5
    centres = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1)
    grid = 2 * (split + centres) / torch.tensor([width, height]) - 1
    grid = grid.permute(0, 1, 4, 2, 5, 3, 6)
    grid = grid.reshape(batch * groups, scale * height, scale * width, 2)
    blocks = x.reshape(batch * groups, channels // groups, height, width)
    sampled = F.grid_sample(blocks, grid, padding_mode="border", align_corners=False)
    return sampled.reshape(batch, channels, scale * height, scale * width)


def dwt2(x: Tensor, wavelet: str = "haar", mode: str = "zero") -> Tensor:
    """Filter rows and columns with strided convolutions, as pytorch_wavelets does (Haar only)."""
    assert wavelet == "haar"
    channels = x.shape[1]
    filters = torch.tensor([[1.0, 1.0], [1.0, -1.0]]) / 2**0.5
    rows = filters.reshape(2, 1, 2, 1).repeat(channels, 1, 1, 1)
    vertical = F.conv2d(x, rows, stride=(2, 1), groups=channels)
    columns = filters.reshape(2, 1, 1, 2).repeat(2 * channels, 1, 1, 1)
    both = F.conv2d(vertical, columns, stride=(1, 2), groups=2 * channels)
    bands = both.unflatten(1, (channels, 2, 2))  # (N, C, vertical, horizontal, h, w)
    order = (bands[:, :, 0, 0], bands[:, :, 1, 0], bands[:, :, 0, 1], bands[:, :, 1, 1])
    return torch.stack(order, 2)


def gaussian_lowpass(x: Tensor, sigma: float, kernel_size: int, border: str = "reflect") -> Tensor:
    """Convolve every channel with one square kernel."""
    assert border == "zeros"
    distance = torch.arange(kernel_size) - kernel_size // 2
    bell = torch.exp(-(distance**2) / (2 * sigma**2))
    kernel = bell[:, None] * bell / bell.sum() ** 2
    kernel = kernel.expand(x.shape[1], 1, -1, -1)
    return F.conv2d(x, kernel, padding=kernel_size // 2, groups=x.shape[1])


def saliency_displacement(saliency: Tensor, *, radius: int = 5, fwhm: float = 3.0) -> Tensor:
    """Three convolutions with Gaussian-weighted moments, and their quotients."""
    padded = F.pad(saliency, (radius,) * 4, mode="reflect")
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float32)
    bell = torch.exp(-4 * np.log(2) * offsets**2 / fwhm**2)
    kernel = bell[:, None] * bell
    moments = [kernel * offsets, kernel * offsets[:, None], kernel]
    x, y, mass = (F.conv2d(padded, moment[None, None]) for moment in moments)
    height, width = saliency.shape[2:]
    columns, rows = torch.ones(width), torch.ones(height, 1)
    columns[[0, -1]], rows[[0, -1]] = 0, 0
    return torch.cat((x / (mass + 1e-16) * columns, y / (mass + 1e-16) * rows), dim=1)


def warp(x: Tensor, positions: Tensor) -> Tensor:
    """Build a grid and sample."""
    grid = ops.positions_to_grid(positions, (x.shape[2], x.shape[3]))
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


def invert_displacement(displacement: Tensor, *, iterations: int = 10) -> Tensor:
    """Sample the displacement once for every step."""
    inverse = torch.zeros_like(displacement)
    for step in range(iterations):
        read = warp(displacement, ops.displacement_to_positions(inverse))
        share = 1 if step < FULL_STEPS else 0.5
        inverse = inverse - share * (inverse + read)
    return inverse


PLAIN: dict[str, Callable[..., Tensor]] = {
    "reassemble": reassemble,
    "local_similarity": local_similarity,
    "sample_offsets": sample_offsets,
    "dwt2": dwt2,
    "gaussian_lowpass": gaussian_lowpass,
    "saliency_displacement": saliency_displacement,
    "warp": warp,
    "invert_displacement": invert_displacement,
}
"""Operator of :mod:`differseg.ops` to what publications write for it."""


@contextlib.contextmanager
def plain_operators() -> Iterator[None]:
    """Let networks that call ``ops.reassemble`` and so on call these functions for a while."""
    ours = {name: getattr(ops, name) for name in PLAIN}
    try:
        for name, function in PLAIN.items():
            setattr(ops, name, function)
        yield
    finally:
        for name, function in ours.items():
            setattr(ops, name, function)
