"""Checks of operator arguments: one line that says what, where, got, expected and what to do.

They look at ranks, sizes, dtypes and names alone, never at values, so that the same message comes
at a call, under ``torch.compile`` and while ``torch.export`` traces.
"""

from __future__ import annotations

import difflib
import math
import numbers
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


def is_whole(value: object) -> bool:
    """Return whether a value is a whole number: an int, one of NumPy or of a trace, no bool."""
    whole = isinstance(value, (int, torch.SymInt, numbers.Integral))
    return whole and not isinstance(value, bool)


def check_range(where: str, name: str, value: object, lowest: int, highest: int) -> int:
    """Refuse what is no whole number within a range; return it as an int.

    Raises:
        InputError: Names the value and the range.
    """
    if not is_whole(value) or not lowest <= value <= highest:  # type: ignore[operator]
        raise InputError(
            f"{where}: {name} is {value!r}, expected a whole number from {lowest} to {highest}; "
            "choose one of these"
        )
    return int(value)  # type: ignore[call-overload]


def check_odd(where: str, name: str, value: object, lowest: int, highest: int) -> int:
    """Refuse what is no odd number within a range: a kernel needs a centre; return it as an int.

    Raises:
        InputError: Names the value and the range.
    """
    size = check_range(where, name, value, lowest, highest)
    if size % 2 == 0:
        raise InputError(
            f"{where}: {name} is {size}, expected an odd number from {lowest} to {highest}, so "
            f"that there is a centre; choose {size - 1} or {size + 1}"
        )
    return size


def check_positive(where: str, name: str, value: object, what: str, advice: str) -> float:
    """Refuse what is no finite number above 0; return it as a float.

    Args:
        where: The operator, for the message.
        name: The argument, for the message.
        value: What was passed.
        what: What the number counts, for the message.
        advice: What to do instead, for the message.

    Raises:
        InputError: Names the value.
    """
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not number or not 0 < value < math.inf:  # type: ignore[operator]
        raise InputError(f"{where}: {name} is {value!r}, expected {what} above 0; {advice}")
    return float(value)  # type: ignore[arg-type]


def check_size_hw(where: str, size_hw: object) -> tuple[int, int]:
    """Refuse what is no height and width of a map; return them.

    Raises:
        InputError: Names the value.
    """
    size = tuple(size_hw) if isinstance(size_hw, (tuple, list)) else ()
    if len(size) != 2 or not all(is_whole(extent) and extent >= 1 for extent in size):
        raise InputError(
            f"{where}: size_hw is {size_hw!r}, expected height and width of a map, two whole "
            "numbers from 1; pass tuple(x.shape[-2:])"
        )
    return size[0], size[1]
