"""Constants of operators, made once for each device and dtype.

Making one on the CPU and copying it at every call waits for a GPU each time, and cannot be
captured in a CUDA graph.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable

import torch
from torch import Tensor

_KEPT = 256


def constant(
    build: Callable[..., Tensor],
    *arguments: Hashable,
    like: Tensor,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Return ``build(*arguments)`` on the device of a tensor, to be read only.

    Args:
        build: Makes the constant on the CPU; a function of its arguments alone.
        arguments: What it is made from.
        like: Whose device it is on.
        dtype: Of the constant; that of ``like`` when not given.
    """
    dtype = dtype or like.dtype
    if type(like) is not Tensor:  # while a graph is traced, what is made belongs to the graph
        return build(*arguments).to(like.device, dtype)
    return _kept(build, arguments, like.device, dtype)


@functools.lru_cache(maxsize=_KEPT)
def _kept(
    build: Callable[..., Tensor],
    arguments: tuple[Hashable, ...],
    device: torch.device,
    dtype: torch.dtype,
) -> Tensor:
    with torch.inference_mode(False):  # it may be needed for a gradient later
        return build(*arguments).to(device, dtype)
