"""Image buffers that are allocated once and used again."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import numpy.typing as npt


class BufferPool:
    """Image buffers that are used again as soon as nobody holds them.

    A buffer is free when the pool's own reference is the only one left, so a holder need not
    give anything back and can never see its frame overwritten.  A view counts as a holder,
    because numpy views reference the array that owns the memory.

    Args:
        limit: Buffers kept; above it a frame is allocated for its one use.
    """

    def __init__(self, limit: int = 8) -> None:
        self._buffers: list[npt.NDArray[Any]] = []
        self._limit = limit

    def take(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Return an uninitialised array that nobody else holds."""
        if self._buffers and (self._buffers[0].shape, self._buffers[0].dtype) != (shape, dtype):
            self._buffers.clear()
        for position in range(len(self._buffers)):
            # 2 = the list's reference and getrefcount's own argument.
            if sys.getrefcount(self._buffers[position]) == 2:
                return self._buffers[position]
        buffer = np.empty(shape, dtype)
        if len(self._buffers) < self._limit:
            self._buffers.append(buffer)
        return buffer


def fitting_buffer(
    current: npt.NDArray[Any], shape: tuple[int, ...], dtype: npt.DTypeLike
) -> npt.NDArray[Any]:
    """Return ``current`` where shape and dtype fit, else a new uninitialised array."""
    if current.shape == shape and current.dtype == dtype:
        return current
    return np.empty(shape, dtype)
