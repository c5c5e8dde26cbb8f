"""Ignored pixels count as if they lay outside the image, in every measure."""

from __future__ import annotations

from dataclasses import asdict

import cv2
import numpy as np
import pytest

from differseg.metrics import MEASURES, ImageScores, SegmentationMetrics

EVERY = (*MEASURES, "hce")


@pytest.fixture(autouse=True)
def _scikit_image() -> None:
    pytest.importorskip("skimage", reason="hce needs scikit-image")


def scene(seed: int, size_hw: tuple[int, int] = (40, 52)) -> tuple[np.ndarray, np.ndarray]:
    """Return a (H, W) float64 prediction in 0..1 and a (H, W) uint8 label of 0 and 1."""
    random = np.random.default_rng(seed)
    field = cv2.GaussianBlur(random.normal(0, 1, size_hw), (0, 0), 5)
    label = (field > 0.3 * field.std()).astype(np.uint8)
    return np.clip(0.7 * label + 0.4 * random.random(size_hw), 0, 1), label


def scores(prediction: np.ndarray, label: np.ndarray, **options: object) -> ImageScores:
    return SegmentationMetrics(measures=EVERY, **options).update(prediction, label)  # type: ignore[arg-type]


@pytest.mark.parametrize("normalize", [None, "minmax"])
@pytest.mark.parametrize("seed", range(4))
def test_a_margin_of_ignored_pixels_changes_nothing(seed: int, normalize: str | None) -> None:
    prediction, label = scene(seed)
    around = ((2, 9), (4, 7))  # even offsets: the centroid is rounded half to even
    wide_label = np.pad(label, around, constant_values=255)
    noise = np.random.default_rng(seed).random(wide_label.shape)
    wide = np.where(wide_label == 255, noise, np.pad(prediction, around))
    wanted = asdict(scores(prediction, label, normalize=normalize))
    assert asdict(scores(wide, wide_label, normalize=normalize)) == pytest.approx(wanted, abs=1e-7)


@pytest.mark.parametrize("bytes_", [False, True], ids=["float64", "uint8"])
@pytest.mark.parametrize("normalize", [None, "minmax"])
def test_what_is_predicted_there_does_not_matter(normalize: str | None, bytes_: bool) -> None:
    prediction, label = scene(5)
    prediction = 0.1 + 0.8 * prediction  # so that black and white would change the stretch
    label[10:22, 14:30] = 255
    label[30, :] = 255

    def form(values: np.ndarray) -> np.ndarray:
        return np.round(values * 255).astype(np.uint8) if bytes_ else values

    found = [
        asdict(scores(form(np.where(label == 255, value, prediction)), label, normalize=normalize))
        for value in (0.0, 0.4, 1.0)
    ]
    assert found[0] == found[1] == found[2]
    everywhere = SegmentationMetrics(threshold=0).update(prediction, label)
    assert everywhere.precision == pytest.approx((label == 1).sum() / (label != 255).sum())
    clean = np.where(label == 255, 0, label)
    assert scores(form(prediction), clean, normalize=normalize).mae != found[0]["mae"]


def test_pixels_outside_valid_are_ignored_as_those_of_255_are() -> None:
    prediction, label = scene(6)
    valid = np.ones(label.shape, bool)
    valid[:, 20:33] = False
    metrics = SegmentationMetrics(measures=EVERY)
    by_valid = metrics.update(prediction, label, valid)
    assert by_valid == scores(prediction, np.where(valid, label, 255))
    assert by_valid == SegmentationMetrics(measures=EVERY).update(prediction, label == 1, valid)


def test_an_image_of_ignored_pixels_alone_counts_nowhere() -> None:
    prediction, label = scene(7)
    metrics, with_it = SegmentationMetrics(), SegmentationMetrics()
    metrics.update(prediction, label)
    with_it.update(prediction, label)
    own = with_it.update(prediction, np.full_like(label, 255))
    assert with_it.compute() == {**metrics.compute(), "images": 2}
    assert (own.iou, own.s_measure, own.f_max, own.boundary_f, own.mae, own.ber) == (
        1,
        1,
        1,
        1,
        0,
        0,
    )
    alone = SegmentationMetrics(measures=EVERY)
    alone.update(prediction, np.full_like(label, 255))
    errors = {"mae": 0, "ber": 0, "set_mae": 0, "set_ber": 0, "hce": 0}
    assert alone.compute() == {**dict.fromkeys(EVERY, 1), **errors, "images": 1}


def test_one_known_pixel_gives_finite_figures() -> None:
    prediction, label = scene(8)
    alone = np.full_like(label, 255)
    alone[3, 4] = 1
    found = asdict(scores(prediction, alone))
    assert all(0 <= value <= 1 for value in found.values())
