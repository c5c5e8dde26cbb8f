"""Wavelet transforms as strided grouped convolutions, and back as their transposes.

Strided convolution was the fastest of the forms measured (slices and adds, space-to-depth with a
1x1 convolution, planes as a batch) in ONNX Runtime.  Haar takes one pass over the map; filters of
4 taps and more take two, along W and along H: at 64x96x128, 8 taps and 2 threads 1.4 ms instead of
3.3 ms forward, 2.4 ms instead of 5.6 ms back.

Convention: as :mod:`differseg.ops.wavelet`; a convolution whose every second sample is kept is a
correlation of stride 2 with the reversed filter.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from differseg.export.lowering.borders import extend
from differseg.export.lowering.framework import Builder, Call, Lowering
from differseg.ops.wavelet_borders import coefficients, margins, sources

Array = npt.NDArray[np.float64]

MAX_KERNEL_TAPS = 40
"""Taps that the CUDA kernels take by value (DIFFERSEG_MAX_TAPS of their header)."""


class LowerDwt2(Lowering):
    """``(N, C, H, W)`` to bands ``(N, C, 4, h, w)``: continue the border, then convolve."""

    op_type = "DiffersegDwt2"

    def kernel_refusal(self, call: Call) -> str | None:
        """Refuse types, and filters that the kernel cannot hold."""
        return super().kernel_refusal(call) or _too_long(call)

    def rewrite(self, op: Builder, call: Call) -> ir.Value:
        """Append the border, one Conv (Haar) or two, and a Reshape."""
        x, mode = call.inputs[0], call.text("mode")
        channels, *size = call.sizes()
        filters = np.array([call.reals("lowpass")[::-1], call.reals("highpass")[::-1]])  # (2, L)
        taps = filters.shape[1]
        reach = [margins(extent, taps, mode) for extent in size]
        pads = [0, 0, 0, 0]
        if mode == "zero":
            pads = [begin for begin, _ in reach] + [end for _, end in reach]
        else:
            for axis, (extent, (begin, end)) in enumerate(zip(size, reach, strict=True), start=2):
                index = sources(range(-begin, extent + end), extent, mode)
                x = extend(op, x, axis, index, extent)
        if taps == 2:
            y = _conv(op, call, x, _planes(filters), channels, (2, 2), pads)  # (N, 4C, h, w)
        else:
            rows, columns = filters[:, None, None, :], filters[:, None, :, None]
            along_w, along_h = [0, pads[1], 0, pads[3]], [pads[0], 0, pads[2], 0]
            x = _conv(op, call, x, rows, channels, (1, 2), along_w)  # (N, 2C, H, w)
            y = _conv(op, call, x, columns, 2 * channels, (2, 1), along_h)  # (N, 4C, h, w)
        bands = [coefficients(extent, taps, mode) for extent in size]
        return op.reshape(y, call.batch, channels, 4, *bands)


class LowerIdwt2(Lowering):
    """Bands ``(N, C, 4, h, w)`` to ``(N, C, H, W)``: transposed convolution, cropped."""

    op_type = "DiffersegIdwt2"

    def check(self, call: Call) -> str | None:
        """Refuse sizes that are not numbers, and a map with other numbers of coefficients."""
        reason = super().check(call)
        if reason is not None:
            return reason
        size, taps = (call.number("height"), call.number("width")), len(call.reals("lowpass"))
        expected = tuple(coefficients(extent, taps, call.text("mode")) for extent in size)
        if call.sizes()[2:] != expected:
            return (
                f"bands have the size {call.sizes()[2:]}, expected {expected} for a map of {size}"
            )
        return None

    def kernel_refusal(self, call: Call) -> str | None:
        """Refuse types, and filters that the kernel cannot hold."""
        return super().kernel_refusal(call) or _too_long(call)

    def rewrite(self, op: Builder, call: Call) -> ir.Value:
        """Append a Reshape, the border of "periodization", and one or two ConvTranspose."""
        channels, _, *bands = call.sizes()
        size = call.number("height"), call.number("width")
        filters = np.array([call.reals("lowpass"), call.reals("highpass")])  # (2, L)
        taps = filters.shape[1]
        y = op.reshape(call.inputs[0], call.batch, 4 * channels, *bands)
        around, crop = 0, taps - 2  # the transposed convolution has too much on each side
        if call.text("mode") == "periodization":
            around = taps // 4  # coefficients of the opposite side that reach into the map
            crop = taps // 2 - 1 + 2 * around
            for axis, extent in enumerate(bands, start=2):
                index = sources(range(-around, extent + around), extent, "periodic")
                y = extend(op, y, axis, index, extent)
        ends = [
            2 * (extent + 2 * around - 1) + taps - crop - wanted
            for extent, wanted in zip(bands, size, strict=True)
        ]
        if taps == 2:
            pads = [crop, crop, *ends]
            return _transposed(op, call, y, _planes(filters), channels, (2, 2), pads)
        columns, rows = filters[:, None, :, None], filters[:, None, None, :]
        along_h, along_w = [crop, 0, ends[0], 0], [0, crop, 0, ends[1]]
        y = _transposed(op, call, y, columns, 2 * channels, (2, 1), along_h)  # (N, 2C, H, w)
        return _transposed(op, call, y, rows, channels, (1, 2), along_w)  # (N, C, H, W)


def _too_long(call: Call) -> str | None:
    taps = len(call.reals("lowpass"))
    if taps > MAX_KERNEL_TAPS:
        return f"the kernel takes filters of at most {MAX_KERNEL_TAPS} taps, these have {taps}"
    return None


def _planes(filters: Array) -> Array:
    """Return the four two-dimensional filters ``(4, 1, L, L)`` in the order of the bands."""
    return np.einsum("wj,hi->whij", filters, filters).reshape(4, 1, *(filters.shape[1],) * 2)


def _conv(
    op: Builder,
    call: Call,
    x: ir.Value,
    filters: Array,
    groups: int,
    strides: tuple[int, int],
    pads: list[int],
) -> ir.Value:
    """Append a Conv that gives every channel of ``x`` all the filters ``(K, 1, kh, kw)``."""
    weight = op.constant(np.tile(filters, (groups, 1, 1, 1)), "filters", call.dtype)
    kernel = list(filters.shape[2:])
    result: ir.Value = op.Conv(
        x, weight, group=groups, kernel_shape=kernel, strides=list(strides), pads=pads
    )
    return result


def _transposed(
    op: Builder,
    call: Call,
    y: ir.Value,
    filters: Array,
    groups: int,
    strides: tuple[int, int],
    pads: list[int],
) -> ir.Value:
    """Append a ConvTranspose that sums the K channels of each group, each through its filter."""
    weight = op.constant(np.tile(filters, (groups, 1, 1, 1)), "filters", call.dtype)
    kernel = list(filters.shape[2:])
    result: ir.Value = op.ConvTranspose(
        y, weight, group=groups, kernel_shape=kernel, strides=list(strides), pads=pads
    )
    return result
