"""How a map goes on beyond its border, and the adjoint: folding what lies there back.

Modes, for a row ``a b c d``:
    zero: ``0 0 | a b c d | 0 0``
    edge: ``a a | a b c d | d d``
    symmetric: ``b a | a b c d | d c``
    reflect: ``c b | a b c d | c b``
    periodic: ``c d | a b c d | a b``
    periodization: as periodic, after the last sample of an odd row is repeated once.

Margins may be larger than the map: the pattern goes on (reflect needs two samples for that).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from differseg.ops.constants import constant
from differseg.ops.wavelet_borders import sources


def extend(x: Tensor, axis: int, margins: tuple[int, int], mode: str) -> Tensor:
    """Continue maps ``(N, C, H, W)`` beyond both ends of an axis.

    Args:
        x: The maps.
        axis: -1 (W) or -2 (H).
        margins: Number of samples before the start and after the end.
        mode: One of the modes above.
    """
    if margins == (0, 0):
        return x
    if mode == "zero":
        return F.pad(x, (*margins, 0, 0) if axis == -1 else (0, 0, *margins))
    before, after = _border(x, axis, margins, mode)
    return torch.cat((x.index_select(axis, before), x, x.index_select(axis, after)), axis)


def fold(x: Tensor, axis: int, margins: tuple[int, int], mode: str) -> Tensor:
    """Add what lies beyond both ends of an axis to where :func:`extend` takes it from.

    Args:
        x: Maps ``(N, C, H, W)`` with their margins.
        axis: -1 (W) or -2 (H).
        margins: Number of samples before the start and after the end, which are taken off.
        mode: One of the modes above.
    """
    left, right = margins
    extent = x.shape[axis] - left - right
    inner = x.narrow(axis, left, extent)
    if margins == (0, 0) or mode == "zero":
        return inner
    before, after = _border(inner, axis, margins, mode)
    inner = inner.index_add(axis, before, x.narrow(axis, 0, left))
    return inner.index_add(axis, after, x.narrow(axis, left + extent, right))


def _border(like: Tensor, axis: int, margins: tuple[int, int], mode: str) -> tuple[Tensor, Tensor]:
    """Return the samples that continue a map before its start and after its end."""
    extent = like.shape[axis]
    left, right = margins
    before, after = (
        constant(_places, first, last, extent, mode, like=like, dtype=torch.int64)
        for first, last in ((-left, 0), (extent, extent + right))
    )
    return before, after


def _places(first: int, last: int, extent: int, mode: str) -> Tensor:
    places = _sources(range(first, last), extent, mode)
    return torch.tensor(places, dtype=torch.int64, device="cpu")


def _sources(positions: range, extent: int, mode: str) -> list[int]:
    """Return the sample that stands at each position outside a map."""
    if mode == "edge":
        return [min(max(position, 0), extent - 1) for position in positions]
    return sources(positions, extent, mode)
