"""The evaluation as one HTML file, readable without a network, and its curves as one SVG file."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path

import cv2
import numpy as np

from differseg import __version__
from differseg.export.report_markup import Cell, Markup, Row, figure, table
from differseg.export.report_style import PAGE, STYLE
from differseg.robustness.chart import CSS, Curve, Panel, chart, color_class, key, sheet
from differseg.robustness.corruption import Corruption
from differseg.robustness.judged import JudgedModel
from differseg.robustness.result import FIGURE_TITLES, Robustness, least_kept, percent
from differseg.robustness.rows import Picture

_STYLE = (
    STYLE
    + CSS
    + """
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 340px), 1fr));
  gap: 8px 24px; }
.charts figcaption { margin: 0 0 2px; }
.share { position: relative; min-width: 92px; }
.share i { position: absolute; left: 14px; bottom: 3px; height: 4px; border-radius: 2px;
  width: calc((100% - 28px) * var(--part)); background: var(--c); }
tbody th a { color: var(--accent); }
.keys svg { vertical-align: middle; margin-right: 6px; }
.keys span { color: var(--ink); }
table.kept thead th.number { white-space: normal; overflow-wrap: anywhere; }
table.kept th { min-width: 84px; }
table.levels td, table.levels th { white-space: nowrap; }
.pictures { margin-bottom: 14px; }
.pictures figcaption { min-height: 2.6em; }
"""
)


def render(result: Robustness, folder: Path) -> str:
    """Return the page as text.

    Args:
        result: The evaluation.
        folder: Where its pictures lie.
    """
    title = f"Robustness: {', '.join(model.name for model in result.models)}"
    cards = [
        _card(result, corruption, number, folder)
        for number, corruption in enumerate(result.corruptions, start=1)
    ]
    body = [
        _header(result),
        _summary(result),
        f"<section><h2>By corruption</h2>{_legend(result)}{''.join(cards)}</section>",
        _facts(result),
        f"<footer>Written by differseg {escape(__version__)}.</footer>",
    ]
    return PAGE.substitute(title=escape(title), style=_STYLE, body="\n".join(body))


def curves_sheet(result: Robustness) -> str:
    """Return the headline figure over all corruptions as one SVG file."""
    figure = result.judged.headline
    panels = [
        Panel(
            corruption.title,
            tuple(_curves(result, corruption, figure)),
            tuple(corruption.shown(level) for level in (0, *corruption.levels)),
            corruption.unit,
        )
        for corruption in result.corruptions
    ]
    caption = f"{_called(figure)} on {result.data.title}"
    return sheet(panels, [model.name for model in result.models], caption)


def _called(figure: str) -> str:
    return FIGURE_TITLES.get(figure, figure)


def _header(result: Robustness) -> str:
    figure = result.judged.headline
    tiles = [("Images", str(len(result.data.samples)), escape(result.data.title))]
    said = []
    for model in result.models:
        clean = next(
            row for task, row in result.judged.rows.items()
            if task.model is model and task.corruption is None
        )  # fmt: skip
        tiles.append(
            (
                escape(model.name),
                f"{clean.figures[figure]:.3f}",
                f"{_called(figure)} of {clean.images} clean images; kept: {result.overall(model)}",
            )
        )
        least = least_kept(result, model)
        if least is not None:
            corruption, kept = least
            said.append(
                f"{model.name} keeps {percent(result.overall_kept(model))} of its clean "
                f"{_called(figure)} in the mean of {len(result.kept(model))} corruptions, and "
                f"least under '{corruption.title}': {percent(kept)}."
            )
    shown = "".join(
        f'<div class="tile"><dt>{name}</dt><dd>{value}<small>{note}</small></dd></div>'
        for name, value, note in tiles
    )
    notices = "".join(
        f'<p class="notice" role="note">⚠ {escape(text)}</p>' for text in result.data.warnings
    )
    names = f' <span class="versus">{escape("and")}</span> '.join(
        escape(model.name) for model in result.models
    )
    return (
        f'<header><p class="kicker">Robustness report</p><h1>{names}</h1>'
        f'<div class="lead"><p>{escape(" ".join(said))}</p></div>{notices}'
        f'<dl class="tiles">{shown}</dl></header>'
    )


def _legend(result: Robustness) -> str:
    keys = "".join(
        f"<span>{key(place)}{escape(model.name)}</span>"
        for place, model in enumerate(result.models)
    )
    return f'<p class="legend keys">{keys}</p>'


def _summary(result: Robustness) -> str:
    rows = []
    for number, corruption in enumerate(result.corruptions, start=1):
        cells = [
            _share(result.judged.kept(model, corruption), place)
            for place, model in enumerate(result.models)
        ]
        link = Markup(f'<a href="#c{number}">{escape(corruption.title)}</a>')
        rows.append(Row(link, cells))
    columns = ("Corruption", *(model.name for model in result.models))
    called = _called(result.judged.headline)
    return (
        "<section><h2>What is kept</h2>"
        f"<p>The mean of the {escape(called)} over a corruption's levels, as a share of the "
        f"{escape(called)} without it.</p>"
        f"{table('What is kept', columns, rows, css='kept')}</section>"
    )


def _share(kept: float | None, place: int) -> Cell:
    if kept is None:
        return Cell(percent(kept), "number share")
    bar = f'<i style="--part:{min(max(kept, 0.0), 1.0):.3f}"></i>'
    return Cell(Markup(percent(kept) + bar), f"number share {color_class(place)}")


def _curves(result: Robustness, corruption: Corruption, figure: str) -> list[Curve]:
    curves = []
    for place, model in enumerate(result.models):
        rows = result.judged.curve(model, corruption)
        if rows:
            values = tuple(float(row.figures[figure]) for row in rows)
            curves.append(Curve(model.name, place, values))
    return curves


def _card(result: Robustness, corruption: Corruption, number: int, folder: Path) -> str:
    """Return one corruption's card: meaning, curves, figures, and the worst pictures."""
    ticks = [corruption.shown(level) for level in (0, *corruption.levels)]
    images = len(result.data.samples) if corruption.only is None else len(corruption.only)
    charts = "".join(
        f"<figure><figcaption>{_called(figure)}, {images} images</figcaption>"
        + chart(
            _curves(result, corruption, figure),
            ticks,
            corruption.unit,
            f"{_called(figure)} over {corruption.title}",
        )
        + "</figure>"
        for figure in result.drawn_figures()
    )
    pictures = "".join(
        _pictures(result, model, corruption, f"c{number}-{place}", f"c{number}", folder)
        for place, model in enumerate(result.models)
    )
    unit = f"<ul><li>{escape(corruption.unit)}</li></ul>" if corruption.unit else ""
    return (
        f'<article class="card" id="c{number}"><div class="head">'
        f"<h3>{escape(corruption.title)}</h3>{unit}</div>"
        f'<p class="muted">{escape(corruption.meaning)}</p>'
        f'<div class="charts">{charts}</div>{_levels(result, corruption, ticks)}{pictures}'
        "</article>"
    )


def _levels(result: Robustness, corruption: Corruption, ticks: list[str]) -> str:
    rows = []
    for model in result.models:
        curve = result.judged.curve(model, corruption)
        if curve:
            rows += [
                Row(model.name, [f"{row.figures[name]:.3f}" for row in curve], note=_called(name))
                for name in result.drawn_figures()
            ]
    shown = table(
        f"Figures of {corruption.title}", (corruption.unit, *ticks), rows, css="levels", card=False
    )
    return f"<details><summary>Figures</summary>{shown}</details>"


def _pictures(
    result: Robustness,
    model: JudgedModel,
    corruption: Corruption,
    anchor: str,
    home: str,
    folder: Path,
) -> str:
    """Return the images that a corruption made worst, at its greatest level."""
    curve = result.judged.curve(model, corruption)
    if not curve or not curve[-1].pictures:
        return ""
    level = corruption.shown(curve[-1].level)
    at = f"at {level} {corruption.unit}" if corruption.unit else "without that camera"
    rows = []
    for number, picture in enumerate(curve[-1].pictures):
        figures = "".join(
            _figure(f"{anchor}-{number}-{i}", home, folder / name, caption, picture)
            for i, (caption, name) in enumerate(picture.panels)
        )
        called = _called(result.judged.headline)
        rows.append(
            f"<p>{escape(picture.stem)}: {called} {picture.clean:.3f} &rarr; "
            f"<b>{picture.figure:.3f}</b></p>"
            f'<div class="pictures" style="--count:{len(picture.panels)}">{figures}</div>'
        )
    return (
        f"<details><summary>What {escape(model.name)} loses most, {escape(at)}</summary>"
        f"{''.join(rows)}</details>"
    )


def _figure(anchor: str, home: str, file: Path, caption: str, picture: Picture) -> Markup:
    code = file.read_bytes()
    shown = cv2.imdecode(np.frombuffer(code, np.uint8), cv2.IMREAD_COLOR)
    height, width = np.asarray(shown).shape[:2]
    source = f"data:image/jpeg;base64,{base64.b64encode(code).decode('ascii')}"
    return figure(anchor, home, source, (width, height), f"{caption}, {picture.stem}", caption)


def _facts(result: Robustness) -> str:
    rows = [Row(model.name, [_identity(model)]) for model in result.models]
    rule = result.data.everything.rule
    rows.append(Row("Images", [result.data.title]))
    rows.append(Row("Labels", [rule.name if rule else "-"]))
    if "boundary_f" in result.drawn_figures():
        rows.append(Row("Tolerance of boundaries", [f"{result.settings.tolerance_px:g} pixels"]))
    rows.append(Row("Seed", [str(result.settings.seed)]))
    rows += [Row(f"Not judged: {name}", [why]) for name, why in result.judged.plan.skipped.items()]
    shown = table("How it was judged", (), rows, css="facts", figures=False)
    return f"<section><h2>How it was judged</h2>{shown}</section>"


def _identity(model: JudgedModel) -> Markup:
    height, width = model.predictor.size_hw
    return Markup(
        f"{escape(model.predictor.name)} at {height} &times; {width}; "
        f"<code>{escape(str(model.file))}</code>; SHA-256 <code>{model.sha256}</code>"
    )
