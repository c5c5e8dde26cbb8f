"""Discrete wavelet transforms of maps, one level and several, equal to PyWavelets' results.

Convention:
    Bands: ``(N, C, 4, h, w)``, axis 2 = (LL, LH, HL, HH) = PyWavelets' (cA, cH, cV, cD): the
    average; high-pass along H (horizontal edges); high-pass along W (vertical edges); high-pass
    along both.
    Filters: a coefficient is ``c[k] = sum_j filter[j] x[2k + 1 - j]`` (a convolution of which every
    second sample is kept), in mode "periodization" ``x[2k + L / 2 - j]``, with the L taps of
    PyWavelets' ``dec_lo`` or ``dec_hi``.
    Modes: how a map goes on beyond its border, on which also the size of the bands depends.
    "periodization" (the default) gives ``ceil(n / 2)`` coefficients along an axis of n samples;
    the map goes on with its opposite side, an odd one after its last sample is repeated.
    The others give ``floor((n + L - 1) / 2)``: "zero" continues with zeros, "symmetric" with the
    mirror image (b a | a b c), "reflect" with the one that does not repeat the border
    (c b | a b c), "periodic" with the opposite side.
    Inversion: :func:`idwt2` with the same wavelet and mode gives back the map, for every mode and
    size, as exactly as the filters reconstruct: to rounding, but for banks whose taps are cut off
    or given in few digits ("dmey" leaves 4e-3 of the map).

"periodization" is the default because it is what a network wants of a stride-2 layer: bands of
exactly half the size whatever the wavelet, as many coefficients as samples, and, for orthogonal
wavelets, an isometry, which leaves the norm of features and gradients alone.  For Haar on even
sizes all modes are the same.  With longer filters it lets opposite borders see each other; take
"symmetric" where that matters.

Float16 and bfloat16 are computed in float32 and rounded once.  Any memory layout goes in; what
comes out is contiguous.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from differseg.errors import InputError
from differseg.ops.arguments import check_choice, check_layout, check_size_hw, is_whole
from differseg.ops.borders import extend, fold
from differseg.ops.constants import constant
from differseg.ops.filter_banks import FilterBank, filter_bank
from differseg.ops.precision import convolution, exact, rounded
from differseg.ops.wavelet_borders import coefficients, margins

# Filters of up to so many taps run over both axes in one pass; longer ones are cheaper in two.
# Measured on a CPU; one channel an output is what its convolutions are fast at.
_ONE_PASS_DOWN = 8
_ONE_PASS_UP = 4

_MOST_LEVELS = 63

MODES = ("zero", "symmetric", "reflect", "periodic", "periodization")


def dwt2(x: Tensor, wavelet: str | FilterBank = "haar", mode: str = "periodization") -> Tensor:
    """Decompose maps into the four bands of one wavelet level.

    Args:
        x: Maps ``(N, C, H, W)``, float32, float64, float16 or bfloat16.
        wavelet: A filter bank, or its name: "haar", "db2", "bior2.2" ... (all but "haar" need
            PyWavelets).
        mode: "periodization", "symmetric", "reflect", "periodic" or "zero".

    Returns:
        Bands ``(N, C, 4, h, w)`` of the dtype of ``x``; see the module for sizes and order.

    Raises:
        InputError: Wrong rank, dtype, wavelet or mode, an empty axis, or one sample along an axis
            of mode "reflect".
        MissingComponentError: The wavelet needs PyWavelets, which is not installed.
    """
    check_layout("dwt2", "x", x, "N, C, H, W")
    check_choice("dwt2", "mode", mode, MODES)
    if mode == "reflect" and 1 in x.shape[2:]:
        raise InputError(
            f"dwt2: x has shape {tuple(x.shape)}, expected at least 2 samples along H and W for "
            "mode 'reflect'; use 'symmetric'"
        )
    bank = filter_bank(wavelet)
    low, high = list(bank.decomposition_low), list(bank.decomposition_high)
    return torch.ops.differseg.dwt2(x, low, high, mode)


def idwt2(
    bands: Tensor,
    wavelet: str | FilterBank = "haar",
    mode: str = "periodization",
    size_hw: tuple[int, int] | None = None,
) -> Tensor:
    """Put maps together from the four bands of one wavelet level.

    Args:
        bands: ``(N, C, 4, h, w)``, float32, float64, float16 or bfloat16.
        wavelet: The filter bank of :func:`dwt2`, or its name.
        mode: The mode of :func:`dwt2`.
        size_hw: Height and width of the maps; the even ones when not given.  An odd extent has as
            many coefficients as the even one after it, so it must be said.

    Returns:
        Maps ``(N, C, H, W)`` of the dtype of ``bands``.

    Raises:
        InputError: Wrong rank, dtype, wavelet or mode, an empty axis, fewer coefficients than the
            filters need, or a size that belongs to another number of coefficients.
        MissingComponentError: The wavelet needs PyWavelets, which is not installed.
    """
    check_layout("idwt2", "bands", bands, "N, C, 4, h, w")
    check_choice("idwt2", "mode", mode, MODES)
    bank = filter_bank(wavelet)
    low, high = list(bank.reconstruction_low), list(bank.reconstruction_high)
    even = [_even_extent(count, len(low), mode) for count in bands.shape[3:]]
    if min(even) < 1:
        raise InputError(
            f"idwt2: bands have shape {tuple(bands.shape)}, expected at least {len(low) // 2} "
            f"coefficients along h and w for the {len(low)} taps of '{bank.name}', mode '{mode}'; "
            "pass the mode and wavelet of the decomposition"
        )
    size = even if size_hw is None else check_size_hw("idwt2", size_hw)
    if not all(0 <= most - extent <= 1 for most, extent in zip(even, size, strict=True)):
        raise InputError(
            f"idwt2: size_hw is {tuple(size)}, expected {even[0]} or {even[0] - 1} by "
            f"{even[1]} or {even[1] - 1} for bands of {tuple(bands.shape[3:])}; "
            "pass the size of the map that was decomposed"
        )
    return torch.ops.differseg.idwt2(bands, low, high, mode, *size)


def wavedec2(
    x: Tensor,
    wavelet: str | FilterBank = "haar",
    mode: str = "periodization",
    *,
    levels: int,
) -> tuple[Tensor, list[Tensor]]:
    """Decompose maps over several levels, each on the average band of the one before.

    Args:
        x: Maps ``(N, C, H, W)``, float32, float64, float16 or bfloat16.
        wavelet: A filter bank or its name.
        mode: As in :func:`dwt2`.
        levels: How many, 1 to ``ceil(log2(max(H, W)))``.

    Returns:
        The last average ``(N, C, h, w)``, and the details ``(N, C, 3, h_i, w_i)``, coarsest level
        first (PyWavelets' order), axis 2 = (LH, HL, HH).

    Raises:
        InputError: As in :func:`dwt2`, or too many levels.
    """
    check_layout("wavedec2", "x", x, "N, C, H, W")
    longest = max(x.shape[2:])
    if not is_whole(levels) or not 1 <= levels <= _MOST_LEVELS or 2 ** (levels - 1) >= longest:
        most = (int(longest) - 1).bit_length()  # ceil(log2(longest))
        raise InputError(
            f"wavedec2: levels is {levels!r}, expected a whole number from 1 and at most {most} "
            f"for maps of {tuple(x.shape[2:])}; take fewer levels or larger maps"
        )
    bank = filter_bank(wavelet)
    average, details = x, []
    for _ in range(levels):
        bands = dwt2(average, bank, mode)  # (N, C, 4, h, w)
        average = bands[:, :, 0]
        details.append(bands[:, :, 1:])
    return average, details[::-1]


def waverec2(
    average: Tensor,
    details: Sequence[Tensor],
    wavelet: str | FilterBank = "haar",
    mode: str = "periodization",
    size_hw: tuple[int, int] | None = None,
) -> Tensor:
    """Put maps together from what :func:`wavedec2` returned.

    Args:
        average: The last average ``(N, C, h, w)``.
        details: ``(N, C, 3, h_i, w_i)``, coarsest level first.
        wavelet: The filter bank of the decomposition, or its name.
        mode: The mode of the decomposition.
        size_hw: Height and width of the maps; even ones when not given.

    Returns:
        Maps ``(N, C, H, W)``.

    Raises:
        InputError: As in :func:`idwt2`, no details, or bands of one level that differ in size.
    """
    check_layout("waverec2", "average", average, "N, C, h, w")
    if not _is_list(details) or not details:
        raise InputError(
            f"waverec2: details are {'empty' if _is_list(details) else 'no list'}, "
            "expected a list of one tensor a level; pass both values that wavedec2 returned"
        )
    bank = filter_bank(wavelet)
    for level, bands in enumerate(details):
        check_layout("waverec2", f"details[{level}]", bands, "N, C, 3, h, w")
    sizes = [*((bands.shape[3], bands.shape[4]) for bands in details[1:]), size_hw]
    for level, (bands, size) in enumerate(zip(details, sizes, strict=True)):
        batch, channels, _, *size_of_bands = bands.shape
        if list(average.shape) != [batch, channels, *size_of_bands]:
            raise InputError(
                f"waverec2: details[{level}] has shape {tuple(bands.shape)}, expected "
                f"{(*average.shape[:2], 3, *average.shape[2:])} for an average of "
                f"{tuple(average.shape)}; pass the details coarsest first"
            )
        average = idwt2(torch.cat((average[:, :, None], bands), 2), bank, mode, size)
    return average


def _is_list(value: object) -> bool:
    return isinstance(value, (list, tuple))


def _even_extent(count: int, taps: int, mode: str) -> int:
    """Return the even number of samples that has ``count`` coefficients; the odd one is 1 less."""
    return 2 * count if mode == "periodization" else 2 * count - taps + 2


@torch.library.custom_op(
    "differseg::dwt2",
    mutates_args=(),
    schema="(Tensor x, float[] lowpass, float[] highpass, str mode) -> Tensor",
)
def _dwt2(x: Tensor, lowpass: Sequence[float], highpass: Sequence[float], mode: str) -> Tensor:
    taps = len(lowpass)
    y = exact(x).contiguous()
    y = extend(y, -1, margins(x.shape[-1], taps, mode), mode)
    y = extend(y, -2, margins(x.shape[-2], taps, mode), mode)
    filters = tuple(lowpass[::-1]), tuple(highpass[::-1])
    if taps <= _ONE_PASS_DOWN:
        bands = [_filter(y, plane, (2, 2)) for plane in constant(_planes, *filters, like=y)]
    else:
        pair = constant(_pair, *filters, like=y)  # (2, L)
        rows = [_filter(y, row[None], (1, 2)) for row in pair]  # (N, C, H, w) each
        bands = [_filter(row, column[:, None], (2, 1)) for row in rows for column in pair]
    return torch.stack([rounded(band, x.dtype) for band in bands], 2)  # (N, C, 4, h, w)


@torch.library.custom_op(
    "differseg::idwt2",
    mutates_args=(),
    schema=(
        "(Tensor bands, float[] lowpass, float[] highpass, str mode, SymInt height, SymInt width)"
        " -> Tensor"
    ),
)
def _idwt2(
    bands: Tensor,
    lowpass: Sequence[float],
    highpass: Sequence[float],
    mode: str,
    height: int,
    width: int,
) -> Tensor:
    taps, channels = len(lowpass), bands.shape[1]
    y = exact(bands).contiguous().flatten(1, 2)  # (N, 4C, h, w)
    crop = taps - 2  # what the transposed convolution has too much on each side
    if mode == "periodization":
        around = taps // 4  # coefficients of the opposite side that reach into the map
        for axis in (-1, -2):
            y = extend(y, axis, (around, around), "periodic")
        crop = taps // 2 - 1 + 2 * around
    filters = tuple(lowpass), tuple(highpass)
    if taps <= _ONE_PASS_UP:
        planes = constant(_planes, *filters, like=y)[:, None].repeat(channels, 1, 1, 1)
        y = convolution(
            y, planes, stride_hw=(2, 2), crop_hw=(crop, crop), transposed=True, groups=channels
        )
    else:
        low, high = constant(_pair, *filters, like=y)
        average, across, along, both = y.unflatten(1, (-1, 4)).unbind(2)
        smooth = _spread(average, low, -2, crop).add_(_spread(across, high, -2, crop))
        rough = _spread(along, low, -2, crop).add_(_spread(both, high, -2, crop))
        y = _spread(smooth, low, -1, crop).add_(_spread(rough, high, -1, crop))
    return rounded(y[..., :height, :width], bands.dtype).contiguous()  # (N, C, H, W)


def _pair(lowpass: tuple[float, ...], highpass: tuple[float, ...]) -> Tensor:
    """Return both filters (2, L)."""
    return torch.tensor((lowpass, highpass), dtype=torch.float64, device="cpu")


def _planes(lowpass: tuple[float, ...], highpass: tuple[float, ...]) -> Tensor:
    """Return the four two-dimensional filters (4, L, L) in the order of the bands."""
    filters = _pair(lowpass, highpass)
    return torch.einsum("wj,hi->whij", filters, filters).flatten(0, 1)


def _filter(x: Tensor, taps: Tensor, stride_hw: tuple[int, int]) -> Tensor:
    """Correlate every channel with the same taps (A, B)."""
    channels = x.shape[1]
    return convolution(x, taps.repeat(channels, 1, 1, 1), stride_hw=stride_hw, groups=channels)


def _spread(x: Tensor, taps: Tensor, axis: int, crop: int) -> Tensor:
    """Run the transposed convolution of every channel with the same taps (L,) along an axis."""
    shape, stride, cropped, channels = (1, -1), (1, 2), (0, crop), x.shape[1]
    if axis == -2:
        shape, stride, cropped = shape[::-1], stride[::-1], cropped[::-1]
    weight = taps.view(shape).repeat(channels, 1, 1, 1)
    return convolution(
        x, weight, stride_hw=stride, crop_hw=cropped, transposed=True, groups=channels
    )


@_dwt2.register_fake
def _(x: Tensor, lowpass: Sequence[float], highpass: Sequence[float], mode: str) -> Tensor:
    batch, channels, *size = x.shape
    return x.new_empty(
        batch, channels, 4, *(coefficients(extent, len(lowpass), mode) for extent in size)
    )


@_idwt2.register_fake
def _(
    bands: Tensor,
    lowpass: Sequence[float],
    highpass: Sequence[float],
    mode: str,
    height: int,
    width: int,
) -> Tensor:
    return bands.new_empty(*bands.shape[:2], height, width)


# Adjoints.  Without its border handling each transform is the adjoint of the other one with the
# filters read backwards; the border is handled by the adjoint of the continuation.


def _keep_decomposition(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, lowpass, highpass, ctx.mode = inputs
    ctx.filters = list(lowpass[::-1]), list(highpass[::-1])
    ctx.margins = [margins(extent, len(lowpass), ctx.mode) for extent in x.shape[2:]]
    ctx.size = tuple(x.shape[2:])


def _dwt2_adjoint(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
    low, high = ctx.filters
    vertical, horizontal = ctx.margins
    around = len(low) // 2 - 1
    if ctx.mode == "zero" or (around == 0 and vertical[1] == horizontal[1] == 0):
        return torch.ops.differseg.idwt2(grad, low, high, "zero", *ctx.size), None, None, None
    height, width = ctx.size[0] + sum(vertical), ctx.size[1] + sum(horizontal)
    if around:  # makes the result as large as the continued map
        grad = F.pad(grad, (around,) * 4)
    y = torch.ops.differseg.idwt2(grad, low, high, "zero", height, width)
    y = fold(fold(y, -2, vertical, ctx.mode), -1, horizontal, ctx.mode)
    return y, None, None, None


def _keep_reconstruction(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, lowpass, highpass, ctx.mode, _, _ = inputs
    ctx.filters = list(lowpass[::-1]), list(highpass[::-1])


def _idwt2_adjoint(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None, None]:
    mode = "zero"
    if ctx.mode == "periodization":
        mode = ctx.mode
        height, width = grad.shape[2:]
        if height % 2 or width % 2:  # what was cropped counts as zero
            grad = F.pad(grad, (0, width % 2, 0, height % 2))
    grad = torch.ops.differseg.dwt2(grad, *ctx.filters, mode)
    return grad, None, None, None, None, None


_dwt2.register_autograd(_dwt2_adjoint, setup_context=_keep_decomposition)
_idwt2.register_autograd(_idwt2_adjoint, setup_context=_keep_reconstruction)
