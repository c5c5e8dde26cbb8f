"""Tables of a parity report: every class, every image, what was compared; how numbers read."""

from __future__ import annotations

import math
from html import escape

from differseg.export.parity_result import TIE, ImageFigures, ParityResult, Side
from differseg.export.report_markup import Markup, Row, markup, table

NONE = Markup("&ndash;")


def shown_number(value: float | None) -> Markup:
    """Return a figure as people write it: counts plain, small numbers with an exponent."""
    if value is None:
        return NONE
    if math.isinf(value) or math.isnan(value):
        return Markup("not finite")
    if value == int(value) and abs(value) < 1e12:
        return Markup(f"{int(value):,}".replace(",", "\u202f"))
    if abs(value) < 1e-3:
        mantissa, exponent = f"{value:.2e}".split("e")
        shown = f"{mantissa}\u202f·\u202f10<sup>{int(exponent)}</sup>"
        return Markup(shown.replace("-", "&minus;"))
    return Markup(f"{value:.4f}")


def shown_limit(value: float) -> Markup:
    """Return a limit as it was given: 0.001 and 10^-6, not 0.0010 and 1.00e-06."""
    mantissa, exponent = f"{value:.3e}".split("e")
    if value == 0 or int(exponent) >= -4:
        return Markup(f"{value:g}")
    factor = "" if float(mantissa) == 1 else f"{float(mantissa):g}\u202f·\u202f"
    return Markup(f"{factor}10<sup>&minus;{-int(exponent)}</sup>")


def shown_ratio(value: float | None) -> Markup:
    """Return a figure in 0..1 with so many digits that only equality reads as 1."""
    if value is None:
        return NONE
    for digits in (4, 6, 8):
        if float(f"{value:.{digits}f}") != 1.0:
            return Markup(f"{value:.{digits}f}")
    return Markup("1")


def sentence(text: str) -> str:
    """Return text with a capital and a full stop."""
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def every_class(result: ParityResult) -> str:
    """Return the table of the classes that masks or labels show; nothing for two classes."""
    if not result.classes:
        return ""
    labelled = result.overall.label_iou_a is not None
    names = ("IoU of the masks", *(("Label IoU A", "Label IoU B") if labelled else ()))
    rows = []
    for found in result.classes:
        values = (found.mask_iou, found.label_iou_a, found.label_iou_b)[: len(names)]
        if any(value is not None for value in values):
            rows.append(Row(found.name, [shown_ratio(value) for value in values]))
    shown = table("Every class", ("Class", *names), rows, css="stems")
    return f"<section><h2>Every class</h2>{shown}</section>"


_COLUMNS = ("Max error", "Mean error", "Flipped", "Tied", "Mask IoU", "Boundary F")
_LABEL_COLUMNS = ("Label IoU A", "Label IoU B", "Label boundary F A", "Label boundary F B")


def all_images(result: ParityResult) -> str:
    """Return the table of all images, worst first."""
    labelled = result.overall.label_iou_a is not None
    columns = _COLUMNS + (_LABEL_COLUMNS if labelled else ())
    rows = [_image_row(image, labelled) for image in result.worst_first]
    order = ' <span class="versus">· worst first</span>' if len(result.images) > 1 else ""
    shown = table("Every image", ("Image", *columns), rows, css="stems")
    return f"<section><h2>Every image{order}</h2>{shown}</section>"


def _image_row(image: ImageFigures, labelled: bool) -> Row:
    cells = [
        shown_number(image.max_error),
        shown_number(image.mean_error),
        shown_number(image.flipped_pixels),
        shown_number(image.tied_pixels),
        shown_ratio(image.mask_iou),
        shown_ratio(image.boundary_f),
    ]
    if labelled:
        cells += [
            shown_ratio(value)
            for value in (
                image.label_iou_a,
                image.label_iou_b,
                image.label_boundary_f_a,
                image.label_boundary_f_b,
            )
        ]
    return Row(image.stem, cells)


def facts(result: ParityResult) -> str:
    """Return the table of both sides, the data, the machine, and what the words mean."""
    sides = (result.a, result.b)
    rows = [
        Row("Ran on", [side.kind for side in sides]),
        Row("File", [_code(side.source) for side in sides]),
        Row("SHA-256", [_code(side.sha256 or "") for side in sides]),
        Row("Network", [side.model for side in sides]),
        Row("Weights", [side.weights or NONE for side in sides]),
        Row("Precision", [side.precision for side in sides]),
        Row("Mask", [_rule(side) for side in sides]),
        Row("Versions", [_pairs(side.versions) or NONE for side in sides]),
    ]
    columns = ("", "A: the reference", "B: what is judged")
    compared = table("What was compared", columns, rows, css="facts", figures=False)
    return (
        f"<section><h2>What was compared</h2>{compared}"
        f'<div class="card"><p><b>Data.</b> {escape(sentence(result.data))}</p>'
        f"<p><b>Machine.</b> {markup(_pairs(result.machine) or NONE)}. "
        f"The comparison took {result.seconds:.1f} s.</p>"
        f'<p class="muted">{_glossary(result)}</p></div></section>'
    )


def _rule(side: Side) -> str:
    if len(side.classes) > 2:
        return f"the most probable of {len(side.classes)} classes"
    return f"from threshold {side.threshold:g} on"


def _glossary(result: ParityResult) -> str:
    """Say what the page's words mean."""
    if result.classes:
        words = (
            "Error: largest difference of the two probabilities of a pixel over the classes. "
            "Flipped pixel: of another class on each side. Tied pixel: the same, where on both "
            f"sides the two classes' probabilities lie within {shown_limit(TIE)} of each other. "
        )
        means = " Both are means over the classes present."
    else:
        words = (
            "Error: difference of the two probabilities of a pixel. Flipped pixel: foreground on "
            "one side only. Tied pixel: the same, with both probabilities within "
            f"{shown_limit(TIE)} of the threshold. "
        )
        means = ""
    return (
        f"{words}Mask IoU and boundary F (2 px tolerance) compare the two masks with each other; "
        f"label figures compare each mask with the label at the label's size.{means}"
    )


def _code(text: str) -> Markup:
    return Markup(f"<code>{escape(text)}</code>") if text else NONE


def _pairs(values: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
