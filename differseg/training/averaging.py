"""Exponential moving average of a network's weights: what is validated and shipped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """Running average of the trainable parameters and of the floating-point buffers.

    Frozen parameters never change and are not copied.  From a random start the average at first
    forgets faster, ``min(decay, (1 + updates) / (10 + updates))``, so that it does not remember
    that start; trained weights are worth remembering.

    Args:
        model: The network; its present values are the start of the average.
        decay: Share of the old average kept at each update, 0 <= decay < 1; 0 follows the
            network itself.
        trained_start: Whether the present values are trained weights.
    """

    def __init__(self, model: nn.Module, decay: float, trained_start: bool = False) -> None:
        self.decay, self.trained_start = decay, trained_start
        self.updates = 0
        self.values = {name: t.detach().clone() for name, t in _averaged(model).items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average towards the network's present weights."""
        decay = self.decay
        if not self.trained_start:
            decay = min(decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        for name, tensor in _averaged(model).items():
            self.values[name].lerp_(tensor, 1 - decay)

    @contextmanager
    def applied_to(self, model: nn.Module) -> Iterator[None]:
        """Lend the averaged weights to ``model`` inside the block; its own come back after."""
        current = _averaged(model)
        kept = {name: tensor.detach().clone() for name, tensor in current.items()}
        _copy(self.values, current)
        try:
            yield
        finally:
            _copy(kept, current)

    def state(self) -> dict[str, object]:
        """Return everything needed to go on, as tensors and plain values."""
        return {"updates": self.updates, "values": self.values}

    def restore(self, state: dict[str, object]) -> None:
        """Take up a state made by :meth:`state` of the same network."""
        assert isinstance(state["updates"], int)
        assert isinstance(state["values"], dict)
        self.updates = state["updates"]
        _copy(state["values"], self.values)


def _averaged(model: nn.Module) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    tensors.update({name: p for name, p in model.named_parameters() if p.requires_grad})
    tensors.update({name: b for name, b in model.named_buffers() if b.is_floating_point()})
    return tensors


@torch.no_grad()
def _copy(source: dict[str, Tensor], target: dict[str, Tensor]) -> None:
    for name, tensor in target.items():
        tensor.copy_(source[name])
