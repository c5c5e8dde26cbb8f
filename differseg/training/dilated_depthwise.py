"""Depthwise convolutions with dilation, which stay in float32 where a CPU learns in bfloat16.

oneDNN's AVX-512 kernel for their weight gradient (``jit_bf16:avx512_core``, in PyTorch 2.13) reads
past what it was given when images lie channels-last: the gradients are wrong by more than their
own size, and now and then NaN or infinite.  Without dilation, with fewer groups, with a stride of
2, in float16 and in the other layout they are right.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn


def keep_in_float32(model: nn.Module) -> list[str]:
    """Let the depthwise convolutions with dilation compute in float32, whatever autocast says.

    Args:
        model: The network; it is changed in place, its entries keep their names.

    Returns:
        Names of those convolutions.
    """
    names = []
    for name, module in model.named_modules():
        if not isinstance(module, nn.Conv2d):
            continue
        if module.groups == module.in_channels > 1 and max(module.dilation) > 1:
            module.forward = functools.partial(_in_float32, module)  # type: ignore[method-assign]
            names.append(name)
    return names


def _in_float32(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """Return the convolution of (N, C, H, W), float32."""
    with torch.autocast(x.device.type, enabled=False):
        return nn.Conv2d.forward(conv, x.float())
