from __future__ import annotations

import logging

import numpy as np
import pytest

from differseg.errors import InputError
from differseg.manifest import ThermalPolicy
from differseg.runtime.thermal import (
    MIN_SPAN_U8,
    NEUTRAL_THERMAL,
    ThermalMapper,
    neutral_thermal,
    percentile_range,
)

FIXED = ThermalPolicy(kind="fixed", low_ck=29000, high_ck=31000)
PERCENTILE = ThermalPolicy()


def scene(dtype: type = np.uint16, size_hw: tuple[int, int] = (120, 160)) -> np.ndarray:
    """A warm gradient with noise: 25..35 degrees Celsius, or the same in 8 bit."""
    rng = np.random.default_rng(3)
    column = np.linspace(29800, 30800, size_hw[1])
    image = column + rng.normal(0, 20, size_hw)
    if dtype == np.uint8:
        image = (image - 29500) / 1600 * 200 + 20
    return np.round(image).astype(dtype)


def test_fixed_maps_its_span_linearly_and_clips() -> None:
    image = np.array([[28000, 29000, 29500, 31000, 65535]], np.uint16)
    assert ThermalMapper(FIXED).map(image).tolist() == [[0.0, 0.0, 0.25, 1.0, 1.0]]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_percentiles_agree_with_numpy(dtype: type) -> None:
    image = scene(dtype)
    low, high = percentile_range(image, 1, 99)
    expected = np.percentile(image, [1, 99])
    assert abs(low - expected[0]) <= 1.0
    assert abs(high - expected[1]) <= 1.0


def test_percentile_maps_its_two_percentiles_to_0_and_1() -> None:
    image = scene()
    mapped = ThermalMapper(PERCENTILE).map(image)
    low, high = np.percentile(image, [1, 99])
    expected = np.clip((image - low) / (high - low), 0, 1)
    assert np.abs(mapped - expected).max() < 2e-3


def test_full_takes_8_bit_images_as_they_are() -> None:
    image = scene(np.uint8)
    mapper = ThermalMapper(ThermalPolicy(kind="full"))
    assert np.abs(mapper.map(image) - image / 255).max() < 1e-6
    flat = np.full((4, 5), 51, np.uint8)
    assert np.abs(mapper.map(flat, timestamp_s=1.0) - 0.2).max() < 1e-6
    assert mapper.warning is None
    wide = scene(np.uint16)
    assert np.array_equal(mapper.map(wide), ThermalMapper(PERCENTILE).map(wide))
    assert "trained on a camera's 8-bit images" in (mapper.warning or "")


@pytest.mark.parametrize("kind", ["fixed", "percentile", "full"])
def test_a_lost_camera_is_one_half_by_every_policy_and_no_reason_to_warn(kind: str) -> None:
    policy = ThermalPolicy(kind=kind)  # type: ignore[arg-type]
    mapper = ThermalMapper(policy)
    mapped = mapper.map(neutral_thermal(policy, (6, 8)))
    assert mapped.shape == (6, 8)
    assert (mapped == NEUTRAL_THERMAL).all()
    assert mapper.warning is None


@pytest.mark.parametrize("policy", [FIXED, PERCENTILE], ids=["fixed", "percentile"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("size_hw", [(60, 80), (120, 160), (512, 640)])
@pytest.mark.parametrize("warmth", ["hot", "warmer than all else"])
def test_a_small_hot_spot_leaves_the_background(
    policy: ThermalPolicy, dtype: type, size_hw: tuple[int, int], warmth: str
) -> None:
    cold = scene(dtype, size_hw)
    hot = cold.copy()
    spot = np.zeros(cold.shape, bool)
    spot[30:32, 40:45] = True  # 10 pixels
    hot[spot] = (250 if dtype == np.uint8 else 60000) if warmth == "hot" else int(cold.max()) + 5
    before, after = ThermalMapper(policy).map(cold), ThermalMapper(policy).map(hot)
    assert np.abs(after - before)[~spot].max() < 0.01
    if warmth == "hot":
        assert (after[spot] >= 0.9).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_dead_and_saturated_pixels_do_not_decide_the_range(dtype: type) -> None:
    image = scene(dtype)
    clean = ThermalMapper(PERCENTILE)
    clean.map(image)
    image[:20] = np.iinfo(dtype).max  # a sixth of the picture
    image[20:40] = 0
    broken = ThermalMapper(PERCENTILE)
    mapped = broken.map(image)
    assert clean.range is not None
    assert broken.range == pytest.approx(clean.range, rel=0, abs=0.02 * np.ptp(clean.range))
    assert (mapped[:20] == 1).all()
    assert (mapped[20:40] == 0).all()


@pytest.mark.parametrize("value", [0, 1, 128, 255])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_flat_image_is_finite_and_not_amplified(dtype: type, value: int) -> None:
    image = np.full((40, 50), value, dtype)
    image[0, 0] += 1 if value < 255 else 0
    mapped = ThermalMapper(PERCENTILE).map(image)
    assert np.isfinite(mapped).all()
    assert np.ptp(mapped) <= 1 / MIN_SPAN_U8 + 1e-6


def test_min_span_keeps_noise_small() -> None:
    noise = np.random.default_rng(0).normal(30000, 5, (60, 80)).astype(np.uint16)
    assert np.std(ThermalMapper(PERCENTILE).map(noise)) < 0.03
    assert np.std(ThermalMapper(ThermalPolicy(min_span_ck=0)).map(noise)) > 0.15


@pytest.mark.parametrize("rate_hz", [9, 60])
def test_smoothing_is_a_time_constant_not_a_frame_count(rate_hz: int) -> None:
    policy = ThermalPolicy(smoothing_s=1.0)
    mapper = ThermalMapper(policy)
    mapper.map(scene(), timestamp_s=0.0)
    start = mapper.range
    for index in range(1, 2 * rate_hz + 1):
        mapper.map(scene() + np.uint16(1000), timestamp_s=index / rate_hz)
    assert start is not None
    assert mapper.range is not None
    moved = (mapper.range[0] - start[0]) / 1000
    assert moved == pytest.approx(1 - np.exp(-2), abs=2e-3)


def test_without_time_stamps_nothing_is_remembered() -> None:
    mapper = ThermalMapper(PERCENTILE)
    alone = mapper.map(scene())
    mapper.map(scene() + np.uint16(5000), timestamp_s=0.0)
    mapper.map(scene() + np.uint16(5000), timestamp_s=0.1)
    assert np.array_equal(mapper.map(scene()), alone)


def test_a_clock_that_runs_backwards_or_a_reset_starts_afresh() -> None:
    mapper = ThermalMapper(PERCENTILE)
    fresh = mapper.map(scene(), timestamp_s=100.0)
    later = scene() + np.uint16(5000)
    assert not np.array_equal(mapper.map(scene() + np.uint16(9000), timestamp_s=100.1), fresh)
    expected = ThermalMapper(PERCENTILE).map(later)
    assert np.array_equal(mapper.map(later, timestamp_s=1.0), expected)
    mapper.reset()
    assert np.array_equal(mapper.map(scene(), timestamp_s=1.1), fresh)


def test_another_bit_depth_starts_afresh() -> None:
    mapper = ThermalMapper(PERCENTILE)
    mapper.map(scene(np.uint16), timestamp_s=0.0)
    expected = ThermalMapper(PERCENTILE).map(scene(np.uint8))
    assert np.array_equal(mapper.map(scene(np.uint8), timestamp_s=0.1), expected)


def test_fixed_range_with_an_8_bit_camera_warns_once(caplog: pytest.LogCaptureFixture) -> None:
    mapper = ThermalMapper(FIXED)
    with caplog.at_level(logging.WARNING, "differseg.runtime"):
        mapped = mapper.map(np.array([[0, 51, 255]], np.uint8))
        mapper.map(np.array([[0, 51, 255]], np.uint8))
    assert mapped.tolist() == [[0.0, pytest.approx(0.2), 1.0]]
    assert len(caplog.records) == 1
    assert mapper.warning is not None
    assert "8 bit" in mapper.warning
    assert "\n" not in mapper.warning


def test_fixed_range_with_raw_counts_warns_and_a_radiometric_camera_does_not() -> None:
    raw = ThermalMapper(FIXED)
    raw.map(np.random.default_rng(0).integers(3000, 8000, (30, 40)).astype(np.uint16))
    assert raw.warning is not None
    assert "TLinear" in raw.warning
    radiometric = ThermalMapper(FIXED)
    radiometric.map(scene())
    assert radiometric.warning is None


def test_a_camera_of_a_tenth_of_a_kelvin_is_recognised() -> None:
    mapper = ThermalMapper(FIXED)
    mapper.map(scene() // np.uint16(10))
    assert "0.1 K a count" in (mapper.warning or "")


def test_out_is_filled_and_returned() -> None:
    out = np.empty((120, 160), np.float32)
    mapper = ThermalMapper(PERCENTILE)
    assert mapper.map(scene(), out=out) is out
    assert np.array_equal(out, mapper.map(scene()))


def test_views_that_are_not_contiguous_give_the_same() -> None:
    image = scene()
    mapper = ThermalMapper(PERCENTILE)
    assert np.array_equal(mapper.map(image[::-2, ::3]), mapper.map(image[::-2, ::3].copy()))


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (np.zeros((4, 4), np.float32), "got float32 (4, 4)"),
        (np.zeros((4, 4), np.int16), "got int16 (4, 4)"),
        (np.zeros((4, 4, 3), np.uint8), "got uint8 (4, 4, 3)"),
        (np.zeros((0, 4), np.uint16), "got uint16 (0, 4)"),
        ([[1]], "got list"),
    ],
)
def test_other_images_are_refused(image: object, said: str) -> None:
    with pytest.raises(InputError) as caught:
        ThermalMapper(PERCENTILE).map(image)  # type: ignore[arg-type]
    assert said in str(caught.value)


def test_a_time_stamp_must_be_finite() -> None:
    with pytest.raises(InputError, match="time stamp"):
        ThermalMapper(PERCENTILE).map(scene(), timestamp_s=float("nan"))
