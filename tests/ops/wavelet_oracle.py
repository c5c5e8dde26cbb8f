"""What the wavelet operators must give: PyWavelets in float64.

Takes tensors or arrays of any floating type, returns float64 tensors.
"""

from __future__ import annotations

import numpy as np
import pywt
import torch
from torch import Tensor

from differseg.ops.filter_banks import FilterBank


def dwt2(x: Tensor | np.ndarray, wavelet: str | FilterBank, mode: str) -> Tensor:
    average, details = pywt.dwt2(_double(x), _wavelet(wavelet), mode)
    return torch.from_numpy(np.stack((average, *details), 2))


def idwt2(
    bands: Tensor | np.ndarray,
    wavelet: str | FilterBank,
    mode: str,
    size_hw: tuple[int, int] | None = None,
) -> Tensor:
    average, *details = np.moveaxis(_double(bands), 2, 0)
    y = pywt.idwt2((average, tuple(details)), _wavelet(wavelet), mode)
    height, width = size_hw or y.shape[-2:]
    return torch.from_numpy(np.ascontiguousarray(y[..., :height, :width]))


def _double(x: Tensor | np.ndarray) -> np.ndarray:
    return torch.as_tensor(x).double().numpy()


def _wavelet(wavelet: str | FilterBank) -> pywt.Wavelet:
    if isinstance(wavelet, str):
        return pywt.Wavelet(wavelet)
    return pywt.Wavelet(wavelet.name, filter_bank=wavelet.filters)
