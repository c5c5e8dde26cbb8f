"""AdamW's parameter groups, and the learning rate as a pure function of the step."""

from __future__ import annotations

import math

import torch
from torch import nn

from differseg.errors import InputError

FINAL_LEARNING_RATE = 1e-7
"""Where the cosine ends; the value of the paper's code."""


def create_optimizer(
    model: nn.Module, learning_rate: float, weight_decay: float
) -> torch.optim.AdamW:
    """Return AdamW over the trainable parameters; frozen ones get no state.

    Norm weights, biases and other vectors and scalars do not decay: pulling them to zero does
    not make the network simpler, it only fights the normalisation.

    Raises:
        InputError: The network has no trainable parameter.
    """
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trainable:
        raise InputError("train: every parameter of the network is frozen, so nothing can learn")
    groups = [
        {"params": [p for p in trainable if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=learning_rate)


def learning_rate_at(step: int, total_steps: int, warmup_steps: int, peak: float) -> float:
    """Linear warm-up to ``peak``, then a cosine down to 1e-7 at the last step.

    Args:
        step: Optimiser step, counted from 0.
        total_steps: Steps of the whole run.
        warmup_steps: Steps until the peak; 0 starts at the peak.
        peak: Highest learning rate.
    """
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    share = (step - warmup_steps) / max(1, total_steps - 1 - warmup_steps)
    cosine = (1 + math.cos(math.pi * min(1.0, share))) / 2
    return FINAL_LEARNING_RATE + (peak - FINAL_LEARNING_RATE) * cosine
