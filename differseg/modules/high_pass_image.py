"""High-pass images: what an image holds above a spatial frequency, as one plane.

FSANet feeds its second encoder with it (Jiang et al., IEEE TNNLS 36(5), 2025,
doi 10.1109/TNNLS.2024.3426529).

Convention:
    Transforms over (H, W), unnormalised forward, 1/(H W) backward.  Frequency f of an axis of
    length N is in bins, ``-(N // 2) <= f < N - N // 2``; f / N is in cycles per pixel.

Exports need no Fourier transform: the low band is a product with a few hundred cosines and sines
on each side, see :class:`LowPassProducts`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from differseg.errors import InputError
from differseg.ops import irfft2, radial_mask, rfft2
from differseg.ops.constants import constant
from differseg.ops.precision import exact, rounded


class HighPassImage(nn.Module):
    """Magnitude of each channel without its low frequencies, averaged over the channels.

    The authors' filter: a disc of the shifted spectrum is set to zero.  The disc's centre is the
    middle of the array, ((H-1)/2, (W-1)/2), which for an even side lies half a bin off frequency
    zero: the filtered channel is then complex, and its magnitude is taken.

    Args:
        radius: Of the disc in bins, whatever the size of the image; at least 1.

    Attributes:
        radius: (1,), stored with the weights as the authors do, never trained.

    Shapes: ``(N, C, H, W)`` float to ``(N, 1, H, W)`` float, >= 0; float16 is computed in float32.

    Raises:
        InputError: A radius below 1.
    """

    def __init__(self, radius: float = 100.0) -> None:
        super().__init__()
        if not radius >= 1:
            raise InputError(f"HighPassImage: radius: expected at least 1 bin, got {radius}")
        self.radius = nn.Parameter(torch.tensor([float(radius)]), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` to ``(N, 1, H, W)``."""
        height, width = x.shape[-2:]
        wide = exact(x)
        rows, columns = (
            torch.arange(side, device=x.device, dtype=wide.dtype) - (side - 1) / 2
            for side in (height, width)
        )
        distance = torch.sqrt(rows[:, None] ** 2 + columns**2)  # (H, W)
        keep = torch.fft.ifftshift((distance > self.radius).to(wide.dtype))
        spectrum = torch.fft.fft2(wide) * keep  # (N, C, H, W) complex
        magnitude = torch.fft.ifft2(spectrum).abs()  # (N, C, H, W)
        return rounded(magnitude.mean(dim=1, keepdim=True), x.dtype)

    def for_export(self, size_hw: tuple[int, int]) -> HighPassProducts:
        """Return the same function for images of one size as products of real matrices."""
        return HighPassProducts(self.radius.item(), size_hw).to(self.radius.device)


class HighPassProducts(nn.Module):
    """A :class:`HighPassImage` for one image size, in real numbers and without a transform.

    A filter whose disc lies half a bin off is, but for a phase that no magnitude sees, the same
    disc around zero applied to the channel times ``exp(i pi (n/H + m/W))``: then the frequencies
    are -0.5, 0.5, 1.5 ... bins and the disc is symmetric, so real and imaginary part are filtered
    alike, each by :class:`LowPassProducts`.

    Args:
        radius: Of the disc in bins; one that holds no bin at all removes nothing.
        size_hw: Rows and columns of the images.

    Shapes: as :class:`HighPassImage`.
    """

    modulation: Tensor

    def __init__(self, radius: float, size_hw: tuple[int, int]) -> None:
        super().__init__()
        turns = [
            math.pi / side * torch.arange(side, dtype=torch.float64) * (side % 2 == 0)
            for side in size_hw
        ]
        angle = turns[0][:, None] + turns[1]  # (H, W)
        modulation = torch.stack((torch.cos(angle), torch.sin(angle)))[:, None].float()
        self.register_buffer("modulation", modulation, persistent=False)  # (2, 1, H, W)
        rows, columns = (_bins(side, 0.5 * (side % 2 == 0), radius) for side in size_hw)
        disc = rows[:, None] ** 2 + columns**2 <= radius**2
        self.low_pass = LowPassProducts(size_hw, rows, columns, disc.double())

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` to ``(N, 1, H, W)``."""
        wide = exact(x)
        turned = wide[:, None] * self.modulation  # (N, 2, C, H, W)
        high = turned - self.low_pass(turned)
        magnitude = torch.sqrt((high * high).sum(dim=1))  # (N, C, H, W)
        return rounded(magnitude.mean(dim=1, keepdim=True), x.dtype)


class GreyHighPassImage(nn.Module):
    """Absolute value of the grey image without its low frequencies, for any image size.

    For edge devices: one plane instead of one for each channel, a disc around frequency zero,
    which keeps the plane real, and a cut-off in cycles per pixel, which means the same at every
    size.

    Args:
        cutoff: Frequencies up to this one are removed, in cycles per pixel, 0 < cutoff < 0.5;
            100 bins of 992 are 0.1.

    Shapes: ``(N, C, H, W)`` float to ``(N, 1, H, W)`` float, >= 0; float16 is computed in float32.

    Raises:
        InputError: A cut-off out of range.
    """

    def __init__(self, cutoff: float = 0.1) -> None:
        super().__init__()
        if not 0 < cutoff < 0.5:
            raise InputError(
                f"GreyHighPassImage: cutoff: expected 0..0.5 cycles per pixel, got {cutoff}"
            )
        self.cutoff = cutoff

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` to ``(N, 1, H, W)``."""
        height, width = x.shape[-2:]
        grey = exact(x).mean(dim=1, keepdim=True)  # (N, 1, H, W)
        mask = constant(_half_disc, (height, width), self.cutoff, like=grey)  # (H, W // 2 + 1)
        low = irfft2(rfft2(grey) * mask, width=width)  # (N, 1, H, W)
        return rounded((grey - low).abs(), x.dtype)

    def for_export(self, size_hw: tuple[int, int]) -> GreyHighPassProducts:
        """Return the same function for images of one size as products of real matrices."""
        return GreyHighPassProducts(self.cutoff, size_hw)


class GreyHighPassProducts(nn.Module):
    """A :class:`GreyHighPassImage` for one image size, without a transform.

    Args:
        cutoff: In cycles per pixel.
        size_hw: Rows and columns of the images.

    Shapes: as :class:`GreyHighPassImage`.
    """

    def __init__(self, cutoff: float, size_hw: tuple[int, int]) -> None:
        super().__init__()
        disc = _half_disc(size_hw, cutoff)[: (size_hw[0] + 1) // 2]  # rows of negative f left out
        disc = disc[disc[:, 0] > 0][:, disc[0] > 0]  # (R, S)
        rows, columns = (torch.arange(count, dtype=torch.float64) for count in disc.shape)
        self.low_pass = LowPassProducts(size_hw, rows, columns, disc)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` to ``(N, 1, H, W)``."""
        grey = exact(x).mean(dim=1, keepdim=True)
        return rounded((grey - self.low_pass(grey)).abs(), x.dtype)


class LowPassProducts(nn.Module):
    """The part of an image in a set of frequencies, as four products with constant matrices.

    Convention:
        The rows of a basis are cosines and sines of length 1, one pair for each frequency (at
        frequency zero the cosine alone), so ``A^T A`` projects on them.  A set that holds (f, g)
        with (-f, g), (f, -g) and (-f, -g) is a diagonal weight in the products of both bases.

    Built in float64, kept in float32.  Sums of an image of size H W and mean m reach
    ``m sqrt(H W)``, which float16 holds.

    Args:
        size_hw: Rows and columns of the images.
        rows: (R,) frequencies of the vertical axis in bins, >= 0.
        columns: (S,) frequencies of the horizontal axis in bins, >= 0.
        weight: (R, S) float64, of each pair of frequencies.

    Shapes: ``(..., H, W)`` float32 or float64 to the same.
    """

    weight: Tensor
    row_basis: Tensor
    column_basis: Tensor

    def __init__(
        self, size_hw: tuple[int, int], rows: Tensor, columns: Tensor, weight: Tensor
    ) -> None:
        super().__init__()
        row_basis, row_of = _basis(size_hw[0], rows)
        column_basis, column_of = _basis(size_hw[1], columns)
        for name, value in (
            ("row_basis", row_basis),  # (A, H)
            ("column_basis", column_basis),  # (B, W)
            ("weight", weight[row_of][:, column_of]),  # (A, B)
        ):
            self.register_buffer(name, value.float(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the low band of ``(..., H, W)``."""
        rows, columns = rounded(self.row_basis, x.dtype), rounded(self.column_basis, x.dtype)
        amounts = (rows @ (x @ columns.T)) * self.weight  # (..., A, B)
        return (rows.T @ amounts) @ columns


def _half_disc(size_hw: tuple[int, int], cutoff: float) -> Tensor:
    """Return the low-pass mask (H, W // 2 + 1) of ``rfft2``, float64."""
    return radial_mask(size_hw, high=cutoff, dtype=torch.float64)


def _bins(side: int, first: float, most: float) -> Tensor:
    """Return the frequencies ``first, first + 1 ...`` of an axis up to ``most``, float64."""
    bins = torch.arange((side + 1) // 2 if first == 0 else side // 2, dtype=torch.float64) + first
    return bins[bins <= most]


def _basis(side: int, bins: Tensor) -> tuple[Tensor, Tensor]:
    """Return cosines and sines (A, side) of length 1, and which of ``bins`` each row has."""
    number = torch.arange(len(bins))
    paired = bins > 0
    angle = 2 * math.pi / side * bins[:, None] * torch.arange(side, dtype=torch.float64)
    cosines, sines = torch.cos(angle), torch.sin(angle[paired])
    basis = torch.cat((cosines, sines))
    return basis / basis.norm(dim=1, keepdim=True), torch.cat((number, number[paired]))
