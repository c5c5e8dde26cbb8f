"""Small networks that call torch.fft and complex arithmetic themselves.

Each follows a published idea and is written for these tests, from the idea alone.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LAST_TWO = (-2, -1)


class SpectralConv(nn.Module):
    """Fast Fourier convolution's spectral transform: real and imaginary parts as channels."""

    def __init__(self, channels: int = 4, *, joined: bool = False) -> None:
        super().__init__()
        self.joined = joined
        self.conv = nn.Conv2d(2 * channels, 2 * channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(2 * channels)

    def forward(self, x: Tensor) -> Tensor:
        spectrum = torch.fft.rfftn(x, dim=LAST_TWO, norm="ortho")
        if self.joined:
            parts = torch.cat((spectrum.real, spectrum.imag), dim=1)
            parts = F.relu(self.norm(self.conv(parts)))
            real, imaginary = torch.chunk(parts, 2, dim=1)
        else:
            stacked = torch.stack((spectrum.real, spectrum.imag), dim=-1)
            stacked = stacked.permute(0, 1, 4, 2, 3).contiguous()
            parts = stacked.view(x.shape[0], -1, *spectrum.shape[2:])
            parts = F.relu(self.norm(self.conv(parts)))
            pairs = parts.view(x.shape[0], -1, 2, *spectrum.shape[2:]).permute(0, 1, 3, 4, 2)
            real, imaginary = pairs.contiguous()[..., 0], pairs.contiguous()[..., 1]
        return torch.fft.irfftn(torch.complex(real, imaginary), s=x.shape[-2:], norm="ortho")


class GlobalFilter(nn.Module):
    """GFNet: tokens of a channels-last map, filtered by a learned spectrum."""

    def __init__(self, dim: int = 6, height: int = 8, width: int = 10) -> None:
        super().__init__()
        self.complex_weight = nn.Parameter(torch.randn(height, width // 2 + 1, dim, 2) * 0.5)
        self.height, self.width = height, width

    def forward(self, tokens: Tensor) -> Tensor:
        batch, count, dim = tokens.shape
        x = tokens.view(batch, self.height, self.width, dim).to(torch.float32)
        x = torch.fft.rfft2(x, dim=(1, 2), norm="ortho")
        x = x * torch.view_as_complex(self.complex_weight)
        x = torch.fft.irfft2(x, s=(self.height, self.width), dim=(1, 2), norm="ortho")
        return x.reshape(batch, count, dim)


class FourierLayer(nn.Module):
    """Fourier neural operator: the lowest modes are mixed by complex weights, the rest are zero."""

    def __init__(self, channels: int = 3, out_channels: int = 5, modes: int = 3) -> None:
        super().__init__()
        self.modes, self.out_channels = modes, out_channels
        shape = (channels, out_channels, modes, modes)
        self.weights1 = nn.Parameter(torch.randn(shape, dtype=torch.cfloat))
        self.weights2 = nn.Parameter(torch.randn(shape, dtype=torch.cfloat))
        self.skip = nn.Conv2d(channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        m = self.modes
        spectrum = torch.fft.rfft2(x)
        out = torch.zeros(
            x.shape[0],
            self.out_channels,
            x.size(-2),
            x.size(-1) // 2 + 1,
            dtype=torch.cfloat,
            device=x.device,
        )
        mix = "bixy,ioxy->boxy"
        out[:, :, :m, :m] = torch.einsum(mix, spectrum[:, :, :m, :m], self.weights1)
        out[:, :, -m:, :m] = torch.einsum(mix, spectrum[:, :, -m:, :m], self.weights2)
        return torch.fft.irfft2(out, s=(x.size(-2), x.size(-1))) + self.skip(x)


class TokenMixing(nn.Module):
    """FNet: transform over the hidden axis, then over the sequence, and keep the real part."""

    def __init__(self, dim: int = 8) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.norm(tokens + torch.fft.fft(torch.fft.fft(tokens, dim=-1), dim=-2).real)


class AmplitudeExchange(nn.Module):
    """The amplitude of one picture with the phase of the other, from one-sided spectra."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        first, second = torch.fft.rfft2(x, norm="ortho"), torch.fft.rfft2(y, norm="ortho")
        amplitude, phase = torch.abs(first), torch.angle(second)
        real, imaginary = amplitude * torch.cos(phase), amplitude * torch.sin(phase)
        mixed = torch.complex(real, imaginary)
        return torch.fft.irfft2(mixed, s=x.shape[-2:], norm="ortho")


class TwoSidedExchange(nn.Module):
    """The same from two-sided spectra, in the three ways in which it is written."""

    def forward(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        first, second = torch.fft.fft2(x), torch.fft.fft2(y)
        phase = torch.atan2(second.imag, second.real)
        mixed = {
            "polar": torch.polar(first.abs(), second.angle()),
            "exp": first.abs() * torch.exp(1j * second.angle()),
            "atan2": first.abs() * torch.exp(1j * phase),
        }
        return {form: torch.fft.ifft2(spectrum).real for form, spectrum in mixed.items()}


class AmplitudePhaseConvs(nn.Module):
    """Amplitude and phase go through convolutions of their own and come together again."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.amplitude = nn.Conv2d(channels, channels, 1)
        self.phase = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        spectrum = torch.fft.rfft2(x + 0.2, norm="backward")
        amplitude = F.leaky_relu(self.amplitude(torch.abs(spectrum)), 0.1)
        phase = F.leaky_relu(self.phase(torch.angle(spectrum)), 0.1)
        real, imaginary = amplitude * torch.cos(phase), amplitude * torch.sin(phase)
        mixed = torch.complex(real, imaginary) + 1e-8
        return torch.abs(torch.fft.irfft2(mixed, s=x.shape[-2:], norm="backward"))


class AdaptiveFilter(nn.Module):
    """AFF-Net: a convolution of the spectrum's parts makes a mask for the spectrum itself."""

    def __init__(self, channels: int = 4) -> None:
        super().__init__()
        self.mask = nn.Sequential(
            nn.Conv2d(2 * channels, channels, 1),
            nn.ReLU(),
            nn.Conv2d(channels, 2 * channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        spectrum = torch.fft.rfft2(x, norm="ortho")
        weight = self.mask(torch.cat([spectrum.real, spectrum.imag], dim=1))
        real, imaginary = torch.chunk(weight, 2, dim=1)
        filtered = spectrum * torch.view_as_complex(torch.stack([real, imaginary], dim=-1))
        return torch.fft.irfft2(filtered, s=x.shape[-2:], norm="ortho") + x


class BlockMlp(nn.Module):
    """AFNO: a block-diagonal complex network on every frequency, with soft shrinkage."""

    def __init__(self, dim: int = 8, blocks: int = 2) -> None:
        super().__init__()
        self.blocks, self.size = blocks, dim // blocks
        self.weight = nn.Parameter(torch.randn(2, blocks, self.size, self.size) * 0.3)
        self.bias = nn.Parameter(torch.randn(2, blocks, self.size) * 0.1)

    def forward(self, x: Tensor) -> Tensor:
        n, h, w, c = x.shape
        z = torch.fft.rfft2(x, dim=(1, 2), norm="ortho")
        z = z.reshape(n, h, w // 2 + 1, self.blocks, self.size)
        mix = "...bi,bio->...bo"
        real = torch.einsum(mix, z.real, self.weight[0]) - torch.einsum(mix, z.imag, self.weight[1])
        imag = torch.einsum(mix, z.imag, self.weight[0]) + torch.einsum(mix, z.real, self.weight[1])
        pair = torch.stack([F.relu(real + self.bias[0]), F.relu(imag + self.bias[1])], dim=-1)
        z = torch.view_as_complex(F.softshrink(pair, lambd=0.01)).reshape(n, h, w // 2 + 1, c)
        return torch.fft.irfft2(z, s=(h, w), dim=(1, 2), norm="ortho") + x


class HighPass(nn.Module):
    """FSANet's high-pass image: a disc of the shifted spectrum is cut out, not shifted back."""

    def __init__(self, radius: float = 3.0) -> None:
        super().__init__()
        self.radius = nn.Parameter(torch.tensor([radius]))

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        spectrum = torch.fft.fftn(x, dim=LAST_TWO)
        spectrum = torch.roll(spectrum, (height // 2, width // 2), dims=(2, 3))
        rows = torch.arange(height, device=x.device) - (height - 1) / 2
        columns = torch.arange(width, device=x.device) - (width - 1) / 2
        distance = torch.sqrt(rows[:, None] ** 2 + columns[None, :] ** 2)
        kept = torch.where(distance <= self.radius, torch.zeros_like(spectrum), spectrum)
        return torch.abs(torch.fft.ifftn(kept, dim=LAST_TWO)).mean(1, keepdim=True)


class ShiftedMasks(nn.Module):
    """Low and high frequencies by a square mask in the middle of the shifted spectrum."""

    def __init__(self, height: int = 12, width: int = 9, half: int = 2) -> None:
        super().__init__()
        mask = torch.zeros(height, width)
        rows, columns = height // 2, width // 2
        mask[rows - half : rows + half + 1, columns - half : columns + half + 1] = 1
        self.register_buffer("mask", mask)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        spectrum = torch.fft.fftshift(torch.fft.fft2(x), dim=LAST_TWO)
        low = torch.fft.ifft2(torch.fft.ifftshift(spectrum * self.mask, dim=LAST_TWO)).real
        high = torch.fft.ifftshift(spectrum * (1 - self.mask), dim=LAST_TWO)
        return low, torch.fft.ifft2(high).abs()


class ChannelLowPass(nn.Module):
    """DifferSeg's adapter: an ideal low-pass along the channels of a channels-last map."""

    def forward(self, x: Tensor) -> Tensor:
        spectrum = torch.fft.rfft(x, dim=-1)
        spectrum[..., spectrum.shape[-1] // 2 :] = 0
        return torch.fft.irfft(spectrum, n=x.shape[-1], dim=-1)


class LowFrequencySwap(nn.Module):
    """Fourier domain adaptation: the middle of one amplitude spectrum in place of the other's."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        first, second = torch.fft.fft2(x, dim=LAST_TWO), torch.fft.fft2(y, dim=LAST_TWO)
        amplitude, phase = first.abs(), first.angle()
        mixed = torch.fft.fftshift(amplitude, dim=LAST_TWO)
        other = torch.fft.fftshift(second.abs(), dim=LAST_TWO)
        row, column = x.shape[-2] // 2, x.shape[-1] // 2
        middle = (..., slice(row - 1, row + 2), slice(column - 1, column + 2))
        mixed[middle] = other[middle]
        mixed = torch.fft.ifftshift(mixed, dim=LAST_TWO)
        return torch.fft.ifft2(mixed * torch.exp(1j * phase), dim=LAST_TWO).real


class PhaseOnly(nn.Module):
    """A picture of nothing but its phase."""

    def forward(self, x: Tensor) -> Tensor:
        spectrum = torch.fft.rfft2(x)
        return torch.fft.irfft2(spectrum / (spectrum.abs() + 1e-8), s=x.shape[-2:])


class ComplexAttention(nn.Module):
    """Attention between the spectra of two maps: complex linear layers and matrix products."""

    def __init__(self, dim: int = 6) -> None:
        super().__init__()
        self.query = nn.Linear(dim, dim, dtype=torch.cfloat)
        self.value = nn.Linear(dim, dim, bias=False, dtype=torch.cfloat)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        first = torch.fft.fft(x, dim=1)
        second = torch.fft.fft(y, dim=1)
        scores = self.query(first) @ second.conj().transpose(-2, -1) / x.shape[-1] ** 0.5
        weights = torch.softmax(scores.abs(), dim=-1)
        mixed = torch.matmul(weights.to(torch.cfloat), self.value(second))
        return torch.fft.ifft(mixed, dim=1).real


class HalfPrecision(nn.Module):
    """A module in half precision whose transform runs in float32, as torch.fft wants it."""

    def __init__(self, channels: int = 4) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2 * channels, 2 * channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cuda", enabled=False):
            spectrum = torch.fft.rfft2(x.float(), norm="ortho")
        parts = torch.cat((spectrum.real, spectrum.imag), 1).to(self.conv.weight.dtype)
        real, imaginary = self.conv(parts).float().chunk(2, 1)
        spectrum = torch.complex(real, imaginary)
        return torch.fft.irfft2(spectrum, s=x.shape[-2:], norm="ortho").to(x.dtype)


def noise(*shape: int, seed: int = 0) -> Tensor:
    """Return normal numbers."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def networks() -> dict[str, tuple[nn.Module, tuple[Tensor, ...]]]:
    """Return each network with example inputs of batch 2, by name."""
    torch.manual_seed(1)
    odd, even = noise(2, 3, 9, 11, seed=1), noise(2, 3, 8, 12, seed=2)
    other = noise(2, 3, 9, 11, seed=3)
    return {
        "spectral conv, stacked": (SpectralConv(), (noise(2, 4, 8, 12),)),
        "spectral conv, joined": (SpectralConv(joined=True), (noise(2, 4, 9, 11),)),
        "global filter": (GlobalFilter(), (noise(2, 80, 6),)),
        "fourier layer": (FourierLayer(), (even,)),
        "token mixing": (TokenMixing(), (noise(2, 7, 8),)),
        "amplitude exchange": (AmplitudeExchange(), (odd, other)),
        "two-sided exchange": (TwoSidedExchange(), (odd, other)),
        "amplitude and phase convs": (AmplitudePhaseConvs(), (even,)),
        "adaptive filter": (AdaptiveFilter(), (noise(2, 4, 8, 10),)),
        "block mlp": (BlockMlp(), (noise(2, 6, 10, 8),)),
        "high-pass, even": (HighPass(), (even,)),
        "high-pass, odd": (HighPass(), (odd,)),
        "shifted masks": (ShiftedMasks(), (noise(2, 3, 12, 9),)),
        "channel low-pass": (ChannelLowPass(), (noise(2, 4, 5, 12),)),
        "low-frequency swap": (LowFrequencySwap(), (odd, other)),
        "phase only": (PhaseOnly(), (odd,)),
        "complex attention": (ComplexAttention(), (noise(2, 10, 6), noise(2, 10, 6, seed=1))),
    }
