"""Plan, weights and blending of tiles."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise

import cv2
import numpy as np
import pytest

from differseg.errors import InputError
from differseg.runtime.tiling import Tile, TileBlender, TilePlan, plan_tiles


def random_plans(count: int = 60) -> list[tuple[TilePlan, float, tuple[int, int]]]:
    """Plans of frames smaller, equal and larger than their tiles, with shares and pixels."""
    rng = np.random.default_rng(0)
    plans = []
    for _ in range(count):
        tile_hw = (int(rng.integers(1, 70)), int(rng.integers(1, 70)))
        frame_hw = (int(rng.integers(1, 300)), int(rng.integers(1, 300)))
        share = float(rng.choice([0.0, 0.1, 0.25, 0.5]))
        pixels = float(min(tile_hw) // 2)
        overlap = pixels if pixels >= 1 and rng.random() < 0.3 else share
        plans.append((plan_tiles(frame_hw, tile_hw, overlap), overlap, tile_hw))
    plans.append((plan_tiles((65, 64), (64, 64), 0.5), 0.5, (64, 64)))
    return plans


def blended(
    plan: TilePlan, image: np.ndarray, blender: TileBlender | None = None, left_out: int = -1
) -> np.ndarray:
    """Blend what is cut out of an image (channels, H, W)."""
    rows_seen: list[int] = []
    found = np.full(image.shape, np.nan, np.float32)

    def take(rows: slice, maps: np.ndarray) -> None:
        rows_seen.extend(range(rows.start, rows.stop))
        found[:, rows] = maps

    blender = blender or TileBlender()
    blender.begin(plan, len(image), take)
    for number, tile in enumerate(plan):
        if number != left_out:
            blender.add(tile, np.ascontiguousarray(image[:, tile.rows, tile.columns]))
    blender.end()
    assert rows_seen == list(range(plan.frame_hw[0]))
    return found


def test_the_weights_of_all_tiles_sum_to_one() -> None:
    for plan, overlap, tile_hw in random_plans():
        total = np.zeros(plan.frame_hw)
        for tile in plan:
            rows, columns = plan.row_weights[tile.row], plan.column_weights[tile.column]
            assert min(rows.min(), columns.min()) >= 0
            total[tile.rows, tile.columns] += np.outer(rows.astype(float), columns)
        assert np.abs(total - 1).max() < 1e-6, (plan.frame_hw, tile_hw, overlap)


def test_tiles_stay_in_the_frame_overlap_as_asked_and_are_as_few_as_that_allows() -> None:
    for plan, overlap, tile_hw in random_plans():
        for starts, side, length, asked in zip(
            (plan.tops, plan.lefts), plan.tile_hw, plan.frame_hw, tile_hw, strict=True
        ):
            wanted = int(np.ceil(overlap * asked if overlap < 1 else overlap))
            wanted = min(wanted, asked // 2)  # half of an odd side is rounded down
            assert side == min(asked, length)
            assert starts[0] == 0
            assert starts[-1] + side == length
            shared = [start + side - following for start, following in pairwise(starts)]
            assert min(shared, default=wanted) >= wanted
            if len(starts) > 1:
                assert (len(starts) - 1) * (side - wanted) + wanted < length


def test_a_4k_frame() -> None:
    plan = plan_tiles((2160, 3840), (480, 640))
    assert len(plan) == len(list(plan)) == 48
    assert plan.tops == (0, 336, 672, 1008, 1344, 1680)
    assert next(iter(plan)) == Tile(0, 0, slice(0, 480), slice(0, 640))


def test_constant_and_linear_functions_come_back() -> None:
    for plan, _, _ in random_plans(20):
        y, x = np.mgrid[: plan.frame_hw[0], : plan.frame_hw[1]].astype(np.float32)
        image = np.stack([np.full_like(x, 0.7), x / 300, (0.3 * x - 0.8 * y) / 300])
        assert np.abs(blended(plan, image) - image).max() < 1e-6


def test_what_looks_no_farther_than_the_margin_gives_the_same_tiled() -> None:
    image = np.random.default_rng(0).random((1, 150, 210), np.float32)
    plan = plan_tiles((150, 210), (64, 80), 0.5)
    assert plan.margin_px >= 8

    def network(plane: np.ndarray, reach: int) -> np.ndarray:
        size = (2 * reach + 1, 2 * reach + 1)
        return cv2.boxFilter(plane, -1, size, borderType=cv2.BORDER_CONSTANT)

    def tiled(reach: int) -> np.ndarray:
        found = []
        blender = TileBlender()
        blender.begin(plan, 1, lambda _, maps: found.append(maps.copy()))
        for tile in plan:
            own = np.ascontiguousarray(image[0, tile.rows, tile.columns])
            blender.add(tile, network(own, reach)[None])
        blender.end()
        return np.concatenate(found, axis=1)[0]

    errors = [
        np.abs(tiled(reach) - network(image[0], reach)).max()
        for reach in (1, plan.margin_px, plan.margin_px + 4)
    ]
    assert max(errors[:2]) < 1e-6
    assert errors[2] > 1e-4


def test_the_weight_passes_smoothly_from_tile_to_tile() -> None:
    plan = plan_tiles((480, 1600), (480, 640), 160.0)
    overlap = plan.lefts[0] + 640 - plan.lefts[1]
    assert overlap == 160
    fall = plan.column_weights[0][640 - overlap :]
    assert (fall[:40] == 1).all()
    assert (fall[-40:] == 0).all()
    assert (np.diff(fall) <= 0).all()
    assert np.abs(np.diff(fall)).max() < 0.02  # pi / 2 / 80


def test_no_overlap_is_a_hard_border() -> None:
    plan = plan_tiles((100, 200), (50, 50), 0.0)
    assert len(plan) == 8
    assert set(np.unique(plan.column_weights)) == {1.0}


def test_a_frame_not_larger_than_a_tile_is_one_tile() -> None:
    for frame_hw in ((480, 640), (3, 5), (480, 1)):
        plan = plan_tiles(frame_hw, (480, 640))
        assert len(plan) == 1
        assert plan.tile_hw == frame_hw
    assert plan.margin_px == 480


def test_maps_of_another_size_are_stretched_to_the_tile() -> None:
    plan = plan_tiles((90, 130), (48, 64))
    found = []
    blender = TileBlender()
    blender.begin(plan, 2, lambda _, maps: found.append(maps.copy()))
    for tile in plan:
        blender.add(tile, np.full((2, 24, 32), 0.25, np.float32))
    blender.end()
    assert np.abs(np.concatenate(found, axis=1) - 0.25).max() < 1e-6


def test_a_tile_that_is_left_out_leaves_zeros() -> None:
    plan = plan_tiles((100, 100), (50, 50), 0.0)
    found = blended(plan, np.ones((1, 100, 100), np.float32), left_out=1)
    assert (found[0, :50, 50:] == 0).all()
    assert found.sum() == 7500
    whole_rows = plan_tiles((150, 40), (50, 50), 0.0)
    found = blended(whole_rows, np.ones((1, 150, 40), np.float32), left_out=1)
    assert found[0].sum(axis=1).tolist() == [40] * 50 + [0] * 50 + [40] * 50


def test_one_blender_takes_frames_of_any_size_and_keeps_its_memory() -> None:
    blender, rng = TileBlender(), np.random.default_rng(0)
    for frame_hw in ((200, 300), (60, 50), (200, 300)):
        image = rng.random((2, *frame_hw), np.float32)
        plan = plan_tiles(frame_hw, (64, 96))
        assert np.abs(blended(plan, image, blender) - image).max() < 1e-6
    maps = np.ones((2, 64, 96), np.float32)

    def once() -> None:
        blender.begin(plan, 2, lambda _rows, _maps: None)
        for tile in plan:
            blender.add(tile, maps)
        blender.end()

    once()
    tracemalloc.start()
    once()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * 300 * 4  # less than one map of a row of tiles


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (((10, 10), (0, 4)), "tiles of 0x4 (height x width): expected at least 1 pixel a side"),
        (((0, 10), (4, 4)), "frames of 0x10"),
        (((10, 10), (4, 4), 0.6), "overlap 0.6: expected a share of 0..0.5"),
        (((10, 10), (4, 6), 3), "up to half of a tile of 4x6"),
        (((10, 10), (4, 4), -1), "overlap -1"),
        (((10, 10), (4, 4), float("nan")), "overlap nan"),
    ],
)
def test_mistakes(arguments: tuple, said: str) -> None:
    with pytest.raises(InputError) as caught:
        plan_tiles(*arguments)
    assert said in str(caught.value)
