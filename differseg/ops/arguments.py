"""Checks of operator arguments: one line that says what, where, got, expected and what to do.

They look at ranks, sizes, dtypes and names alone, never at values, so that the same message comes
at a call, under ``torch.compile`` and while ``torch.export`` traces.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import torch
from torch import Tensor

from differseg.errors import InputError

_ORDINALS = ("first", "second", "third", "fourth", "fifth")
FLOAT_DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def check_floating(where: str, name: str, tensor: Tensor) -> None:
    """Refuse what is no tensor of a real floating type.

    Raises:
        InputError: Not a tensor, or complex, integer, bool or another type.
    """
    if not isinstance(tensor, Tensor):
        raise InputError(
            f"{where}: {name} is {type(tensor).__name__}, expected a tensor; "
            "convert it with torch.as_tensor"
        )
    if tensor.dtype in FLOAT_DTYPES:
        return
    advice = f"convert it with {name}.float()"
    if tensor.dtype.is_complex:
        advice = "stack its real and imaginary part on axis 2: torch.stack((z.real, z.imag), 2)"
    raise InputError(
        f"{where}: {name} has {tensor.dtype}, expected torch.float32, float64, float16 or "
        f"bfloat16; {advice}"
    )


def check_layout(where: str, name: str, tensor: Tensor, layout: str) -> None:
    """Refuse a wrong rank, a wrong fixed extent or an empty axis.

    Args:
        where: The operator, for the message.
        name: The argument, for the message.
        tensor: A tensor of a real floating type.
        layout: Axes in order, a number where the extent is fixed: ``"N, C, 2, H, W"``.

    Raises:
        InputError: Names the shape that was got and the layout that is expected.
    """
    check_floating(where, name, tensor)
    axes = layout.split(", ")
    shape = tuple(tensor.shape)
    if len(shape) != len(axes):
        raise InputError(
            f"{where}: {name} has {len(shape)} axes, shape {shape}, expected ({layout}); "
            "reshape it, or add missing axes with unsqueeze"
        )
    for ordinal, size, axis in zip(_ORDINALS, shape, axes, strict=False):
        if axis.isdigit() and size != int(axis):
            raise InputError(
                f"{where}: {name} has shape {shape}, expected ({layout}); "
                f"the axis of extent {axis} is the {ordinal} one"
            )
        if size == 0:
            raise InputError(
                f"{where}: {name} has shape {shape}, expected at least 1 along every axis; "
                "skip the call for an empty map"
            )


def check_choice(where: str, name: str, value: object, known: Sequence[str]) -> None:
    """Refuse a name that is not among the known ones.

    Raises:
        InputError: Offers the nearest name, or all of them.
    """
    if value in known:
        return
    near = difflib.get_close_matches(str(value), known, n=1)
    advice = f"did you mean '{near[0]}'?" if near else "choose one of these"
    names = ", ".join(f"'{item}'" for item in known)
    raise InputError(f"{where}: {name} is {value!r}, expected one of {names}; {advice}")


def check_range(where: str, name: str, value: object, lowest: int, highest: int) -> None:
    """Refuse what is no whole number within a range.

    Raises:
        InputError: Names the value and the range.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
        raise InputError(
            f"{where}: {name} is {value!r}, expected a whole number from {lowest} to {highest}; "
            "choose one of these"
        )


def check_odd(where: str, name: str, value: object, lowest: int, highest: int) -> None:
    """Refuse what is no odd number within a range: a kernel needs a centre.

    Raises:
        InputError: Names the value and the range.
    """
    check_range(where, name, value, lowest, highest)
    if isinstance(value, int) and value % 2 == 0:
        raise InputError(
            f"{where}: {name} is {value}, expected an odd number from {lowest} to {highest}, so "
            f"that there is a centre; choose {value - 1} or {value + 1}"
        )
