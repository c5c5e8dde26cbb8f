"""Discrete Fourier transforms of real maps, with real and imaginary part as an axis of their own.

Complex tensors cannot be exported to ONNX and have no TensorRT form, so a spectrum is a real
tensor here: ``(N, C, 2, H, W)``, axis 2 = (real part, imaginary part).

Convention:
    Axes: real maps are ``(N, C, H, W)``; two-dimensional transforms run over H and W, the others
    over ``axis`` -1 (W) or -2 (H).
    Sign: the forward transform is ``X[k] = sum_n x[n] exp(-2 pi i k n / length)``, the inverse has
    a plus sign.
    Norm: as in ``torch.fft``, with n the number of points of the transform. "backward" scales the
    inverse by 1/n, "forward" the forward transform by 1/n, "ortho" both by 1/sqrt(n).
    "ortho" is the default here, because the mean of a map, times n, leaves the range of float16
    in the unscaled transform of "backward": 96 x 128 points of mean 10 sum to 122880.
    One-sidedness: the spectrum of a real map keeps bins 0 ... length // 2 of the last transformed
    axis (W in two dimensions); the others are their conjugates, see :func:`full_spectrum`.
    Order: bin 0 (the mean) comes first, negative frequencies last; nothing is shifted.

Float16 and bfloat16 are computed in float32 and rounded once.  Any memory layout goes in; what
comes out is contiguous.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from differseg.errors import InputError
from differseg.ops.arguments import check_choice, check_layout, is_whole
from differseg.ops.precision import exact, rounded

NORMS = ("backward", "ortho", "forward")
_ADJOINT_NORM = {"backward": "forward", "ortho": "ortho", "forward": "backward"}
_AXES = (-1, -2)


def rfft2(x: Tensor, norm: str = "ortho") -> Tensor:
    """Transform real maps over height and width to one-sided spectra.

    Args:
        x: Maps ``(N, C, H, W)``, float32, float64, float16 or bfloat16.
        norm: "backward", "ortho" or "forward".

    Returns:
        Spectrum ``(N, C, 2, H, W // 2 + 1)`` of the dtype of ``x``; axis 2 = (real, imaginary).

    Raises:
        InputError: Wrong rank, dtype or norm, or an empty axis.
    """
    check_layout("rfft2", "x", x, "N, C, H, W")
    check_choice("rfft2", "norm", norm, NORMS)
    return torch.ops.differseg.rfft2(x, norm)


def irfft2(spectrum: Tensor, *, width: int | None = None, norm: str = "ortho") -> Tensor:
    """Transform one-sided spectra back to real maps.

    As ``torch.fft.irfft2``: a complex inverse along H, then a complex-to-real inverse along W that
    ignores the imaginary part of its bin 0 and, for even widths, of its bin W/2.  That defines
    the result for spectra that belong to no real map as well.

    Args:
        spectrum: ``(N, C, 2, H, W // 2 + 1)``, float32, float64, float16 or bfloat16.
        width: Width of the maps, ``2 * (bins - 1)`` (even) when not given; the other width that
            has as many bins is one more (odd).
        norm: "backward", "ortho" or "forward".

    Returns:
        Maps ``(N, C, H, width)`` of the dtype of ``spectrum``.

    Raises:
        InputError: Wrong rank, dtype or norm, an empty axis, or a width with another number of
            bins.
    """
    check_layout("irfft2", "spectrum", spectrum, "N, C, 2, H, W//2+1")
    check_choice("irfft2", "norm", norm, NORMS)
    width = _real_length("irfft2", "width", width, spectrum.shape[-1])
    return torch.ops.differseg.irfft2(spectrum, width, norm)


def rfft(x: Tensor, axis: int = -1, *, norm: str = "ortho") -> Tensor:
    """Transform real maps along one axis to one-sided spectra.

    Args:
        x: Maps ``(N, C, H, W)``, float32, float64, float16 or bfloat16.
        axis: -1 (along W) or -2 (along H).
        norm: "backward", "ortho" or "forward".

    Returns:
        ``(N, C, 2, H, W // 2 + 1)`` for axis -1, ``(N, C, 2, H // 2 + 1, W)`` for axis -2.

    Raises:
        InputError: Wrong rank, dtype, axis or norm, or an empty axis.
    """
    check_layout("rfft", "x", x, "N, C, H, W")
    _check_axis("rfft", axis)
    check_choice("rfft", "norm", norm, NORMS)
    return torch.ops.differseg.rfft(x, axis, norm)


def irfft(
    spectrum: Tensor, axis: int = -1, *, length: int | None = None, norm: str = "ortho"
) -> Tensor:
    """Transform spectra that are one-sided along one axis back to real maps.

    The imaginary part of bin 0 and, for even lengths, of the last bin is ignored.

    Args:
        spectrum: ``(N, C, 2, H, bins)`` for axis -1, ``(N, C, 2, bins, W)`` for axis -2; float32,
            float64, float16 or bfloat16.
        axis: -1 (along W) or -2 (along H).
        length: Extent of the result along ``axis``, ``2 * (bins - 1)`` (even) when not given.
        norm: "backward", "ortho" or "forward".

    Returns:
        Maps ``(N, C, H, length)`` for axis -1, ``(N, C, length, W)`` for axis -2.

    Raises:
        InputError: Wrong rank, dtype, axis or norm, an empty axis, or a length with another
            number of bins.
    """
    check_layout("irfft", "spectrum", spectrum, "N, C, 2, H, W")
    _check_axis("irfft", axis)
    check_choice("irfft", "norm", norm, NORMS)
    length = _real_length("irfft", "length", length, spectrum.shape[axis])
    return torch.ops.differseg.irfft(spectrum, axis, length, norm)


def fft(spectrum: Tensor, axis: int = -1, *, inverse: bool = False, norm: str = "ortho") -> Tensor:
    """Transform complex maps along one axis, forward or back.

    Args:
        spectrum: ``(N, C, 2, H, W)``, axis 2 = (real, imaginary); float32, float64, float16 or
            bfloat16.
        axis: -1 (along W) or -2 (along H).
        inverse: Whether to run the inverse transform.
        norm: "backward", "ortho" or "forward".

    Returns:
        ``(N, C, 2, H, W)`` of the dtype of ``spectrum``.

    Raises:
        InputError: Wrong rank, dtype, axis or norm, or an empty axis.
    """
    check_layout("fft", "spectrum", spectrum, "N, C, 2, H, W")
    _check_axis("fft", axis)
    check_choice("fft", "norm", norm, NORMS)
    return torch.ops.differseg.fft(spectrum, axis, bool(inverse), norm)


def fft2(x: Tensor, norm: str = "ortho") -> Tensor:
    """Transform real or complex maps over height and width to full (two-sided) spectra.

    Args:
        x: Real maps ``(N, C, H, W)`` or complex ones ``(N, C, 2, H, W)``; float32, float64,
            float16 or bfloat16.
        norm: "backward", "ortho" or "forward".

    Returns:
        Spectrum ``(N, C, 2, H, W)`` of the dtype of ``x``.

    Raises:
        InputError: Wrong rank, dtype or norm, or an empty axis.
    """
    check_choice("fft2", "norm", norm, NORMS)
    if isinstance(x, Tensor) and x.dim() == 4:
        return full_spectrum(rfft2(x, norm), width=x.shape[-1])
    check_layout("fft2", "x", x, "N, C, 2, H, W")
    return fft(fft(x, -1, norm=norm), -2, norm=norm)


def ifft2(spectrum: Tensor, norm: str = "ortho") -> Tensor:
    """Transform full (two-sided) spectra back over height and width.

    Args:
        spectrum: ``(N, C, 2, H, W)``, or ``(N, C, H, W)`` for one without imaginary part; float32,
            float64, float16 or bfloat16.
        norm: "backward", "ortho" or "forward".

    Returns:
        Complex maps ``(N, C, 2, H, W)`` of the dtype of ``spectrum``; ``[:, :, 0]`` is the real
        part.

    Raises:
        InputError: Wrong rank, dtype or norm, or an empty axis.
    """
    check_choice("ifft2", "norm", norm, NORMS)
    if isinstance(spectrum, Tensor) and spectrum.dim() == 4:
        real, imaginary = fft2(spectrum, _ADJOINT_NORM[norm]).unbind(2)
        return torch.stack((real, -imaginary), 2)
    check_layout("ifft2", "spectrum", spectrum, "N, C, 2, H, W")
    return fft(fft(spectrum, -2, inverse=True, norm=norm), -1, inverse=True, norm=norm)


def full_spectrum(spectrum: Tensor, *, width: int | None = None) -> Tensor:
    """Complete the one-sided spectrum of a real map to a full one.

    Convention:
        ``X[H - k, W - l] = conj(X[k, l])``: the missing columns are the kept ones, conjugated, in
        reverse order along both axes (row 0 stays row 0).

    Args:
        spectrum: ``(N, C, 2, H, W // 2 + 1)``, float32, float64, float16 or bfloat16.
        width: Width of the full spectrum, ``2 * (bins - 1)`` when not given.

    Returns:
        ``(N, C, 2, H, width)``.

    Raises:
        InputError: Wrong rank or dtype, an empty axis, or a width with another number of bins.
    """
    check_layout("full_spectrum", "spectrum", spectrum, "N, C, 2, H, W//2+1")
    bins = spectrum.shape[-1]
    width = _real_length("full_spectrum", "width", width, bins)
    mirrored = spectrum[..., 1 : width - bins + 1].flip(-1)  # (N, C, 2, H, width - bins)
    mirrored = torch.cat((mirrored[..., :1, :], mirrored[..., 1:, :].flip(-2)), -2)
    conjugate = torch.stack((mirrored[:, :, 0], -mirrored[:, :, 1]), 2)
    return torch.cat((spectrum, conjugate), -1)  # (N, C, 2, H, width)


def _check_axis(where: str, axis: int) -> None:
    if not is_whole(axis) or axis not in _AXES:
        raise InputError(
            f"{where}: axis is {axis!r}, expected -1 (along W) or -2 (along H); "
            "move the axis that you mean with movedim"
        )


def _real_length(where: str, name: str, length: int | None, bins: int) -> int:
    """Check the real extent that belongs to ``bins`` one-sided bins, or choose the even one."""
    even = 2 * (bins - 1)
    if length is None:
        if even == 0:
            raise InputError(
                f"{where}: {name} is not given and the spectrum has 1 bin, "
                f"expected {name}=1; pass it"
            )
        return even
    if not is_whole(length) or length < 1 or length // 2 + 1 != bins:
        possible = f"{even} or {even + 1}" if even else "1"
        raise InputError(
            f"{where}: {name} is {length!r}, expected {possible} for a spectrum of {bins} bins; "
            "pass the extent of the map that was transformed"
        )
    return length


# The registered operators: no checks beyond torch's own, the functions above are the public ones.


@torch.library.custom_op(
    "differseg::rfft2", mutates_args=(), schema="(Tensor x, str norm) -> Tensor"
)
def _rfft2(x: Tensor, norm: str) -> Tensor:
    return _from_complex(torch.fft.rfft2(exact(x), norm=norm), x.dtype)


@torch.library.custom_op(
    "differseg::irfft2",
    mutates_args=(),
    schema="(Tensor spectrum, SymInt width, str norm) -> Tensor",
)
def _irfft2(spectrum: Tensor, width: int, norm: str) -> Tensor:
    columns = torch.fft.ifft(_to_complex(spectrum), dim=-2, norm=norm)  # (N, C, H, W // 2 + 1)
    return rounded(_complex_to_real(columns, -1, width, norm), spectrum.dtype)  # (N, C, H, W)


@torch.library.custom_op(
    "differseg::rfft", mutates_args=(), schema="(Tensor x, int axis, str norm) -> Tensor"
)
def _rfft(x: Tensor, axis: int, norm: str) -> Tensor:
    return _from_complex(torch.fft.rfft(exact(x), dim=axis, norm=norm), x.dtype)


@torch.library.custom_op(
    "differseg::irfft",
    mutates_args=(),
    schema="(Tensor spectrum, int axis, SymInt length, str norm) -> Tensor",
)
def _irfft(spectrum: Tensor, axis: int, length: int, norm: str) -> Tensor:
    return rounded(_complex_to_real(_to_complex(spectrum), axis, length, norm), spectrum.dtype)


@torch.library.custom_op(
    "differseg::fft",
    mutates_args=(),
    schema="(Tensor spectrum, int axis, bool inverse, str norm) -> Tensor",
)
def _fft(spectrum: Tensor, axis: int, inverse: bool, norm: str) -> Tensor:
    transform = torch.fft.ifft if inverse else torch.fft.fft
    return _from_complex(transform(_to_complex(spectrum), dim=axis, norm=norm), spectrum.dtype)


def _to_complex(spectrum: Tensor) -> Tensor:
    real, imaginary = exact(spectrum).unbind(2)
    return torch.complex(real, imaginary)  # (N, C, H, W)


def _from_complex(spectrum: Tensor, dtype: torch.dtype) -> Tensor:
    return rounded(torch.stack((spectrum.real, spectrum.imag), 2), dtype)  # (N, C, 2, H, W)


def _complex_to_real(spectrum: Tensor, axis: int, length: int, norm: str) -> Tensor:
    if spectrum.device.type != "cpu":  # cuFFT leaves open what these imaginary parts do
        spectrum.imag.select(axis, 0).zero_()
        if length % 2 == 0:
            spectrum.imag.select(axis, length // 2).zero_()
    return torch.fft.irfft(spectrum, n=length, dim=axis, norm=norm).contiguous()


@_rfft2.register_fake
def _(x: Tensor, norm: str) -> Tensor:
    batch, channels, height, width = x.shape
    return x.new_empty(batch, channels, 2, height, width // 2 + 1)


@_irfft2.register_fake
def _(spectrum: Tensor, width: int, norm: str) -> Tensor:
    batch, channels, _, height, _ = spectrum.shape
    return spectrum.new_empty(batch, channels, height, width)


@_rfft.register_fake
def _(x: Tensor, axis: int, norm: str) -> Tensor:
    batch, channels, *size = x.shape
    size[axis] = size[axis] // 2 + 1
    return x.new_empty(batch, channels, 2, *size)


@_irfft.register_fake
def _(spectrum: Tensor, axis: int, length: int, norm: str) -> Tensor:
    batch, channels, _, *size = spectrum.shape
    size[axis] = length
    return spectrum.new_empty(batch, channels, *size)


@_fft.register_fake
def _(spectrum: Tensor, axis: int, inverse: bool, norm: str) -> Tensor:
    return spectrum.new_empty(spectrum.shape)


# Adjoints.  A real map's one-sided transform R and its inverse I (as real-linear maps) satisfy
# R^T = I D^-1 and I^T = D R, both with the opposite norm; D counts a bin twice where its conjugate
# is left out of the one-sided spectrum, that is, everywhere but at bin 0 and bin length/2.


def _bin_counts(length: int, axis: int, like: Tensor) -> Tensor:
    bins = torch.arange(length // 2 + 1, device=like.device)
    alone = (bins == 0) | (2 * bins == length)
    counts = torch.where(alone, 1.0, 2.0).to(like.dtype)
    return counts if axis == -1 else counts[:, None]


def _keep_real(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *_, norm = inputs
    axis = inputs[1] if len(inputs) == 3 else -1
    ctx.axis, ctx.norm, ctx.length = axis, _ADJOINT_NORM[norm], inputs[0].shape[axis]


def _rfft2_adjoint(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
    weighted = grad / _bin_counts(ctx.length, -1, grad)
    return torch.ops.differseg.irfft2(weighted, ctx.length, ctx.norm), None


def _rfft_adjoint(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
    weighted = grad / _bin_counts(ctx.length, ctx.axis, grad)
    return torch.ops.differseg.irfft(weighted, ctx.axis, ctx.length, ctx.norm), None, None


def _keep_inverse(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *_, length, norm = inputs
    axis = inputs[1] if len(inputs) == 4 else -1
    ctx.axis, ctx.norm, ctx.length = axis, _ADJOINT_NORM[norm], length


def _irfft2_adjoint(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
    spectrum = torch.ops.differseg.rfft2(grad, ctx.norm)
    return spectrum * _bin_counts(ctx.length, -1, grad), None, None


def _irfft_adjoint(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
    spectrum = torch.ops.differseg.rfft(grad, ctx.axis, ctx.norm)
    return spectrum * _bin_counts(ctx.length, ctx.axis, grad), None, None, None


def _keep_complex(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, ctx.axis, ctx.inverse, norm = inputs
    ctx.norm = _ADJOINT_NORM[norm]


def _fft_adjoint(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
    return torch.ops.differseg.fft(grad, ctx.axis, not ctx.inverse, ctx.norm), None, None, None


_rfft2.register_autograd(_rfft2_adjoint, setup_context=_keep_real)
_irfft2.register_autograd(_irfft2_adjoint, setup_context=_keep_inverse)
_rfft.register_autograd(_rfft_adjoint, setup_context=_keep_real)
_irfft.register_autograd(_irfft_adjoint, setup_context=_keep_inverse)
_fft.register_autograd(_fft_adjoint, setup_context=_keep_complex)
