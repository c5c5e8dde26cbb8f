from __future__ import annotations

import numpy as np
import pytest

from differseg.runtime.decision import ArgmaxDecision, ThresholdDecision, most_probable
from differseg.runtime.preprocess import resize


def softmax_maps(count: int, size_hw: tuple[int, int], gain: float, seed: int = 0) -> np.ndarray:
    odds = np.exp(gain * np.random.default_rng(seed).normal(size=(count, *size_hw)))
    return np.asarray(odds / odds.sum(axis=0), dtype=np.float32)


@pytest.mark.parametrize("count", [3, 9, 150, 255])
@pytest.mark.parametrize("gain", [0.01, 3.0])
def test_argmax_equals_numpy_for_any_number_of_classes(count: int, gain: float) -> None:
    maps = softmax_maps(count, (12, 20), gain)
    for size_hw in ((12, 20), (30, 33), (5, 7)):
        full = np.stack([resize(plane, size_hw) for plane in maps])
        mask = np.empty(size_hw, np.uint8)
        parts = ArgmaxDecision(range(count)).fill(maps, mask)
        assert np.array_equal(mask, full.argmax(axis=0))
        assert parts == pytest.approx(np.bincount(mask.ravel(), minlength=count) / mask.size)
        assert np.array_equal(most_probable(maps, size_hw), mask)


def test_a_class_that_wins_only_between_two_others_is_found() -> None:
    maps = np.zeros((3, 1, 2), np.float32)
    maps[:, 0, 0] = 0.52, 0.48, 0.0
    maps[:, 0, 1] = 0.0, 0.48, 0.52
    assert most_probable(maps).tolist() == [[0, 2]]
    assert 1 in most_probable(maps, (1, 16))


def test_ids_may_stand_in_any_order() -> None:
    maps = softmax_maps(3, (6, 8), 2.0)
    mask = np.empty((6, 8), np.uint8)
    parts = ArgmaxDecision([254, 0, 7]).fill(maps, mask)
    winners = maps.argmax(axis=0)
    assert np.array_equal(mask, np.array([254, 0, 7])[winners])
    assert parts == pytest.approx([float((winners == index).mean()) for index in range(3)])


def test_buffers_follow_a_change_of_size() -> None:
    decision = ArgmaxDecision(range(4))
    maps = softmax_maps(4, (6, 8), 2.0)
    for size_hw in ((6, 8), (12, 16), (6, 8)):
        mask = np.empty(size_hw, np.uint8)
        decision.fill(maps, mask)
        assert np.array_equal(mask, most_probable(maps, size_hw))


def test_threshold_gives_both_parts() -> None:
    probability = np.array([[0.2, 0.5], [0.7, 0.9]], np.float32)
    mask = np.empty((2, 2), np.uint8)
    assert ThresholdDecision([7, 3], 0.5).fill(probability, mask) == [0.25, 0.75]
    assert mask.tolist() == [[7, 3], [3, 3]]
