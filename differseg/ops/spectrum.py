"""What one does with a spectrum: amplitude and phase, complex products, radial masks.

Convention:
    A spectrum is ``(N, C, 2, H, W)``, axis 2 = (real part, imaginary part), one-sided or full; see
    :mod:`differseg.ops.fourier`.  Phases are in radians, -pi ... pi.
    A bin is empty where the square of its absolute value is no normal number, which in float32 is
    below 1.1e-19: its amplitude, its phase and their gradients are 0.

Float16 and bfloat16 are computed in float32 and rounded once.
"""

from __future__ import annotations

import torch
from torch import Tensor

from differseg.errors import InputError
from differseg.ops.arguments import (
    check_choice,
    check_floating,
    check_layout,
    check_positive,
    check_range,
    check_size_hw,
)
from differseg.ops.precision import exact, rounded

PROFILES = ("ideal", "gaussian", "butterworth")
MAX_ORDER = 100


def amplitude(spectrum: Tensor) -> Tensor:
    """Return the absolute value of each bin.

    Args:
        spectrum: ``(N, C, 2, H, W)``, float32, float64, float16 or bfloat16.

    Returns:
        ``(N, C, H, W)``, not negative; infinite from 1.8e19 on, of which float32 has no square.

    Raises:
        InputError: Wrong rank or dtype, or an empty axis.
    """
    check_layout("amplitude", "spectrum", spectrum, "N, C, 2, H, W")
    _, _, power, empty = _bins(spectrum)
    # The root of the sum: PyTorch's norm over an axis of two is thirty times slower on a CPU.
    return rounded(power.masked_fill(empty, 1.0).sqrt().masked_fill(empty, 0.0), spectrum.dtype)


def phase(spectrum: Tensor) -> Tensor:
    """Return the angle of each bin.

    Args:
        spectrum: ``(N, C, 2, H, W)``, float32, float64, float16 or bfloat16.

    Returns:
        ``(N, C, H, W)``, radians, -pi ... pi.

    Raises:
        InputError: Wrong rank or dtype, or an empty axis.
    """
    check_layout("phase", "spectrum", spectrum, "N, C, 2, H, W")
    real, imaginary, _, empty = _bins(spectrum)  # atan2(0, -0) is pi, its gradient not finite
    angle = torch.atan2(imaginary.masked_fill(empty, 0.0), real.masked_fill(empty, 1.0))
    return rounded(angle, spectrum.dtype)


def _bins(spectrum: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return real part, imaginary part, squared absolute value and emptiness of each bin."""
    real, imaginary = exact(spectrum).unbind(2)  # (N, C, H, W)
    power = real * real + imaginary * imaginary
    return real, imaginary, power, power <= torch.finfo(power.dtype).tiny


def from_amplitude_phase(amplitude: Tensor, phase: Tensor) -> Tensor:
    """Build a spectrum from the absolute value and the angle of each bin.

    Args:
        amplitude: ``(N, C, H, W)``, float32, float64, float16 or bfloat16.
        phase: ``(N, C, H, W)``, radians, of the same size.

    Returns:
        Spectrum ``(N, C, 2, H, W)`` of the dtype of ``amplitude``.

    Raises:
        InputError: Wrong rank or dtype, an empty axis, or sizes that differ.
    """
    check_layout("from_amplitude_phase", "amplitude", amplitude, "N, C, H, W")
    check_layout("from_amplitude_phase", "phase", phase, "N, C, H, W")
    if amplitude.shape != phase.shape:
        raise InputError(
            f"from_amplitude_phase: phase has shape {tuple(phase.shape)}, expected "
            f"{tuple(amplitude.shape)} as amplitude has; take both from spectra of one size"
        )
    length, angle = exact(amplitude), exact(phase)
    parts = (length * torch.cos(angle), length * torch.sin(angle))
    return rounded(torch.stack(parts, 2), amplitude.dtype)


def complex_multiply(a: Tensor, b: Tensor) -> Tensor:
    """Multiply complex numbers whose parts lie on the third axis from the end.

    Args:
        a: ``(..., 2, H, W)``, such as a spectrum ``(N, C, 2, H, W)``; float32, float64, float16 or
            bfloat16.
        b: ``(..., 2, H, W)`` that broadcasts with ``a``, such as learned weights
            ``(C, 2, H, W)``.

    Returns:
        Product ``(..., 2, H, W)`` of the wider of the two dtypes.

    Raises:
        InputError: Wrong dtype, no axis of extent 2 in that place, or shapes that do not
            broadcast.
    """
    for name, tensor in (("a", a), ("b", b)):
        check_floating("complex_multiply", name, tensor)
        if tensor.dim() < 3 or tensor.shape[-3] != 2:
            raise InputError(
                f"complex_multiply: {name} has shape {tuple(tensor.shape)}, expected "
                "(..., 2, H, W) with the real and the imaginary part on the third axis from the "
                "end; stack them there"
            )
    try:
        torch.broadcast_shapes(a.shape, b.shape)
    except RuntimeError:
        raise InputError(
            f"complex_multiply: a has shape {tuple(a.shape)} and b {tuple(b.shape)}, expected "
            "shapes that broadcast; make each axis of b as long as that of a, or 1"
        ) from None
    real_a, imaginary_a = exact(a).unbind(-3)
    real_b, imaginary_b = exact(b).unbind(-3)
    real = real_a * real_b - imaginary_a * imaginary_b
    imaginary = real_a * imaginary_b + imaginary_a * real_b
    return rounded(torch.stack((real, imaginary), -3), torch.promote_types(a.dtype, b.dtype))


def radial_mask(
    size_hw: tuple[int, int],
    low: float | None = None,
    high: float | None = None,
    *,
    profile: str = "ideal",
    order: int = 2,
    one_sided: bool = True,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> Tensor:
    """Make a mask over the distance of a bin from frequency zero, to multiply a spectrum with.

    Without ``low`` it is a low-pass, without ``high`` a high-pass, with both a band-pass.  Masks
    that share their cut-offs add up to 1 exactly as far as rounding goes, so that the bands of a
    map add up to the map.  Make it once, when a module is built, and keep it as a buffer.

    Convention:
        Frequency: ``f = hypot(fy, fx)`` in cycles per pixel, fy and fx from -0.5 to 0.5 with zero
        at bin 0, in the order of :func:`differseg.ops.fourier.rfft2` (nothing is shifted).  The
        finest pattern along one axis (period 2 pixels) has f = 0.5, the corner f = 0.707.
        Low-pass with cut-off c: "ideal" 1 where ``f <= c``, else 0; "gaussian"
        ``exp(-f^2 / (2 c^2))``; "butterworth" ``1 / (1 + (f / c)^(2 order))``, one half at c.
        Band-pass: the low-pass at ``high`` minus the one at ``low``.

    Args:
        size_hw: Height and width of the maps, pixels.
        low: Cut-off below which bins are left out, cycles per pixel, above 0.
        high: Cut-off above which bins are left out, cycles per pixel, above ``low``.
        profile: "ideal" (hard, rings), "gaussian" (never rings) or "butterworth" (between).
        order: Steepness of "butterworth", 1 to 100.
        one_sided: Whether for the spectra of ``rfft2`` or the full ones of ``fft2``.
        dtype: Of the mask.
        device: Of the mask.

    Returns:
        Mask ``(H, W // 2 + 1)``, or ``(H, W)`` when not one-sided, 0 ... 1; multiplies
        ``(N, C, 2, H, W // 2 + 1)`` as it is.

    Raises:
        InputError: A size, cut-off, profile or order out of range.
    """
    height, width = check_size_hw("radial_mask", size_hw)
    low, high = _check_cut_offs(low, high)
    check_choice("radial_mask", "profile", profile, PROFILES)
    order = check_range("radial_mask", "order", order, 1, MAX_ORDER)
    fy = _frequencies(height, height)[:, None]
    fx = _frequencies(width, width // 2 + 1 if one_sided else width)[None]
    radius = torch.hypot(fy, fx)  # (H, W // 2 + 1)
    inner = _low_pass(radius, high, profile, order) if high is not None else 1.0
    mask = inner - _low_pass(radius, low, profile, order) if low is not None else inner
    return torch.as_tensor(mask).expand(radius.shape).to(device=device, dtype=dtype).contiguous()


def _check_cut_offs(low: float | None, high: float | None) -> tuple[float | None, float | None]:
    low, high = (
        None
        if cut_off is None
        else check_positive(
            "radial_mask", name, cut_off, "cycles per pixel", f"leave {name} out for none"
        )
        for name, cut_off in (("low", low), ("high", high))
    )
    if low is not None and high is not None and not low < high:
        raise InputError(
            f"radial_mask: low is {low} and high is {high}, expected low below high; swap them"
        )
    return low, high


def _frequencies(extent: int, bins: int) -> Tensor:
    """Return the absolute frequency of the first bins of an axis, cycles per pixel, float64."""
    index = torch.arange(bins, dtype=torch.float64)
    return torch.minimum(index, extent - index) / extent


def _low_pass(radius: Tensor, cut_off: float, profile: str, order: int) -> Tensor:
    if profile == "ideal":
        return (radius <= cut_off).double()
    if profile == "gaussian":
        return torch.exp(-((radius / cut_off) ** 2) / 2)
    return 1 / (1 + (radius / cut_off) ** (2 * order))
