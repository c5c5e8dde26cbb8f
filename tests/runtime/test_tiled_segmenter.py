"""Segmenting large frames in tiles, against what the network gives for the whole frame."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from contract.install import Bed
from contract_engines import engine_of
from tiny_network import (
    CLASSES,
    RGB_WEIGHTS,
    THERMAL_WEIGHT,
    tiny_class_probability,
    tiny_classes_manifest,
    tiny_classes_onnx,
    tiny_manifest,
    tiny_onnx,
    tiny_probability,
    write_model,
)

from differseg.errors import CheckFailedError, InputError
from differseg.export.masks import write_masks
from differseg.manifest import ThermalPolicy
from differseg.runtime import Segmenter
from differseg.runtime.tiled_segmenter import TiledSegmenter
from differseg.runtime.tiling_whole import detail_weight

LARGE_HW = (50, 70)  # of tiles of 16x24: 4 rows of 4


def frames(
    size_hw: tuple[int, int] = LARGE_HW, thermal_hw: tuple[int, int] | None = None, seed: int = 0
) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "rgb": rng.integers(0, 256, (*size_hw, 3), dtype=np.uint8),
        "thermal": rng.integers(28800, 31200, thermal_hw or size_hw).astype(np.uint16),
    }


def step_frames(size_hw: tuple[int, int] = (160, 240)) -> dict[str, np.ndarray]:
    """A bright cold square, upper left, in a dark hot frame: one outline, the rest is sure."""
    rgb = np.zeros((*size_hw, 3), np.uint8)
    thermal = np.full(size_hw, 29000, np.uint16)
    rgb[20:53, 20:53] = 255
    thermal[20:53, 20:53] = 31000
    return {"rgb": rgb, "thermal": thermal}


@pytest.fixture
def tiles_alone(tiny_model: Path) -> Iterator[TiledSegmenter]:
    """Tiles of 16x24 pixels without a view of the whole frame."""
    with TiledSegmenter(tiny_model, threads=1, whole_view=False) as segmenter:
        yield segmenter


def test_a_network_of_single_pixels_gives_the_same_tiled(tiles_alone: TiledSegmenter) -> None:
    given = frames()
    expected = tiny_probability(**given)
    result = tiles_alone(**given)
    assert tiles_alone.passes == len(tiles_alone.plan(LARGE_HW)) == 16
    assert result.probability.dtype == np.float32
    assert result.probability.shape == result.mask.shape == LARGE_HW
    assert np.abs(result.probability - expected).max() < 1e-6
    clear = np.abs(expected - 0.5) > 1e-5
    assert np.array_equal(result.mask[clear], expected[clear] >= 0.5)
    assert result.coverage == pytest.approx(float(result.mask.mean()))
    assert result.class_coverage["background"] == pytest.approx(1 - result.coverage)
    assert set(result.timings_ms) == {"prepare", "infer", "post"}
    assert min(result.timings_ms.values()) > 0


def test_bgr_frames_and_thresholds(tiny_model: Path) -> None:
    given = frames()
    with TiledSegmenter(
        tiny_model, threads=1, color_order="BGR", threshold=0.3, whole_view=False
    ) as segmenter:
        result = segmenter(rgb=given["rgb"][..., ::-1], thermal=given["thermal"])
    expected = tiny_probability(**given)
    assert np.abs(result.probability - expected).max() < 1e-6
    clear = np.abs(expected - 0.3) > 1e-5
    assert np.array_equal(result.mask[clear], expected[clear] >= 0.3)


def test_classes_are_blended_before_the_most_probable_is_taken(classes_model: Path) -> None:
    given = frames()
    expected = tiny_class_probability(**given)
    ids = np.array([spec.id for spec in CLASSES], np.uint8)
    with TiledSegmenter(classes_model, threads=1, whole_view=False) as segmenter:
        result = segmenter(**given)
    first, second = np.sort(expected, axis=0)[[-1, -2]]
    clear = first - second > 1e-5
    assert np.array_equal(result.mask[clear], ids[expected.argmax(axis=0)][clear])
    assert result.probability is None
    parts = [float((result.mask == index).mean()) for index in ids]
    assert list(result.class_coverage.values()) == pytest.approx(parts, abs=1e-6)
    assert result.coverage == pytest.approx(1 - parts[0], abs=1e-6)


@pytest.fixture(scope="module")
def percentile_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rgb, thermal = tiny_manifest().inputs
    thermal = replace(thermal, thermal_policy=ThermalPolicy())
    path = tmp_path_factory.mktemp("percentile") / "model.onnx"
    return write_model(path, tiny_onnx(), tiny_manifest(inputs=(rgb, thermal)))


def test_thermal_percentiles_are_those_of_the_whole_frame(percentile_model: Path) -> None:
    size_hw = (130, 170)  # enough pixels for the mapper to take them as they are
    ramp = np.linspace(29000, 31000, size_hw[1])[None].repeat(size_hw[0], axis=0)
    thermal = np.round(ramp).astype(np.uint16)
    with TiledSegmenter(percentile_model, threads=1, whole_view=False) as segmenter:
        found = segmenter(rgb=np.zeros((*size_hw, 3), np.uint8), thermal=thermal).probability
    low, high = np.percentile(thermal, [1, 99])
    expected = THERMAL_WEIGHT * np.clip((thermal - low) / (high - low), 0, 1)
    # A range of each tile's own would go from 0 to the whole weight within every tile.
    assert np.abs(found - expected).max() < 0.002


def test_time_stamps_move_the_thermal_range_once_a_frame(percentile_model: Path) -> None:
    cold = frames((160, 240))
    warm = {**cold, "thermal": cold["thermal"] + np.uint16(4000)}
    with (
        TiledSegmenter(percentile_model, threads=1, whole_view=False) as tiled,
        Segmenter(percentile_model, threads=1) as plain,
    ):
        for segmenter in (tiled, plain):
            segmenter(**cold, timestamp_s=0.0)
            segmenter(**warm, timestamp_s=0.3)
        ranges = [s._preparers["thermal"].mapper.range for s in (tiled, plain)]
        assert ranges[0] == ranges[1]
        tiled.reset()
        fresh = tiled(**warm, timestamp_s=0.6).probability.copy()
        assert np.array_equal(tiled(**warm).probability, fresh)


def test_thermal_of_another_size_is_stretched_to_the_frame(tiles_alone: TiledSegmenter) -> None:
    given = frames((64, 96), (32, 48))
    low, high = 29000, 31000
    unit = np.clip((given["thermal"].astype(np.float32) - low) / (high - low), 0, 1)
    unit = cv2.resize(unit, (96, 64), interpolation=cv2.INTER_LINEAR)
    expected = (given["rgb"] / 255) @ np.array(RGB_WEIGHTS) + THERMAL_WEIGHT * unit
    assert np.abs(tiles_alone(**given).probability - expected).max() < 1e-5
    tiles_alone(rgb=given["rgb"], thermal=np.zeros((96, 64), np.uint16))
    assert tiles_alone.warnings == () or "another aspect" not in tiles_alone.warnings[0]


@pytest.mark.parametrize("whole_view", [False, True])
@pytest.mark.parametrize("size_hw", [(16, 24), (10, 24), (9, 13), (1, 1)])
def test_a_frame_not_larger_than_a_tile_is_stretched_as_without_tiles(
    tiny_model: Path, size_hw: tuple[int, int], whole_view: bool
) -> None:
    given = frames(size_hw, (7, 9))
    with (
        Segmenter(tiny_model, threads=1) as plain,
        TiledSegmenter(tiny_model, threads=1, whole_view=whole_view) as tiled,
    ):
        expected, found = plain(**given).copy(), tiled(**given)
        assert tiled.passes == 1
    assert np.array_equal(found.mask, expected.mask)
    assert found.probability.shape == size_hw


def test_tiles_larger_than_the_network_are_shrunk_to_it(tiny_model: Path) -> None:
    given = frames((64, 96))
    smooth = {name: cv2.GaussianBlur(image, (0, 0), 6) for name, image in given.items()}
    expected = tiny_probability(**smooth)
    with TiledSegmenter(tiny_model, threads=1, tile_hw=(32, 48), whole_view=False) as segmenter:
        found = segmenter(**smooth).probability
        assert segmenter.passes == 9
    assert np.abs(found - expected).max() < 0.03
    assert np.abs(found - expected).mean() < 0.003


def test_the_whole_frame_decides_where_it_is_sure(tiny_model: Path) -> None:
    given = step_frames()
    exact = tiny_probability(**given)
    counts = []
    with TiledSegmenter(tiny_model, threads=1) as tiled, Segmenter(tiny_model) as plain:
        tiled.on_progress = lambda done, total: counts.append((done, total))
        found, whole = tiled(**given), plain(**given)
        assert 1 < tiled.passes < len(tiled.plan((160, 240))) / 2
        coarse = whole.probability
        shares, coarse_large = (
            cv2.resize(plane, (240, 160), interpolation=cv2.INTER_LINEAR)
            for plane in (detail_weight(coarse[None]), coarse)
        )
        expected = coarse_large + shares * (exact - coarse_large)
        assert np.abs(found.probability - expected).max() < 1e-5
        wrong = [int(np.sum(result.mask != (exact >= 0.5))) for result in (whole, found)]
        assert wrong[1] < wrong[0] / 2
        done, totals = zip(*counts, strict=True)
        assert done == tuple(range(1, tiled.passes + 1))
        assert totals[0] == 1 + len(tiled.plan((160, 240)))
        assert set(totals[1:]) == {tiled.passes}


def test_results_share_buffers_until_copied(tiles_alone: TiledSegmenter) -> None:
    first = tiles_alone(**frames(seed=1))
    kept = first.copy()
    second = tiles_alone(**frames(seed=2))
    assert second.mask is first.mask
    assert second.probability is first.probability
    assert np.abs(kept.probability - tiny_probability(**frames(seed=1))).max() < 1e-6


def test_frames_may_change_size(tiny_model: Path) -> None:
    with TiledSegmenter(tiny_model, threads=1) as segmenter:
        for size_hw in (LARGE_HW, (16, 24), (17, 24), (300, 20), LARGE_HW):
            result = segmenter(**frames(size_hw))
            assert result.mask.shape == result.probability.shape == size_hw
            assert np.isfinite(result.probability).all()


@pytest.mark.parametrize("whole_view", [False, True])
def test_an_engine_of_two_slots_gives_the_same(
    orin_bed: Bed, tiny_model: Path, tmp_path: Path, whole_view: bool
) -> None:
    engine = engine_of(orin_bed, tiny_model, tmp_path)
    found = []
    for file, backend in ((engine, "auto"), (tiny_model, "onnxruntime")):
        with TiledSegmenter(file, backend, whole_view=whole_view) as segmenter:  # type: ignore[arg-type]
            found.append([segmenter(**frames(seed=seed)).copy() for seed in (0, 1)])
            assert segmenter.slots == 1
    for on_gpu, on_cpu in zip(*found, strict=True):
        assert np.abs(on_gpu.probability - on_cpu.probability).max() < 1e-6


def test_overlapped_frames_come_in_order(tiles_alone: TiledSegmenter) -> None:
    given = [frames(seed=seed) for seed in range(3)]
    masks = [result.mask.copy() for result in tiles_alone.overlapped(given)]
    for mask, frame in zip(masks, given, strict=True):
        assert np.array_equal(mask, tiles_alone(**frame).mask)
    begun = tiles_alone.begin(**given[0])
    with pytest.raises(RuntimeError, match="end it first"):
        tiles_alone.begin(**given[1])
    assert np.array_equal(tiles_alone.end(begun).mask, masks[0])


def nan_model(path: Path) -> Path:
    """Gives NaN where blue is 255: one tile of many."""
    model = tiny_onnx()
    weights = np.array([[0.6, 0, 0.15]], np.float32).reshape(1, 3, 1, 1) / 255
    weights[0, 2] = np.float32(3e38)
    model.graph.initializer[0].raw_data = weights.tobytes()
    return write_model(path, model, tiny_manifest())


def test_nan_in_one_tile_fails_the_frame_and_the_next_one_works(
    orin_bed: Bed, tmp_path: Path
) -> None:
    path = nan_model(tmp_path / "nan.onnx")
    black = {
        "rgb": np.zeros((*LARGE_HW, 3), np.uint8),
        "thermal": np.full(LARGE_HW, 30000, np.uint16),
    }
    bad = {**black, "rgb": black["rgb"].copy()}
    bad["rgb"][25, 40] = 255
    for file in (path, engine_of(orin_bed, path, tmp_path)):
        with TiledSegmenter(file, whole_view=False) as segmenter:
            with pytest.raises(CheckFailedError, match="NaN or infinity"):
                segmenter(**bad)
            assert np.allclose(segmenter(**black).probability, THERMAL_WEIGHT / 2)


def test_bad_frames_are_refused_and_good_ones_still_work(tiles_alone: TiledSegmenter) -> None:
    given = frames()
    for wrong, said in (
        ({"rgb": given["rgb"]}, "takes rgb and thermal, got rgb"),
        ({**given, "rgb": given["rgb"][..., :2]}, r"got \(50, 70, 2\) uint8"),
        ({**given, "rgb": [1, 2]}, "got list"),
        ({**given, "thermal": given["thermal"].astype(np.float32) * np.nan}, "NaN"),
        ({**given, "thermal": given["thermal"].astype(np.int32)}, "int32"),
    ):
        with pytest.raises(InputError, match=said):
            tiles_alone(**wrong)  # type: ignore[arg-type]
    assert np.abs(tiles_alone(**given).probability - tiny_probability(**given)).max() < 1e-6


def test_what_cannot_be_tiled_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    masks = write_masks(tiny_model, tmp_path / "masks.onnx").path
    with pytest.raises(InputError, match="take the file of probabilities"):
        TiledSegmenter(masks)
    with pytest.raises(InputError, match=r"overlap 0\.7"):
        TiledSegmenter(tiny_model, overlap=0.7)
    with pytest.raises(InputError, match="tiles of 0x24"):
        TiledSegmenter(tiny_model, tile_hw=(0, 24))


def growth(segmenter: TiledSegmenter, given: dict[str, np.ndarray]) -> tuple[int, int]:
    """Bytes that stay after many more frames, and the peak over them."""
    tracemalloc.start()
    for _ in range(4):
        segmenter(**given)
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    for _ in range(6):
        segmenter(**given)
    after, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return after - before, peak - before


def test_no_memory_per_frame(tmp_path: Path) -> None:
    size_hw = (120, 160)
    rgb, thermal = tiny_manifest(size_hw).inputs
    inputs = (rgb, replace(thermal, thermal_policy=ThermalPolicy()))
    two = write_model(
        tmp_path / "two.onnx", tiny_onnx(size_hw), tiny_manifest(size_hw, inputs=inputs)
    )
    three = write_model(
        tmp_path / "three.onnx",
        tiny_classes_onnx(size_hw),
        tiny_classes_manifest(size_hw, inputs=inputs),
    )
    given = frames((700, 900), (350, 450))
    for model in (two, three):
        with TiledSegmenter(model, threads=1, color_order="BGR") as segmenter:
            stays, peak = growth(segmenter, given)
        assert stays < 50_000
        # Less than the frame in float32; the decision among classes takes buffers for its rows.
        assert peak < 700 * 900 * 4
