"""Tables and pictures of the reports' pages: what is text is escaped, what is markup stands."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from differseg.export.report_markup import Cell, Markup, Row, figure, markup, table

NASTY = "a <b> & \"c\" 'd'"


def parsed(text: str) -> ElementTree.Element:
    """Return the markup as a tree, which refuses what is not well-formed."""
    closed = re.sub(r"(<img[^>]*)>", r"\1/>", text.replace("&times;", "x"))
    return ElementTree.fromstring(closed)


def texts(root: ElementTree.Element, path: str) -> list[str]:
    return ["".join(element.itertext()) for element in root.findall(path)]


def test_text_is_escaped_wherever_it_stands() -> None:
    root = parsed(
        table(
            NASTY,
            (NASTY, NASTY, Cell(NASTY)),
            [Row(NASTY, [NASTY, Cell(NASTY, "share")], note=NASTY)],
        )
    )
    assert root.get("aria-label") == NASTY
    assert texts(root, "table/thead/tr/th") == [NASTY] * 3
    assert texts(root, "table/tbody/tr/td") == [NASTY] * 2
    assert texts(root, "table/tbody/tr/th") == [NASTY * 2]
    assert texts(root, ".//small") == [NASTY]


def test_markup_is_not_escaped_again_and_loses_that_when_joined() -> None:
    link = Markup('<a href="#c1">one</a>')
    root = parsed(table("t", (), [Row(link, [Markup("10<sup>3</sup>")])]))
    assert root.find("table/tbody/tr/th/a") is not None
    assert texts(root, ".//sup") == ["3"]
    assert markup(link) is link
    assert markup(link + NASTY).startswith("&lt;a")
    assert markup(f"{link}").startswith("&lt;a")


def test_figures_are_aligned_right_and_their_row_is_named() -> None:
    root = parsed(table("t", ("Image", "IoU"), [Row("one", ["0.5"]), Row("two", ["0.6"])]))
    heads = root.findall("table/thead/tr/th")
    assert [(head.get("scope"), head.get("class")) for head in heads] == [
        ("col", None),
        ("col", "number"),
    ]
    assert [cell.get("class") for cell in root.findall(".//td")] == ["number", "number"]
    assert [head.get("scope") for head in root.findall("table/tbody/tr/th")] == ["row", "row"]


def test_a_table_of_text_is_aligned_left() -> None:
    root = parsed(table("t", ("", "A"), [Row("file", ["a.onnx"])], css="facts", figures=False))
    assert root.find("table").get("class") == "facts"  # type: ignore[union-attr]
    assert [cell.get("class") for cell in root.findall(".//tbody//td")] == [None]
    empty = root.find("table/thead/tr/td")
    assert empty is not None
    assert empty.text is None


def test_a_cell_and_a_row_may_look_their_own_way() -> None:
    rows = [Row("one", [Cell("50 %", "number share s0"), Cell("text")], css="suspect")]
    root = parsed(table("t", ("Node", "Kept", Cell("Now")), rows))
    assert [cell.get("class") for cell in root.findall(".//td")] == ["number share s0", None]
    assert [cell.get("class") for cell in root.findall(".//thead//th")] == [None, "number", None]
    assert root.find("table/tbody/tr").get("class") == "suspect"  # type: ignore[union-attr]


@pytest.mark.parametrize(("card", "css"), [(True, "card scroll"), (False, "scroll")])
def test_a_wide_table_scrolls_and_is_reached_by_keyboard(card: bool, css: str) -> None:
    root = parsed(table("Every image", (), [Row("one", [])], card=card))
    assert root.get("class") == css
    assert (root.get("role"), root.get("tabindex")) == ("region", "0")
    assert root.find("table/thead") is None


def test_a_picture_opens_itself_and_closes_to_where_it_came_from() -> None:
    shown = figure("p1-2", "i1", "data:image/jpeg;base64,AA==", (40, 20), NASTY, NASTY)
    root = parsed(shown)
    picture = root.find("a/img")
    assert picture is not None
    assert (picture.get("alt"), picture.get("width"), picture.get("height")) == (NASTY, "40", "20")
    assert root.get("id") == "p1-2"
    assert root.get("style") == "--aspect:2.0000"
    assert [link.get("href") for link in root.findall("a")] == ["#p1-2", "#i1"]
    assert texts(root, "figcaption") == [NASTY]
    assert "<b>x</b>" in figure("a", "b", "data:,", (1, 1), "", Markup("<b>x</b>"))
