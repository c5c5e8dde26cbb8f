"""Other ways to write content-aware reassembly, as they are found in PyTorch code.

Each is a module of a map ``x (N, C, h, w)`` and kernels ``(N, k * k, s * h, s * w)``; borders are
zeros.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from differseg.ops.reassembly import reassemble


class _Form(nn.Module):
    def __init__(self, kernel_size: int, scale: int) -> None:
        super().__init__()
        self.kernel_size, self.scale = kernel_size, scale

    def phases(self, planes: Tensor) -> Tensor:
        """Split ``(N, P, s * h, s * w)`` to ``(N, P, s * s, h, w)``."""
        split = functional.pixel_unshuffle(planes, self.scale)
        return split.unflatten(1, (planes.shape[1], self.scale**2))


class Shifts(_Form):
    """Add up shifted maps, for all phases of an input pixel at once."""

    def forward(self, x: Tensor, kernels: Tensor) -> Tensor:
        """Reassemble ``x``."""
        batch, channels, height, width = x.shape
        weights = self.phases(kernels)  # (N, k*k, s*s, h, w)
        extended = functional.pad(x, [self.kernel_size // 2] * 4)
        total = x.new_zeros(batch, channels, self.scale**2, height, width)
        for tap in range(self.kernel_size**2):
            row, column = divmod(tap, self.kernel_size)
            read = extended[:, :, row : row + height, column : column + width]
            total.addcmul_(read.unsqueeze(2), weights[:, tap].unsqueeze(1))
        return functional.pixel_shuffle(total.flatten(1, 2), self.scale)


class Unfold(_Form):
    """Unfold the map, then weigh and add up."""

    def forward(self, x: Tensor, kernels: Tensor) -> Tensor:
        """Reassemble ``x``."""
        batch, channels, height, width = x.shape
        taps = self.kernel_size**2
        unfolded = functional.unfold(x, self.kernel_size, padding=self.kernel_size // 2)
        unfolded = unfolded.view(batch, channels, taps, 1, height, width)
        total = (unfolded * self.phases(kernels)[:, None]).sum(2)  # (N, C, s*s, h, w)
        return functional.pixel_shuffle(total.flatten(1, 2), self.scale)


class OneHot(_Form):
    """Unfold by a convolution with ones and zeros, then a product of matrices for every pixel."""

    def forward(self, x: Tensor, kernels: Tensor) -> Tensor:
        """Reassemble ``x``."""
        batch, channels, height, width = x.shape
        taps = self.kernel_size**2
        picks = torch.eye(taps).view(taps, 1, self.kernel_size, self.kernel_size)
        single = x.reshape(batch * channels, 1, height, width)
        unfolded = functional.conv2d(single, picks, padding=self.kernel_size // 2)
        unfolded = unfolded.view(batch, channels, taps, height * width).permute(0, 3, 1, 2)
        weights = self.phases(kernels).flatten(3).permute(0, 3, 1, 2)  # (N, h*w, k*k, s*s)
        total = torch.matmul(unfolded, weights)  # (N, h*w, C, s*s)
        total = total.permute(0, 2, 3, 1).reshape(batch, -1, height, width)
        return functional.pixel_shuffle(total, self.scale)


class Operator(_Form):
    """differseg's operator."""

    def forward(self, x: Tensor, kernels: Tensor) -> Tensor:
        """Reassemble ``x``."""
        return reassemble(x, kernels, kernel_size=self.kernel_size, scale=self.scale)


FORMS: dict[str, type[_Form]] = {
    "shifts": Shifts,
    "unfold": Unfold,
    "one-hot": OneHot,
    "differseg": Operator,
}
"""Name to module."""
