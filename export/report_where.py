"""Where the outputs differ: sections of a parity report on spatial frequency and on outlines."""

from __future__ import annotations

import math

from differseg.export.boundary_band import BoundaryBand
from differseg.export.error_spectrum import ErrorSpectrum, SpectrumBand
from differseg.export.parity_result import ParityResult
from differseg.export.report_chart import power_of_ten
from differseg.export.report_markup import Row, table
from differseg.export.report_tables import NONE, shown_number

_WIDTH, _HEIGHT = 600, 270
_LEFT, _RIGHT, _TOP, _BOTTOM = 72, 20, 14, 62
_FLOOR = math.sqrt(0.5)


def where_errors(result: ParityResult) -> str:
    """Return both sections; nothing for outputs that are equal or were not looked at."""
    if result.overall.max_error == 0:
        return ""
    spectrum = "" if result.spectrum is None else _spectrum(result.spectrum)
    return spectrum + (_boundary(result.boundary) if result.boundary else "")


def _spectrum(spectrum: ErrorSpectrum) -> str:
    total = spectrum.error_power
    columns = ("Cycles/px", "Error power", "Share", "Relative")
    rows = [_band_row(band, total) for band in spectrum.bands]
    return (
        '<section><h2>Spectrum of the error</h2><div class="card errors spectrum">'
        f"<div>{spectrum_chart(spectrum)}"
        '<p class="muted after">Power of the difference of the two outputs over the power of the '
        "reference, in rings of equal spatial frequency: 1 is an error as strong as the signal. "
        "The lowest ring holds areas, the highest ones edges and single pixels; "
        f"{_images(spectrum.images)}.</p></div>"
        f"{table('Spectrum of the error', columns, rows, card=False)}</div></section>"
    )


def _images(count: int) -> str:
    return "one image" if count == 1 else f"mean over {count} images"


def _band_row(band: SpectrumBand, total: float) -> Row:
    share = f"{100 * band.error_power / total:.1f}\u202f%" if total else NONE
    relative = NONE if band.relative is None else shown_number(band.relative)
    corner = "diagonal only" if band.high > 0.5 else ""
    cells = [shown_number(band.error_power), share, relative]
    return Row(f"{band.low:.2f} to {band.high:.2f}", cells, note=corner)


def spectrum_chart(spectrum: ErrorSpectrum) -> str:
    """Return an SVG of the relative power in every band, a logarithmic axis upwards.

    Args:
        spectrum: With at least one band.

    Returns:
        The ``<svg>`` element, or a sentence where no band has a relative power to show.
    """
    known = [band.relative for band in spectrum.bands if band.relative]
    finite = [value for value in known if math.isfinite(value)]
    if not finite:
        return "<p>No band has an error.</p>"
    lowest = math.floor(math.log10(min(finite)))
    highest = max(math.ceil(math.log10(max(finite))), lowest + 1)
    scale = _Scale(lowest, highest)
    bars = "".join(scale.bar(band) for band in spectrum.bands if band.relative)
    return (
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        'aria-label="Power of the error relative to the reference by spatial frequency">'
        f"{scale.grid()}{bars}</svg>"
    )


class _Scale:
    """Frequency from 0 to the diagonal's end, and decades of relative power."""

    bottom = _HEIGHT - _BOTTOM

    def __init__(self, lowest: int, highest: int) -> None:
        self.lowest, self.highest = lowest, highest

    def x(self, frequency: float) -> float:
        return _LEFT + frequency / _FLOOR * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        decades = min(max(math.log10(value), self.lowest), self.highest)
        part = (self.highest - decades) / (self.highest - self.lowest)
        return _TOP + part * (self.bottom - _TOP)

    def bar(self, band: SpectrumBand) -> str:
        value = band.relative or 0.0
        top = self.y(value) if math.isfinite(value) else float(_TOP)
        left, right = self.x(band.low), self.x(band.high)
        # A bar of the lowest value still shows.
        height = max(2.0, self.bottom - top)
        kind = "bar corner" if band.high > 0.5 else "bar"
        said = f"{band.low:.2f} to {band.high:.2f} cycles/px: {value:.2g}"
        return (
            f'<rect class="{kind}" x="{left + 1:.1f}" y="{self.bottom - height:.1f}" '
            f'width="{right - left - 2:.1f}" height="{height:.1f}"><title>{said}</title></rect>'
        )

    def grid(self) -> str:
        parts = []
        step = math.ceil((self.highest - self.lowest) / 5)
        for decade in range(self.lowest, self.highest + 1, step):
            y = self.y(10.0**decade)
            parts.append(
                f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" '
                f'y1="{y:.1f}" y2="{y:.1f}"/>'
                f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">'
                f"{power_of_ten(decade)}</text>"
            )
        for tenths in range(6):
            x = self.x(tenths / 10)
            period = f"{10 / tenths:.2g} px" if tenths else "mean"
            parts.append(
                f'<text x="{x:.1f}" y="{self.bottom + 18}" text-anchor="middle">'
                f"{tenths / 10:g}</text>"
                f'<text class="power" x="{x:.1f}" y="{self.bottom + 34}" '
                f'text-anchor="middle">{period}</text>'
            )
        middle = (_LEFT + _WIDTH - _RIGHT) / 2
        parts.append(
            f'<text x="{middle}" y="{_HEIGHT - 6}" text-anchor="middle">'
            "cycles per pixel, and the period</text>"
        )
        return "".join(parts)


_DISTANCE_COLUMNS = (
    "Distance", "Pixels", "Mean error", "Mean elsewhere", "Ratio", "Max error", "Max elsewhere",
)  # fmt: skip


def _boundary(bands: tuple[BoundaryBand, ...]) -> str:
    rows = [_distance_row(band) for band in bands]
    shown = table("Errors near outlines", _DISTANCE_COLUMNS, rows, card=False)
    return (
        f'<section><h2>Errors near outlines</h2><div class="card">{shown}'
        f'<p class="muted after">{_reading(bands)}</p></div></section>'
    )


def _distance_row(band: BoundaryBand) -> Row:
    share = 100 * band.pixels / max(1, band.pixels + band.rest_pixels)
    figures = [
        f"{share:.2g}\u202f%",
        shown_number(band.mean_error),
        shown_number(band.rest_mean_error),
        NONE if band.ratio is None else f"{band.ratio:.3g}\N{MULTIPLICATION SIGN}",
        shown_number(band.max_error),
        shown_number(band.rest_max_error),
    ]
    return Row(f"≤\u202f{band.distance_px}\u202fpx", figures)


def _reading(bands: tuple[BoundaryBand, ...]) -> str:
    """Say what the table means for this comparison."""
    means = (
        "Outlines are those of the reference&rsquo;s mask, between pixels of different classes. "
    )
    widest = bands[-1]
    inside = (widest.mean_error or 0.0) * widest.pixels
    total = inside + (widest.rest_mean_error or 0.0) * widest.rest_pixels
    if not total or not math.isfinite(total):
        return means
    return means + (
        f"{100 * inside / total:.0f}\u202f% of the summed error lies within "
        f"{widest.distance_px} px of them."
    )
