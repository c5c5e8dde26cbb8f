"""A comparison as one HTML file: verdict, figures and pictures, readable without a network.

Needs numpy and OpenCV only; :func:`write_report` takes the result of
:func:`differseg.export.parity.parity` and everything the page shows is embedded in it.
"""

from __future__ import annotations

import math
from html import escape
from pathlib import Path

from differseg import __version__
from differseg.errors import InputError
from differseg.export.parity_result import (
    TIE,
    Check,
    ImageFigures,
    Panel,
    ParityResult,
    Side,
    mask_of,
)
from differseg.export.report_chart import survival_chart
from differseg.export.report_pictures import (
    Rgb,
    data_uri,
    difference_picture,
    fit_width,
    input_picture,
    mask_overlay,
)
from differseg.export.report_style import PAGE, STYLE

MAX_PANELS = 12
"""Images with pictures in a report; the others stand in its table."""

_NONE = "&ndash;"
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
        _pictures(result, cards),
        _all_images(result),
        _facts(result),
        f"<footer>Written by differseg {escape(__version__)}.</footer>",
    ]
    return PAGE.substitute(title=escape(title), style=STYLE, body="\n".join(body))


def _number(value: float | None) -> str:
    """Return a figure as people write it: counts plain, small numbers with an exponent."""
    if value is None:
        return _NONE
    if math.isinf(value) or math.isnan(value):
        return "not finite"
    if value == int(value) and abs(value) < 1e12:
        return f"{int(value):,}".replace(",", "\u202f")
    if abs(value) < 1e-3:
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{mantissa}\u202f·\u202f10<sup>{int(exponent)}</sup>".replace("-", "&minus;")
    return f"{value:.4f}"


def _limit(value: float) -> str:
    """Return a limit as it was given: 0.001 and 10^-6, not 0.0010 and 1.00e-06."""
    mantissa, exponent = f"{value:.3e}".split("e")
    if value == 0 or int(exponent) >= -4:
        return f"{value:g}"
    factor = "" if float(mantissa) == 1 else f"{float(mantissa):g}\u202f·\u202f"
    return f"{factor}10<sup>&minus;{-int(exponent)}</sup>"


def _ratio(value: float | None) -> str:
    """Return a figure in 0..1 with so many digits that only equality reads as 1."""
    if value is None:
        return _NONE
    for digits in (4, 6, 8):
        if float(f"{value:.{digits}f}") != 1.0:
            return f"{value:.{digits}f}"
    return "1"


def _badge(passed: bool, yes: str = "passed", no: str = "failed") -> str:
    kind, text = ("good", "✓ " + yes) if passed else ("bad", "✗ " + no)
    return f'<span class="badge {kind}">{text}</span>'


def _header(result: ParityResult) -> str:
    overall = result.overall
    tiles = [
        (
            "Images",
            _number(len(result.images)),
            f"{result.size_hw[0]} &times; {result.size_hw[1]} px",
        ),
        ("Max error", _number(overall.max_error), f"mean {_number(overall.mean_error)}"),
        ("Flipped pixels", _number(overall.flipped_pixels), _of(overall)),
        ("Mask IoU", _ratio(overall.mask_iou), "of the worst image"),
        ("Boundary F", _ratio(overall.boundary_f), "of the worst image"),
    ]
    if overall.label_iou_b is not None:
        tiles.append(
            ("IoU with labels", _ratio(overall.label_iou_b), f"A: {_ratio(overall.label_iou_a)}")
        )
    shown = "".join(
        f'<div class="tile"><dt>{name}</dt><dd>{value}<small>{note}</small></dd></div>'
        for name, value, note in tiles
    )
    notices = "".join(
        f'<p class="notice" role="note">⚠ {escape(_sentence(text))}</p>' for text in result.warnings
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
    tied = f", {_number(figures.tied_pixels)} tied" if figures.tied_pixels else ""
    return f"of {_number(figures.pixels)}{tied}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _verdict(result: ParityResult) -> str:
    rows = "".join(_check_row(check) for check in result.checks)
    return (
        "<section><h2>Verdict</h2>"
        '<div class="card scroll" tabindex="0" role="region" aria-label="Verdict">'
        '<table><thead><tr><th scope="col">Check</th><th scope="col" class="number">Measured</th>'
        '<th scope="col" class="number">Allowed</th><th scope="col" class="number">Result</th>'
        f"</tr></thead><tbody>{rows}</tbody></table></div></section>"
    )


def _check_row(check: Check) -> str:
    relation = "≤" if check.relation == "<=" else "≥"
    measured = (_ratio if check.relation == ">=" else _number)(check.measured)
    where = f"<small>{escape(check.where)}</small>" if check.where else ""
    return (
        f'<tr><th scope="row">{escape(_capital(check.what))}{where}</th>'
        f'<td class="number">{measured}</td>'
        f'<td class="number">{relation} {_limit(check.limit)}</td>'
        f'<td class="number">{_badge(check.passed)}</td></tr>'
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _distribution(result: ParityResult) -> str:
    limit = next(check.limit for check in result.checks if check.what == "max error")
    histogram = result.histogram
    rows = [
        (f"{share:g} % of the pixels", f"up to {_number(_quantile(result, share / 100))}")
        for share in (50.0, 99.0, 99.99)
    ]
    rows.append(("Largest", _number(result.overall.max_error)))
    facts = "".join(
        f'<tr><th scope="row">{name}</th><td class="number">{value}</td></tr>'
        for name, value in rows
    )
    return (
        '<section><h2>How large the errors are</h2><div class="card errors">'
        f"<div>{survival_chart(histogram, limit)}</div>"
        "<div><p>At each error, the curve gives the share of all pixels whose two probabilities "
        f"differ by at least that much.</p><table>{facts}</table></div></div></section>"
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
    red, green, blue = _color(result.b)
    legend = [f'<span><i class="key" style="background:rgb({red},{green},{blue})"></i>mask</span>']
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


def _color(side: Side) -> tuple[int, int, int]:
    return side.classes[1].color_rgb if len(side.classes) > 1 else (255, 64, 32)


def _card(result: ParityResult, panel: Panel, number: int, width_px: int, quality: int) -> str:
    """Return one image's card: figures above, pictures below."""
    figures, color = panel.figures, _color(result.b)
    inputs = {name: input_picture(name, picture) for name, picture in panel.pictures.items()}
    base = inputs.get("rgb", next(iter(inputs.values())))
    shown = [
        (picture, f"{'RGB' if name == 'rgb' else name} input", escape(_input_caption(name)))
        for name, picture in inputs.items()
    ]
    for letter, side, probability, foreground in (
        ("A", result.a, panel.probability_a, figures.foreground_a),
        ("B", result.b, panel.probability_b, figures.foreground_b),
    ):
        overlay = mask_overlay(base, mask_of(probability, side.threshold), color, panel.label)
        caption = f"{letter}: {escape(side.kind)}, {100 * foreground:.1f} % mask"
        shown.append((overlay, f"mask of {side.name}", caption))
    difference = difference_picture(panel, result.a.threshold, result.b.threshold, width_px)
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


def _difference_caption(scale: float) -> str:
    if scale == 0:
        return "Difference: none, both outputs are equal"
    # Three digits: nobody compares amplifications more finely.
    times = float(f"{1 / scale:.3g}")
    shown = _number(times) if times >= 1000 else f"{times:g}"
    return (
        f"Difference &times; {shown}"
        f'<span class="scale" aria-hidden="true"></span>'
        f'<span class="ends"><span>0</span><span>{_number(scale)}</span></span>'
    )


def _figure(anchor: str, home: str, picture: Rgb, quality: int, alt: str, caption: str) -> str:
    height, width = picture.shape[:2]
    return (
        f'<figure id="{anchor}" style="--aspect:{width / height:.4f}">'
        f'<a class="open" href="#{anchor}" aria-label="Enlarge: {escape(alt)}">'
        f'<img src="{data_uri(picture, quality)}" width="{width}" height="{height}" '
        f'alt="{escape(alt)}"></a>'
        f'<a class="close" href="#{home}" aria-label="Close">&times;</a>'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _chips(figures: ImageFigures) -> str:
    off = ' class="off"' if figures.flipped_pixels or figures.nonfinite else ""
    chips = [
        f"max error <b>{_number(figures.max_error)}</b>",
        f"flipped <b{off}>{_number(figures.flipped_pixels)}</b>",
        f"mask IoU <b>{_ratio(figures.mask_iou)}</b>",
        f"boundary F <b>{_ratio(figures.boundary_f)}</b>",
    ]
    if figures.tied_pixels:
        chips.append(f"tied <b>{_number(figures.tied_pixels)}</b>")
    if figures.nonfinite:
        chips.append(f'NaN or infinite <b class="off">{_number(figures.nonfinite)}</b>')
    if figures.label_iou_b is not None:
        chips.append(
            f"IoU with label <b>{_ratio(figures.label_iou_a)}</b> → "
            f"<b>{_ratio(figures.label_iou_b)}</b>"
        )
    return "<ul>" + "".join(f"<li>{chip}</li>" for chip in chips) + "</ul>"


_COLUMNS = ("Max error", "Mean error", "Flipped", "Tied", "Mask IoU", "Boundary F")
_LABEL_COLUMNS = ("Label IoU A", "Label IoU B", "Label boundary F A", "Label boundary F B")


def _all_images(result: ParityResult) -> str:
    labelled = result.overall.label_iou_a is not None
    columns = _COLUMNS + (_LABEL_COLUMNS if labelled else ())
    head = "".join(f'<th scope="col" class="number">{name}</th>' for name in columns)
    rows = "".join(_image_row(image, labelled) for image in result.images)
    return (
        '<section><h2>Every image</h2><div class="card scroll" tabindex="0" role="region" '
        'aria-label="Every image"><table class="stems"><thead><tr><th scope="col">Image</th>'
        f"{head}</tr></thead><tbody>{rows}</tbody></table></div></section>"
    )


def _image_row(image: ImageFigures, labelled: bool) -> str:
    cells = [
        _number(image.max_error),
        _number(image.mean_error),
        _number(image.flipped_pixels),
        _number(image.tied_pixels),
        _ratio(image.mask_iou),
        _ratio(image.boundary_f),
    ]
    if labelled:
        cells += [
            _ratio(value)
            for value in (
                image.label_iou_a,
                image.label_iou_b,
                image.label_boundary_f_a,
                image.label_boundary_f_b,
            )
        ]
    shown = "".join(f'<td class="number">{cell}</td>' for cell in cells)
    return f'<tr><th scope="row">{escape(image.stem)}</th>{shown}</tr>'


def _facts(result: ParityResult) -> str:
    sides = (result.a, result.b)
    rows = [
        ("Ran on", [escape(side.kind) for side in sides]),
        ("File", [_code(side.source) for side in sides]),
        ("SHA-256", [_code(side.sha256 or "") for side in sides]),
        ("Network", [escape(side.model) for side in sides]),
        ("Weights", [escape(side.weights) or _NONE for side in sides]),
        ("Precision", [escape(side.precision) for side in sides]),
        ("Threshold", [f"{side.threshold:g}" for side in sides]),
        ("Versions", [escape(_pairs(side.versions)) or _NONE for side in sides]),
    ]
    compared = "".join(
        f'<tr><th scope="row">{name}</th><td>{a}</td><td>{b}</td></tr>' for name, (a, b) in rows
    )
    return (
        '<section><h2>What was compared</h2><div class="card scroll" tabindex="0" role="region" '
        'aria-label="What was compared"><table class="facts"><thead><tr><td></td>'
        '<th scope="col">A: the reference</th><th scope="col">B: what is judged</th></tr></thead>'
        f"<tbody>{compared}</tbody></table></div>"
        f'<div class="card"><p><b>Data.</b> {escape(_sentence(result.data))}</p>'
        f"<p><b>Machine.</b> {escape(_pairs(result.machine)) or _NONE}. "
        f"The comparison took {result.seconds:.1f} s.</p>"
        '<p class="muted">Error: difference of the two probabilities of a pixel. Flipped pixel: '
        "foreground on one side only. Tied pixel: the same, with both probabilities within "
        f"{_limit(TIE)} of the threshold. Mask IoU and boundary F (2 px tolerance) compare the two "
        "masks with each other; label figures compare each mask with the label at the label's "
        "size.</p></div></section>"
    )


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>" if text else _NONE


def _pairs(values: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
