"""The view of the whole frame, and where it leaves the word to the tiles."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from differseg.runtime.tiling import plan_tiles
from differseg.runtime.tiling_whole import WholeView, detail_weight


def disc(size_hw: tuple[int, int] = (48, 64), soft_px: float = 2.0) -> np.ndarray:
    """A probability with one round object, (1, H, W) float32."""
    y, x = np.mgrid[: size_hw[0], : size_hw[1]]
    inside = 12 - np.hypot(y - 20, x - 20)
    return (1 / (1 + np.exp(-inside * 4 / soft_px)))[None].astype(np.float32)


def test_the_tiles_count_along_outlines_alone() -> None:
    maps = disc()
    weight = detail_weight(maps)
    assert weight.dtype == np.float32
    assert 0 <= weight.min() <= weight.max() == pytest.approx(1)
    outline = np.abs(maps[0] - 0.5) < 0.3
    assert weight[outline].min() > 0.6
    assert weight[20, 20] == weight[40, 55] == 0
    assert 0.1 < (weight > 0).mean() < 0.4


def test_two_maps_weigh_as_one_probability() -> None:
    maps = disc()
    both = np.concatenate([1 - maps, maps])
    assert np.abs(detail_weight(both) - detail_weight(maps)).max() < 1e-5


@pytest.mark.parametrize("frame_hw", [(96, 128), (101, 500), (40, 500)])
def test_any_rows_are_those_of_the_whole_frame_stretched(frame_hw: tuple[int, int]) -> None:
    maps, view = disc(), WholeView()
    view.take(maps, frame_hw)
    tiles = np.random.default_rng(0).random((1, *frame_hw), np.float32)
    mixed = tiles.copy()
    for start, stop in ((0, 7), (7, 30), (30, frame_hw[0])):
        part = np.ascontiguousarray(mixed[:, start:stop])
        view.mix(slice(start, stop), part)
        mixed[:, start:stop] = part
    size_wh = frame_hw[::-1]
    whole, weight = (
        cv2.resize(plane, size_wh, interpolation=cv2.INTER_LINEAR)
        for plane in (maps[0], detail_weight(maps))
    )
    expected = whole + weight * (tiles[0] - whole)
    assert np.abs(mixed[0] - expected).max() < 2e-6
    assert np.abs(mixed - tiles).mean() > 0.02


def test_a_tile_is_needed_where_it_counts_at_any_pixel() -> None:
    maps, view = disc(), WholeView()
    frame_hw = (480, 640)
    view.take(maps, frame_hw)
    weight = cv2.resize(detail_weight(maps), frame_hw[::-1], interpolation=cv2.INTER_LINEAR)
    plan = plan_tiles(frame_hw, (96, 128))
    needed = [view.needs(tile) for tile in plan]
    counting = [weight[tile.rows, tile.columns].max() > 0 for tile in plan]
    assert all(needs or not counts for needs, counts in zip(needed, counting, strict=True))
    assert sum(counting) <= sum(needed) <= sum(counting) + 6
    assert sum(needed) < 0.7 * len(plan)


def test_classes_still_sum_to_one() -> None:
    rng = np.random.default_rng(0)
    odds = np.exp(3 * rng.normal(size=(5, 12, 16)))
    maps = (odds / odds.sum(axis=0)).astype(np.float32)
    view = WholeView()
    view.take(maps, (50, 70))
    tiles = np.full((5, 50, 70), 0.2, np.float32)
    view.mix(slice(0, 50), tiles)
    assert np.abs(tiles.sum(axis=0) - 1).max() < 1e-5
    assert tiles.min() >= 0


def test_a_view_keeps_its_own_copy() -> None:
    maps, view = disc(), WholeView()
    view.take(maps, (48, 64))
    maps.fill(0.5)
    tiles = np.zeros((1, 48, 64), np.float32)
    view.mix(slice(0, 48), tiles)
    assert tiles[0, 20, 20] > 0.99
