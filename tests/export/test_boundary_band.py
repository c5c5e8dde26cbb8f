"""Errors near outlines against a literal search for the nearest outline."""

from __future__ import annotations

import numpy as np
import pytest

from differseg.export.boundary_band import DISTANCES_PX, BoundarySum, outline_distance


def literal_distance(mask: np.ndarray) -> np.ndarray:
    height, width = mask.shape
    beside = [
        (y, x)
        for y in range(height)
        for x in range(width)
        for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0))
        if 0 <= y + dy < height and 0 <= x + dx < width and mask[y, x] != mask[y + dy, x + dx]
    ]
    distance = np.full(mask.shape, np.inf)
    for y in range(height):
        for x in range(width):
            for v, u in beside:
                distance[y, x] = min(distance[y, x], np.hypot(y - v, x - u) + 0.5)
    return distance


@pytest.mark.parametrize("classes", [2, 4])
def test_distances_equal_a_literal_search(classes: int) -> None:
    rng = np.random.default_rng(classes)
    blocks = rng.integers(0, classes, (3, 4), dtype=np.uint8)
    mask = np.kron(blocks, np.ones((7, 6), np.uint8)).astype(np.uint8)
    np.testing.assert_allclose(outline_distance(mask), literal_distance(mask), atol=1e-4)


def test_errors_stand_in_their_bands() -> None:
    mask = np.zeros((40, 60), np.uint8)
    mask[:, 30:] = 1
    error = np.full(mask.shape, 0.001)
    error[:, 29:31] = 0.1  # beside the outline
    error[5, 2] = 0.4  # far from it
    total = BoundarySum()
    total.add(mask, error)
    bands = total.result()
    assert [band.distance_px for band in bands] == list(DISTANCES_PX)
    assert [band.pixels for band in bands] == [40 * 2 * d for d in DISTANCES_PX]
    assert all(band.pixels + band.rest_pixels == mask.size for band in bands)
    assert bands[0].mean_error == pytest.approx(0.1)
    assert bands[0].max_error == pytest.approx(0.1)
    assert bands[1].mean_error == pytest.approx(0.0505)
    assert bands[0].rest_mean_error == pytest.approx((58 * 40 * 0.001 + 0.399) / (58 * 40))
    assert all(band.rest_max_error == pytest.approx(0.4) for band in bands)
    assert bands[0].ratio == pytest.approx(0.1 / bands[0].rest_mean_error)


def test_masks_without_an_outline_are_all_rest() -> None:
    total = BoundarySum()
    total.add(np.ones((8, 8), np.uint8), np.full((8, 8), 0.5))
    assert total.result() == ()
    halves = np.zeros((8, 8), np.uint8)
    halves[4:] = 1
    total.add(halves, np.zeros((8, 8)))
    assert total.result()[0].rest_pixels == 64 + 64 - 16
