"""Which precision the operators compute in: float64 stays, everything else is float32."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor


def exact(x: Tensor) -> Tensor:
    """Return ``x`` in the precision that operators compute in; they round once, at their end."""
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def rounded(y: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a result in the dtype of the input, with no node in the graph where it has it."""
    return y if y.dtype == dtype else y.to(dtype)


@contextlib.contextmanager
def full_float32(x: Tensor) -> Iterator[None]:
    """Keep cuDNN's convolutions of ``x`` from rounding to TensorFloat-32, PyTorch's default."""
    if not x.is_cuda:
        yield
        return
    convolutions = torch.backends.cudnn.conv  # type: ignore[attr-defined] # a module in disguise
    chosen = convolutions.fp32_precision
    convolutions.fp32_precision = "ieee"
    try:
        yield
    finally:
        convolutions.fp32_precision = chosen
