"""Curves of a figure over the levels of a corruption, one line for each model, as SVG.

Levels stand evenly spaced and named on the axis, the clean images first.  Lines differ by colour,
dash and marker, so that they are told apart in print and by everyone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

LIGHT = ("#2a6fdb", "#c2500a", "#0b7a62", "#9a3d94", "#7a6400", "#4d5866")
"""Colours of the models on a light ground; more models begin again, with other dashes."""
DARK = ("#7fb0ff", "#ffa566", "#5fd6b4", "#e592e2", "#dccb54", "#b8c2cf")
"""The same on a dark ground."""

_DASHES = ("", "7 4", "2 3", "10 3 2 3")
_GRID = (0.0, 0.25, 0.5, 0.75, 1.0)
_WIDTH, _HEIGHT = 480, 264
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 14, 50


def _colors(colors: Sequence[str]) -> str:
    return "".join(f".s{place}{{--c:{color}}}" for place, color in enumerate(colors))


CSS = (
    f"{_colors(LIGHT)}@media screen and (prefers-color-scheme:dark){{{_colors(DARK)}}}"
    ".curve{fill:none;stroke:var(--c);stroke-width:2.2;stroke-linejoin:round}"
    ".mark{fill:var(--c);stroke:none}"
)
"""Style of curves and marks, for any page that shows them."""


@dataclass(frozen=True)
class Curve:
    """A model's line.

    Attributes:
        name: Of the model.
        place: Of the model among all, which chooses colour, dash and marker.
        values: 0..1, one for each level.
    """

    name: str
    place: int
    values: tuple[float, ...]


def panel(curves: Sequence[Curve], ticks: Sequence[str], unit: str) -> str:
    """Return the inside of a chart: grid, axis and lines, 480 by 264 units.

    Args:
        curves: At least one, with a value for each tick.
        ticks: Names of the levels, the clean images first.
        unit: Of the levels; may be empty.
    """
    bottom = _HEIGHT - _BOTTOM
    parts = []
    for value in _GRID:
        y = _y(value)
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{_LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>'
        )
    for at, tick in enumerate(ticks):
        parts.append(
            f'<text x="{_x(at, len(ticks)):.1f}" y="{bottom + 19}" text-anchor="middle">'
            f"{escape(tick)}</text>"
        )
    parts.append(
        f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{_HEIGHT - 6}" text-anchor="middle">'
        f"{escape(unit)}</text>"
    )
    for curve in curves:
        points = [(_x(at, len(ticks)), _y(value)) for at, value in enumerate(curve.values)]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        marks = "".join(marker(curve.place, x, y) for x, y in points)
        parts.append(
            f'<g class="{color_class(curve.place)}"><title>{escape(curve.name)}</title>'
            f'<polyline class="curve" points="{line}"{dash(curve.place)}/>{marks}</g>'
        )
    return "".join(parts)


def chart(curves: Sequence[Curve], ticks: Sequence[str], unit: str, label: str) -> str:
    """Return a chart as an ``<svg>`` element for the report's page.

    Args:
        curves: See :func:`panel`.
        ticks: Likewise.
        unit: Likewise.
        label: What the chart shows, for those who do not see it.
    """
    return (
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(label)}">{panel(curves, ticks, unit)}</svg>'
    )


def key(place: int) -> str:
    """Return a line with its marker, for a legend in HTML."""
    return (
        f'<svg class="{color_class(place)}" width="34" height="12" viewBox="0 0 34 12" '
        f'aria-hidden="true">{sample_line(place, 1, 6)}</svg>'
    )


def sample_line(place: int, x: float, y: float) -> str:
    """Return a short piece of a model's line with its marker, from ``x`` to the right."""
    return (
        f'<polyline class="curve" points="{x:g},{y:g} {x + 32:g},{y:g}"{dash(place)}/>'
        f"{marker(place, x + 16, y)}"
    )


def color_class(place: int) -> str:
    """Return the name of the style that colours a model."""
    return f"s{place % len(LIGHT)}"


def dash(place: int) -> str:
    """Return the attribute that dashes a model's line; empty for an unbroken one."""
    # every line has another dash, and the seventh, whose colour is the first's, has not its dash
    pattern = _DASHES[(place + place // len(LIGHT)) % len(_DASHES)]
    return f' stroke-dasharray="{pattern}"' if pattern else ""


def marker(place: int, x: float, y: float) -> str:
    """Return a model's marker: circle, square, triangle, diamond and so on."""
    kind = place % 4
    if kind == 0:
        return f'<circle class="mark" cx="{x:.1f}" cy="{y:.1f}" r="4"/>'
    corners = {1: (4, 45.0), 2: (3, -90.0), 3: (4, 0.0)}[kind]
    count, start = corners
    points = " ".join(
        f"{x + 5.2 * math.cos(math.radians(start + 360 * i / count)):.1f},"
        f"{y + 5.2 * math.sin(math.radians(start + 360 * i / count)):.1f}"
        for i in range(count)
    )
    return f'<polygon class="mark" points="{points}"/>'


def _x(at: int, count: int) -> float:
    inner = _WIDTH - _LEFT - _RIGHT
    margin = inner / (2 * count)
    return _LEFT + margin + at / max(1, count - 1) * (inner - 2 * margin)


def _y(value: float) -> float:
    part = 1 - min(max(value, 0.0), 1.0)
    return _TOP + part * (_HEIGHT - _BOTTOM - _TOP)


_SHEET_CSS = (
    ":root{--ink:#1b2430;--muted:#5a6675;--rule:#e0e4ea;--ground:#ffffff}"
    "@media screen and (prefers-color-scheme:dark)"
    "{:root{--ink:#e6eaf0;--muted:#9aa6b5;--rule:#2e3743;--ground:#12161c}}"
    ".ground{fill:var(--ground)}.grid{stroke:var(--rule)}"
    "text{fill:var(--muted);font:14px system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}"
    ".title{fill:var(--ink);font-weight:600;font-size:17px}"
    ".name{fill:var(--ink);font-size:16px}"
)


@dataclass(frozen=True)
class Panel:
    """One chart of a sheet: a title above what :func:`panel` takes."""

    title: str
    curves: tuple[Curve, ...]
    ticks: tuple[str, ...]
    unit: str


def sheet(panels: Sequence[Panel], names: Sequence[str], caption: str, columns: int = 3) -> str:
    """Return all charts as one SVG file, with legend and caption, for light and dark pages.

    Args:
        panels: In their order.
        names: Of the models.
        caption: One line at the top: the figure, the images and their number.
        columns: Charts a row.
    """
    columns = min(columns, len(panels))
    cell_h, head = _HEIGHT + 34, 44 + 26 * len(names)
    width = max(columns * _WIDTH, 2 * _WIDTH)
    height = head + cell_h * math.ceil(len(panels) / columns)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(caption)}"><style>{_SHEET_CSS}{CSS}</style>'
        f'<rect class="ground" width="{width}" height="{height}"/>'
        f'<text class="name" x="14" y="28">{escape(caption)}</text>'
    ]
    for place, name in enumerate(names):
        y = 54 + 26 * place
        parts.append(
            f'<g class="{color_class(place)}">{sample_line(place, 16, y - 5)}</g>'
            f'<text class="name" x="58" y="{y}">{escape(name)}</text>'
        )
    for at, one in enumerate(panels):
        x, y = at % columns * _WIDTH, head + at // columns * cell_h
        parts.append(
            f'<g transform="translate({x} {y})">'
            f'<text class="title" x="{_LEFT}" y="20">{escape(one.title)}</text>'
            f'<g transform="translate(0 28)">{panel(one.curves, one.ticks, one.unit)}</g></g>'
        )
    return "".join([*parts, "</svg>\n"])
