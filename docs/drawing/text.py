"""What stands in a box of an architecture picture, broken into lines that fit."""

from __future__ import annotations

import re
from dataclasses import dataclass

from drawing.trace import Block

TITLE_PX = 12.0
TEXT_PX = 10.5
_PADDING_PX = 7
_LEADING_PX = 2.5


@dataclass(frozen=True)
class Line:
    """A line of text, its size in pixels."""

    text: str
    size: float = TEXT_PX
    bold: bool = False


def box_lines(block: Block, width: float, sizes: str) -> list[Line]:
    """Return the lines of a box.

    Args:
        block: What it stands for.
        width: Of the box, pixels.
        sizes: Of the maps that it gives.
    """
    room = width - 8
    titles = _broken(_title(block), r"(?<=[_.])", room, TITLE_PX, bold=True)
    lines = [Line(text, TITLE_PX, bold=True) for text in titles]
    if block.kind not in ("", "Sequential"):
        kinds = _broken(block.kind, r"(?<=[a-z0-9])(?=[A-Z])", room, TEXT_PX)
        lines += [Line(text) for text in kinds]
    figures = [sizes]
    if block.params:
        plural = "s" if block.params > 1 else ""
        count = f"{short(block.params)} parameter{plural}"
        figures.append("weights shared" if block.shared else count)
    joined = ", ".join(figures)
    if width_of(joined, TEXT_PX) <= room:
        return [*lines, Line(joined)]
    for figure in figures:
        lines += [Line(text) for text in _broken(figure, r"(?<= )", room, TEXT_PX)]
    return lines


def height_of(lines: list[Line]) -> float:
    """Return the height of a box with these lines, pixels."""
    return 2 * _PADDING_PX + sum(line.size + _LEADING_PX for line in lines)


def baselines(lines: list[Line], height: float) -> list[float]:
    """Return where lines stand in a box of a height, pixels from its top."""
    y = (height - sum(line.size + _LEADING_PX for line in lines)) / 2
    found = []
    for line in lines:
        y += line.size + _LEADING_PX
        found.append(y - _LEADING_PX - 0.1 * line.size)
    return found


def short(count: int) -> str:
    """Write a count with three digits, such as ``1.63 M``."""
    for unit, name in ((1_000_000, " M"), (1_000, " k")):
        if count >= unit:
            return f"{count / unit:.3g}{name}"
    return str(count)


def width_of(text: str, size: float, *, bold: bool = False) -> float:
    """Return about how wide a text is in Helvetica, pixels."""
    parts = {"fijlrt.,:()|' ": 0.29, "mwMW": 0.83, "ABCDEFGHKNOPQRSTUVXYZ": 0.69}
    em = sum(next((w for signs, w in parts.items() if sign in signs), 0.55) for sign in text)
    return em * size * (1.07 if bold else 1.0)


def _broken(text: str, where: str, room: float, size: float, *, bold: bool = False) -> list[str]:
    """Break a text into as few lines as fit, at the places that an expression finds."""
    lines = [""]
    for part in re.split(where, text):
        if lines[-1] and width_of(lines[-1] + part, size, bold=bold) > room:
            lines.append("")
        lines[-1] += part
    return [line.strip() for line in lines]


def _title(block: Block) -> str:
    """Name a block by its place in its part of the network, whose name is in the legend."""
    top, _, rest = block.name.partition(".")
    name = top if not rest else block.name if rest.isdigit() else rest
    if block.count > 1:
        stem, _, first = name.rpartition(".")
        name = f"{stem}.{first} to {int(first) + block.count - 1}"
    return name
