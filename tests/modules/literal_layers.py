"""Layers spelled out from state-dict entries: an oracle that shares no code with the modules."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def randomise(module: nn.Module, seed: int = 0) -> dict[str, Tensor]:
    """Fill weights and batch statistics with noise, switch to float64 and eval mode."""
    generator = torch.Generator().manual_seed(seed)
    module.double().eval()
    for name, value in module.state_dict().items():
        if value.is_floating_point():
            noise = torch.randn(value.shape, generator=generator, dtype=torch.float64)
            positive = name.endswith("running_var")
            value.copy_(noise.abs() + 0.5 if positive else 0.3 * noise)
    return module.state_dict()


def conv(state: dict[str, Tensor], key: str, x: Tensor, **settings: int) -> Tensor:
    """Convolve with the entries ``key.weight`` and ``key.bias`` (when there is one)."""
    return F.conv2d(x, state[f"{key}.weight"], state.get(f"{key}.bias"), **settings)


def norm(state: dict[str, Tensor], key: str, x: Tensor) -> Tensor:
    """Batch normalisation in eval mode, by its formula."""
    mean, var, weight, bias = (
        state[f"{key}.{part}"].view(1, -1, 1, 1)
        for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / torch.sqrt(var + 1e-5) * weight + bias


def noise(*shape: int, seed: int = 1) -> Tensor:
    """Seeded standard normal values, float64."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)
