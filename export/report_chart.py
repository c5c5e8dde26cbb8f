"""The error distribution of a parity report as inline SVG."""

from __future__ import annotations

import math

import numpy as np

from differseg.export.parity_result import ErrorHistogram

_WIDTH, _HEIGHT = 600, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 72, 28, 18, 54


def survival_chart(histogram: ErrorHistogram, limit: float) -> str:
    """Return an SVG of the share of pixels whose error is at least x, both axes logarithmic.

    Linear axes would hide what matters here: the few pixels with the largest errors.

    Args:
        histogram: Errors of all pixels.
        limit: The allowed largest error, drawn as a line; 0 draws none.

    Returns:
        The ``<svg>`` element, or a sentence where all pixels are equal.
    """
    share = histogram.share_above()
    used = np.flatnonzero(share > 0)
    if used.size == 0 or histogram.pixels == 0:
        return f"<p>All pixels are equal to within {histogram.edges[0]:.0e}.</p>"
    x_values, y_values = histogram.edges[used], share[used]
    first = math.floor(math.log10(x_values[0]) + 1e-9)
    last = min(0, math.ceil(math.log10(max(x_values[-1] * 1.3, limit * 2))))
    axes = _Axes(first, max(last, first + 1), min(-1, math.floor(math.log10(y_values[-1]))))
    points = [(axes.x(x), axes.y(y)) for x, y in zip(x_values, y_values, strict=True)]
    # The last bin's errors lie below its upper edge: there the curve meets the axis.
    end = histogram.edges[min(int(used[-1]) + 1, len(histogram.edges) - 1)]
    points.append((axes.x(float(end)), axes.bottom))
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    area = f"{points[0][0]:.1f},{axes.bottom} {line}"
    parts = [
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        'aria-label="Share of pixels by size of error, logarithmic axes">',
        *axes.grid(),
        f'<polygon class="area" points="{area}"/>',
        f'<polyline class="line" points="{line}"/>',
    ]
    if limit > 0 and axes.first <= math.log10(limit) <= axes.last:
        x = axes.x(limit)
        anchor, gap = ("end", -6) if x > _WIDTH / 2 else ("start", 6)
        parts.append(
            f'<line class="limit" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{axes.bottom}"/>'
            f'<text class="limit-text" x="{x + gap:.1f}" y="{_TOP + 12}" '
            f'text-anchor="{anchor}">limit {limit:g}</text>'
        )
    return "".join([*parts, "</svg>"])


class _Axes:
    """Two logarithmic axes: decades ``first`` to ``last`` of error, ``lowest`` to 0 of share."""

    bottom = _HEIGHT - _BOTTOM

    def __init__(self, first: int, last: int, lowest: int) -> None:
        self.first, self.last, self.lowest = first, last, lowest

    def x(self, error: float) -> float:
        part = (math.log10(error) - self.first) / (self.last - self.first)
        return _LEFT + part * (_WIDTH - _LEFT - _RIGHT)

    def y(self, share: float) -> float:
        part = math.log10(share) / self.lowest
        return _TOP + part * (self.bottom - _TOP)

    def grid(self) -> list[str]:
        """Return grid lines, tick texts and titles."""
        parts = []
        every = math.ceil((self.last - self.first) / 6)
        for decade in range(self.last, self.first - 1, -every):
            x = self.x(10.0**decade)
            parts.append(
                f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{self.bottom}"/>'
                f'<text x="{x:.1f}" y="{self.bottom + 20}" text-anchor="middle">'
                f"{power_of_ten(decade)}</text>"
            )
        step = math.ceil(-self.lowest / 5)
        for decade in range(0, self.lowest - 1, -step):
            y = self.y(10.0**decade)
            parts.append(
                f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" '
                f'y1="{y:.1f}" y2="{y:.1f}"/>'
                f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{_share(decade)}</text>'
            )
        middle = (_LEFT + _WIDTH - _RIGHT) / 2
        parts.append(
            f'<text class="title" x="{middle}" y="{_HEIGHT - 6}" text-anchor="middle">'
            "error of the probability</text>"
        )
        return parts


def power_of_ten(decade: int) -> str:
    """Return a power of ten as text of an SVG."""
    if decade == 0:
        return "1"
    return f'10<tspan class="power" dy="-5">{str(decade).replace("-", "&minus;")}</tspan>'


def _share(decade: int) -> str:
    """Return a power of ten as percent while that is short, else as a power."""
    return f"{10.0 ** (decade + 2):g} %" if decade >= -4 else power_of_ten(decade)
