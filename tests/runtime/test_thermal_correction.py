import math

import numpy as np
import pytest
from two_views import TwoViews

from differseg.errors import InputError
from differseg.manifest import ThermalPolicy
from differseg.runtime.thermal import ThermalMapper
from differseg.runtime.thermal_correction import (
    CorrectionOptions,
    ThermalCorrector,
    celsius_at,
    to_celsius,
)

NOTHING = CorrectionOptions(dead_pixels=False, stripes=False, jump_smoothing_s=0)
JUMP = CorrectionOptions(dead_pixels=False, stripes=False, jump_smoothing_s=4.0)
STRIPES = CorrectionOptions(dead_pixels=False, stripes=True, jump_smoothing_s=0)
POLICIES = [ThermalPolicy(kind="fixed", low_ck=29000, high_ck=31000), ThermalPolicy()]


def test_with_nothing_to_do_the_frame_itself_comes_back() -> None:
    image = TwoViews(1).thermal(0.0)
    assert ThermalCorrector(NOTHING).apply(image, 0.0) is image
    small = np.full((6, 8), 100, np.uint8)
    assert ThermalCorrector().apply(small, 0.0) is small


def test_a_jump_of_the_whole_picture_is_let_through_slowly() -> None:
    """A shutter correction of +2 K in a still scene."""
    corrector, views = ThermalCorrector(JUMP), TwoViews(1, moves=False)
    levels = []
    for k in range(180):
        image = views.thermal(0.0) + np.uint16(200 * (k >= 90))
        levels.append(float(np.median(corrector.apply(image, k / 9))))
    assert corrector.jumps == 1
    assert abs(levels[90] - levels[89]) < 8
    assert levels[90 + 36] - levels[89] == pytest.approx(200 * (1 - math.exp(-1)), abs=8)
    assert max(np.abs(np.diff(levels))) < 10
    assert levels[-1] - levels[0] == pytest.approx(200, abs=25)


def test_a_jump_while_no_frames_came_is_a_jump() -> None:
    corrector, views = ThermalCorrector(JUMP), TwoViews(1, moves=False)
    before = corrector.apply(views.thermal(0.0), 0.0)
    after = corrector.apply(views.thermal(0.0) - np.uint16(150), 0.8)
    assert corrector.jumps == 1
    assert abs(float(np.median(after)) - float(np.median(before))) < 8


def test_a_turn_of_the_camera_is_no_jump() -> None:
    corrector, views = ThermalCorrector(JUMP), TwoViews(2)
    for k in range(200):
        image = views.thermal(k / 9)
        assert corrector.apply(image, k / 9) is image
    assert corrector.jumps == 0


def test_a_hot_thing_that_fills_a_third_of_the_picture_is_no_jump() -> None:
    corrector, views = ThermalCorrector(JUMP), TwoViews(1, moves=False)
    corrector.apply(views.thermal(0.0), 0.0)
    image = views.thermal(0.0)
    image[:, :53] += np.uint16(800)
    assert corrector.apply(image, 0.1) is image


def test_stripes_are_learnt_and_taken_away() -> None:
    rng = np.random.default_rng(0)
    columns = rng.normal(0, 12, 160).round().astype(np.int32)
    rows = rng.normal(0, 12, (120, 1)).round().astype(np.int32)
    corrector, views = ThermalCorrector(STRIPES), TwoViews(1)
    for k in range(9 * 60):
        clean = views.thermal(k / 9).astype(np.int32)
        out = corrector.apply((clean + columns + rows).astype(np.uint16), k / 9)
    left = out.astype(np.int32) - clean
    for axis, pattern in ((0, columns), (1, rows[:, 0])):
        assert pattern.std() > 10
        assert np.diff(left.mean(axis=axis)).std() < 0.25 * np.diff(pattern).std()
    assert abs(left.mean()) < 2, "the level stays"


def test_a_clean_camera_is_left_nearly_alone() -> None:
    corrector, views = ThermalCorrector(), TwoViews(1)
    for k in range(9 * 20):
        image = views.thermal(k / 9)
        assert corrector.apply(image, k / 9) is image
    striped, changes = ThermalCorrector(STRIPES), []
    for k in range(9 * 40):
        image = views.thermal(k / 9)
        changes.append(np.abs(striped.apply(image, k / 9).astype(np.int32) - image).mean())
    assert max(changes) < 4, "of a picture with a range of 1000 and noise of 5"


def test_end_codes_stay_end_codes() -> None:
    corrector, views = ThermalCorrector(JUMP), TwoViews(1, moves=False)
    corrector.apply(views.thermal(0.0), 0.0)
    image = views.thermal(0.0) + np.uint16(300)
    image[:10], image[10:20] = 0, 65535
    out = corrector.apply(image, 0.1)
    assert corrector.jumps == 1
    assert (out[:10] == 0).all()
    assert (out[10:20] == 65535).all()
    assert abs(float(np.median(out[20:])) - float(np.median(views.thermal(0.0)[20:]))) < 8


def test_what_was_handed_out_is_not_written_to_again() -> None:
    corrector, views = ThermalCorrector(JUMP), TwoViews(1, moves=False)
    corrector.apply(views.thermal(0.0), 0.0)
    first = corrector.apply(views.thermal(0.0) + np.uint16(300), 0.1)
    kept = first.copy()
    for k in range(20):
        corrector.apply(views.thermal(0.0) + np.uint16(300), 0.2 + k / 9)
    assert np.array_equal(first, kept)


@pytest.mark.parametrize(("size_hw", "most"), [((60, 80), 0.02), ((120, 160), 0.01)])
@pytest.mark.parametrize("policy", POLICIES, ids=["fixed", "percentile"])
def test_ten_hot_pixels_leave_the_background(
    policy: ThermalPolicy, size_hw: tuple[int, int], most: float
) -> None:
    """Through corrector and mapper, in a stream; of the smallest sensors they are a 500th part."""
    height, width = size_hw
    backgrounds = []
    for hot in (False, True):
        corrector, mapper, views = ThermalCorrector(), ThermalMapper(policy), TwoViews(4)
        for k in range(90):
            image = views.thermal(k / 9)[:height, :width].copy()
            if hot and k > 45:
                image[40:42, 30:35] = 60_000
            mapped = mapper.map(corrector.apply(image, k / 9), k / 9)
        mapped = mapped.copy()
        mapped[39:43, 29:36] = 0
        backgrounds.append(mapped)
    assert np.abs(backgrounds[1] - backgrounds[0]).max() < most


def test_a_tenth_of_a_kelvin_becomes_centikelvin() -> None:
    corrector = ThermalCorrector(CorrectionOptions("0.1K", dead_pixels=False, stripes=False))
    out = corrector.apply(np.array([[2932, 0, 65535, 7000]], np.uint16), 0.0)
    assert out.tolist() == [[29320, 0, 65535, 65535]]
    assert to_celsius(29315) == pytest.approx(20.0)
    assert to_celsius(2931.5, "0.1K") == pytest.approx(20.0)


def test_the_temperature_of_a_pixel() -> None:
    image = np.full((3, 4), 29315, np.uint16)
    image[2, 1] = 31015
    assert celsius_at(image, 1, 2) == pytest.approx(37.0)
    assert celsius_at(image, 0, 0) == pytest.approx(20.0)
    with pytest.raises(InputError, match=r"pixel \(4, 0\) lies outside of the 4x3"):
        celsius_at(image, 4, 0)
    with pytest.raises(InputError, match="TLinear"):
        celsius_at(image, 0, 0, "counts")
    with pytest.raises(InputError, match="16-bit"):
        celsius_at(np.zeros((3, 4), np.uint8), 0, 0)


def test_a_clock_that_goes_back_and_another_size_start_afresh() -> None:
    corrector, views = ThermalCorrector(JUMP), TwoViews(1, moves=False)
    corrector.apply(views.thermal(0.0), 5.0)
    later = views.thermal(0.0) + np.uint16(300)
    assert corrector.apply(later, 1.0) is later
    small = later[:60, :80] - np.uint16(200)
    assert corrector.apply(small, 1.1) is small


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.float32), np.zeros((0, 4), np.uint8)],
)
def test_other_images_are_refused(image: np.ndarray) -> None:
    with pytest.raises(InputError, match="expected an image"):
        ThermalCorrector().apply(image, 0.0)


def test_wrong_options_and_stamps_are_refused() -> None:
    with pytest.raises(InputError, match=r"0\.1K, got '1K'"):
        CorrectionOptions("1K")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="jump_smoothing_s"):
        CorrectionOptions(jump_smoothing_s=-1)
    with pytest.raises(InputError, match="time stamp"):
        ThermalCorrector().apply(np.zeros((4, 4), np.uint16), math.nan)
