"""Tables of the bench, on a terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

Table = tuple[str, list[str], list[list[str]]]
"""Title (may be empty), head and rows."""

_UNDER_THE_NAME = ("engine", "kind")
"""Heads of second columns that a terminal shows under the first, so that 80 columns do."""


def print_tables(tables: Sequence[Table], lines: Sequence[str], warning: str | None) -> None:
    """Print tables, then what they are of, then a warning."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table as RichTable

    console = Console()
    for title, head, rows in map(_narrow, tables):
        table = RichTable(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
        if title:
            console.print(escape(title), highlight=False)
        table.add_column(escape(head[0]), overflow="fold")
        for name in head[1:]:
            table.add_column(escape(name), justify="right", no_wrap=True)
        for row in rows:
            table.add_row(*map(escape, row))
        console.print(table)
    for line in lines:
        console.print(escape(line), highlight=False)
    if warning:
        console.print(f"[yellow]warning:[/] {escape(warning)}", highlight=False)


def _narrow(table: Table) -> Table:
    title, head, rows = table
    if head[1] not in _UNDER_THE_NAME:
        return table
    return title, [head[0], *head[2:]], [[f"{r[0]}\n  {r[1]}", *r[2:]] for r in rows]


def tables_as_markdown(tables: Sequence[Table], lines: Sequence[str], warning: str | None) -> str:
    """Return the same as Markdown, what they are of first."""
    text = [*(f"* {line}" for line in lines), ""]
    for title, head, rows in tables:
        if title:
            text += [f"{title}:", ""]
        marks = ["---"] * len(head)
        text += ["| " + " | ".join(cells) + " |" for cells in (head, marks, *rows)]
        text.append("")
    if warning:
        text += [f"Warning: {warning}.", ""]
    return "\n".join(text)
