"""What the Fourier operators must give: ``torch.fft`` in float64.

Takes tensors or arrays of any floating type, returns float64 tensors.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def rfft2(x: Tensor | np.ndarray, norm: str) -> Tensor:
    return _split(torch.fft.rfft2(_double(x), norm=norm))


def irfft2(spectrum: Tensor | np.ndarray, width: int, norm: str) -> Tensor:
    joined = _join(spectrum)
    return torch.fft.irfft2(joined, s=(joined.shape[-2], width), norm=norm)


def rfft(x: Tensor | np.ndarray, axis: int, norm: str) -> Tensor:
    return _split(torch.fft.rfft(_double(x), dim=axis, norm=norm))


def irfft(spectrum: Tensor | np.ndarray, axis: int, length: int, norm: str) -> Tensor:
    return torch.fft.irfft(_join(spectrum), n=length, dim=axis, norm=norm)


def fft(spectrum: Tensor | np.ndarray, axis: int, inverse: bool, norm: str) -> Tensor:
    transform = torch.fft.ifft if inverse else torch.fft.fft
    return _split(transform(_join(spectrum), dim=axis, norm=norm))


def _double(x: Tensor | np.ndarray) -> Tensor:
    return torch.as_tensor(x).double()


def _join(spectrum: Tensor | np.ndarray) -> Tensor:
    real, imaginary = _double(spectrum).unbind(2)
    return torch.complex(real, imaginary)


def _split(spectrum: Tensor) -> Tensor:
    return torch.stack((spectrum.real, spectrum.imag), 2)
