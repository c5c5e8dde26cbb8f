"""Every operator alone, and small networks around them: what exports and parsers are tried on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from differseg.ops.fourier import fft, irfft, irfft2, rfft, rfft2
from differseg.ops.gaussian import gaussian_highpass, gaussian_lowpass
from differseg.ops.reassembly import reassemble
from differseg.ops.saliency import (
    invert_displacement,
    normalized_saliency,
    saliency_displacement,
)
from differseg.ops.sampling import (
    displacement_to_positions,
    identity_offsets,
    sample_offsets,
    warp,
)
from differseg.ops.similarity import local_similarity
from differseg.ops.wavelet import dwt2, idwt2

Inputs = dict[str, Tensor]


class Apply(nn.Module):
    """A function of tensors as a module."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(*inputs)


@dataclass(frozen=True)
class Case:
    """A module to export, and the shapes and types of its inputs.

    Attributes:
        make: Builds the module, in float32.
        shapes: Input name to shape.
        float32: Inputs that stay float32 in a float16 graph.
    """

    make: Callable[[], nn.Module]
    shapes: dict[str, tuple[int, ...]]
    float32: tuple[str, ...] = ()

    def module(self, dtype: torch.dtype) -> nn.Module:
        torch.manual_seed(7)
        return self.make().to(dtype).eval()

    def inputs(self, dtype: torch.dtype, *, mean: float = 0.0) -> Inputs:
        return {
            name: (torch.randn(shape) + mean).to(torch.float32 if name in self.float32 else dtype)
            for name, shape in self.shapes.items()
        }


def _alone(
    function: Callable[..., Tensor], float32: tuple[str, ...] = (), **shapes: tuple[int, ...]
) -> Case:
    return Case(lambda: Apply(function), shapes, float32)


SINGLE: dict[str, Case] = {
    "rfft2": _alone(rfft2, x=(1, 4, 24, 30)),
    "irfft2": _alone(irfft2, spectrum=(1, 4, 2, 24, 16)),
    "rfft": _alone(lambda x: rfft(x, -2), x=(1, 4, 24, 30)),
    "irfft": _alone(lambda x: irfft(x, -1, length=29), spectrum=(1, 4, 2, 24, 15)),
    "fft": _alone(lambda x: fft(x, -1, inverse=True), spectrum=(1, 4, 2, 24, 30)),
    "dwt2": _alone(lambda x: dwt2(x, "db2", "symmetric"), x=(1, 4, 24, 31)),
    "idwt2": _alone(lambda x: idwt2(x, "db2", "periodization"), bands=(1, 4, 4, 12, 16)),
    "gaussian": _alone(lambda x: gaussian_lowpass(x, 1.5), x=(1, 4, 24, 30)),
    "reassemble": _alone(
        lambda x, k: reassemble(x, k, kernel_size=5, scale=2, normalize="softmax"),
        x=(1, 8, 12, 15), kernels=(1, 25, 24, 30),
    ),
    "local_similarity": _alone(local_similarity, x=(1, 8, 24, 30)),
    "sample_offsets": _alone(
        lambda x, o: sample_offsets(x, o, groups=2), x=(1, 8, 12, 15), offsets=(1, 16, 12, 15)
    ),
    "saliency_displacement": _alone(
        lambda s: saliency_displacement(normalized_saliency(s)), saliency=(1, 1, 24, 30)
    ),
    "invert_displacement": _alone(invert_displacement, displacement=(1, 2, 24, 30)),
    "warp": _alone(warp, ("positions",), x=(1, 4, 24, 30), positions=(1, 2, 20, 25)),
}  # fmt: skip
"""Each operator between the graph's inputs and its output."""


class SpectralGate(nn.Module):
    """Weigh the bins of a feature map's spectrum (after GFNet, arXiv 2107.00645)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.gate = nn.Parameter(torch.randn(8, 1, 24, 16))
        self.head = nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        spectrum = rfft2(torch.relu(self.stem(x)))  # (N, 8, 2, H, W/2+1)
        return self.head(irfft2(spectrum * self.gate, width=x.shape[-1]))


class WaveletMixer(nn.Module):
    """Mix the bands of a wavelet transform by a 1x1 convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.mix = nn.Conv2d(32, 32, 1)

    def forward(self, x: Tensor) -> Tensor:
        bands = dwt2(torch.relu(self.stem(x)), "bior2.2")  # (N, 8, 4, h, w)
        mixed = self.mix(bands.flatten(1, 2)).unflatten(1, (8, 4))
        return idwt2(mixed, "bior2.2", size_hw=(x.shape[2], x.shape[3]))


class FrequencyFusion(nn.Module):
    """Fuse two levels by low-pass and high-pass kernels (after FreqFusion, arXiv 2408.12879)."""

    def __init__(self) -> None:
        super().__init__()
        self.fine, self.coarse = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(3, 8, 3, 2, 1)
        self.low, self.high = nn.Conv2d(8, 25, 3, padding=1), nn.Conv2d(8, 9, 3, padding=1)
        self.offset = nn.Conv2d(8, 16, 3, padding=1)
        self.register_buffer("own", identity_offsets(groups=2, scale=2))

    def forward(self, x: Tensor) -> Tensor:
        fine, coarse = self.fine(x), self.coarse(x)
        blurred = reassemble(fine, self.high(fine), kernel_size=3, normalize="hamming")
        up = reassemble(coarse, self.low(fine), kernel_size=5, scale=2, normalize="softmax")
        offsets = self.offset(local_similarity(coarse)) + self.own
        moved = sample_offsets(coarse, offsets, scale=2, groups=2)
        return torch.cat([2 * fine - blurred, up, moved], dim=1)


class SaliencyWarp(nn.Module):
    """Sample salient places densely and undo it (after SFM, arXiv 2507.11893)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.saliency = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 1, 1)
        self.body = nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        features = gaussian_highpass(self.stem(x), 1.0)
        moves = saliency_displacement(normalized_saliency(self.saliency(features)))
        warped = self.body(warp(features, displacement_to_positions(moves)))
        return warp(warped, displacement_to_positions(invert_displacement(moves, iterations=4)))


class LineSpectra(nn.Module):
    """Transform along one axis at a time, with a gate between the complex passes."""

    def forward(self, x: Tensor) -> Tensor:
        lines = rfft(x, -1)  # (N, C, 2, H, W/2+1)
        both = fft(lines, -2)
        return irfft(fft(both * 0.5, -2, inverse=True), -1, length=x.shape[-1])


_IMAGE: dict[str, tuple[int, ...]] = {"x": (1, 3, 24, 30)}
SMALL: dict[str, Case] = {
    network.__name__: Case(network, _IMAGE)
    for network in (SpectralGate, WaveletMixer, FrequencyFusion, SaliencyWarp, LineSpectra)
}
"""Small networks, between which every operator occurs."""
