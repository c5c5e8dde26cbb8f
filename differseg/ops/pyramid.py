"""Laplacian pyramid: maps split into octaves of detail and a small remainder.

Convention:
    A level is blurred with a Gaussian (sigma 1 px, 5 taps, mirrored border) and every second pixel
    kept, from pixel 0 on, so that an extent n becomes ``ceil(n / 2)``.
    The way back is linear interpolation in which pixel i of the small map lies at pixel 2i of the
    large one; the last row and column of even extents repeat the one before.
    A detail is what the way back leaves out; a constant map has none.

Source: Burt and Adelson, "The Laplacian pyramid as a compact image code", 1983, with a Gaussian in
place of their binomial filter (both have variance 1) and interpolation in place of a second blur.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

from differseg.errors import InputError
from differseg.ops.arguments import check_layout, is_whole
from differseg.ops.gaussian import gaussian_lowpass
from differseg.ops.precision import exact, rounded

_SIGMA_PX = 1.0
_TAPS = 5


def laplacian_pyramid(x: Tensor, levels: int) -> list[Tensor]:
    """Split maps into details of several levels and a remainder.

    Args:
        x: Maps ``(N, C, H, W)``, float32, float64, float16 or bfloat16.
        levels: Number of details; the smallest level that is blurred has 3 pixels or more along
            each axis.

    Returns:
        ``levels`` details, ``(N, C, H, W)`` first, each next one half as large, and the remainder
        ``(N, C, h, w)`` after them.

    Raises:
        InputError: Wrong rank or dtype, an empty axis, or no level or too many.
    """
    check_layout("laplacian_pyramid", "x", x, "N, C, H, W")
    most, extent = 0, min(x.shape[2:])
    while extent > _TAPS // 2:
        most, extent = most + 1, (extent + 1) // 2
    if not is_whole(levels) or not 1 <= levels <= most:
        raise InputError(
            f"laplacian_pyramid: levels is {levels!r}, expected a whole number from 1 and at most "
            f"{most} for maps of {tuple(x.shape[2:])}; take fewer levels or larger maps"
        )
    pyramid = []
    for _ in range(levels):
        small = gaussian_lowpass(x, _SIGMA_PX, _TAPS)[:, :, ::2, ::2]
        pyramid.append(rounded(exact(x) - _enlarge(small, x), x.dtype))
        x = small
    return [*pyramid, x]


def reconstruct_pyramid(pyramid: Sequence[Tensor]) -> Tensor:
    """Put maps together from what :func:`laplacian_pyramid` returned.

    Args:
        pyramid: Details, the largest first, and the remainder.

    Returns:
        Maps ``(N, C, H, W)``, the ones that were split to rounding.

    Raises:
        InputError: Fewer than two levels, wrong rank or dtype, or a level that is not half as
            large as the one before.
    """
    if len(pyramid) < 2:
        raise InputError(
            f"reconstruct_pyramid: {len(pyramid)} levels, expected details and a remainder; "
            "pass the whole list that laplacian_pyramid returned"
        )
    for number, level in enumerate(pyramid):
        check_layout("reconstruct_pyramid", f"pyramid[{number}]", level, "N, C, H, W")
        batch, channels, *size = pyramid[max(number - 1, 0)].shape
        half = (batch, channels, *((extent + 1) // 2 for extent in size))
        if number and tuple(level.shape) != half:
            raise InputError(
                f"reconstruct_pyramid: pyramid[{number}] is {tuple(level.shape)}, expected "
                f"{half}, half of the level before; pass the largest level first"
            )
    *details, x = pyramid
    for detail in reversed(details):
        x = rounded(exact(detail) + _enlarge(x, detail), detail.dtype)
    return x


def _enlarge(small: Tensor, like: Tensor) -> Tensor:
    """Interpolate maps to the size of ``like``, pixel i at pixel 2i."""
    height, width = small.shape[2:]
    odd = (2 * height - 1, 2 * width - 1)
    y = F.interpolate(exact(small), size=odd, mode="bilinear", align_corners=True)
    beyond = (0, like.shape[3] - odd[1], 0, like.shape[2] - odd[0])
    return F.pad(y, beyond, mode="replicate") if any(beyond) else y
