"""The parity report: one file, readable anywhere, true to the figures, whatever the names are."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from differseg.errors import InputError
from differseg.export.parity_compare import Comparison
from differseg.export.parity_result import ParityResult, Side, Thresholds
from differseg.export.report import MAX_PANELS, render, write_report
from differseg.export.report_chart import survival_chart
from differseg.export.report_pictures import difference_picture, fit_width, mask_overlay

VOID = {"meta", "img", "br", "input", "link", "hr"}


def make_result(
    images: int = 3,
    *,
    size_hw: tuple[int, int] = (96, 128),
    error: float = 1e-6,
    name: str = "model.onnx",
    stem: str = "frame",
    second: str | None = "thermal",
    label: bool = True,
    keep: int = MAX_PANELS,
    noisy: bool = False,
) -> ParityResult:
    """A comparison of smooth maps; the error grows with the image's number."""
    rng = np.random.default_rng(0)
    side_a = Side("model.safetensors", "PyTorch", "net", 0.5, "runs/a.safetensors", "ab" * 32)
    side_b = Side(name, "ONNX Runtime", "net", 0.5, f"out/{name}", "cd" * 32)
    comparison = Comparison(side_a, side_b, Thresholds(), keep_panels=keep)
    height, width = size_hw
    yy, xx = np.mgrid[:height, :width]
    for number in range(images):
        centre = width * (0.3 + 0.4 * number / max(1, images - 1))
        distance = np.hypot(yy - height / 2, xx - centre)
        map_a = (1 / (1 + np.exp((distance - height / 4) / 4))).astype(np.float32)
        map_b = (map_a + error * (number + 1) * rng.random(size_hw)).astype(np.float32)
        if noisy:
            rgb = rng.integers(0, 256, (*size_hw, 3), dtype=np.uint8)
        else:
            rgb = np.stack([yy * 2 % 256, xx % 256, np.full_like(xx, 90)], -1).astype(np.uint8)
        pictures = {"rgb": rgb}
        if second == "flow":
            pictures["flow"] = rgb[:, ::-1].copy()
        elif second:
            pictures[second] = rng.random(size_hw, dtype=np.float32) if noisy else map_a
        truth = (distance < height / 4).astype(np.uint8) if label else None
        comparison.add(f"{stem}-{number}", map_a[None, None], map_b[None, None], truth, pictures)
    return comparison.finish("images of a test", machine={"system": "Linux"}, seconds=1.5)


class Page(HTMLParser):
    """Collects tags, attributes and text, and checks that tags close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        assert self.stack == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def attributes(self, tag: str, name: str) -> list[str]:
        return [str(attrs[name]) for found, attrs in self.tags if found == tag and name in attrs]


def test_page_is_whole_and_needs_nothing_else() -> None:
    text = render(make_result())
    page = Page(text)
    assert page.attributes("img", "src")
    assert all(src.startswith("data:image/jpeg;base64,") for src in page.attributes("img", "src"))
    assert all(href.startswith("#") for href in page.attributes("a", "href"))
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags}
    assert "url(" not in text
    assert "http" not in text.replace("http-equiv", "")
    anchors = page.attributes("article", "id") + page.attributes("figure", "id")
    assert {href[1:] for href in page.attributes("a", "href")} <= set(anchors)
    assert len(anchors) == len(set(anchors))


def test_figures_and_verdict_stand_on_the_page() -> None:
    good = Page(render(make_result())).text
    assert "passed" in good
    assert "failed" not in good
    assert "model.onnx against" in " ".join(good.split())
    result = make_result(error=0.2)
    bad = Page(render(result)).text
    assert not result.passed
    assert "failed" in bad
    assert f"{result.overall.max_error:.4f}" in bad
    for word in ("frame-0", "frame-2", "ab" * 32, "cd" * 32, "Label IoU drop", "Linux"):
        assert word in bad


@pytest.mark.parametrize(
    ("second", "label", "pictures"),
    [("thermal", True, 5), ("depth", False, 5), ("flow", False, 5), (None, True, 4)],
)
def test_every_picture_says_what_it_shows(second: str, label: bool, pictures: int) -> None:
    page = Page(render(make_result(2, second=second, label=label)))
    alts = page.attributes("img", "alt")
    assert len(alts) == 2 * pictures
    assert len(set(alts)) == len(alts)
    assert ("outline of the label" in page.text) == label
    for src in page.attributes("img", "src"):
        data = np.frombuffer(base64.b64decode(src.split(",")[1]), np.uint8)
        assert cv2.imdecode(data, cv2.IMREAD_COLOR).shape == (96, 128, 3)


def test_names_of_the_user_cannot_break_the_page() -> None:
    trap = "<script>alert('x')</script>\"&amp;"
    text = render(make_result(name=trap, stem=trap))
    page = Page(text)
    assert "script" not in {tag for tag, _ in page.tags}
    assert trap in page.text
    assert any(trap in alt for alt in page.attributes("img", "alt"))


def test_many_large_noisy_images_stay_under_five_megabytes(tmp_path: Path) -> None:
    result = make_result(14, size_hw=(480, 640), noisy=True)
    path = tmp_path / "deep" / "report.html"
    write_report(result, path)
    assert path.stat().st_size < 5_000_000
    page = Page(path.read_text(encoding="utf-8"))
    assert len(page.attributes("article", "id")) == MAX_PANELS
    worst = sorted(result.images, key=lambda image: image.severity, reverse=True)[:MAX_PANELS]
    shown = [alt.split(", ")[1] for alt in page.attributes("img", "alt")[::5]]
    assert shown == [image.stem for image in worst]
    assert all(image.stem in page.text for image in result.images)
    assert "the other 2 stand in the table" in page.text


def test_warnings_and_missing_figures_are_shown() -> None:
    comparison = Comparison(
        Side("a", "PyTorch", "net", 0.5), Side("b", "ONNX Runtime", "net", 0.5), Thresholds(), 4
    )
    blank = np.zeros((1, 1, 32, 32), np.float32)
    broken = blank.copy()
    broken[0, 0, 3, 4] = np.nan
    comparison.add("x", blank, broken, None, {"rgb": np.zeros((32, 32, 3), np.uint8)})
    page = Page(render(comparison.finish("one image")))
    assert "Masks are empty/full on all images: this comparison shows little." in page.text
    assert "not finite" in page.text
    assert "failed" in page.text


def test_report_path_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write the report"):
        write_report(make_result(1), tmp_path / "file" / "report.html")


def test_ties_are_shown_beside_flipped_pixels() -> None:
    comparison = Comparison(
        Side("a", "PyTorch", "net", 0.5), Side("b", "ONNX Runtime", "net", 0.5), Thresholds(), 1
    )
    map_a, map_b = np.full((2, 1, 1, 32, 32), 0.2, np.float32)
    map_a[0, 0, 0, :7], map_b[0, 0, 0, :7] = 0.5 - 1e-7, 0.5 + 1e-7
    comparison.add("x", map_a, map_b, None, {"rgb": np.zeros((32, 32, 3), np.uint8)})
    page = Page(render(comparison.finish("one image"))).text
    assert "7 tied" in page  # in all
    assert "tied 7" in page  # of the image
    assert "Tied pixel: the same, with both probabilities within 10\u22126 of" in page


def test_difference_shows_a_single_flipped_pixel_and_its_scale() -> None:
    comparison = Comparison(
        Side("a", "PyTorch", "net", 0.5), Side("b", "ONNX Runtime", "net", 0.5), Thresholds(), 1
    )
    map_a = np.full((1, 1, 480, 960), 0.2, np.float32)
    map_b = map_a.copy()
    map_b[0, 0, 101, 333] = 0.7
    comparison.add("x", map_a, map_b)
    shown = difference_picture(comparison.finish("").panels[0], width_px=480)
    assert shown.scale == pytest.approx(0.5)
    assert shown.picture.shape == (240, 480, 3)
    assert tuple(shown.picture[101 // 2, 333 // 2]) == (0, 229, 255)
    assert shown.picture.any(axis=2).sum() < 200  # the pixel and its ring, nothing else


def test_mask_overlay_tints_inside_and_outlines_the_label() -> None:
    base = np.full((64, 64, 3), 100, np.uint8)
    mask = np.zeros((64, 64), np.uint8)
    mask[16:48, 16:48] = 1
    label = np.zeros((32, 32), np.uint8)
    label[4:8, 4:8] = 1
    picture = mask_overlay(base, mask, [None, (200, 0, 0)], label)
    assert tuple(picture[32, 32]) == (140, 40, 40)
    assert tuple(picture[60, 60]) == (80, 80, 80)
    assert picture[8, 11].min() > 200
    assert base.min() == base.max() == 100


def test_pictures_keep_their_aspect() -> None:
    assert fit_width(np.zeros((300, 600, 3), np.uint8), 200).shape == (100, 200, 3)
    assert fit_width(np.zeros((30, 60, 3), np.uint8), 200).shape == (30, 60, 3)


def test_chart_falls_and_stays_inside() -> None:
    result = make_result(error=1e-3)
    svg = survival_chart(result.histogram, 1e-4)
    points = re.search(r'class="line" points="([^"]+)"', svg)
    assert points is not None
    xy = np.array([tuple(map(float, p.split(","))) for p in points[1].split()])
    assert np.all(np.diff(xy[:, 0]) > 0)
    assert np.all(np.diff(xy[:, 1]) >= 0)
    assert xy.min() >= 0
    assert xy[:, 0].max() <= 600
    assert xy[:, 1].max() <= 280
    assert "limit 0.0001" in svg
    assert "<svg" not in survival_chart(make_result(error=0.0).histogram, 1e-4)


def test_reading_the_module_loads_no_torch() -> None:
    code = (
        "import sys; import differseg.export.report; "
        "print([m for m in ('torch', 'onnx', 'onnxruntime', 'timm') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
