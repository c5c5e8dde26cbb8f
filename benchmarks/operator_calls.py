"""The operators at the size of a feature map, for ``benchmarks/operators.py``."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from differseg import ops

MAP = (1, 64, 96, 128)
_SPECTRUM = (1, 64, 2, 96, 65)


class Call(nn.Module):
    """A function of tensors as a module."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Call the function."""
        return self.function(x) if y is None else self.function(x, y)


CALLS: dict[str, tuple[Callable[..., Tensor], tuple[tuple[int, ...], ...]]] = {
    "rfft2": (ops.rfft2, (MAP,)),
    "irfft2": (ops.irfft2, (_SPECTRUM,)),
    "rfft": (ops.rfft, (MAP,)),
    "irfft": (ops.irfft, (_SPECTRUM,)),
    "fft": (lambda x: ops.fft(x, -2), (_SPECTRUM,)),
    "dwt2": (ops.dwt2, (MAP,)),
    "idwt2": (ops.idwt2, ((1, 64, 4, 48, 64),)),
    "gaussian": (lambda x: ops.gaussian_lowpass(x, 1.0), (MAP,)),
    "reassemble": (
        lambda x, y: ops.reassemble(x, y, kernel_size=5, scale=2),
        ((1, 64, 64, 64), (1, 25, 128, 128)),
    ),
    "local_similarity": (ops.local_similarity, (MAP,)),
    "sample_offsets": (
        lambda x, y: ops.sample_offsets(x, y, scale=2, groups=4),
        ((1, 64, 48, 64), (1, 32, 48, 64)),
    ),
    "saliency_displacement": (ops.saliency_displacement, ((1, 1, 96, 128),)),
    "invert_displacement": (ops.invert_displacement, ((1, 2, 96, 128),)),
    "warp": (ops.warp, (MAP, (1, 2, 96, 128))),
}
"""Operator to a call of it and the shapes of its operands."""


def arguments(name: str) -> dict[str, Tensor]:
    """Return operands ``x`` and perhaps ``y`` of a call, the same ones every time."""
    torch.manual_seed(0)
    return {key: torch.rand(*shape) for key, shape in zip("xy", CALLS[name][1], strict=False)}
