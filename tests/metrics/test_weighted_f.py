"""The weighted F-measure against a literal loop: nearest pixels, their ties, and the smoothing."""

from __future__ import annotations

import math

import numpy as np
import pytest

from differseg.metrics.pair import Pair
from differseg.metrics.weighted_f import f_weighted


def literal_f_weighted(prediction: np.ndarray, label: np.ndarray) -> float:
    """Follow the paper pixel by pixel; ties go to the smallest column, then to the smallest row."""
    height, width = label.shape
    wanted = [(x, y) for y in range(height) for x in range(width) if label[y, x]]
    error = np.abs(prediction - label)
    spread, weight = error.copy(), np.ones(label.shape)
    for y in range(height):
        for x in range(width):
            if not label[y, x]:
                d, u, v = min(((x - u) ** 2 + (y - v) ** 2, u, v) for u, v in wanted)
                spread[y, x] = error[v, u]
                weight[y, x] = 2 - 0.5 ** (math.sqrt(d) / 5)
    kernel = np.array(
        [[math.exp(-(i * i + j * j) / 50) for i in range(-3, 4)] for j in range(-3, 4)]
    )
    kernel /= kernel.sum()
    missed = false = 0.0
    for y in range(height):
        for x in range(width):
            if label[y, x]:
                smooth = 0.0
                for j in range(-3, 4):
                    for i in range(-3, 4):
                        if 0 <= y + j < height and 0 <= x + i < width:
                            smooth += kernel[j + 3, i + 3] * spread[y + j, x + i]
                missed += min(error[y, x], smooth)
            else:
                false += error[y, x] * weight[y, x]
    hits = len(wanted) - missed
    precision, recall = hits / (hits + false), 1 - missed / len(wanted)
    return 2 * precision * recall / (precision + recall)


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("size_hw", [(5, 5), (14, 9), (12, 20)], ids="{0[0]}x{0[1]}".format)
def test_equals_the_literal_loop(size_hw: tuple[int, int], share: float) -> None:
    random = np.random.default_rng(int(100 * share))
    for _ in range(3):
        label = random.random(size_hw) < share
        label[random.integers(size_hw[0]), random.integers(size_hw[1])] = True
        prediction = random.random(size_hw)
        wanted = literal_f_weighted(prediction, label)
        assert f_weighted(Pair(prediction, label)) == pytest.approx(wanted, abs=1e-7)


@pytest.mark.parametrize("turn", range(4))
def test_a_tie_goes_to_the_smallest_column_then_row(turn: int) -> None:
    """Two pixels of different error, and one between them; which error it takes shows."""
    label = np.zeros((3, 3), bool)
    first, second = [((0, 1), (2, 1)), ((1, 0), (1, 2)), ((2, 1), (0, 1)), ((1, 2), (1, 0))][turn]
    label[first] = label[second] = True
    prediction = np.where(label, 1.0, 0.0)
    prediction[first] = 0.25
    wanted = literal_f_weighted(prediction, label)
    assert f_weighted(Pair(prediction, label)) == pytest.approx(wanted, abs=1e-7)
