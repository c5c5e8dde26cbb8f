"""Bottleneck adapters in front of a frozen transformer block (DifferSeg, section 3.2 of its spec).

An adapter maps tokens, channels last, to a correction of the same shape; the block that follows is
applied to ``tokens + adapter(tokens)``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

HIDDEN = 32


def kept_bins(channels: int) -> int:
    """Return how many of the ``channels // 2 + 1`` one-sided frequency bins count as low."""
    return (channels // 2 + 1) // 2


def low_pass_channels(tokens: Tensor) -> Tensor:
    """Keep the lower half of the frequencies along the channel axis.

    Convention:
        One-sided real FFT over the last axis, unnormalised forward, 1/C inverse; bin 0 is the
        mean; the lowest ``kept_bins(C)`` bins pass unchanged and the others become zero.

    Args:
        tokens: (..., C) float; half precision is computed in float32, which the FFT needs.

    Returns:
        (..., C), dtype of ``tokens``.
    """
    channels = tokens.shape[-1]
    exact = tokens.float() if tokens.dtype in (torch.float16, torch.bfloat16) else tokens
    spectrum = torch.fft.rfft(exact, dim=-1)  # (..., C/2 + 1) complex
    passed = torch.arange(spectrum.shape[-1], device=tokens.device) < kept_bins(channels)
    return torch.fft.irfft(spectrum * passed, n=channels, dim=-1).to(tokens.dtype)  # (..., C)


def low_pass_matrix(channels: int) -> Tensor:
    """Return the matrix P with ``P @ x == low_pass_channels(x)``.

    The ideal low-pass is linear and shift-invariant along a periodic axis, so it is a circulant
    matrix: P[i, j] = (1 + 2 * sum over k = 1 .. K-1 of cos(2 pi k (i - j) / C)) / C, with
    K = ``kept_bins(C)``.  It is symmetric and idempotent.

    Returns:
        (C, C) float64.
    """
    distance = torch.arange(channels)
    frequency = torch.arange(1, kept_bins(channels))
    # k * |i - j| is taken modulo C first: cosines of small angles keep all their digits.
    turns = torch.remainder(frequency[:, None] * distance, channels).double() / channels
    row = (1 + 2 * torch.cos(2 * torch.pi * turns).sum(0)) / channels  # (C,)
    return row[(distance[:, None] - distance).abs()]  # (C, C)


class Bottleneck(nn.Module):
    """Linear ``channels`` -> 32, GELU, linear 32 -> ``out_channels``."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.reduce = nn.Linear(channels, HIDDEN)
        self.act = nn.GELU()
        self.expand = nn.Linear(HIDDEN, out_channels)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (..., channels) to (..., out_channels)."""
        return self.expand(self.act(self.reduce(tokens)))


class LinearAdapter(Bottleneck):
    """Plain adapter: a bottleneck with one more GELU at its end."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the correction for ``tokens``, (..., C) -> (..., C)."""
        return self.act(super().forward(tokens))


class ChannelFrequencyAdapter(nn.Module):
    """Adapter that treats low and high frequencies of the channel axis apart.

    The low part of the tokens drives one bottleneck and a gate, the rest a second bottleneck; the
    gate, one value a token, mixes the two corrections.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.low = Bottleneck(channels, channels)
        self.high = Bottleneck(channels, channels)
        self.gate = Bottleneck(channels, 1)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the correction for ``tokens``, (..., C) -> (..., C)."""
        low = low_pass_channels(tokens)  # (..., C)
        gate = torch.sigmoid(self.gate(low))  # (..., 1)
        return gate * self.low(low) + (1 - gate) * self.high(tokens - low)

    def for_export(self, size_hw: tuple[int, int]) -> FoldedFrequencyAdapter:
        """Fold the channel FFT into one linear layer, which every engine has."""
        return FoldedFrequencyAdapter(self)


class FoldedFrequencyAdapter(nn.Module):
    """A :class:`ChannelFrequencyAdapter` whose filter is folded into its first linear layers.

    The low-pass is a constant matrix P, so the three reductions of P x, (I - P) x and P x are one
    linear layer with the rows [low P; high (I - P); gate P] and the biases unchanged.  Products
    are formed in float64; the result has the dtype of the source.
    """

    def __init__(self, source: ChannelFrequencyAdapter) -> None:
        super().__init__()
        low, high, gate = source.low.reduce, source.high.reduce, source.gate.reduce
        keep = low_pass_matrix(low.in_features).to(low.weight.device)
        reject = torch.eye(len(keep), dtype=keep.dtype, device=keep.device) - keep
        parts = ((low, keep), (high, reject), (gate, keep))
        self.reduce = nn.Linear(low.in_features, 3 * HIDDEN, device="meta")
        with torch.no_grad():
            weight = torch.cat([layer.weight.double() @ matrix for layer, matrix in parts])
            bias = torch.cat([layer.bias for layer, _ in parts])
        self.reduce.weight = nn.Parameter(weight.to(low.weight.dtype), requires_grad=False)
        self.reduce.bias = nn.Parameter(bias, requires_grad=False)
        self.act = nn.GELU()
        self.expand_low = source.low.expand
        self.expand_high = source.high.expand
        self.expand_gate = source.gate.expand

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the correction for ``tokens``, (..., C) -> (..., C)."""
        low, high, gate = self.act(self.reduce(tokens)).chunk(3, dim=-1)  # 3 x (..., 32)
        share = torch.sigmoid(self.expand_gate(gate))  # (..., 1)
        return share * self.expand_low(low) + (1 - share) * self.expand_high(high)
