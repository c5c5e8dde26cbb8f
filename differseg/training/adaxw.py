"""AdaXW, the optimiser of FSANet's authors: Adam whose second mean favours early gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.optim.optimizer import ParamsT


class AdaXW(torch.optim.Optimizer):
    """Adam with a second moment that forgets nothing, and decoupled weight decay.

    The authors write, at step t, ``m = b1 m + (1 - b1) g``, ``v = (1 + b2) v + b2 g^2``,
    ``p -= lr wd p`` and ``p -= lr sqrt((1 + b2)^t - 1) m / (sqrt(v) + eps)``.  Here the mean
    ``u = v / ((1 + b2)^t - 1)`` is kept in place of ``v``, which grows without bound: the steps
    are the same up to rounding.

    Args:
        params: Parameters or groups of them.
        lr: Learning rate.
        betas: ``b1`` and ``b2``.
        eps: What keeps the division finite.
        weight_decay: ``wd``.

    Source: the training code of FSANet.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 1e-4),
        eps: float = 1e-12,
        weight_decay: float = 1e-4,
    ) -> None:
        defaults = {"lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step; returns what ``closure`` does."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            self._step(group, (p for p in group["params"] if p.grad is not None))
        return loss

    def _step(self, group: dict[str, Any], parameters: Iterable[torch.Tensor]) -> None:
        rate, (first, second) = group["lr"], group["betas"]
        for parameter in parameters:
            state, gradient = self.state[parameter], parameter.grad
            assert gradient is not None
            if not state:
                state["step"] = torch.tensor(0.0)
                state["mean"] = torch.zeros_like(parameter)
                state["square"] = torch.zeros_like(parameter)
            state["step"] += 1
            # (1 + b2)^t - 1; at e^300 a new gradient has long had no share in the mean
            grown = math.expm1(min(300.0, state["step"].item() * math.log1p(second)))
            state["mean"].lerp_(gradient, 1 - first)
            state["square"].lerp_(gradient.square(), second / grown)
            parameter.mul_(1 - rate * group["weight_decay"])
            bound = state["square"].sqrt().add_(group["eps"] / math.sqrt(grown))
            parameter.addcdiv_(state["mean"], bound, value=-rate)
