"""An architecture picture as SVG text."""

from __future__ import annotations

import re
from html import escape

from drawing.layout import FINE_STRIDE, MARGIN_PX, WIDTH_PX, Edge, Layout
from drawing.text import baselines, short, width_of
from drawing.trace import Architecture, Block

COLORS = ("#cfe3fb", "#d6f0d2", "#fde3c1", "#e5dafa", "#fbd3d9", "#cdeeee", "#f3ecb8", "#e3dcd2")
_PLAIN, _INK, _GREY, _LINE, _FAINT = "#eceff2", "#16202a", "#46525e", "#5b6570", "#98a2ac"
_LEGEND_PX = 12.0


def svg(architecture: Architecture) -> str:
    """Return the picture of a network; its background is white on dark pages too."""
    layout = Layout(architecture)
    colors = _colors(architecture)
    legend, height = _legend(architecture, colors, layout.bottom + 24)
    name, (height_px, width_px) = escape(architecture.model), architecture.size_hw
    about = f"{short(architecture.params)} parameters, drawn at {height_px}x{width_px}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH_PX} {height:.0f}" '
        f'width="{WIDTH_PX}" height="{height:.0f}" role="img" '
        'font-family="Helvetica, Arial, sans-serif" text-anchor="middle">',
        f"<title>Architecture of {name}</title>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        f'markerHeight="7" orient="auto"><path d="M0 0.8 L8 4 L0 7.2 z" fill="{_LINE}"/></marker>'
        "</defs>",
        f'<rect width="{WIDTH_PX}" height="{height:.0f}" fill="#ffffff"/>',
        _text(MARGIN_PX, 32, architecture.model, 20, _INK, bold=True, anchor="start"),
        _text(WIDTH_PX - MARGIN_PX, 32, about, 13, _LINE, anchor="end"),
    ]
    parts += _column_backgrounds(layout)
    parts += [_line(layout, edge) for edge in layout.edges]
    parts += [_box(layout, block, colors) for block in architecture.blocks]
    return "\n".join([*parts, *legend, "</svg>", ""])


def _column_backgrounds(layout: Layout) -> list[str]:
    height_px, width_px = layout.architecture.size_hw
    parts = []
    for number, (left, right) in enumerate(layout.columns_x):
        stride = layout.strides[number]
        shade = "#f4f7fa" if number % 2 == 0 else "#ffffff"
        size = f"1/{stride}: {height_px // stride}x{width_px // stride}"
        label = f"full size to {size}" if stride == FINE_STRIDE else size
        parts.append(
            f'<rect x="{left:.1f}" y="48" width="{right - left:.1f}" '
            f'height="{layout.bottom - 48:.1f}" fill="{shade}"/>'
        )
        parts.append(_text((left + right) / 2, 68, label, 12, _LINE))
    return parts


def _part(name: str) -> str:
    """Return the top-level module of a block without its number."""
    return re.sub(r"\d+$", "", re.sub(r" \(\d+\)$", "", name).partition(".")[0])


def _colors(architecture: Architecture) -> dict[str, str]:
    found = dict.fromkeys(_part(block.name) for block in architecture.blocks if block.kind)
    return {part: COLORS[number % len(COLORS)] for number, part in enumerate(found)}


def _text(
    x: float,
    y: float,
    text: str,
    size: float,
    color: str,
    *,
    bold: bool = False,
    anchor: str = "",
) -> str:
    weight = ' font-weight="bold"' if bold else ""
    where = f' text-anchor="{anchor}"' if anchor else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" fill="{color}"{weight}{where}>'
        f"{escape(text)}</text>"
    )


def _line(layout: Layout, edge: Edge) -> str:
    """Draw a line with round corners."""
    points, radius = layout.points(edge), 5.0
    path = [f"M{points[0][0]:.1f} {points[0][1]:.1f}"]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        (ax, ay), (bx, by) = (_towards(corner, end, radius) for end in (before, after))
        path.append(f"L{ax:.1f} {ay:.1f} Q{corner[0]:.1f} {corner[1]:.1f} {bx:.1f} {by:.1f}")
    path.append(f"L{points[-1][0]:.1f} {points[-1][1]:.1f}")
    side = layout.blocks[edge[1]].training_only
    dash = ' stroke-dasharray="4 4"' if side else ""
    color = _FAINT if side else _LINE
    return (
        f'<path d="{" ".join(path)}" fill="none" stroke="{color}" stroke-width="1.3"{dash} '
        'marker-end="url(#tip)"/>'
    )


def _towards(
    start: tuple[float, float], end: tuple[float, float], radius: float
) -> tuple[float, float]:
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = max(abs(dx) + abs(dy), 1e-6)
    step = min(radius, length / 2) / length
    return start[0] + dx * step, start[1] + dy * step


def _box(layout: Layout, block: Block, colors: dict[str, str]) -> str:
    place, lines = layout.places[block.name], layout.lines[block.name]
    fill = colors[_part(block.name)] if block.kind else _PLAIN
    dash = ' stroke-dasharray="4 4"' if block.training_only else ""
    parts = [
        f'<rect x="{place.x:.1f}" y="{place.y:.1f}" width="{place.width:.1f}" '
        f'height="{place.height:.1f}" rx="7" fill="{fill}" stroke="#7c8894"{dash}/>'
    ]
    for line, y in zip(lines, baselines(lines, place.height), strict=True):
        color = _INK if line.bold else _GREY
        parts.append(_text(place.center, place.y + y, line.text, line.size, color, bold=line.bold))
    return "\n".join(parts)


def _legend(
    architecture: Architecture, colors: dict[str, str], y: float
) -> tuple[list[str], float]:
    """Return the names of the colours, and the height of a picture that ends below them."""
    notes = ["channels x height x width"]
    if any(block.training_only for block in architecture.blocks):
        notes.append("dashed: in training only")
    if any(block.name.endswith(" (2)") for block in architecture.blocks):
        notes.append("(2): the second run of a block")
    x, parts = float(MARGIN_PX), []
    for text, color in [*colors.items(), *((note, "") for note in notes)]:
        indent = 20 if color else 0
        width = indent + width_of(text, _LEGEND_PX)
        if x + width > WIDTH_PX - MARGIN_PX:
            x, y = float(MARGIN_PX), y + 22
        if color:
            parts.append(
                f'<rect x="{x:.1f}" y="{y - 11:.1f}" width="14" height="14" rx="3" '
                f'fill="{color}" stroke="#7c8894"/>'
            )
        parts.append(_text(x + indent, y, text, _LEGEND_PX, _GREY, anchor="start"))
        x += width + 26
    return parts, y + 20
