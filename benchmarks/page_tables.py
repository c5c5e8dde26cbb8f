"""Tables of measured figures in the pages of docs/, between marks that stay."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from differseg.errors import InputError


def markdown(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def write_tables(path: Path, tables: Mapping[str, str]) -> None:
    """Replace what lies between ``<!-- begin NAME -->`` and ``<!-- end NAME -->`` of a page.

    Raises:
        InputError: The page has no such marks.
    """
    page = path.read_text(encoding="utf-8")
    for name, table in tables.items():
        pattern = rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)"
        if not re.search(pattern, page, re.DOTALL):
            raise InputError(f"{path.name}: expected the marks 'begin {name}' and 'end {name}'")
        filled = rf"\g<1>{_plain(table)}\n\g<2>"
        page = re.sub(pattern, filled, page, flags=re.DOTALL)
    path.write_text(page, encoding="utf-8")


def _plain(text: str) -> str:
    """Keep backslashes of a replacement as they are."""
    return text.replace("\\", r"\\")
