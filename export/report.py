"""A comparison as one HTML file: verdict, figures and pictures, readable without a network.

Needs numpy and OpenCV only; :func:`write_report` takes the result of
:func:`differseg.export.parity.parity` and everything the page shows is embedded in it.
"""

from __future__ import annotations

from html import escape
from pathlib import Path

import numpy as np

from differseg import __version__
from differseg.errors import InputError
from differseg.export.parity_result import (
    Check,
    ImageFigures,
    Panel,
    ParityResult,
    Side,
)
from differseg.export.report_chart import survival_chart
from differseg.export.report_layers import layer_by_layer
from differseg.export.report_markup import Markup, Row, figure, markup, table
from differseg.export.report_pictures import (
    Color,
    Rgb,
    data_uri,
    difference_picture,
    fit_width,
    input_picture,
    mask_overlay,
)
from differseg.export.report_style import PAGE, STYLE
from differseg.export.report_tables import (
    all_images,
    every_class,
    facts,
    sentence,
    shown_limit,
    shown_number,
    shown_ratio,
)
from differseg.export.report_where import where_errors
from differseg.manifest import background_of

MAX_PANELS = 12
"""Images with pictures in a report; the others stand in its table."""

_BUDGET_BYTES = 4_500_000
_ENCODINGS = ((480, 82), (400, 72), (320, 62), (240, 50))  # width in pixels, JPEG quality


def write_report(result: ParityResult, path: Path) -> None:
    """Write the page.

    Args:
        result: Of a comparison that kept panels.
        path: An ``.html`` file; its folder is made where it does not exist.

    Raises:
        InputError: The file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(render(result), encoding="utf-8")
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(f"parity: cannot write the report {path}: {reason}") from None


def render(result: ParityResult) -> str:
    """Return the page as text; the first encoding whose pictures fit the budget is taken."""
    panels = result.panels[:MAX_PANELS]
    cards: list[str] = []
    for width_px, quality in _ENCODINGS:
        cards = [
            _card(result, panel, number, width_px, quality)
            for number, panel in enumerate(panels, start=1)
        ]
        if sum(map(len, cards)) <= _BUDGET_BYTES:
            break
    title = f"Parity: {result.b.name} against {result.a.name}"
    body = [
        _header(result),
        _verdict(result),
        _distribution(result),
        where_errors(result),
        layer_by_layer(result.layers),
        _pictures(result, cards),
        every_class(result),
        all_images(result),
        facts(result),
        f"<footer>Written by differseg {escape(__version__)}.</footer>",
    ]
    return PAGE.substitute(title=escape(title), style=STYLE, body="\n".join(body))


def _badge(passed: bool) -> Markup:
    kind, text = ("good", "✓ passed") if passed else ("bad", "✗ failed")
    return Markup(f'<span class="badge {kind}">{text}</span>')


def _header(result: ParityResult) -> str:
    overall = result.overall
    tiles = [
        (
            "Images",
            shown_number(len(result.images)),
            f"{result.size_hw[0]} &times; {result.size_hw[1]} px",
        ),
        ("Max error", shown_number(overall.max_error), f"mean {shown_number(overall.mean_error)}"),
        ("Flipped pixels", shown_number(overall.flipped_pixels), _of(overall)),
        ("Mask IoU", shown_ratio(overall.mask_iou), "of the worst image"),
        ("Boundary F", shown_ratio(overall.boundary_f), "of the worst image"),
    ]
    if overall.label_iou_b is not None:
        tiles.append(
            (
                "IoU with labels",
                shown_ratio(overall.label_iou_b),
                f"A: {shown_ratio(overall.label_iou_a)}",
            )
        )
    shown = "".join(
        f'<div class="tile"><dt>{name}</dt><dd>{value}<small>{note}</small></dd></div>'
        for name, value, note in tiles
    )
    notices = "".join(
        f'<p class="notice" role="note">⚠ {escape(sentence(text))}</p>' for text in result.warnings
    )
    return (
        "<header>"
        '<p class="kicker">Parity report</p>'
        f'<h1>{escape(result.b.name)} <span class="versus">against</span> '
        f"{escape(result.a.name)}</h1>"
        f'<div class="lead">{_badge(result.passed)}<p>{escape(result.summary())}.</p></div>'
        f"{notices}"
        f'<dl class="tiles">{shown}</dl></header>'
    )


def _of(figures: ImageFigures) -> str:
    """Say of how many pixels, and how many more are ties."""
    tied = f", {shown_number(figures.tied_pixels)} tied" if figures.tied_pixels else ""
    return f"of {shown_number(figures.pixels)}{tied}"


def _verdict(result: ParityResult) -> str:
    rows = [_check_row(check) for check in result.checks]
    shown = table("Verdict", ("Check", "Measured", "Allowed", "Result"), rows)
    return f"<section><h2>Verdict</h2>{shown}</section>"


def _check_row(check: Check) -> Row:
    relation = "≤" if check.relation == "<=" else "≥"
    measured = (shown_ratio if check.relation == ">=" else shown_number)(check.measured)
    allowed = Markup(f"{relation} {shown_limit(check.limit)}")
    return Row(_capital(check.what), [measured, allowed, _badge(check.passed)], check.where)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _distribution(result: ParityResult) -> str:
    limit = next(check.limit for check in result.checks if check.what == "max error")
    histogram = result.histogram
    shares = {share: _quantile(result, share / 100) for share in (50.0, 99.0, 99.99)}
    rows = [
        Row(f"{share:g} % of the pixels", [Markup(f"up to {shown_number(error)}")])
        for share, error in shares.items()
    ]
    rows.append(Row("Largest", [shown_number(result.overall.max_error)]))
    facts = table("How large the errors are", (), rows, card=False)
    return (
        '<section><h2>How large the errors are</h2><div class="card errors">'
        f"<div>{survival_chart(histogram, limit)}</div>"
        "<div><p>At each error, the curve gives the share of all pixels whose two probabilities "
        f"differ by at least that much.</p>{facts}</div></div></section>"
    )


def _quantile(result: ParityResult, share: float) -> float:
    return min(result.histogram.quantile(share), result.overall.max_error)


def _pictures(result: ParityResult, cards: list[str]) -> str:
    if not cards:
        return ""
    left_out = len(result.images) - len(cards)
    order = "worst first" if len(result.images) > 1 else ""
    said = f"{order}; the other {left_out} stand in the table below" if left_out > 0 else order
    note = f' <span class="versus">· {said}</span>' if said else ""
    legend = _mask_legend(result)
    if any(panel.label is not None for panel in result.panels):
        legend.append(
            '<span><i class="key" style="background:#fff;border:1px solid #000"></i>'
            "outline of the label</span>"
        )
    legend.append('<span><i class="key" style="background:#00e5ff"></i>flipped pixel</span>')
    return (
        f"<section><h2>Images{note}</h2>"
        f'<p class="legend">{"".join(legend)}</p>{"".join(cards)}</section>'
    )


def _mask_legend(result: ParityResult) -> list[str]:
    """Return the keys of the colours: of the mask, or of the classes that the masks show."""
    colors, classes = _colors(result.b), result.b.classes
    names = {1: "mask"}
    if len(classes) > 2:
        panels = [mask for panel in result.panels for mask in (panel.mask_a, panel.mask_b)]
        shown = {int(place) for mask in panels for place in np.unique(mask)}
        names = {place: escape(classes[place].name) for place in sorted(shown)}
    keys = []
    for place, name in names.items():
        color = colors[place]
        if color is not None:
            rgb = ",".join(map(str, color))
            keys.append(f'<span><i class="key" style="background:rgb({rgb})"></i>{name}</span>')
    return keys


def _colors(side: Side) -> list[Color | None]:
    """Return the colour of every class; None of the background."""
    if len(side.classes) < 2:
        return [None, (255, 64, 32)]
    background = background_of(side.classes)
    return [None if spec is background else spec.color_rgb for spec in side.classes]


def _card(result: ParityResult, panel: Panel, number: int, width_px: int, quality: int) -> str:
    """Return one image's card: figures above, pictures below."""
    figures, colors = panel.figures, _colors(result.b)
    inputs = {name: input_picture(name, picture) for name, picture in panel.pictures.items()}
    base = inputs.get("rgb", next(iter(inputs.values())))
    shown = [
        (picture, f"{'RGB' if name == 'rgb' else name} input", markup(_input_caption(name)))
        for name, picture in inputs.items()
    ]
    for letter, side, mask, foreground in (
        ("A", result.a, panel.mask_a, figures.foreground_a),
        ("B", result.b, panel.mask_b, figures.foreground_b),
    ):
        overlay = mask_overlay(base, mask, colors, panel.label)
        said = f"{100 * foreground:.1f} % mask"
        if result.classes:
            said = f"{len(np.unique(mask))} classes"
        caption = markup(f"{letter}: {side.kind}, {said}")
        shown.append((overlay, f"mask of {side.name}", caption))
    difference = difference_picture(panel, width_px)
    shown.append(
        (difference.picture, "difference of the two outputs", _difference_caption(difference.scale))
    )
    pictures = "".join(
        _figure(f"p{number}-{i}", f"i{number}", fit_width(picture, width_px), quality,
                f"{alt}, {figures.stem}", caption)
        for i, (picture, alt, caption) in enumerate(shown, start=1)
    )  # fmt: skip
    return (
        f'<article class="card" id="i{number}"><div class="head"><h3>{escape(figures.stem)}</h3>'
        f"{_chips(figures)}</div>"
        f'<div class="pictures" style="--count:{len(shown)}">{pictures}</div></article>'
    )


def _input_caption(name: str) -> str:
    known = {"rgb": "RGB", "thermal": "Thermal, bright is warm", "depth": "Depth, colour-mapped"}
    return known.get(name, _capital(name))


def _difference_caption(scale: float) -> Markup:
    if scale == 0:
        return markup("Difference: none, both outputs are equal")
    # Three digits: nobody compares amplifications more finely.
    times = float(f"{1 / scale:.3g}")
    shown = shown_number(times) if times >= 1000 else f"{times:g}"
    return Markup(
        f"Difference &times; {shown}"
        f'<span class="scale" aria-hidden="true"></span>'
        f'<span class="ends"><span>0</span><span>{shown_number(scale)}</span></span>'
    )


def _figure(anchor: str, home: str, picture: Rgb, quality: int, alt: str, caption: str) -> Markup:
    size_wh = (picture.shape[1], picture.shape[0])
    return figure(anchor, home, data_uri(picture, quality), size_wh, alt, caption)


def _chips(figures: ImageFigures) -> str:
    off = ' class="off"' if figures.flipped_pixels or figures.nonfinite else ""
    chips = [
        f"max error <b>{shown_number(figures.max_error)}</b>",
        f"flipped <b{off}>{shown_number(figures.flipped_pixels)}</b>",
        f"mask IoU <b>{shown_ratio(figures.mask_iou)}</b>",
        f"boundary F <b>{shown_ratio(figures.boundary_f)}</b>",
    ]
    if figures.tied_pixels:
        chips.append(f"tied <b>{shown_number(figures.tied_pixels)}</b>")
    if figures.nonfinite:
        chips.append(f'NaN or infinite <b class="off">{shown_number(figures.nonfinite)}</b>')
    if figures.label_iou_b is not None:
        chips.append(
            f"IoU with label <b>{shown_ratio(figures.label_iou_a)}</b> → "
            f"<b>{shown_ratio(figures.label_iou_b)}</b>"
        )
    return "<ul>" + "".join(f"<li>{chip}</li>" for chip in chips) + "</ul>"
