"""The human correction effort against counts by hand."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from differseg.errors import MissingComponentError
from differseg.metrics import SegmentationMetrics
from differseg.metrics.human_correction_effort import hce


def square(y: int, x: int, side: int, size_hw: tuple[int, int] = (120, 160)) -> np.ndarray:
    mask = np.zeros(size_hw, bool)
    mask[y : y + side, x : x + side] = True
    return mask


class TestWithScikitImage:
    @pytest.fixture(autouse=True)
    def _scikit_image(self) -> None:
        pytest.importorskip("skimage", reason="hce needs scikit-image")

    def test_a_right_mask_takes_no_click(self) -> None:
        assert hce(square(20, 20, 40), square(20, 20, 40)) == 0

    def test_a_false_object_apart_takes_one(self) -> None:
        label = square(20, 20, 40)
        assert hce(label | square(70, 100, 30), label) == 1
        assert hce(label | square(70, 100, 30) | square(10, 100, 30), label) == 2

    def test_a_thin_fault_is_forgiven_and_a_broad_one_is_not(self) -> None:
        label = square(20, 20, 40)
        broader = label.copy()
        broader[20:60, 60:64] = True
        assert hce(broader, label) == 0
        broader[20:60, 60:90] = True
        assert hce(broader, label) >= 2

    def test_a_missed_object_counts_by_its_outline(self) -> None:
        label = square(20, 20, 40)
        assert hce(np.zeros_like(label), label) >= 4

    def test_a_missed_thin_part_counts_by_its_skeleton(self) -> None:
        label = square(20, 20, 40)
        whisker = label.copy()
        whisker[40, 60:120] = True
        assert hce(label, whisker) >= 2

    @pytest.mark.parametrize("missed", [False, True], ids=["false", "missed"])
    def test_an_object_at_the_edge_of_what_is_known(self, missed: bool) -> None:
        """The frame's edge and the edge of an ignored area cost the same."""
        right, fault = square(20, 60, 40), np.zeros((120, 160), bool)
        fault[30:100, :8] = True
        pair = (right, right | fault) if missed else (right | fault, right)
        wanted = hce(*pair)
        assert wanted > 0
        found, label = (np.pad(mask, 12) for mask in pair)
        valid = np.pad(np.ones_like(right), 12)
        assert hce(found, label, valid) == wanted
        assert hce(found | ~valid, label, valid) == wanted


def test_without_scikit_image_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage.morphology", None)
    label = square(20, 20, 40)
    with pytest.raises(MissingComponentError, match=r"hce .*'skimage'.*differseg\[train\]"):
        SegmentationMetrics(measures=("hce",)).update(label, label)
    assert SegmentationMetrics().update(label, label).iou == 1
