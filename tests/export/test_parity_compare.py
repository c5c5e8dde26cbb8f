"""The figures of a comparison equal those worked out by hand, and each limit fails alone."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from small_network import failed

from differseg.errors import InputError
from differseg.export.parity_compare import ALL_IMAGES, Comparison
from differseg.export.parity_result import ParityResult, Side, Thresholds


def side(name: str, threshold: float = 0.5) -> Side:
    return Side(name, "test", "net", threshold, weights="a test")


def compared(
    pairs: list[tuple[np.ndarray, np.ndarray]],
    labels: list[np.ndarray | None] | None = None,
    thresholds: Thresholds | None = None,
) -> ParityResult:
    comparison = Comparison(side("a"), side("b"), thresholds or Thresholds(), keep_panels=2)
    for number, (map_a, map_b) in enumerate(pairs):
        comparison.add(
            f"i{number}",
            np.asarray(map_a, np.float32)[None, None],
            np.asarray(map_b, np.float32)[None, None],
            labels[number] if labels else None,
        )
    return comparison.finish("by hand")


def square(value: float = 1.0, shift: int = 0, size: int = 40) -> np.ndarray:
    probability = np.zeros((size, size))
    probability[10:30, 10 + shift : 30 + shift] = value
    return probability


def test_figures_of_one_image_and_of_all() -> None:
    result = compared([(square(), square()), (square(), square(shift=5))])
    one, moved = result.images
    assert (one.max_error, one.flipped_pixels, one.mask_iou, one.boundary_f) == (0, 0, 1, 1)
    assert moved.max_error == 1.0
    assert moved.flipped_pixels == 2 * 5 * 20
    assert moved.mean_error == pytest.approx(200 / 1600)
    assert moved.mask_iou == pytest.approx(300 / 500)
    assert 0.4 < moved.boundary_f < 0.9
    overall = result.overall
    assert overall.stem == ALL_IMAGES
    assert overall.pixels == 3200
    assert overall.flipped_pixels == 200
    assert overall.mask_iou == moved.mask_iou
    assert overall.mean_error == pytest.approx(100 / 1600)
    assert [panel.figures.stem for panel in result.panels] == ["i1", "i0"]
    assert "worst: i1" in {check.where for check in result.checks}
    histogram = result.histogram
    assert histogram.pixels == 3200
    assert histogram.below == 3000
    assert histogram.share_above()[0] == pytest.approx(200 / 3200)
    assert histogram.quantile(0.5) == histogram.edges[0]


def test_label_figures_at_the_size_of_the_label() -> None:
    label = (square(size=40) > 0).astype(np.uint8)
    large = cv2.resize(label, (80, 80), interpolation=cv2.INTER_NEAREST)
    result = compared([(square(), square(shift=5))], [large])
    image = result.images[0]
    assert image.label_iou_a == pytest.approx(1.0)
    assert image.label_iou_b == pytest.approx(300 / 500)
    assert result.overall.label_iou_b == pytest.approx(300 / 500)
    assert "label IoU drop" in failed(result)
    ignored = large.copy()
    ignored[:, :40] = 255
    half = compared([(square(), square(shift=5))], [ignored]).images[0]
    assert half.label_iou_b == pytest.approx(200 / 300)


def test_a_better_b_is_no_drop() -> None:
    label = (square() > 0).astype(np.uint8)
    loose = Thresholds(max_error=1, flipped_pixels=10**6, min_mask_iou=0, min_boundary_f=0)
    assert compared([(square(shift=5), square())], [label], loose).passed


def test_a_pixel_at_the_threshold_is_foreground_as_on_the_device() -> None:
    at, below = square(0.5), square(0.4999)
    result = compared([(at, below)], thresholds=Thresholds(max_error=1.0))
    assert result.overall.foreground_a == 400 / 1600
    assert result.overall.flipped_pixels == 400


def test_a_tie_that_rounding_decides_is_reported_and_not_counted() -> None:
    map_a, map_b = square(), square()
    map_a[0, :3], map_b[0, :3] = 0.5 - 1.8e-7, 0.5 + 3.6e-7
    result = compared([(map_a, map_b)])
    assert (result.overall.flipped_pixels, result.overall.tied_pixels) == (0, 3)
    assert (result.record().flipped_pixels, result.record().tied_pixels) == (0, 3)
    assert "0 flipped pixels (3 tied)" in replace(result, checks=()).summary()
    assert any("3 pixel(s) lie within 1e-06 of the threshold" in w for w in result.warnings)


@pytest.mark.parametrize("far", ["a", "b", "nan"])
def test_no_tie_where_one_side_is_off_the_threshold(far: str) -> None:
    map_a, map_b = square(), square()
    map_a[0, 0], map_b[0, 0] = 0.5 - 1e-7, 0.5 + 1e-7
    if far == "a":
        map_a[0, 0] = 0.5 - 2e-6
    elif far == "b":
        map_b[0, 0] = 0.5 + 2e-6
    else:
        map_a[0, 0] = np.nan
    result = compared([(map_a, map_b)])
    assert (result.overall.flipped_pixels, result.overall.tied_pixels) == (1, 0)
    assert not result.passed


LOOSE = Thresholds(
    max_error=1.0,
    flipped_pixels=10**6,
    min_mask_iou=0.0,
    min_boundary_f=0.0,
    max_label_iou_drop=1.0,
    max_threshold_difference=1.0,
)


@pytest.mark.parametrize(
    ("limit", "what"),
    [
        ({"max_error": 0.5}, "max error"),
        ({"flipped_pixels": 199}, "flipped pixels"),
        ({"min_mask_iou": 0.61}, "mask IoU"),
        ({"min_boundary_f": 0.95}, "boundary F"),
        ({"max_label_iou_drop": 0.39}, "label IoU drop"),
    ],
)
def test_each_limit_fails_alone(limit: dict[str, float], what: str) -> None:
    label = (square() > 0).astype(np.uint8)
    pairs = [(square(), square(shift=5))]
    assert compared(pairs, [label], LOOSE).passed
    result = compared(pairs, [label], replace(LOOSE, **limit))
    assert failed(result) == {what}
    assert what in result.summary()


@pytest.mark.parametrize(
    "limits", [{"max_error": -1.0}, {"min_mask_iou": 1.5}, {"max_error": float("nan")}]
)
def test_limits_that_mean_nothing_are_refused(limits: dict[str, float]) -> None:
    with pytest.raises(InputError, match="expected"):
        Thresholds(**limits)


def test_maps_of_two_sizes_and_empty_data_are_refused() -> None:
    comparison = Comparison(side("a"), side("b"), Thresholds())
    with pytest.raises(InputError, match=r"\(1, 1, 8, 8\)"):
        comparison.add("x", np.zeros((1, 1, 8, 8)), np.zeros((1, 1, 8, 16)))
    with pytest.raises(InputError, match="no images"):
        comparison.finish("nothing")
