"""Where and why two outputs differ, on the page of a parity report."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from test_report import Page, make_result

from differseg.export.divergence_result import (
    Divergence,
    LayerError,
    LayerLimits,
    Read,
    limits_for,
    percent,
)
from differseg.export.parity_compare import Comparison
from differseg.export.parity_result import ParityResult, Side, Thresholds
from differseg.export.report import render
from differseg.export.report_layers_chart import layers_chart
from differseg.export.report_where import spectrum_chart


def layer(node: str, own: float | None, rms: float, *reads: Read, **fields: object) -> LayerError:
    values: dict[str, object] = {
        "op": "Conv",
        "module": node.partition("/")[0],
        "of": "",
        "shape": (1, 8, 4, 4),
        "dtype": "float32",
        "typical": rms,
        "max_error": rms,
        "nonfinite": 0,
        "own_typical": own,
        **fields,
    }
    return LayerError(node=node, rms=rms, own_rms=own, reads=reads, **values)  # type: ignore[arg-type]


def make_layers(*layers: LayerError, **fields: object) -> Divergence:
    values: dict[str, object] = {
        "runs": 3,
        "chunks": 1,
        "unmatched": ("x: no node of it",),
        **fields,
    }
    limits = LayerLimits(0.01, 0.5, reason="a test")
    return Divergence("a.onnx", "b.onnx", ("frame-1",), layers, limits, **values)  # type: ignore[arg-type]


def with_maps(amplitude: float) -> ParityResult:
    """A disc whose edge is off by a ripple of two pixels."""
    sides = [Side(name, "ONNX Runtime", "net", 0.5) for name in ("a.onnx", "b.onnx")]
    comparison = Comparison(*sides, Thresholds(), keep_panels=1, locate=True)
    y, x = np.mgrid[:64, :64]
    one = (1 / (1 + np.exp((np.hypot(y - 32, x - 32) - 16) / 2))).astype(np.float32)
    ripple = amplitude * (1 - 2 * (x % 2)) * one * (1 - one)
    for number in (1, 2):
        other = (one + number * ripple).astype(np.float32)
        picture = {"rgb": np.zeros((64, 64, 3), np.uint8)}
        comparison.add(f"frame-{number}", one[None, None], other[None, None], None, picture)
    return comparison.finish("a test")


def test_comparison_locates_errors_where_asked() -> None:
    result = with_maps(0.1)
    assert result.spectrum is not None
    powers = [band.error_power for band in result.spectrum.bands]
    assert sum(powers[9:]) > 0.5 * sum(powers)  # a ripple of two pixels, spread by the ring
    near = result.boundary[2]
    assert near.ratio is not None
    assert near.ratio > 10
    assert make_result().spectrum is None
    assert make_result().boundary == ()


def test_sections_stand_on_the_page() -> None:
    text = render(with_maps(0.1))
    page = Page(text)
    for words in ("Spectrum of the error", "Errors near outlines", "within 8 px", "0.45 to 0.50"):
        assert words in page.text
    assert re.search(r"\d+\s% of the summed error lies within 8 px", page.text)
    assert "Spectrum of the error" not in Page(render(with_maps(0.0))).text
    assert "Layer by layer" not in page.text


def test_spectrum_chart_has_a_bar_for_every_band() -> None:
    found = with_maps(0.1).spectrum
    assert found is not None
    svg = spectrum_chart(found)
    boxes = re.findall(r'<rect class="bar[^"]*" x="([\d.]+)" y="([\d.]+)" width="([\d.]+)"', svg)
    assert len(boxes) == len(found.bands)
    assert all(float(x) >= 0 and float(x) + float(width) <= 600 for x, _, width in boxes)
    tops = [float(y) for _, y, _ in boxes]
    assert min(tops) == tops[-1] or min(tops) == tops[-2]  # the ripple is in the highest bands


def test_every_image_stands_worst_first() -> None:
    result = with_maps(0.1)
    assert [image.stem for image in result.images] == ["frame-1", "frame-2"]
    assert [image.stem for image in result.worst_first] == ["frame-2", "frame-1"]
    table = render(result).split("Every image")[-1]
    assert table.index("frame-2") < table.index("frame-1")
    document = result.to_plain()
    assert document["worst_first"] == ["frame-2", "frame-1"]
    assert [image["stem"] for image in document["images"]] == ["frame-1", "frame-2"]


def test_culprit_is_named_with_what_it_reads() -> None:
    found = make_layers(
        layer("first/Conv", 0.001, 0.001),
        layer("second/Conv", 0.2, 0.3, Read("first/Conv", 0.001), operands=("w differs by 5 %",)),
        layer("third/Conv", 0.0, 0.4, Read("second/Conv", 0.3)),
        layer("<b>&/Conv", 0.05, 0.5, Read("third/Conv", 0.4)),
    )
    assert [x.node for x in found.suspects] == ["second/Conv", "<b>&/Conv"]
    text = render(replace(with_maps(0.1), layers=found))
    page = Page(text)
    assert "First divergencesecond/Conv" in page.text
    assert "W differs by 5 %." in page.text
    assert "Reads first/Conv (0.1\u202f%)." in page.text
    assert "<b>&/Conv" in page.text
    assert "1 could not be compared" in page.text
    assert "All 4 compared tensors" in page.text
    assert len(re.findall('<circle class="suspect"', text)) == 2
    assert not {"script", "link"} & {tag for tag, _ in page.tags}
    json.dumps(replace(with_maps(0.1), layers=found).to_plain(), allow_nan=False)


def test_no_suspect_is_said() -> None:
    found = make_layers(layer("first/Conv", 0.001, 0.001), unmatched=())
    page = Page(render(replace(with_maps(0.1), layers=found)))
    assert "No node stands out: the largest own error is 0.1 %, of first/Conv (Conv)" in page.text
    assert "could not be compared" not in page.text


def test_equal_tensors_are_said() -> None:
    found = make_layers(layer("first/Conv", 0.0, 0.0))
    assert found.summary() == "no node stands out: all tensors are equal (1 tensors compared)"
    assert (
        "All compared tensors are equal."
        in Page(render(replace(with_maps(0.0), layers=found))).text
    )


def test_very_many_tensors_keep_the_page_small() -> None:
    many = [layer(f"stage.{i}.block/Conv_{i}", 1e-3 * (i % 7), 0.01) for i in range(3000)]
    text = render(replace(with_maps(0.1), layers=make_layers(*many)))
    assert len(text) < 1_000_000
    assert "The 800 of 3000 compared tensors" in text


def test_layers_chart_stays_inside_and_bears_infinity() -> None:
    broken = layer("b/Conv", math.inf, math.inf, max_error=math.inf, nonfinite=3)
    svg = layers_chart(make_layers(layer("a/Conv", 1e-6, 1e-5), broken))
    numbers = [float(v) for v in re.findall(r'(?:x1|x2|y1|y2|cx|cy)="([-\d.]+)"', svg)]
    assert min(numbers) >= 0
    assert max(numbers) <= 1100
    assert "nan" not in svg
    assert "inf" not in re.sub("<title>.*?</title>", "", svg)
    assert "<svg" not in layers_chart(make_layers(layer("a/Conv", 0.0, 0.0)))


def test_a_node_that_cannot_run_alone_is_judged_by_what_it_reads() -> None:
    limits = LayerLimits(0.01, 0.5, jump=4)
    assert layer("a/Conv", None, 0.2, Read("b", 0.04)).exceeds(limits)
    assert not layer("a/Conv", None, 0.2, Read("b", 0.06)).exceeds(limits)
    assert not layer("a/Conv", None, 0.009, Read("b", 0.0)).exceeds(limits)
    assert layer("a/Conv", 0.001, 0.001, own_typical=0.9).exceeds(limits)


@pytest.mark.parametrize(
    ("precisions", "rms"),
    [(("fp32", "fp32"), 1e-4), (("fp32", "fp16"), 1e-2), (("int8", "fp16"), 0.15)],
)
def test_limits_go_by_the_coarser_side(precisions: tuple[str, ...], rms: float) -> None:
    assert limits_for(*precisions).rms == rms


def test_engines_are_held_to_fp16() -> None:
    assert limits_for("fp32", "as built").rms == limits_for("fp32", "fp16").rms


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (3.2e-7, "3.2e-07"), (0.0512, "5.12 %"), (math.inf, "infinite")]
)
def test_errors_read_as_percent(value: float, text: str) -> None:
    assert percent(value) == text
