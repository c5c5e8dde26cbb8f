"""A comparison in the terminal: tables, the verdict and one closing line."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from differseg.export.boundary_band import BoundaryBand
from differseg.export.divergence import print_divergence
from differseg.export.error_spectrum import ErrorSpectrum
from differseg.export.parity_result import Check, ParityResult

_WORST = 5  # images in the terminal's table
_WORTH_TELLING = 1e-4  # smaller errors are rounding, wherever they are


def print_result(result: ParityResult, console: Console) -> None:
    """Print the verdict as a table, with the warnings and one closing line."""
    table = Table(title=f"{result.b.name} against {result.a.name}", title_justify="left")
    table.add_column("check")
    table.add_column("measured", justify="right")
    table.add_column("allowed", justify="right")
    table.add_column("")
    table.add_column("where", style="dim")
    for check in result.checks:
        table.add_row(
            check.what,
            f"{check.measured:.4g}",
            f"{check.relation} {check.limit:g}",
            _word(check),
            escape(check.where),
        )
    console.print(table)
    if result.classes:
        console.print(_class_table(result))
    if result.overall.max_error > _WORTH_TELLING:
        if len(result.images) > 1:
            console.print(_worst_table(result))
        if result.boundary:
            console.print(_boundary_table(result.boundary))
        if result.spectrum is not None:
            console.print(_spectrum_table(result.spectrum))
    if result.layers is not None:
        print_divergence(result.layers, console)
    for warning in result.warnings:
        console.print(f"[yellow]warning:[/] {escape(warning)}", highlight=False, soft_wrap=True)
    style = "green" if result.passed else "red"
    verdict = "passed" if result.passed else "failed"
    line = f"[{style}]{verdict}[/]: {escape(result.summary())}"
    console.print(line, highlight=False, soft_wrap=True)


def _class_table(result: ParityResult) -> Table:
    """Return the IoU of every class that masks or labels show."""
    table = Table("class", title="IoU of the classes", title_justify="left")
    labelled = result.overall.label_iou_a is not None
    for column in ("between the masks", *(("A with labels", "B with labels") if labelled else ())):
        table.add_column(column, justify="right")
    for found in result.classes:
        values = (found.mask_iou, found.label_iou_a, found.label_iou_b)[: len(table.columns) - 1]
        if any(value is not None for value in values):
            cells = ("" if value is None else f"{value:.4f}" for value in values)
            table.add_row(escape(found.name), *cells)
    return table


def _worst_table(result: ParityResult) -> Table:
    """Return the images with the largest differences, worst first."""
    shown = result.worst_first[:_WORST]
    rest = len(result.images) - len(shown)
    title = "worst images first" + (f"; {rest} more" if rest else "")
    table = Table("image", title=title, title_justify="left")
    for column in ("max error", "mean error", "flipped", "mask IoU", "boundary F"):
        table.add_column(column, justify="right")
    for image in shown:
        errors = [f"{value:.3g}" for value in (image.max_error, image.mean_error)]
        ratios = [f"{value:.4f}" for value in (image.mask_iou, image.boundary_f)]
        table.add_row(escape(image.stem), *errors, str(image.flipped_pixels), *ratios)
    return table


def _boundary_table(bands: tuple[BoundaryBand, ...]) -> Table:
    """Return the errors near the reference's outlines against those elsewhere."""
    table = Table("distance", title="near the reference's outlines", title_justify="left")
    for column in ("mean error", "max error", "mean elsewhere", "max elsewhere", "ratio"):
        table.add_column(column, justify="right")
    for band in bands:
        values = (
            band.mean_error,
            band.max_error,
            band.rest_mean_error,
            band.rest_max_error,
            band.ratio,
        )
        cells = ("-" if value is None else f"{value:.3g}" for value in values)
        table.add_row(f"within {band.distance_px} px", *cells)
    return table


def _spectrum_table(spectrum: ErrorSpectrum) -> Table:
    """Return the power of the error in bands of spatial frequency."""
    table = Table("cycles/pixel", title="spectrum of the error", title_justify="left")
    for column in ("error power", "share", "of the reference's"):
        table.add_column(column, justify="right")
    total = spectrum.error_power
    for band in spectrum.bands:
        share = f"{100 * band.error_power / total:.1f} %" if total else "-"
        relative = "-" if band.relative is None else f"{band.relative:.2g}"
        table.add_row(
            f"{band.low:.2f} to {band.high:.2f}", f"{band.error_power:.3g}", share, relative
        )
    return table


def _word(check: Check) -> str:
    return "[green]ok[/]" if check.passed else "[red]FAILED[/]"
