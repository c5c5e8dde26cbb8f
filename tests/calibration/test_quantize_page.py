"""The page of a quantisation: its figures, a dot for every choice, every part with its cost."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from differseg.calibration.quantize_page import write_page
from differseg.calibration.quantize_run import QuantizeReport
from differseg.calibration.search import Part, SearchResult
from differseg.calibration.task_score import TaskScore
from differseg.errors import InputError
from differseg.export.check import CheckReport
from differseg.export.targets import find_target

REFERENCE, PLAIN, CHOSEN = (TaskScore(iou, 0.7, e, (e,) * 11) for iou, e in (
    (0.8, 0.0), (0.78, 4e-3), (0.797, 1e-3),
))  # fmt: skip


def report_of(**changes):
    figures = {
        "path": Path("net<1>.onnx"), "size_bytes": 1, "sha256": "", "reference": REFERENCE,
        "score": CHOSEN, "plain": PLAIN, "against": "labels", "images": 9, "kernels": 3,
        "candidates": 4, "share": 0.75, "evaluations": 5, "warnings": (),
        "check": CheckReport(Path("a"), find_target("jetpack6"), 19, "", (), (), {}),
    }  # fmt: skip
    return QuantizeReport(**{**figures, **changes})


FOUND = SearchResult(
    without=frozenset({"b/Conv"}),
    score=CHOSEN,
    plain=PLAIN,
    share=0.75,
    evaluations=5,
    tried=((1.0, PLAIN), (0.25, CHOSEN), (0.75, CHOSEN)),
    parts=(
        Part("a", ("a/Conv",), 75, CHOSEN, 0.003),
        Part("b", ("b/Conv",), 25, PLAIN, 0.02),
    ),
)


def test_figures_dots_and_parts(tmp_path):
    write_page(report_of(), FOUND, 0.005, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    HTMLParser().feed(page)
    assert "net&lt;1&gt;.onnx" in page
    for text in ("0.8000", "0.7970", "0.7800", "0.0030", "limit 0.005", "75.0 % of the work"):
        assert text in page
    dots = re.findall(r'<circle class="(\w+)" cx="([\d.]+)" cy="([\d.]+)"', page)
    assert [kind for kind, _, _ in dots] == ["tried", "fits", "fits", "chosen"]
    assert float(dots[0][1]) > float(dots[1][1])  # more int8 is further right
    assert float(dots[0][2]) < float(dots[1][2])  # a larger drop is higher
    assert dots[2][1:] == dots[3][1:]
    rows = re.findall(r'<th scope="row">(\w)</th>.*?<td>(\w+)</td></tr>', page)
    assert rows == [("b", "stays"), ("a", "int8")]  # the dearest first
    assert "http" not in page.replace("http-equiv", "")


def test_a_page_without_a_search(tmp_path):
    found = SearchResult(frozenset(), PLAIN, PLAIN, 1.0, 1, ((1.0, PLAIN),), ())
    write_page(report_of(score=PLAIN, share=1.0), found, 0.05, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "every part" not in page
    assert "all in int8" not in page


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write the report"):
        write_page(report_of(), FOUND, 0.005, tmp_path / "file" / "page.html")
