"""DWT-FF: FreqFusion whose kernels are generated from wavelet bands, with self-attention after it.

Source: the public project cv-finalword (``FreqFusion_DWT-FF.py``), a variant of FreqFusion
(arXiv 2408.12879); no paper.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from differseg import ops
from differseg.modules.freqfusion import FreqFusion

ATTENTION_DROPOUT = 0.1
EXPORT_QUERIES = 512
"""Pixels that attend at a time in an exported graph."""


class DWTFusion(FreqFusion):
    """FreqFusion with a Haar transform in front of the fine level's generators.

    The sharpening kernels come from the three detail bands and the upsampling kernels from the
    average band, each brought back to the fine size by repetition.  Both results then pass
    :class:`PixelSelfAttention`.

    Args:
        hr_channels: Width of the fine level.
        lr_channels: Width of the coarse level.
        compressed_channels: Width in which kernels and offsets are generated.
        attention: False leaves the self-attention out, whose cost grows with the square of the
            number of pixels; the public code always has it, and it has no weights.
        direction: See :class:`~differseg.modules.freqfusion.LocalSimilaritySampler`.
        **options: The other options of :class:`~differseg.modules.freqfusion.FreqFusion`.

    Shapes and errors as there.
    """

    def __init__(
        self,
        hr_channels: int,
        lr_channels: int,
        *,
        compressed_channels: int = 64,
        attention: bool = True,
        direction: str = "sim",
        highpass_kernel: int = 3,
        **options: bool | int,
    ) -> None:
        super().__init__(
            hr_channels,
            lr_channels,
            compressed_channels=compressed_channels,
            direction=direction,
            highpass_kernel=highpass_kernel,
            **options,  # type: ignore[arg-type]
        )
        # Xavier's distribution stays here, as in the public code.
        self.wavelet_high_pass = nn.Conv2d(
            3 * compressed_channels, highpass_kernel**2, 3, padding=1
        )
        nn.init.xavier_uniform_(self.wavelet_high_pass.weight)
        nn.init.zeros_(self.wavelet_high_pass.bias)  # type: ignore[arg-type]
        self.attention = PixelSelfAttention() if attention else None
        self.folded: nn.Conv2d | None = None  # the Haar branch, in the copy for export

    def forward(self, hr: Tensor, lr: Tensor) -> tuple[Tensor, Tensor]:
        """Return both levels at the fine one's size, see :class:`FreqFusion`."""
        hr, lr = super().forward(hr, lr)
        if self.attention is not None:
            hr, lr = self.attention(hr), self.attention(lr)
        return hr, lr

    def _fine_logits(self, fine: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        high, low = self._wavelet_logits(fine)
        return high, low, self._sharpened(fine, high)

    def _wavelet_logits(self, fine: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits of both kernels, (N, 9, H, W) and (N, 25, H, W)."""
        if self.folded is not None:
            logits = F.pixel_shuffle(self.folded(fine), 2)  # (N, 34, H, W)
            taps = self.highpass_kernel**2
            return logits[:, :taps], logits[:, taps:]
        bands = ops.dwt2(fine, "haar", "zero")  # (N, Cc, 4, H/2, W/2)
        average, details = bands[:, :, 0], bands[:, :, 1:].flatten(1, 2)  # details: 3c + band
        return self.wavelet_high_pass(_repeated(details)), self.low_pass(_repeated(average))

    def for_export(self, size_hw: tuple[int, int]) -> DWTFusion:
        """Fold transform, repetition and both generators into one convolution with stride 2."""
        assert isinstance(self.low_pass, nn.Conv2d)
        folded = copy.deepcopy(self)
        folded.folded = folded_generators(self.wavelet_high_pass, self.low_pass)
        return folded


class PixelSelfAttention(nn.Module):
    """Add to every pixel the mean of all pixels, weighted by their likeness to it.

    One head without projections: ``x + softmax(x^T x / sqrt(C)) x`` over all pixels.

    Args:
        queries: Pixels that look at the others at a time; None takes all at once.

    Shapes: ``(N, C, H, W)`` float to the same; the scores take ``queries * H * W`` numbers an
    image, ``(H * W)**2`` at once.
    """

    def __init__(self, *, queries: int | None = None) -> None:
        super().__init__()
        self.queries = queries
        self.dropout = nn.Dropout(ATTENTION_DROPOUT)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` to ``(N, C, H, W)``."""
        pixels = x.flatten(2)  # (N, C, P)
        scaled = pixels * x.shape[1] ** -0.25  # on both sides: products stay in range
        count = pixels.shape[2]
        step = self.queries or count
        mixed = []
        for start in range(0, count, step):
            asking = scaled[:, :, start : start + step].mT  # (N, Q, C)
            mixed.append((asking @ scaled).softmax(-1) @ pixels.mT)  # (N, Q, C)
        return x + self.dropout(torch.cat(mixed, dim=1).mT.unflatten(2, x.shape[2:]))

    def for_export(self, size_hw: tuple[int, int]) -> PixelSelfAttention:
        """Attend for a part of the pixels at a time: less memory, and scores that stay in cache."""
        return PixelSelfAttention(queries=EXPORT_QUERIES)


# Signs of the 2x2 block (a b / c d) in each Haar band; each coefficient is half such a sum.
Signs = tuple[tuple[tuple[int, int], tuple[int, int]], ...]
_AVERAGE: Signs = (((1, 1), (1, 1)),)
_DETAILS: Signs = (((1, 1), (-1, -1)), ((1, -1), (1, -1)), ((1, -1), (-1, 1)))


def folded_generators(details: nn.Conv2d, average: nn.Conv2d) -> nn.Conv2d:
    """Return the one convolution of the Haar branch, for inference.

    Haar transform, repetition and a 3x3 convolution are linear and repeat every two pixels: the
    four output pixels over one coefficient are four channels of a 6x6 convolution with stride 2
    over the fine level itself.

    Args:
        details: 3x3 convolution of the repeated detail bands, channel ``3 c + band``.
        average: 3x3 convolution of the repeated average band.

    Returns:
        A convolution with ``4 * (details' + average's outputs)`` channels, to be followed by
        ``torch.nn.functional.pixel_shuffle``.
    """
    generators = ((details, _DETAILS), (average, _AVERAGE))
    weight = torch.cat([folded_haar_weight(conv.weight, signs) for conv, signs in generators])
    bias = torch.cat([_bias(conv).repeat_interleave(4) for conv, _ in generators])
    folded = nn.Conv2d(weight.shape[1], weight.shape[0], 6, stride=2, padding=2)
    folded.to(details.weight)
    with torch.no_grad():
        folded.weight.copy_(weight)
        folded.bias.copy_(bias)  # type: ignore[union-attr]
    return folded


def folded_haar_weight(weight: Tensor, signs: Signs) -> Tensor:
    """Fold Haar bands, repetition by 2 and a 3x3 convolution into one 6x6 kernel with stride 2.

    Convention: output channel ``4 o + 2 p + q`` is the pixel in row p and column q of each 2x2
    block of channel o, the order of ``torch.nn.functional.pixel_shuffle``; padding 2.

    Args:
        weight: ``(O, C * B, 3, 3)``, input channel ``c * B + band``.
        signs: For each of the B bands how a block's 2x2 pixels enter it, before the factor 1/2.

    Returns:
        ``(4 * O, C, 6, 6)`` float64.
    """
    taps = weight.detach().double().unflatten(1, (-1, len(signs)))  # (O, C, B, 3, 3)
    # A pixel in row p of its block sees with tap t the coefficient (p + t - 1) // 2 rows away.
    away = taps.new_zeros(2, 3, 3)  # (pixel, tap, coefficient + 1)
    for pixel in range(2):
        for tap in range(3):
            away[pixel, tap, (pixel + tap - 1) // 2 + 1] = 1
    haar = taps.new_tensor(signs) / 2  # (B, 2, 2)
    kernel = torch.einsum(
        "ocbyx,pyh,qxw,bij->opqchiwj", taps, away, away, haar
    )  # (O, 2, 2, C, 3, 2, 3, 2)
    return kernel.reshape(4 * weight.shape[0], -1, 6, 6)


def _bias(conv: nn.Conv2d) -> Tensor:
    assert conv.bias is not None
    return conv.bias.detach()


def _repeated(x: Tensor) -> Tensor:
    """Repeat every pixel of (N, C, h, w) to a block of 2x2."""
    return F.interpolate(x, scale_factor=2, mode="nearest")
