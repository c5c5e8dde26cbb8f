"""How reassembly and its gradients are computed: as shifted maps or as weighted sums of pixels.

Both forms are phase forms: the kernels of the ``scale**2`` output pixels over one input pixel read
the same taps, so neither the upsampled map nor an unfolded one (``kernel_size**2`` times the map)
ever exists.  Everything here works in float32 or float64; :mod:`differseg.ops.reassembly` has the
definition, the checks and the registered operators.

Shapes: ``x`` (N, C, h, w); kernels (N, groups * k * k, s * h, s * w), already normalised; the
result and its gradient (N, C, s * h, s * w), with k taps along a side and the scale s.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from types import EllipsisType
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from differseg.ops.layouts import (
    empty_map,
    memory_format_of,
    rows_of_pixels,
    weighted_pixel_sums,
)

_ITEMS_PER_CHUNK = 2**17
"""Kernel values per step of the sums of pixels: what lies in cache together with its output."""


class Window(NamedTuple):
    """Where the taps of one reassembly lie."""

    kernel_size: int
    scale: int
    dilation: int
    groups: int
    border: str

    @property
    def reach_px(self) -> int:
        """Farthest tap from the centre, in pixels of the input."""
        return self.kernel_size // 2 * self.dilation

    def padding_px(self, size_hw: tuple[int, int]) -> int:
        """Pixels that a map is extended by on every side, as far as all taps reach or not at all.

        Border pixels that are to be repeated are copied where that is little, which is faster; a
        map that the taps reach far beyond would become many times as large.
        """
        height, width = size_hw
        reach_px = self.reach_px
        extended = (height + 2 * reach_px) * (width + 2 * reach_px)
        return reach_px if self.border == "edge" and extended <= 2 * height * width else 0


_Index = tuple[EllipsisType, slice, slice]


class _Span(NamedTuple):
    """A part of a tap along one axis: what it reads, for which pixels, and whether one for all."""

    source: slice
    target: slice
    repeats: bool


class _Tap(NamedTuple):
    """One tap over a part of the map, with what it reads of the extended map.

    Attributes:
        number: Which tap.
        source: What is read.
        target: The pixels that it is for.
        repeated: Axes along which the source is a single pixel, of the border, for many.
    """

    number: int
    source: _Index
    target: _Index
    repeated: tuple[int, ...]


def reassembled(x: Tensor, kernels: Tensor, window: Window) -> Tensor:
    """Return the reassembled map ``(N, C, s * h, s * w)`` in the layout of ``x``."""
    if _sums_pixels(x, window):
        return reassembled_by_sums(x, kernels, window)
    return reassembled_by_shifts(x, kernels, window)


def reassembled_by_shifts(x: Tensor, kernels: Tensor, window: Window) -> Tensor:
    """Add up shifted maps, one per tap, for all phases at once."""
    batch, channels, height, width = x.shape
    scale, groups = window.scale, window.groups
    extended = _extended(x, window).unflatten(1, (groups, -1))  # (N, g, C/g, h', w')
    weights = _phases(kernels, window)  # (N, g, k*k, s*s, h, w)
    phases = x.new_zeros(batch, groups, scale**2, channels // groups, height, width)
    for tap in _taps(window, (height, width)):
        read = extended[tap.source].unsqueeze(2)  # (N, g, 1, C/g, h, w)
        weight = weights[:, :, tap.number, :, None][tap.target]  # (N, g, s*s, 1, h, w)
        phases[tap.target].addcmul_(read, weight)
    joined = _interleaved(phases.transpose(2, 3), window)  # (N, C, s*h, s*w)
    return joined.contiguous(memory_format=memory_format_of(x))


def reassembled_by_sums(x: Tensor, kernels: Tensor, window: Window) -> Tensor:
    """Gather for every output pixel the weighted sum of the pixels its taps read."""
    batch, _, height, width = x.shape
    scale, groups, taps = window.scale, window.groups, window.kernel_size**2
    rows = [rows_of_pixels(part) for part in x.chunk(groups, 1)]  # g times (N, h*w + 1, C/g)
    out = empty_map(x, (scale * height, scale * width))
    planes = out.flatten(2).unflatten(1, (groups, -1))  # (N, g, C/g, s*h*s*w)
    weights = kernels.flatten(2).unflatten(1, (groups, -1))  # (N, g, k*k, s*h*s*w)
    channels_last = memory_format_of(x) == torch.channels_last
    line = scale**2 * width  # output pixels over a row of the input
    step = max(1, _ITEMS_PER_CHUNK // (line * taps))
    for top in range(0, height, step):
        bottom = min(top + step, height)
        index = _pixel_index(top, bottom, (height, width), window, x.device)
        pixels = slice(top * line, bottom * line)
        for image, group in itertools.product(range(batch), range(groups)):
            weight = weights[image, group, :, pixels].t().contiguous()  # (pixels, k*k)
            summed = weighted_pixel_sums(rows[group][image], index, weight)  # (pixels, C/g)
            summed = summed.t() if channels_last else summed.t().contiguous()
            planes[image, group, :, pixels] = summed  # (C/g, pixels)
    return out


def gradient_of_map(grad: Tensor, kernels: Tensor, window: Window) -> Tensor:
    """Return the gradient with respect to the map, ``(N, C, h, w)``, in the layout of ``grad``."""
    size_hw = grad.shape[2] // window.scale, grad.shape[3] // window.scale
    grads = _phases(grad, window)  # (N, g, C/g, s*s, h, w)
    weights = _phases(kernels, window)  # (N, g, k*k, s*s, h, w)
    padding_px = window.padding_px(size_hw)
    extended = grad.new_zeros(*grads.shape[:3], *(size + 2 * padding_px for size in size_hw))
    for tap in _taps(window, size_hw):
        summed = extended[tap.source]  # (N, g, C/g, h, w)
        for phase in range(window.scale**2):
            part = grads[:, :, :, phase][tap.target]
            weight = weights[:, :, tap.number, None, phase][tap.target]  # (N, g, 1, h, w)
            if tap.repeated:
                summed.add_((part * weight).sum(tap.repeated, keepdim=True))
            else:
                summed.addcmul_(part, weight)
    folded = _fold_edges(extended.flatten(1, 2), padding_px)
    return folded.contiguous(memory_format=memory_format_of(grad))


def gradient_of_kernels(grad: Tensor, x: Tensor, window: Window) -> Tensor:
    """Return the gradient with respect to the kernels, ``(N, g * k * k, s * h, s * w)``."""
    batch, _, height, width = x.shape
    scale, groups, taps = window.scale, window.groups, window.kernel_size**2
    grads = _phases(grad, window)  # (N, g, C/g, s*s, h, w)
    extended = _extended(x, window).unflatten(1, (groups, -1))  # (N, g, C/g, h', w')
    phases = grad.new_zeros(batch, groups, taps, scale**2, height, width)
    for tap in _taps(window, (height, width)):
        read = extended[tap.source].unsqueeze(3)  # (N, g, C/g, 1, h, w)
        phases[:, :, tap.number][tap.target] = (grads[tap.target] * read).sum(2)
    return _interleaved(phases, window).contiguous()


def _sums_pixels(x: Tensor, window: Window) -> bool:
    """Whether weighted sums of pixels are the faster form, as measured on a CPU.

    They pay two changes of layout and an index, which needs enough channels and taps, or a map
    that is channels last anyway; PyTorch's gather is vectorised in float32 alone.
    """
    if x.device.type != "cpu" or x.dtype != torch.float32:
        return False
    if x.shape[1] // window.groups < 16:
        return False
    many_taps = (window.kernel_size * window.scale) ** 2 > 25
    return many_taps or memory_format_of(x) == torch.channels_last


def _pixel_index(
    top: int, bottom: int, size_hw: tuple[int, int], window: Window, device: torch.device
) -> Tensor:
    """Number the pixels that the taps of output rows over input rows top ... bottom read.

    Returns:
        ``(s * (bottom - top) * s * w, k * k)`` int32; ``h * w`` for taps that count as zero.
    """
    height, width = size_hw
    beyond = height * width
    offsets = torch.arange(window.kernel_size, dtype=torch.int32, device=device)
    offsets = offsets * window.dilation - window.reach_px
    lines = torch.arange(top, bottom, dtype=torch.int32, device=device)[:, None] + offsets
    columns = torch.arange(width, dtype=torch.int32, device=device)[:, None] + offsets
    if window.border == "edge":
        starts = lines.clamp(0, height - 1) * width
        columns = columns.clamp(0, width - 1)
    else:
        starts = torch.where((lines >= 0) & (lines < height), lines * width, beyond)
        columns = torch.where((columns >= 0) & (columns < width), columns, beyond)
    index = starts[:, None, :, None] + columns[:, None, :]  # (rows, w, k, k)
    index = index.clamp_(max=beyond).view(bottom - top, 1, width, 1, -1)
    index = index.expand(-1, window.scale, -1, window.scale, -1)  # (rows, s, w, s, k*k)
    return index.reshape(-1, window.kernel_size**2)


def _taps(window: Window, size_hw: tuple[int, int]) -> Iterator[_Tap]:
    """Walk the taps that read at least one pixel, row by row, each part of the map by itself."""
    padding_px = window.padding_px(size_hw)
    rows, columns = (
        [_spans(window, position, size, padding_px) for position in range(window.kernel_size)]
        for size in size_hw
    )
    for i, j in itertools.product(range(window.kernel_size), repeat=2):
        for row, column in itertools.product(rows[i], columns[j]):
            repeated = [axis for axis, span in ((-2, row), (-1, column)) if span.repeats]
            source, target = (..., row.source, column.source), (..., row.target, column.target)
            yield _Tap(i * window.kernel_size + j, source, target, tuple(repeated))


def _spans(window: Window, position: int, size: int, padding_px: int) -> list[_Span]:
    """Return what a tap reads along one axis of the extended map, and which pixels it is for."""
    offset = position * window.dilation - window.reach_px
    start = min(max(0, -offset - padding_px), size)
    stop = max(min(size, size + padding_px - offset), 0)
    first, last = start + offset + padding_px, stop + offset + padding_px
    spans = [_Span(slice(first, last), slice(start, stop), repeats=False)]
    if window.border == "edge":
        end = size + 2 * padding_px
        spans.append(_Span(slice(0, 1), slice(0, start), repeats=True))
        spans.append(_Span(slice(end - 1, end), slice(stop, size), repeats=True))
    return [span for span in spans if span.target.start < span.target.stop]


def _extended(x: Tensor, window: Window) -> Tensor:
    """Repeat the border pixels of ``x`` as far as the taps reach, if they are to be read there."""
    x = x.contiguous()
    padding_px = window.padding_px((x.shape[2], x.shape[3]))
    if padding_px == 0:
        return x
    return functional.pad(x, (padding_px,) * 4, mode="replicate")


def _fold_edges(extended: Tensor, padding_px: int) -> Tensor:
    """Add the gradient of repeated border pixels to those pixels: the adjoint of extending."""
    if padding_px == 0:
        return extended
    for axis in (-2, -1):
        size = extended.shape[axis] - 2 * padding_px
        inner = extended.narrow(axis, padding_px, size)
        first = extended.narrow(axis, 0, padding_px).sum(axis)
        last = extended.narrow(axis, padding_px + size, padding_px).sum(axis)
        inner.select(axis, 0).add_(first)
        inner.select(axis, size - 1).add_(last)
        extended = inner
    return extended


def _phases(planes: Tensor, window: Window) -> Tensor:
    """Split ``(N, g * P, s * h, s * w)`` to ``(N, g, P, s * s, h, w)``, phases row by row."""
    scale = window.scale
    batch, channels, height, width = planes.shape
    split = planes.contiguous().view(batch, channels, height // scale, scale, width // scale, scale)
    split = split.permute(0, 1, 3, 5, 2, 4).contiguous()  # (N, g*P, s, s, h, w)
    return split.flatten(2, 3).unflatten(1, (window.groups, -1))


def _interleaved(phases: Tensor, window: Window) -> Tensor:
    """Join ``(N, g, P, s * s, h, w)`` to ``(N, g * P, s * h, s * w)``: undo :func:`_phases`."""
    joined = phases.unflatten(3, (window.scale, window.scale))  # (N, g, P, s, s, h, w)
    joined = joined.permute(0, 1, 2, 5, 3, 6, 4)  # (N, g, P, h, s, w, s)
    return joined.flatten(5, 6).flatten(3, 4).flatten(1, 2)


def log_hamming(kernel_size: int) -> list[float]:
    """Return the logarithm of the Hamming window of a kernel, row by row."""
    if kernel_size == 1:
        return [0.0]
    side = [0.54 - 0.46 * math.cos(2 * math.pi * i / (kernel_size - 1)) for i in range(kernel_size)]
    return [math.log(a * b) for a in side for b in side]
