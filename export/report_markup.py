"""What the pages of all reports are built of: a table, and a picture that can be enlarged.

Text is escaped here and nowhere else: a ``str`` is text, and only :class:`Markup` is taken as HTML.
The looks are those of :mod:`differseg.export.report_style`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape


class Markup(str):
    """HTML, which is not escaped again; what is joined or formatted from it is text again."""

    __slots__ = ()


@dataclass(frozen=True)
class Cell:
    """A cell with a style of its own.

    Attributes:
        text: Text or markup.
        css: Names of styles, with spaces; none leaves plain text, aligned left.
    """

    text: str
    css: str = ""


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        head: What the row is of.
        cells: Behind it; a string is a figure or text, as the table has it.
        note: A small line under the head.
        css: Names of styles of the whole row.
    """

    head: str
    cells: Sequence[str | Cell]
    note: str = ""
    css: str = ""


def markup(text: str) -> Markup:
    """Return text as HTML, and markup as it is."""
    return text if isinstance(text, Markup) else Markup(escape(text))


def table(
    caption: str,
    columns: Sequence[str | Cell],
    rows: Iterable[Row],
    *,
    css: str = "",
    figures: bool = True,
    card: bool = True,
) -> Markup:
    """Return a table that scrolls sideways where it is wider than the page.

    Args:
        caption: What the table shows, for those who do not see the heading above it.
        columns: Their headings, that of the rows' heads first; none leaves the headings out.
        rows: From top to bottom.
        css: Names of styles of the table.
        figures: Whether columns hold figures, aligned right, or text.
        card: Whether it stands in a card of its own.
    """
    usual = "number" if figures else ""
    head = "".join(_heading(column, usual if at else "") for at, column in enumerate(columns))
    return Markup(
        f'<div class="{"card scroll" if card else "scroll"}" tabindex="0" role="region" '
        f'aria-label="{escape(caption)}"><table{_class(css)}>'
        f"{f'<thead><tr>{head}</tr></thead>' if head else ''}"
        f"<tbody>{''.join(_row(row, usual) for row in rows)}</tbody></table></div>"
    )


def _heading(column: str | Cell, usual: str) -> str:
    cell = column if isinstance(column, Cell) else Cell(column, usual)
    if not cell.text:
        return "<td></td>"  # a heading that says nothing is none
    return f'<th scope="col"{_class(cell.css)}>{markup(cell.text)}</th>'


def _row(row: Row, usual: str) -> str:
    note = f"<small>{markup(row.note)}</small>" if row.note else ""
    cells = [cell if isinstance(cell, Cell) else Cell(cell, usual) for cell in row.cells]
    shown = "".join(f"<td{_class(cell.css)}>{markup(cell.text)}</td>" for cell in cells)
    return f'<tr{_class(row.css)}><th scope="row">{markup(row.head)}{note}</th>{shown}</tr>'


def _class(css: str) -> str:
    return f' class="{escape(css)}"' if css else ""


def figure(
    anchor: str, home: str, source: str, size_wh: tuple[int, int], alt: str, caption: str
) -> Markup:
    """Return a picture that fills the page when it is touched, without any script.

    Args:
        anchor: Its name on the page.
        home: Name of what the page goes back to.
        source: ``data:`` address of the picture.
        size_wh: Its width and height in pixels.
        alt: What it shows, for those who do not see it.
        caption: Under the picture.
    """
    width, height = size_wh
    return Markup(
        f'<figure id="{escape(anchor)}" style="--aspect:{width / height:.4f}">'
        f'<a class="open" href="#{escape(anchor)}" aria-label="Enlarge: {escape(alt)}">'
        f'<img src="{escape(source)}" width="{width}" height="{height}" alt="{escape(alt)}"></a>'
        f'<a class="close" href="#{escape(home)}" aria-label="Close">&times;</a>'
        f"<figcaption>{markup(caption)}</figcaption></figure>"
    )
