"""Batch normalisation in training: whether its statistics learn, and taking back a bad batch.

Statistics that are estimated anew from a few images fit those images alone.  Trained weights then
lose most of what they found before a single weight has moved, so a run from ``--init`` keeps them;
gain and bias of the normalisation learn either way.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from differseg.manifest import Decision


def choose_freeze_norm(asked: bool | None, from_trained_weights: bool) -> Decision:
    """Resolve ``--freeze-norm`` to ``on`` or ``off``.

    Args:
        asked: What the user said; None where nothing was said.
        from_trained_weights: Whether the run starts from a checkpoint.
    """
    if asked is not None:
        return Decision("freeze_norm", "on" if asked else "off", "asked for")
    if from_trained_weights:
        reason = "--init was given, and the images of a fine-tuning estimate worse statistics"
        return Decision("freeze_norm", "on", reason)
    return Decision("freeze_norm", "off", "fresh weights have no statistics yet")


def set_training_mode(model: nn.Module, freeze_norm: bool) -> None:
    """Put a network into training mode, its batch normalisations into eval mode where frozen."""
    model.train()
    if freeze_norm:
        for part in _batch_norms(model):
            part.eval()


class BatchStatistics:
    """The running statistics of a network, kept so that a bad batch can be taken back.

    Args:
        model: The network.
    """

    def __init__(self, model: nn.Module) -> None:
        self._buffers = [b for part in _batch_norms(model) for b in part.buffers()]
        self._kept: list[Tensor] = []

    def keep(self) -> None:
        """Remember the present statistics."""
        if not self._kept:
            self._kept = [buffer.detach().clone() for buffer in self._buffers]
        else:
            self._copy(self._buffers, self._kept)

    def take_back(self) -> None:
        """Put the statistics of the last :meth:`keep` back."""
        self._copy(self._kept, self._buffers)

    @staticmethod
    @torch.no_grad()
    def _copy(source: list[Tensor], target: list[Tensor]) -> None:
        for a, b in zip(source, target, strict=True):
            b.copy_(a)


def _batch_norms(model: nn.Module) -> list[_BatchNorm]:
    return [part for part in model.modules() if isinstance(part, _BatchNorm)]
