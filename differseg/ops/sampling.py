"""Sampling at learned places: warp by positions, and FreqFusion's dynamic-offset sampler.

Convention:
    Positions and displacements are in pixels of the map that is read, channel 0 = x (along W),
    channel 1 = y (along H); pixel centres lie at whole numbers 0 ... W - 1 and 0 ... H - 1.
    Direction: an output pixel says where it reads (backward warp); ``position = output pixel +
    displacement``.
    Border: places outside are moved to the nearest border pixel, and have no gradient there.
    Precision: places are computed in float32 even where the map is float16 or bfloat16 (halves of
    a pixel are lost beyond 1024 in float16), sums as well; the result is rounded once.

Reading at whole numbers is exact.  A channels-last map gives a channels-last result, any other a
contiguous one.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from differseg.errors import InputError
from differseg.ops import bilinear
from differseg.ops.arguments import check_floating, check_layout, check_range, check_size_hw
from differseg.ops.layouts import empty_map, memory_format_of
from differseg.ops.precision import exact

MAX_SCALE = 4


def warp(x: Tensor, positions: Tensor) -> Tensor:
    """Read a map at given positions, bilinearly (see the module's convention).

    Args:
        x: Map ``(N, C, H, W)``, float32, float64, float16 or bfloat16.
        positions: ``(N, 2, H', W')``, x then y, in pixels of ``x``, float32 or float64.

    Returns:
        ``(N, C, H', W')``, dtype and memory layout of ``x``.

    Raises:
        InputError: Wrong rank, dtype or batch; positions of 16 bits.
    """
    check_layout("warp", "x", x, "N, C, H, W")
    _check_pairs("warp", "positions", positions, "N, 2, H', W'")
    if positions.dtype not in (torch.float32, torch.float64):
        raise InputError(
            f"warp: positions are {positions.dtype}, expected torch.float32 (16 bits cannot tell "
            "neighbouring pixels of a large map apart); compute them in float32, without autocast"
        )
    _check_same_batch("warp", "positions", positions, x)
    return torch.ops.differseg.warp(x, positions)


def sample_offsets(x: Tensor, offsets: Tensor, *, scale: int = 2, groups: int = 1) -> Tensor:
    """Upsample a map by reading it at learned offsets from each of its pixels.

    Source: FreqFusion's offset generator, its last two steps (arXiv 2408.12879), after DySample
    (arXiv 2308.15085).  With ``offsets`` = :func:`identity_offsets` it is bilinear upsampling.

    Convention:
        Output pixel ``(Y, X)`` reads at ``(Y // s, X // s)`` plus its offset, s = scale.
        Channels of the offsets: ``(coordinate, group, sub-row, sub-column)``, coordinate x first;
        sub-row and sub-column are ``Y % s`` and ``X % s``.
        Groups: channel c of ``x`` belongs to group ``c // (C / groups)``.

    Args:
        x: Map ``(N, C, h, w)``, float32, float64, float16 or bfloat16.
        offsets: ``(N, 2 * groups * scale**2, h, w)`` in pixels of ``x``, the sub-pixels' own
            positions (:func:`identity_offsets`) included; any floating dtype.
        scale: Output pixels per input pixel along a side, 1 to 4.
        groups: Groups of channels with offsets of their own; divides C.

    Returns:
        ``(N, C, scale * h, scale * w)``, dtype and memory layout of ``x``.

    Raises:
        InputError: Wrong rank, dtype, size, number of channels or option.
    """
    check_layout("sample_offsets", "x", x, "N, C, H, W")
    check_layout("sample_offsets", "offsets", offsets, "N, 2*groups*scale*scale, H, W")
    scale = check_range("sample_offsets", "scale", scale, 1, MAX_SCALE)
    groups = check_range("sample_offsets", "groups", groups, 1, x.shape[1])
    if x.shape[1] % groups:
        raise InputError(
            f"sample_offsets: groups is {groups}, expected a divisor of the {x.shape[1]} channels "
            "of x; change one of them"
        )
    expected = (x.shape[0], 2 * groups * scale**2, x.shape[2], x.shape[3])
    if tuple(offsets.shape) != expected:
        raise InputError(
            f"sample_offsets: offsets have shape {tuple(offsets.shape)}, expected (N, 2 * groups "
            f"* scale**2, h, w) = {expected} for x {tuple(x.shape)}; compute them at that size, "
            "or change scale or groups"
        )
    return torch.ops.differseg.sample_offsets(x, offsets, scale, groups)


def identity_offsets(groups: int = 1, scale: int = 2) -> Tensor:
    """Return the offsets of the sub-pixels' own centres: FreqFusion's initial positions.

    Args:
        groups: Groups of channels.
        scale: Output pixels per input pixel along a side, 1 to 4.

    Returns:
        ``(1, 2 * groups * scale**2, 1, 1)`` float32, in pixels of the input; with scale 2 the x
        part is -0.25, 0.25, -0.25, 0.25 for each group and the y part -0.25, -0.25, 0.25, 0.25.

    Raises:
        InputError: Scale or groups out of range.
    """
    scale = check_range("identity_offsets", "scale", scale, 1, MAX_SCALE)
    groups = check_range("identity_offsets", "groups", groups, 1, 2**16)
    centres = [(sub + 0.5) / scale - 0.5 for sub in range(scale)]
    across = centres * scale * groups
    down = [centre for centre in centres for _ in range(scale)] * groups
    return torch.tensor(across + down).view(1, -1, 1, 1)


def displacement_to_positions(displacement: Tensor) -> Tensor:
    """Add every pixel's own index to its displacement and stay within the map.

    Args:
        displacement: ``(N, 2, H, W)``, x then y, in pixels; any floating dtype.

    Returns:
        Positions ``(N, 2, H, W)``, float32 (float64 for float64), x in 0 ... W - 1 and y in
        0 ... H - 1.

    Raises:
        InputError: Wrong rank, dtype or number of channels.
    """
    _check_pairs("displacement_to_positions", "displacement", displacement, "N, 2, H, W")
    displacement = exact(displacement)
    height, width = displacement.shape[-2:]
    columns = torch.arange(width, device=displacement.device, dtype=displacement.dtype)
    rows = torch.arange(height, device=displacement.device, dtype=displacement.dtype)
    x = (displacement[:, 0] + columns).clamp(0, width - 1)
    y = (displacement[:, 1] + rows[:, None]).clamp(0, height - 1)
    return torch.stack((x, y), 1)  # (N, 2, H, W)


def positions_to_grid(
    positions: Tensor, size_hw: tuple[int, int], *, align_corners: bool = False
) -> Tensor:
    """Turn positions in pixels into a grid for ``torch.nn.functional.grid_sample``.

    Args:
        positions: ``(N, 2, H', W')``, x then y, in pixels of the map that is read.
        size_hw: Height and width of that map.
        align_corners: As for ``grid_sample``: True puts -1 and 1 on the centres of the border
            pixels, False on their outer edges.  A map of one pixel along an axis has no centres
            to put them on; True gives 0 there.

    Returns:
        Grid ``(N, H', W', 2)``, float32 (float64 for float64), -1 to 1 within the map.

    Raises:
        InputError: Wrong rank, dtype, number of channels or size.
    """
    _check_pairs("positions_to_grid", "positions", positions, "N, 2, H', W'")
    x, y = exact(positions).unbind(1)
    height, width = check_size_hw("positions_to_grid", size_hw)
    axes = [
        2 * place / max(size - 1, 1) - min(size - 1, 1)
        if align_corners
        else (2 * place + 1) / size - 1
        for place, size in ((x, width), (y, height))
    ]
    return torch.stack(axes, -1)  # (N, H', W', 2)


def grid_to_positions(
    grid: Tensor, size_hw: tuple[int, int], *, align_corners: bool = False
) -> Tensor:
    """Turn a grid of ``torch.nn.functional.grid_sample`` into positions in pixels.

    Args:
        grid: ``(N, H', W', 2)``, x then y, -1 to 1 within the map.
        size_hw: Height and width of the map that is read.
        align_corners: As for ``grid_sample``, see :func:`positions_to_grid`.

    Returns:
        Positions ``(N, 2, H', W')``, float32 (float64 for float64), in pixels.

    Raises:
        InputError: Wrong rank, dtype, last extent or size.
    """
    check_layout("grid_to_positions", "grid", grid, "N, H', W', xy")
    if grid.shape[-1] != 2:
        raise InputError(
            f"grid_to_positions: grid has shape {tuple(grid.shape)}, expected (N, H', W', 2); "
            "move x and y to the last axis with movedim(1, -1)"
        )
    x, y = exact(grid).unbind(-1)
    height, width = check_size_hw("grid_to_positions", size_hw)
    axes = [
        (place + 1) * (size - 1) / 2 if align_corners else ((place + 1) * size - 1) / 2
        for place, size in ((x, width), (y, height))
    ]
    return torch.stack(axes, 1)  # (N, 2, H', W')


def _check_pairs(where: str, name: str, pairs: Tensor, layout: str) -> None:
    """Refuse what is not x and y per pixel, on axis 1."""
    check_floating(where, name, pairs)
    if pairs.dim() != 4 or pairs.shape[1] != 2 or 0 in pairs.shape:
        raise InputError(
            f"{where}: {name} has shape {tuple(pairs.shape)}, expected ({layout}) with x and y on "
            "axis 1; a grid of grid_sample becomes one by grid_to_positions"
        )


def _check_same_batch(where: str, name: str, pairs: Tensor, x: Tensor) -> None:
    if pairs.shape[0] != x.shape[0]:
        raise InputError(
            f"{where}: {name} are for {pairs.shape[0]} images, expected {x.shape[0]} as x; "
            f"repeat them with {name}.expand({x.shape[0]}, -1, -1, -1)"
        )


# The registered operators: no checks beyond torch's own, the functions above are the public ones.
# Gradients are operators as well, so that a compiled graph keeps a single node for each.


@torch.library.custom_op(
    "differseg::warp", mutates_args=(), schema="(Tensor x, Tensor positions) -> Tensor"
)
def _warp(x: Tensor, positions: Tensor) -> Tensor:
    at = bilinear.places(exact(positions), (x.shape[2], x.shape[3]))
    return _as_map(bilinear.read(exact(x), at), x)


@torch.library.custom_op(
    "differseg::warp_gradient",
    mutates_args=(),
    schema="(Tensor grad, Tensor x, Tensor positions) -> (Tensor, Tensor)",
)
def _warp_gradient(grad: Tensor, x: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
    at = bilinear.places(exact(positions), (x.shape[2], x.shape[3]))
    of_map = bilinear.gradient_of_map(exact(grad), at)
    of_positions = bilinear.gradient_of_displacement(exact(grad), exact(x), at)
    return _as_map(of_map, x), of_positions.to(positions.dtype)


@torch.library.custom_op(
    "differseg::sample_offsets",
    mutates_args=(),
    schema="(Tensor x, Tensor offsets, int scale, int groups) -> Tensor",
)
def _sample_offsets(x: Tensor, offsets: Tensor, scale: int, groups: int) -> Tensor:
    at = _places_of_offsets(offsets, scale, groups)
    out = bilinear.read(_grouped(exact(x), groups), at)  # (N*G, C/G, s*h, s*w)
    return _as_map(out.unflatten(0, (-1, groups)).flatten(1, 2), x)


@torch.library.custom_op(
    "differseg::sample_offsets_gradient",
    mutates_args=(),
    schema="(Tensor grad, Tensor x, Tensor offsets, int scale, int groups) -> (Tensor, Tensor)",
)
def _sample_offsets_gradient(
    grad: Tensor, x: Tensor, offsets: Tensor, scale: int, groups: int
) -> tuple[Tensor, Tensor]:
    at = _places_of_offsets(offsets, scale, groups)
    grads = _grouped(exact(grad), groups)
    of_map = bilinear.gradient_of_map(grads, at)
    of_offsets = bilinear.gradient_of_displacement(grads, _grouped(exact(x), groups), at)
    batch, _, height, width = offsets.shape
    split = of_offsets.view(batch, groups, 2, height, scale, width, scale)
    split = split.permute(0, 2, 1, 4, 6, 3, 5)  # (N, 2, G, s, s, h, w)
    of_map = _as_map(of_map.unflatten(0, (-1, groups)).flatten(1, 2), x)
    return of_map, split.reshape(offsets.shape).to(offsets.dtype)


def _places_of_offsets(offsets: Tensor, scale: int, groups: int) -> bilinear.Places:
    batch, _, height, width = offsets.shape
    split = exact(offsets).reshape(batch, 2, groups, scale, scale, height, width)
    split = split.permute(0, 2, 1, 5, 3, 6, 4)  # (N, G, 2, h, s, w, s)
    displacement = split.reshape(batch * groups, 2, scale * height, scale * width)
    return bilinear.places(displacement, (height, width), scale=scale)


def _grouped(x: Tensor, groups: int) -> Tensor:
    return x.unflatten(1, (groups, -1)).flatten(0, 1)  # (N*G, C/G, H, W)


def _as_map(out: Tensor, x: Tensor) -> Tensor:
    """Give ``out`` the dtype and the layout of the map ``x``."""
    return out.to(x.dtype).contiguous(memory_format=memory_format_of(x))


@_warp.register_fake
def _(x: Tensor, positions: Tensor) -> Tensor:
    return empty_map(x, (positions.shape[2], positions.shape[3]))


@_warp_gradient.register_fake
def _(grad: Tensor, x: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
    return empty_map(x, (x.shape[2], x.shape[3])), positions.new_empty(positions.shape)


@_sample_offsets.register_fake
def _(x: Tensor, offsets: Tensor, scale: int, groups: int) -> Tensor:
    return empty_map(x, (scale * x.shape[2], scale * x.shape[3]))


@_sample_offsets_gradient.register_fake
def _(grad: Tensor, x: Tensor, offsets: Tensor, scale: int, groups: int) -> tuple[Tensor, Tensor]:
    return empty_map(x, (x.shape[2], x.shape[3])), offsets.new_empty(offsets.shape)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:2])
    ctx.attributes = inputs[2:]


def _warp_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
    return torch.ops.differseg.warp_gradient(grad, *ctx.saved_tensors)


def _sample_offsets_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    operator = torch.ops.differseg.sample_offsets_gradient
    of_map, of_offsets = operator(grad, *ctx.saved_tensors, *ctx.attributes)
    return of_map, of_offsets, None, None


_warp.register_autograd(_warp_backward, setup_context=_keep)
_sample_offsets.register_autograd(_sample_offsets_backward, setup_context=_keep)
