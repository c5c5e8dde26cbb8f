"""Figures of class maps against values worked out by hand and by a plain loop."""

from __future__ import annotations

import numpy as np
import pytest

from differseg.class_metrics import ClassMetrics, ClassScores, class_boundary_f
from differseg.errors import InputError
from differseg.metrics import boundary_f

NAMES = ("road", "car", "person", "bike")


def test_figures_by_hand() -> None:
    metrics = ClassMetrics(NAMES)
    label = np.array([[0, 0, 1, 1], [0, 2, 2, 255]], np.uint8)
    found = np.array([[0, 1, 1, 1], [0, 2, 0, 3]], np.uint8)
    scores = metrics.update(found, label)
    # road: 2 of {3 labels + 1 false}; car: 2 of 3; person: 1 of 2; bike is under an ignored pixel.
    assert scores == ClassScores(pytest.approx((2 / 4 + 2 / 3 + 1 / 2) / 3), pytest.approx(5 / 7))
    figures = metrics.compute()
    assert figures["class_iou"] == {
        "road": pytest.approx(1 / 2),
        "car": pytest.approx(2 / 3),
        "person": pytest.approx(1 / 2),
        "bike": None,
    }
    assert figures["images"] == 1


def test_a_class_that_is_only_found_counts_as_wrong() -> None:
    metrics = ClassMetrics(NAMES)
    metrics.update(np.full((2, 2), 3, np.uint8), np.zeros((2, 2), np.uint8))
    assert metrics.compute()["class_iou"] == {"road": 0.0, "car": None, "person": None, "bike": 0.0}
    assert metrics.compute()["mean_iou"] == 0.0
    assert metrics.compute()["mean_accuracy"] == 0.0  # of the road alone: no label shows a bike


def test_counts_are_pooled_over_images_as_a_plain_loop_does() -> None:
    rng = np.random.default_rng(0)
    metrics = ClassMetrics(NAMES)
    labels = rng.choice([0, 1, 2, 3, 255], (5, 12, 17)).astype(np.uint8)
    founds = rng.integers(0, 4, labels.shape).astype(np.uint8)
    for found, label in zip(founds, labels, strict=True):
        metrics.update(found, label)
    figures = metrics.compute()
    known = labels != 255
    expected = []
    for place in range(4):
        both = ((founds == place) & (labels == place) & known).sum()
        either = (((founds == place) | (labels == place)) & known).sum()
        expected.append(both / either)
    assert list(figures["class_iou"].values()) == pytest.approx(expected)
    assert figures["mean_iou"] == pytest.approx(np.mean(expected))
    assert figures["pixel_accuracy"] == pytest.approx((founds == labels)[known].mean())
    shares = [(founds == labels)[labels == place].mean() for place in range(4)]
    assert figures["mean_accuracy"] == pytest.approx(np.mean(shares))
    assert figures["images"] == 5


def test_all_ignored_counts_nowhere() -> None:
    metrics = ClassMetrics(NAMES)
    ignored = np.full((3, 3), 255, np.uint8)
    assert metrics.update(np.zeros((3, 3), np.uint8), ignored) == ClassScores(1.0, 1.0)
    assert set(metrics.compute()["class_iou"].values()) == {None}
    assert metrics.compute()["mean_accuracy"] == 1.0


def test_what_is_no_class_map_is_refused() -> None:
    metrics = ClassMetrics(NAMES)
    with pytest.raises(InputError, match="one shape"):
        metrics.update(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8))
    with pytest.raises(InputError, match="expected classes 0 to 3, got 4"):
        metrics.update(np.zeros((2, 2), np.uint8), np.full((2, 2), 4, np.uint8))
    with pytest.raises(InputError, match="no image"):
        metrics.compute()


def test_boundaries_are_averaged_over_the_classes_present() -> None:
    a, b = np.zeros((30, 30), np.uint8), np.zeros((30, 30), np.uint8)
    a[5:15, 5:15], b[5:15, 9:19] = 1, 1
    a[20:26, 20:26] = b[20:26, 20:26] = 2
    expected = [boundary_f(a == place, b == place) for place in range(3)]
    assert class_boundary_f(a, b) == pytest.approx(np.mean(expected))
    assert class_boundary_f(a, a) == 1.0
    ignored = a.copy()
    ignored[:18] = 255
    assert class_boundary_f(ignored, b) == 1.0
