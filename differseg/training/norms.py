"""Batch normalisation in training: whether its statistics learn, and taking back a bad batch.

Statistics that are estimated anew from a few images fit those images alone.  Trained weights then
lose most of what they found before a single weight has moved, so a run from ``--init`` keeps them;
gain and bias of the normalisation learn either way.  A layer that was never trained, beside trained
ones, has no statistics to keep and learns them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

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


def set_training_mode(model: nn.Module, frozen: Iterable[nn.Module]) -> None:
    """Put a network into training mode, but for the batch normalisations that are frozen."""
    model.train()
    for part in frozen:
        part.eval()


def norms_with_statistics(model: nn.Module) -> list[nn.Module]:
    """Return the batch normalisations whose statistics are not those of a fresh layer."""
    return [part for part in _batch_norms(model) if not _is_fresh(part)]


def norm_state(model: nn.Module, frozen: Sequence[nn.Module], choice: Decision) -> str:
    """Return what becomes of the statistics and why, for a reader."""
    if choice.value == "off":
        return f"learnt: {choice.reason}"
    every = len(_batch_norms(model))
    if len(frozen) == every:
        return f"kept as they are: {choice.reason}"
    if not frozen:
        return "learnt: those of --init were never estimated"
    return (
        f"kept as they are in {len(frozen)} of {every} layers: {choice.reason}; those of the "
        "others were never estimated and are learnt"
    )


def _is_fresh(part: _BatchNorm) -> bool:
    if part.running_mean is None or part.running_var is None:
        return True
    return not part.running_mean.any() and bool((part.running_var == 1).all())


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
