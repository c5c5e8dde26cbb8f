"""Light Hamburger: global context by a low-rank factorisation of the features.

Source: "Is Attention Better Than Matrix Decomposition?", arXiv 2109.04553, in the light form of
SegNeXt's decoder (arXiv 2209.08575).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from differseg.modules.conv import ConvGroupNorm

TRAIN_STEPS = 6
EVAL_STEPS = 7
"""Multiplicative updates of both factors, in training and in eval mode."""
BASIS_SEED = 0
_SMALLEST_DIVISOR = 1e-6


class NonnegativeFactorization(nn.Module):
    """Replace features by their non-negative approximation of rank ``rank``.

    Features ``X`` (channels, pixels) become ``B C`` with a basis ``B`` (channels, rank) and
    coefficients ``C`` (rank, pixels), found by multiplicative updates (Lee and Seung, 2001) that
    start from a random basis and ``C = softmax(B^T X)`` over the rank.

    In training the start is drawn anew in every forward pass.  In eval mode it is ``basis``, drawn
    once from a fixed seed: the same image gives the same result, and an exported graph holds a
    constant instead of a random generator.  SegNeXt's code draws it anew in eval mode too.

    Args:
        channels: Width of the features.
        rank: Columns of the basis.

    Attributes:
        basis: ``(channels, rank)`` float32, columns of norm 1, >= 0; not in the state dict, since
            it is the same for all weights.  Overwrite it to start from another one.

    Shapes: ``(N, channels, H, W)`` float, >= 0, to the same.
    """

    basis: Tensor

    def __init__(self, channels: int, rank: int = 16) -> None:
        super().__init__()
        # NumPy's RandomState: its numbers are promised to stay the same in every release.
        drawn = np.random.RandomState(BASIS_SEED).random_sample((channels, rank))
        unit = drawn / np.linalg.norm(drawn, axis=0)
        self.register_buffer("basis", torch.tensor(unit, dtype=torch.float32), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Approximate ``(N, C, H, W)``, >= 0."""
        pixels = x.flatten(2)  # (N, C, P)
        basis = self._start(pixels)  # (1 or N, C, R)
        coefficients = (basis.mT @ pixels).softmax(1)  # (N, R, P)
        for _ in range(TRAIN_STEPS if self.training else EVAL_STEPS):
            coefficients = _updated_coefficients(pixels, basis, coefficients)
            basis = _updated_basis(pixels, basis, coefficients)
        coefficients = _updated_coefficients(pixels, basis, coefficients)
        return (basis @ coefficients).unflatten(2, x.shape[2:])  # (N, C, H, W)

    def _start(self, pixels: Tensor) -> Tensor:
        if not self.training:
            return self.basis.to(pixels.dtype).unsqueeze(0)
        shape = (pixels.shape[0], *self.basis.shape)
        drawn = torch.rand(shape, device=pixels.device, dtype=pixels.dtype)
        return F.normalize(drawn, dim=1)


def _updated_coefficients(pixels: Tensor, basis: Tensor, coefficients: Tensor) -> Tensor:
    """Return better coefficients (N, R, P) for this basis (N, C, R)."""
    attraction = basis.mT @ pixels  # (N, R, P)
    current = (basis.mT @ basis) @ coefficients  # (N, R, P)
    return coefficients * attraction / (current + _SMALLEST_DIVISOR)


def _updated_basis(pixels: Tensor, basis: Tensor, coefficients: Tensor) -> Tensor:
    """Return a better basis (N, C, R) for these coefficients (N, R, P)."""
    attraction = pixels @ coefficients.mT  # (N, C, R)
    current = basis @ (coefficients @ coefficients.mT)  # (N, C, R)
    return basis * attraction / (current + _SMALLEST_DIVISOR)


class Hamburger(nn.Module):
    """A factorisation between two 1x1 convolutions, around a shortcut.

    Args:
        channels: Width of input and output; a multiple of ``norm_groups``.
        rank: Rank of the factorisation.
        norm_groups: Groups of the group normalisation.

    Shapes: ``(N, channels, H, W)`` float to the same, >= 0.
    """

    def __init__(self, channels: int, *, rank: int = 16, norm_groups: int = 32) -> None:
        super().__init__()
        self.ham_in = nn.Conv2d(channels, channels, 1)
        self.ham = NonnegativeFactorization(channels, rank)
        self.ham_out = ConvGroupNorm(channels, channels, norm_groups)
        nn.init.kaiming_normal_(self.ham_in.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.ham_in.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` to ``(N, C, H, W)``."""
        context = self.ham(F.relu(self.ham_in(x)))  # (N, C, H, W)
        return F.relu(x + self.ham_out(context))
