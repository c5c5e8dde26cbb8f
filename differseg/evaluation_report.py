"""An evaluation as one HTML file: figures, their spread over images, and the worst images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from differseg import __version__
from differseg.export.report_markup import Row, table
from differseg.export.report_pictures import data_uri, fit_width
from differseg.export.report_style import PAGE, STYLE

if TYPE_CHECKING:
    from differseg.evaluate import Evaluation

LISTED = 500
"""Images in the page's table, the worst first; all of them stand in images.csv."""

_STYLE = (
    STYLE
    + """
.figures { columns: 3 260px; column-gap: 32px; }
.figures div { display: flex; justify-content: space-between; break-inside: avoid; gap: 12px;
  border-bottom: 1px solid var(--rule); padding: 5px 0; }
.figures dt { color: var(--muted); }
.figures dd { margin: 0; font-variant-numeric: tabular-nums; font-weight: 600; }
table.images td, table.images th { white-space: nowrap; }
"""
)
_TITLES = {
    "iou": "IoU, all pixels together", "mean_iou": "mean IoU", "image_iou": "IoU, mean of images",
    "precision": "precision", "recall": "recall", "f_measure": "F (0.3), all pixels together",
    "mae": "MAE", "set_mae": "MAE, all pixels together", "ber": "BER",
    "set_ber": "BER, all pixels together", "boundary_f": "boundary F", "s_measure": "S-measure",
    "e_max": "E-measure, max", "e_mean": "E-measure, mean", "e_adaptive": "E-measure, adaptive",
    "f_max": "F-measure, max", "f_mean": "F-measure, mean", "f_adaptive": "F-measure, adaptive",
    "f_weighted": "F-measure, weighted", "hce": "human correction effort", "images": "images",
    "pixel_accuracy": "pixel accuracy", "mean_accuracy": "mean accuracy of the classes",
}  # fmt: skip
_CHART_WH = (680, 220)
_BINS = 20
_WIDTH_PX, _QUALITY = 1100, 80


def render(evaluation: Evaluation) -> str:
    """Return the page as text."""
    summary = evaluation.summary
    body = [
        _header(evaluation),
        _figures(summary["metrics"]),
        _classes(summary["metrics"].get("class_iou", {})),
        _spread(evaluation),
        _worst(evaluation),
        _images(evaluation),
        _facts(summary),
        f"<footer>Written by differseg {escape(__version__)}.</footer>",
    ]
    title = f"Evaluation: {summary['model']} on {summary['data']}"
    return PAGE.substitute(title=escape(title), style=_STYLE, body="\n".join(body))


def title_of(figure: str) -> str:
    """Return what a figure is called for people."""
    return _TITLES.get(figure, figure.replace("_", " "))


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:.4f}"
    return str(value)


def _header(evaluation: Evaluation) -> str:
    summary = evaluation.summary
    metrics, headline = summary["metrics"], evaluation.scorer.headline
    speed = summary["speed"]
    other = "boundary_f" if "boundary_f" in metrics else "pixel_accuracy"
    height, width = summary["size"]
    tiles = [
        ("Images", str(metrics["images"]), escape(_called(summary))),
        (title_of(headline), f"{metrics[headline]:.3f}", "1 is best"),
        (title_of(other), f"{metrics[other]:.3f}", "1 is best"),
        (
            "Time for an image",
            f"{speed['median_ms']:.1f} ms",
            f"{speed['images_per_s']:.1f} images a second, {escape(speed['device'])}",
        ),
    ]
    shown = "".join(
        f'<div class="tile"><dt>{name}</dt><dd>{value}<small>{note}</small></dd></div>'
        for name, value, note in tiles
    )
    notices = "".join(
        f'<p class="notice" role="note">⚠ {escape(text)}</p>' for text in summary["warnings"]
    )
    return (
        f'<header><p class="kicker">Evaluation</p><h1>{escape(summary["model"])} '
        f'<span class="versus">on</span> {escape(_called(summary))}</h1>'
        f"<p>{escape(summary['file'])}, {height} &times; {width} pixels.</p>{notices}"
        f'<dl class="tiles">{shown}</dl></header>'
    )


def _called(summary: Mapping[str, Any]) -> str:
    split = f", split {summary['split']}" if summary["split"] else ""
    return f"{summary['data']}{split}"


def _figures(metrics: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<div><dt>{escape(title_of(name))}</dt><dd>{_shown(value)}</dd></div>"
        for name, value in metrics.items()
        if name != "class_iou"
    )
    return f'<section><h2>Figures</h2><dl class="card figures">{rows}</dl></section>'


def _classes(class_iou: Mapping[str, float | None]) -> str:
    if not class_iou:
        return ""
    rows = [
        Row(name, ["not there" if iou is None else _shown(iou)]) for name, iou in class_iou.items()
    ]
    return f"<section><h2>Classes</h2>{table('Classes', ('class', 'IoU'), rows)}</section>"


def _spread(evaluation: Evaluation) -> str:
    """Return how many images have which value of the headline figure."""
    headline = evaluation.scorer.headline
    values = [float(getattr(scores, headline)) for _, scores in evaluation.images]
    if len(values) < 2:
        return ""
    counts, _ = np.histogram(np.clip(values, 0, 1), bins=_BINS, range=(0, 1))
    quarter, middle, three = np.percentile(values, [25, 50, 75])
    name = title_of(headline) if headline != "iou" else "IoU"
    return (
        f"<section><h2>Spread over images</h2><div class='card'>{_histogram(counts.tolist(), name)}"
        f"<p class='muted'>{escape(name)} of single images: a quarter below {quarter:.3f}, half "
        f"below {middle:.3f}, three quarters below {three:.3f}.</p></div></section>"
    )


def _histogram(counts: Sequence[int], name: str) -> str:
    width, height = _CHART_WH
    left, right, top, bottom = 36, 8, 8, 28
    step = (width - left - right) / len(counts)
    scale = (height - top - bottom) / max(1, max(counts))
    floor = height - bottom
    bars = "".join(
        f'<rect class="bar" x="{left + i * step + 1:.1f}" y="{floor - count * scale:.1f}" '
        f'width="{step - 2:.1f}" height="{count * scale:.1f}"><title>{i / len(counts):.2f} to '
        f"{(i + 1) / len(counts):.2f}: {count}</title></rect>"
        for i, count in enumerate(counts)
    )
    ticks = "".join(
        f'<text x="{left + part * (width - left - right):.1f}" y="{height - 8}" '
        f'text-anchor="middle">{part:g}</text>'
        for part in (0, 0.25, 0.5, 0.75, 1)
    )
    return (
        f'<svg class="chart" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="Images by {escape(name)}">'
        f'<line class="grid" x1="{left}" x2="{width - right}" y1="{floor}" y2="{floor}"/>'
        f'<text x="{left - 6}" y="{top + 10}" text-anchor="end">{max(counts)}</text>'
        f"{bars}{ticks}</svg>"
    )


def _worst(evaluation: Evaluation) -> str:
    if not evaluation.worst:
        return ""
    figures = []
    for number, row in enumerate(evaluation.worst, 1):
        picture = fit_width(evaluation.scorer.grid([row]), _WIDTH_PX)
        height, width = picture.shape[:2]
        figures.append(
            f'<figure class="card" id="worst-{number}">'
            f'<img src="{data_uri(picture, _QUALITY)}" width="{width}" height="{height}" '
            f'alt="{escape(row.caption)}" loading="lazy"><figcaption>{escape(row.caption)}'
            "</figcaption></figure>"
        )
    return f"<section><h2>Worst images</h2>{''.join(figures)}</section>"


def _images(evaluation: Evaluation) -> str:
    headline, columns = evaluation.scorer.headline, evaluation.scorer.columns
    order = sorted(evaluation.images, key=lambda image: float(getattr(image[1], headline)))
    rows = [
        Row(stem, [_shown(getattr(scores, name)) for name in columns])
        for stem, scores in order[:LISTED]
    ]
    shown = table("Images", ("image", *columns), rows, css="images")
    rest = len(order) - LISTED
    more = f"<p class='muted'>{rest} better ones stand in images.csv.</p>" if rest > 0 else ""
    return (
        "<section><h2>Images, worst first</h2><details><summary>Every figure of "
        f"{min(len(order), LISTED)} images</summary>{shown}{more}</details></section>"
    )


def _facts(summary: Mapping[str, Any]) -> str:
    named = {
        "Labels": summary["label_rule"],
        "Threshold": summary["threshold"],
        "Tolerance of boundaries": _pixels(summary["tolerance_px"]),
        "Sizes asked": ", ".join("x".join(map(str, size)) for size in summary["sizes"]),
        "Mirrored too": "yes" if summary["flip"] else "no",
        "Tiles": _tiles(summary["tiles"]),
        "Stretched to 0..1": "each prediction, as in papers" if summary["normalize"] else "no",
        "Timed": summary["speed"]["what"],
        "Processor": summary["processor"],
        "Versions": ", ".join(f"{name} {text}" for name, text in summary["versions"].items()),
    }
    rows = [Row(name, [str(value)]) for name, value in named.items() if value is not None]
    shown = table("How it was judged", (), rows, css="facts", figures=False)
    return f"<section><h2>How it was judged</h2>{shown}</section>"


def _tiles(tiles: Mapping[str, Any] | None) -> str | None:
    if tiles is None:
        return None
    size = "x".join(map(str, tiles["tile_hw"]))
    first = "whole image first" if tiles["whole_view"] else "tiles alone"
    return f"{size}, overlap {tiles['overlap']:g}, {first}"


def _pixels(tolerance_px: float | None) -> str | None:
    return None if tolerance_px is None else f"{tolerance_px:g} pixels"
