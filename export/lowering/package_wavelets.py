"""Two-dimensional transforms of the package pytorch_wavelets, traced as our own operators.

The package filters rows and columns one after the other, with two outputs a channel, which keeps
ONNX Runtime busy for longer, and the plugin library has no kernel for that.  Filters, sizes,
borders and the order of bands are the same wherever a map is at least as large as the filters.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from differseg.ops.wavelet import MODES

_HOME = "pytorch_wavelets.dwt.transform2d"
Taps = tuple[float, ...]
Coefficients = tuple[Tensor, list[Any]]


@contextlib.contextmanager
def own_wavelets(module: nn.Module) -> Iterator[None]:
    """Let the package's transforms in a module compute with our operators, within the context."""
    changed: list[nn.Module] = []
    home = sys.modules.get(_HOME)  # a module that holds one has imported it
    try:
        for part in module.modules() if home is not None else ():
            forward = _own_forward(part, home)
            if forward is not None:
                part.__dict__["forward"] = forward
                changed.append(part)
        yield
    finally:
        for part in changed:
            del part.__dict__["forward"]


def _own_forward(part: nn.Module, home: Any) -> Callable[..., Any] | None:
    """Return what a transform may compute instead, None for any other module."""
    if type(part) not in (home.DWTForward, home.DWTInverse) or "forward" in part.__dict__:
        return None
    mode = "periodization" if part.mode == "per" else str(part.mode)
    if mode not in MODES:
        return None
    if type(part) is home.DWTForward:
        taps = _shared_taps(part, "h")
        return None if taps is None else _decomposition(part, mode, *taps)
    taps = _shared_taps(part, "g")
    return None if taps is None else _reconstruction(part, mode, *taps)


def _shared_taps(part: nn.Module, letter: str) -> tuple[Taps, Taps] | None:
    """Return low-pass and high-pass as they are stored, None where rows and columns differ."""
    rows, columns = (
        [tuple(part.get_buffer(f"{letter}{kind}_{axis}").flatten().tolist()) for kind in (0, 1)]
        for axis in ("row", "col")
    )
    low, high = rows
    return (low, high) if rows == columns and len(low) == len(high) else None


def _decomposition(part: Any, mode: str, low: Taps, high: Taps) -> Callable[[Tensor], Coefficients]:
    original = part.forward
    filters = list(low[::-1]), list(high[::-1])  # stored in the order of a correlation

    def forward(x: Tensor) -> Coefficients:
        if x.dtype != part.h0_col.dtype:  # which the package refuses, or computes its own way
            return original(x)
        smooth, details = x, []
        for _ in range(part.J):
            if min(smooth.shape[-2:]) < len(low):  # where the package's border is its own
                return original(x)
            bands = torch.ops.differseg.dwt2(smooth, *filters, mode)
            smooth = bands[:, :, 0]
            details.append(bands[:, :, 1:])
        return smooth, details

    return forward


def _reconstruction(
    part: Any, mode: str, low: Taps, high: Taps
) -> Callable[[Coefficients], Tensor]:
    original = part.forward
    lost = 0 if mode == "periodization" else len(low) - 2

    def forward(coeffs: Coefficients) -> Tensor:
        smooth, details = coeffs
        if smooth.dtype != part.g0_col.dtype:
            return original(coeffs)
        for detail in details[::-1]:
            if detail is None or min(2 * n - lost for n in detail.shape[-2:]) < len(low):
                return original(coeffs)
            height, width = detail.shape[-2:]
            bands = torch.cat((smooth[..., None, :height, :width], detail), 2)
            size = 2 * height - lost, 2 * width - lost
            smooth = torch.ops.differseg.idwt2(bands, list(low), list(high), mode, *size)
        return smooth

    return forward
