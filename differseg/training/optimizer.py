"""Optimisers over parameter groups, and the learning rate as a pure function of the step."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn

from differseg.errors import InputError
from differseg.training.adaxw import AdaXW
from differseg.training.learning import Group, Optimizer, Schedule, StepSettings

FINAL_LEARNING_RATE = 1e-7
"""Where the cosine ends; the value of the paper's code."""

_PLAIN = Group("*")
_SHOWN = 6


def create_optimizer(
    model: nn.Module,
    learning_rate: float,
    weight_decay: float,
    *,
    kind: Optimizer = "adamw",
    settings: StepSettings | None = None,
    groups: Sequence[Group] = (),
) -> torch.optim.Optimizer:
    """Return an optimiser over the trainable parameters; frozen ones get no state.

    Norm weights, biases and other vectors and scalars do not decay: pulling them to zero does
    not make the network simpler, it only fights the normalisation.

    Args:
        model: The network.
        learning_rate: Of the first step; :func:`set_learning_rate` sets the others.
        weight_decay: Of what has more than one dimension.
        kind: Which optimiser.
        settings: Its numbers; the defaults when None.
        groups: Parameters that learn in their own way.

    Raises:
        InputError: The network has no trainable parameter, or a group none of them.
    """
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not trainable:
        raise InputError("train: every parameter of the network is frozen, so nothing can learn")
    chosen = [*groups, _PLAIN]
    members: list[list[nn.Parameter]] = [[] for _ in chosen]
    for name, parameter in trainable.items():
        place = next(i for i, group in enumerate(chosen) if fnmatchcase(name, group.match))
        members[place].append(parameter)
    _require_members(chosen, members, trainable)
    parts: list[dict[str, Any]] = []
    for group, inside in zip(chosen, members, strict=True):
        decay = weight_decay if group.weight_decay is None else group.weight_decay
        for flat, own in ((False, decay), (True, 0.0)):
            found = [p for p in inside if (p.ndim <= 1) == flat]
            if found:
                part: dict[str, Any] = {"params": found, "weight_decay": own}
                parts.append(part if group.lr == 1 else {**part, "lr_factor": group.lr})
    optimizer = _create(kind, parts, learning_rate, settings or StepSettings())
    set_learning_rate(optimizer, learning_rate)
    return optimizer


def _require_members(
    groups: Sequence[Group], members: Sequence[list[nn.Parameter]], names: Iterable[str]
) -> None:
    for group, found in zip(groups, members, strict=True):
        if not found and group is not _PLAIN:
            parts = list(dict.fromkeys(name.partition(".")[0] for name in names))
            more = " ..." if len(parts) > _SHOWN else ""
            raise InputError(
                f"recipe: no trainable parameter is left for the group '{group.match}'; the "
                f"network has {', '.join(f'{part}.*' for part in parts[:_SHOWN])}{more}"
            )


def _create(
    kind: Optimizer, parts: list[dict[str, Any]], learning_rate: float, settings: StepSettings
) -> torch.optim.Optimizer:
    if kind == "sgd":
        return torch.optim.SGD(parts, lr=learning_rate, momentum=settings.momentum)
    asked: dict[str, Any] = {}
    if settings.betas is not None:
        asked["betas"] = settings.betas
    if settings.eps is not None:
        asked["eps"] = settings.eps
    if kind == "adaxw":
        return AdaXW(parts, lr=learning_rate, **asked)
    return torch.optim.AdamW(parts, lr=learning_rate, **asked)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group its rate: ``rate`` times the factor of the group."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("lr_factor", 1.0)


def learning_rate_at(
    step: int,
    total_steps: int,
    warmup_steps: int,
    peak: float,
    *,
    kind: Schedule = "cosine",
    settings: StepSettings | None = None,
    steps_per_epoch: int = 1,
) -> float:
    """Linear warm-up to ``peak``, then a fall.

    ``cosine`` falls to 1e-7 and ``poly`` to 0, both at the last step; ``exponential`` stays at the
    peak for some epochs and then halves at a steady pace.

    Args:
        step: Optimiser step, counted from 0.
        total_steps: Steps of the whole run.
        warmup_steps: Steps until the peak; 0 starts at the peak.
        peak: Highest learning rate.
        kind: How it falls.
        settings: Numbers of the fall; the defaults when None.
        steps_per_epoch: What an epoch of ``settings`` is.
    """
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    settings = settings or StepSettings()
    if kind == "exponential":
        epochs = (step - warmup_steps) / steps_per_epoch - settings.flat_epochs
        return peak * 0.5 ** (max(0.0, epochs) / settings.half_life_epochs)
    share = (step - warmup_steps) / max(1, total_steps - 1 - warmup_steps)
    if kind == "poly":
        return peak * (1 - min(1.0, share)) ** settings.poly_power
    cosine = (1 + math.cos(math.pi * min(1.0, share))) / 2
    return FINAL_LEARNING_RATE + (peak - FINAL_LEARNING_RATE) * cosine
