"""The section of a parity report that goes layer by layer: which node the two sides part at."""

from __future__ import annotations

import math
from html import escape

from differseg.export.divergence_result import Divergence, LayerError, LayerLimits, percent
from differseg.export.report_layers_chart import layers_chart
from differseg.export.report_markup import Markup, Row, table

_SUSPECTS = 12
_ROWS = 800  # a page of at most 5 MB; all of them stand in the JSON document
_UNMATCHED = 40
_COLUMNS = ("Node", "Own error", "Typical", "Error", "Of what it reads", "Max error")


def layer_by_layer(found: Divergence | None) -> str:
    """Return the section; nothing where layers were not compared."""
    if found is None:
        return ""
    images = ", ".join(found.images)
    return (
        f'<section id="layers"><h2>Layer by layer <span class="versus">· {escape(images)}</span>'
        f"</h2>{_first(found)}"
        f'<div class="card">{layers_chart(found)}{_chart_text(found)}</div>'
        f"{_suspects(found)}{_all(found)}{_notes(found)}</section>"
    )


def _first(found: Divergence) -> str:
    """Return the card that names the node, or says that there is none."""
    layer = found.first
    if layer is None:
        return f'<div class="card"><p class="flat">{_said(found.summary())}</p></div>'
    own = layer.rms if layer.own_rms is None else layer.own_rms
    facts = [
        ("Own error", _shown(own)),
        ("Typical", _shown(layer.own_typical)),
        ("Error with all before", _shown(layer.rms)),
        ("Of what it reads", _shown(layer.read_rms)),
    ]
    tiles = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts)
    module = f" of module <code>{escape(layer.module)}</code>" if layer.module else ""
    behind = f", handing on <code>{escape(layer.of)}</code>" if layer.of else ""
    shape = " &times; ".join(map(str, layer.shape))
    reads = ", ".join(
        f"<code>{escape(read.node)}</code> ({_shown(read.rms)})" for read in layer.reads[:6]
    )
    return (
        '<div class="card culprit"><p class="kicker">First divergence</p>'
        f'<p class="node"><code>{escape(layer.node)}</code></p>'
        f'<p class="muted">{escape(layer.op)}{module}{behind}; {shape}, {layer.dtype}</p>'
        f'<dl class="facts">{tiles}</dl>'
        f"{_because(layer)}"
        f'<p class="muted flat">Reads {reads or "no tensor that is compared"}.</p></div>'
    )


def _because(layer: LayerError) -> str:
    if not layer.operands:
        return ""
    said = escape("; ".join(layer.operands))
    return f"<p>{_said(said, escaped=True)}</p>"


def _said(text: str, *, escaped: bool = False) -> str:
    shown = text if escaped else escape(text)
    return shown[:1].upper() + shown[1:] + "."


def _chart_text(found: Divergence) -> str:
    suspect = '<span><i class="key suspect"></i>suspect</span>'
    return (
        '<p class="legend after"><span><i class="key total"></i>error with all that came before'
        '</span><span><i class="key own"></i>own error of a node</span>'
        f'{suspect if found.suspects else ""}<span><i class="key dashes"></i>'
        f"limit of an own error, {_shown(found.limits.rms)}</span></p>"
        '<p class="muted flat">Every compared tensor from the input (left) to the output (right); '
        "errors are relative, root mean square. The own error is that of the node alone, run on "
        "the values that the other side has for what it reads.</p>"
    )


def _suspects(found: Divergence) -> str:
    if len(found.suspects) < 2:
        return ""
    rows = [
        Row(_node(layer), _cells(layer), note="; ".join(layer.operands) or layer.op)
        for layer in found.suspects[:_SUSPECTS]
    ]
    more = len(found.suspects) - _SUSPECTS
    note = f' <span class="versus">· first {_SUSPECTS} of {len(found.suspects)}</span>'
    return (
        f'<h3 class="sub">All suspects{note if more > 0 else ""}</h3>'
        f"{table('All suspects', _COLUMNS, rows, css='nodes')}"
    )


def _node(layer: LayerError) -> Markup:
    return Markup(f"<code>{escape(layer.node)}</code>")


def _cells(layer: LayerError) -> list[str]:
    largest = "infinite" if math.isinf(layer.max_error) else f"{layer.max_error:.3g}"
    figures = [_shown(v) for v in (layer.own_rms, layer.own_typical, layer.rms, layer.read_rms)]
    return [*figures, largest]


def _all(found: Divergence) -> str:
    """Return every tensor, folded away; of very many those with the largest errors."""
    kept = list(found.layers)
    said = f"All {len(kept)} compared tensors, in the order of the graph"
    if len(kept) > _ROWS:
        ranked = sorted(range(len(kept)), key=lambda i: -_rank(kept[i]))[:_ROWS]
        kept = [kept[i] for i in sorted(ranked)]
        said = f"The {_ROWS} of {len(found.layers)} compared tensors with the largest own errors"
    rows = [Row(_node(layer), _cells(layer), css=_mark(layer, found.limits)) for layer in kept]
    shown = table("Compared tensors", _COLUMNS, rows, css="nodes")
    return f"<details><summary>{said}</summary>{shown}</details>"


def _rank(layer: LayerError) -> float:
    return layer.rms if layer.own_rms is None else layer.own_rms


def _mark(layer: LayerError, limits: LayerLimits) -> str:
    return "suspect" if layer.exceeds(limits) else ""


def _notes(found: Divergence) -> str:
    limits = found.limits
    notes = [
        f"Suspect from an own error of {percent(limits.rms)} or a typical one of "
        f"{percent(limits.typical)} on ({limits.reason}). Typical is the median over the "
        "elements: from 90 % on half of a tensor's values are lost.",
        *(f"{note[:1].upper()}{note[1:]}." for note in found.notes),
        f"It took {found.runs} runs in {found.chunks} chunk(s) of tensors, {found.seconds:.1f} s.",
    ]
    shown = "".join(f'<p class="muted">{escape(note)}</p>' for note in notes)
    if not found.unmatched:
        return f'<div class="card notes">{shown}</div>'
    rest = len(found.unmatched) - _UNMATCHED
    items = [f"<li>{escape(text)}</li>" for text in found.unmatched[:_UNMATCHED]]
    if rest > 0:
        items.append(f"<li>and {rest} more, see the JSON document</li>")
    return (
        f'<div class="card notes">{shown}<details><summary>{len(found.unmatched)} could not be '
        f"compared</summary><ul>{''.join(items)}</ul></details></div>"
    )


def _shown(value: float | None) -> str:
    return "\u2013" if value is None else percent(value).replace(" %", "\u202f%")
