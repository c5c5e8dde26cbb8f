"""A quantisation as one HTML file: what was tried, what was chosen, what every part costs."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from differseg import __version__
from differseg.calibration.search import Part, SearchResult
from differseg.calibration.task_score import TaskScore
from differseg.errors import InputError
from differseg.export.report_markup import Cell, Markup, Row, table
from differseg.export.report_style import PAGE, STYLE

if TYPE_CHECKING:
    from differseg.calibration.quantize_run import QuantizeReport

_WIDTH, _HEIGHT = 600, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 72, 28, 18, 54
_DOT = 4

_CHART_STYLE = """
.chart circle.tried { fill: var(--muted); }
.chart circle.fits { fill: var(--accent); }
.chart circle.chosen { fill: none; stroke: var(--good); stroke-width: 3; }
td.bar { width: 30%; } td.bar i { display: block; height: 10px; background: var(--accent); }
"""


def write_page(report: QuantizeReport, found: SearchResult, max_drop: float, path: Path) -> None:
    """Write the page.

    Args:
        report: What was written.
        found: What was tried.
        max_drop: The limit.
        path: An ``.html`` file.

    Raises:
        InputError: It cannot be written.
    """
    body = "".join((_head(report), _figures(report), _chart(report, found, max_drop),
                    _parts(report, found)))  # fmt: skip
    page = PAGE.substitute(
        title=escape(f"INT8: {report.path.name}"), style=STYLE + _CHART_STYLE, body=body
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise InputError(f"quantize: cannot write the report {path}: {error.strerror}") from None


def _head(report: QuantizeReport) -> str:
    share = f"{100 * report.share:.1f} % of the work that may be"
    return (
        f'<p class="kicker">differseg {__version__} · INT8</p><h1>{escape(report.path.name)}</h1>'
        f"<p>{report.kernels} of {report.candidates} nodes in int8, {share}; judged by "
        f"{escape(report.against)} on {report.images} images, {report.evaluations} graphs run.</p>"
    )


def _figures(report: QuantizeReport) -> str:
    rows = [("float32", report.reference)]
    if report.plain != report.score:
        rows.append(("all in int8", report.plain))
    rows.append(("this file", report.score))
    shown = [_score_row(name, score, report.reference) for name, score in rows]
    columns = ("", "IoU", "Boundary F", "Largest drop")
    return f"<section><h2>What it costs</h2>{table('What it costs', columns, shown)}</section>"


def _score_row(name: str, score: TaskScore, reference: TaskScore) -> Row:
    boundary = "" if score.boundary_f is None else f"{score.boundary_f:.4f}"
    drop = "" if score is reference else _four(reference.drop_to(score))
    return Row(name, [f"{score.iou:.4f}", boundary, drop])


def _four(number: float) -> str:
    return f"{round(number, 4) + 0.0:.4f}"  # no minus before zero


def _chart(report: QuantizeReport, found: SearchResult, max_drop: float) -> str:
    """Return the drop of every choice against its share of int8."""
    drops = [report.reference.drop_to(score) for _, score in found.tried]
    high = max([*drops, 1.5 * max_drop, 1e-4])
    low = min([*drops, 0.0])

    def x(share: float) -> float:
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    def y(drop: float) -> float:
        return _HEIGHT - _BOTTOM - (drop - low) / (high - low) * (_HEIGHT - _BOTTOM - _TOP)

    parts = [
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        'aria-label="Drop of every choice against its share of int8">'
    ]
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(
            f'<line class="grid" x1="{x(share):.1f}" x2="{x(share):.1f}" y1="{_TOP}" '
            f'y2="{_HEIGHT - _BOTTOM}"/><text x="{x(share):.1f}" y="{_HEIGHT - _BOTTOM + 20}" '
            f'text-anchor="middle">{100 * share:.0f} %</text>'
        )
    for drop in (0.0, high, *([low] if low < -0.1 * high else [])):
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(drop):.1f}" '
            f'y2="{y(drop):.1f}"/><text x="{_LEFT - 8}" y="{y(drop) + 4:.1f}" '
            f'text-anchor="end">{_four(drop)}</text>'
        )
    parts.append(
        f'<line class="limit" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(max_drop):.1f}" '
        f'y2="{y(max_drop):.1f}"/><text class="limit-text" x="{_LEFT + 6}" '
        f'y="{y(max_drop) - 6:.1f}">limit {max_drop:g}</text>'
    )
    for (share, _), drop in zip(found.tried, drops, strict=True):
        kind = "fits" if drop <= max_drop else "tried"
        parts.append(f'<circle class="{kind}" cx="{x(share):.1f}" cy="{y(drop):.1f}" r="{_DOT}"/>')
    chosen = report.reference.drop_to(report.score)
    parts.append(
        f'<circle class="chosen" cx="{x(report.share):.1f}" cy="{y(chosen):.1f}" r="{2 * _DOT}"/>'
        f'<text class="title" x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{_HEIGHT - 6}" '
        'text-anchor="middle">share of the work in int8</text></svg>'
    )
    return (
        '<section><h2>What was tried</h2><div class="card errors"><div>'
        + "".join(parts)
        + "</div><div><p>Each dot is a graph that was run on the images: how far its worse figure "
        "(IoU or boundary F) lies below float32's. The ring is the choice.</p></div></div>"
        "</section>"
    )


def _parts(report: QuantizeReport, found: SearchResult) -> str:
    if not found.parts:
        return ""
    total = sum(part.macs for part in found.parts)
    ordered = sorted(found.parts, key=lambda part: -part.error_per_work)
    worst = max(part.alone.error for part in found.parts if part.alone) or 1.0
    columns = ("Part", "Work", "Drop", Cell("Error"), "Above 0.25 cycles/px", Cell("Now"))
    rows = [_part_row(part, found, total, worst) for part in ordered]
    return (
        "<section><h2>What every part costs alone</h2><p>Each row is one part in int8 alone; the "
        "most error for the work comes first. The error is the mean square of how far the "
        "probabilities move; the column behind it says how much of that lies at high spatial "
        f"frequencies, where outlines are.</p>{table('Parts', columns, rows)}</section>"
    )


def _part_row(part: Part, found: SearchResult, total: int, worst: float) -> Row:
    assert part.alone is not None
    bands = part.alone.bands
    fine = sum(bands[len(bands) // 2 :]) / sum(bands) if sum(bands) > 0 else 0.0
    stays = found.without.issuperset(part.nodes)
    width = f"{100 * part.alone.error / worst:.1f}%"
    cells: list[str | Cell] = [
        f"{100 * part.macs / total:.1f} %",
        _four(part.drop),
        Cell(Markup(f'<i style="width:{width}"></i>'), "bar"),
        f"{100 * fine:.0f} %",
        Cell("stays" if stays else "int8"),
    ]
    return Row(part.name, cells)
