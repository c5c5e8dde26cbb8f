"""Tables of a parity report: every class, every image, what was compared; how numbers read."""

from __future__ import annotations

import math
from html import escape

from differseg.export.parity_result import TIE, ImageFigures, ParityResult, Side

NONE = "&ndash;"


def shown_number(value: float | None) -> str:
    """Return a figure as people write it: counts plain, small numbers with an exponent."""
    if value is None:
        return NONE
    if math.isinf(value) or math.isnan(value):
        return "not finite"
    if value == int(value) and abs(value) < 1e12:
        return f"{int(value):,}".replace(",", "\u202f")
    if abs(value) < 1e-3:
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{mantissa}\u202f·\u202f10<sup>{int(exponent)}</sup>".replace("-", "&minus;")
    return f"{value:.4f}"


def shown_limit(value: float) -> str:
    """Return a limit as it was given: 0.001 and 10^-6, not 0.0010 and 1.00e-06."""
    mantissa, exponent = f"{value:.3e}".split("e")
    if value == 0 or int(exponent) >= -4:
        return f"{value:g}"
    factor = "" if float(mantissa) == 1 else f"{float(mantissa):g}\u202f·\u202f"
    return f"{factor}10<sup>&minus;{-int(exponent)}</sup>"


def shown_ratio(value: float | None) -> str:
    """Return a figure in 0..1 with so many digits that only equality reads as 1."""
    if value is None:
        return NONE
    for digits in (4, 6, 8):
        if float(f"{value:.{digits}f}") != 1.0:
            return f"{value:.{digits}f}"
    return "1"


def sentence(text: str) -> str:
    """Return text with a capital and a full stop."""
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def every_class(result: ParityResult) -> str:
    """Return the table of the classes that masks or labels show; nothing for two classes."""
    if not result.classes:
        return ""
    labelled = result.overall.label_iou_a is not None
    names = ("IoU of the masks", *(("Label IoU A", "Label IoU B") if labelled else ()))
    head = "".join(f'<th scope="col" class="number">{name}</th>' for name in names)
    rows = []
    for found in result.classes:
        values = (found.mask_iou, found.label_iou_a, found.label_iou_b)[: len(names)]
        if any(value is not None for value in values):
            cells = "".join(f'<td class="number">{shown_ratio(value)}</td>' for value in values)
            rows.append(f'<tr><th scope="row">{escape(found.name)}</th>{cells}</tr>')
    return (
        '<section><h2>Every class</h2><div class="card scroll" tabindex="0" role="region" '
        'aria-label="Every class"><table class="stems"><thead><tr><th scope="col">Class</th>'
        f"{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div></section>"
    )


_COLUMNS = ("Max error", "Mean error", "Flipped", "Tied", "Mask IoU", "Boundary F")
_LABEL_COLUMNS = ("Label IoU A", "Label IoU B", "Label boundary F A", "Label boundary F B")


def all_images(result: ParityResult) -> str:
    """Return the table of all images, worst first."""
    labelled = result.overall.label_iou_a is not None
    columns = _COLUMNS + (_LABEL_COLUMNS if labelled else ())
    head = "".join(f'<th scope="col" class="number">{name}</th>' for name in columns)
    rows = "".join(_image_row(image, labelled) for image in result.worst_first)
    order = ' <span class="versus">· worst first</span>' if len(result.images) > 1 else ""
    return (
        f'<section><h2>Every image{order}</h2><div class="card scroll" tabindex="0" role="region" '
        'aria-label="Every image"><table class="stems"><thead><tr><th scope="col">Image</th>'
        f"{head}</tr></thead><tbody>{rows}</tbody></table></div></section>"
    )


def _image_row(image: ImageFigures, labelled: bool) -> str:
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
    shown = "".join(f'<td class="number">{cell}</td>' for cell in cells)
    return f'<tr><th scope="row">{escape(image.stem)}</th>{shown}</tr>'


def facts(result: ParityResult) -> str:
    """Return the table of both sides, the data, the machine, and what the words mean."""
    sides = (result.a, result.b)
    rows = [
        ("Ran on", [escape(side.kind) for side in sides]),
        ("File", [_code(side.source) for side in sides]),
        ("SHA-256", [_code(side.sha256 or "") for side in sides]),
        ("Network", [escape(side.model) for side in sides]),
        ("Weights", [escape(side.weights) or NONE for side in sides]),
        ("Precision", [escape(side.precision) for side in sides]),
        ("Mask", [_rule(side) for side in sides]),
        ("Versions", [escape(_pairs(side.versions)) or NONE for side in sides]),
    ]
    compared = "".join(
        f'<tr><th scope="row">{name}</th><td>{a}</td><td>{b}</td></tr>' for name, (a, b) in rows
    )
    return (
        '<section><h2>What was compared</h2><div class="card scroll" tabindex="0" role="region" '
        'aria-label="What was compared"><table class="facts"><thead><tr><td></td>'
        '<th scope="col">A: the reference</th><th scope="col">B: what is judged</th></tr></thead>'
        f"<tbody>{compared}</tbody></table></div>"
        f'<div class="card"><p><b>Data.</b> {escape(sentence(result.data))}</p>'
        f"<p><b>Machine.</b> {escape(_pairs(result.machine)) or NONE}. "
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


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>" if text else NONE


def _pairs(values: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
