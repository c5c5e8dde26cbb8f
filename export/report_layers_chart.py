"""The errors along a graph as inline SVG."""

from __future__ import annotations

import math

from differseg.export.divergence_result import Divergence, percent
from differseg.export.report_chart import power_of_ten

_WIDTH, _HEIGHT = 1100, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 78, 20, 16, 34
_LEAST = 1e-8  # below float32's rounding nothing is told apart


def layers_chart(found: Divergence) -> str:
    """Return an SVG: errors as an area, own errors as dots, suspects as rings, the limit as a line.

    Args:
        found: With its layers in the order of the graph.

    Returns:
        The ``<svg>`` element in a box that scrolls, or a sentence where all tensors are equal.
    """
    layers = found.layers
    values = [v for layer in layers for v in (layer.rms, layer.own_rms) if v and math.isfinite(v)]
    if not values or max(values) < _LEAST:
        broken = any(layer.nonfinite for layer in layers)
        if not broken:
            return "<p>All compared tensors are equal.</p>"
        values = [1.0]
    top = math.ceil(math.log10(max(*values, found.limits.rms * 1.5)))
    scale = _Scale(len(layers), math.floor(math.log10(max(_LEAST, min(values)))), top)
    points = " ".join(
        f"{scale.x(i):.1f},{scale.y(layer.rms):.1f}" for i, layer in enumerate(layers)
    )
    area = f"{scale.x(0):.1f},{scale.bottom} {points} {scale.x(len(layers) - 1):.1f},{scale.bottom}"
    dots = "".join(
        f'<circle class="own" cx="{scale.x(i):.1f}" cy="{scale.y(layer.own_rms):.1f}" r="2"/>'
        for i, layer in enumerate(layers)
        if layer.own_rms
    )
    rings = "".join(
        f'<circle class="suspect" cx="{scale.x(i):.1f}" '
        f'cy="{scale.y(layer.own_rms or layer.rms):.1f}" r="6">'
        f"<title>{_title(layer.node)}: {percent(layer.own_rms or layer.rms)}</title></circle>"
        for i, layer in enumerate(layers)
        if layer.exceeds(found.limits)
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="Errors along the graph">'
        f'<svg class="chart wide" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        'aria-label="Relative error of every tensor along the graph">'
        f'{scale.grid(found.limits.rms)}<polygon class="area" points="{area}"/>'
        f'<polyline class="line" points="{points}"/>{dots}{rings}</svg></div>'
    )


def _title(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")


class _Scale:
    """Places in the graph, and decades of relative error."""

    bottom = _HEIGHT - _BOTTOM

    def __init__(self, count: int, lowest: int, highest: int) -> None:
        self._count = count
        self.lowest, self.highest = min(lowest, highest - 1), highest

    def x(self, place: int) -> float:
        return _LEFT + (place + 0.5) / max(1, self._count) * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        decades = self.highest if math.isinf(value) else math.log10(max(value, 1e-30))
        part = (self.highest - min(max(decades, self.lowest), self.highest)) / (
            self.highest - self.lowest
        )
        return _TOP + part * (self.bottom - _TOP)

    def grid(self, limit: float) -> str:
        parts = []
        step = math.ceil((self.highest - self.lowest) / 6)
        for decade in range(self.highest, self.lowest - 1, -step):
            y = self.y(10.0**decade)
            label = f"{10.0 ** (decade + 2):g} %" if decade >= -4 else power_of_ten(decade)
            parts.append(
                f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" '
                f'y1="{y:.1f}" y2="{y:.1f}"/>'
                f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{label}</text>'
            )
        y = self.y(limit)
        parts.append(
            f'<line class="limit" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{_LEFT}" y="{_HEIGHT - 8}">input</text>'
            f'<text x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 8}" text-anchor="end">output</text>'
        )
        return "".join(parts)
