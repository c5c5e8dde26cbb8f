"""Which precision the operators compute in: float64 stays, everything else is float32."""

from __future__ import annotations

import torch
from torch import Tensor


def exact(x: Tensor) -> Tensor:
    """Return ``x`` in the precision that operators compute in; they round once, at their end."""
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def rounded(y: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a result in the dtype of the input, with no node in the graph where it has it."""
    return y if y.dtype == dtype else y.to(dtype)


def convolution(
    x: Tensor,
    weight: Tensor,
    *,
    stride_hw: tuple[int, int] = (1, 1),
    crop_hw: tuple[int, int] = (0, 0),
    transposed: bool = False,
    groups: int = 1,
) -> Tensor:
    """Convolve maps in the precision they have.

    The convolutions of ``torch.nn.functional`` round to TensorFloat-32 on a GPU, PyTorch's
    default, and to 16 bits under autocast.  For use within registered operators.

    Args:
        x: Maps ``(N, C, H, W)``, float32 or float64.
        weight: ``(D, C / groups, A, B)``, or ``(C, D / groups, A, B)`` when transposed.
        stride_hw: Pixels from one window to the next.
        crop_hw: What a transposed convolution leaves out on each side.
        transposed: Whether to run the transposed convolution.
        groups: Groups of channels.
    """
    device = x.device.type
    if torch.is_autocast_enabled(device):
        with torch.autocast(device, enabled=False):
            return _convolution(x, weight, stride_hw, crop_hw, transposed, groups)
    return _convolution(x, weight, stride_hw, crop_hw, transposed, groups)


def _convolution(
    x: Tensor,
    weight: Tensor,
    stride_hw: tuple[int, int],
    crop_hw: tuple[int, int],
    transposed: bool,
    groups: int,
) -> Tensor:
    cudnn = torch.backends.cudnn
    result: Tensor = torch.ops.aten._convolution.default(
        x,
        weight,
        None,  # bias
        stride_hw,
        crop_hw,
        (1, 1),  # dilation
        transposed,
        (0, 0),  # output padding
        groups,
        cudnn.benchmark,
        cudnn.deterministic or torch.are_deterministic_algorithms_enabled(),
        cudnn.enabled,
        False,  # TensorFloat-32
    )
    return result
