"""Each corruption does what its unit says, measured in the picture; level 0 is the identity."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from differseg.data.folder import FolderDataset
from differseg.data.modality_dropout import LOST_PLANE
from differseg.errors import InputError
from differseg.manifest import ThermalPolicy
from differseg.robustness.corruption import Corruption
from differseg.robustness.light import AIRLIGHT, to_linear, to_srgb
from differseg.robustness.lost import frozen_thermal, losing
from differseg.robustness.optics import disc, streak
from differseg.robustness.registration import corners_of, shifting, warping
from differseg.robustness.suite import choose, corruptions_of_rgb, corruptions_of_thermal

SIZE_HW = (192, 256)


def texture(seed: int, sigma_px: float = 2.0) -> np.ndarray:
    """Return a smooth random field (H, W) float32 in 0..1, mean 0.5."""
    field = np.random.default_rng(seed).standard_normal(SIZE_HW).astype(np.float32)
    field = cv2.GaussianBlur(field, (0, 0), sigma_px)
    return np.clip(0.5 + 0.15 * field / field.std(), 0.02, 0.98).astype(np.float32)


def sample(bits: int = 16) -> dict[str, Any]:
    rgb = np.stack([texture(seed) for seed in (1, 2, 3)], axis=2)
    thermal = texture(4)
    counts = 29000 + thermal * 2000 if bits == 16 else thermal * 255
    return {
        "stem": "one",
        "rgb": (rgb * 255).astype(np.uint8),
        "thermal": counts.astype(np.uint16 if bits == 16 else np.uint8),
        "mask": np.random.default_rng(5).choice(np.array([0, 1, 255], np.uint8), SIZE_HW),
    }


def plane(rgb: int, thermal: int, dtype: Any = np.uint16) -> dict[str, Any]:
    """Return a sample of one colour and one heat."""
    return {
        "stem": "even",
        "rgb": np.full((*SIZE_HW, 3), rgb, np.uint8),
        "thermal": np.full(SIZE_HW, thermal, dtype),
        "mask": np.zeros(SIZE_HW, np.uint8),
    }


def every(bits: int = 16) -> list[Corruption]:
    policy = ThermalPolicy()
    moved = [
        Corruption("misregistration", "", "thermal", "px", (2.0, 20.0), "", shifting("thermal")),
        Corruption("warp", "", "thermal", "px", (5.0, 40.0), "", warping("thermal")),
        *(
            Corruption(f"{name}-lost", "", name, "", (1.0,), "", losing(name, policy))
            for name in ("rgb", "thermal")
        ),
    ]
    return [*moved, *corruptions_of_rgb(), *corruptions_of_thermal(bits)]


def named(name: str, bits: int = 16) -> Corruption:
    return next(corruption for corruption in every(bits) if corruption.name == name)


ALL = pytest.mark.parametrize("name", [corruption.name for corruption in every()])


@ALL
def test_level_0_is_the_sample_itself(name: str) -> None:
    given = sample()
    assert named(name).apply(given, 0.0, seed=1, index=2) is given


@ALL
@pytest.mark.parametrize("bits", [8, 16])
def test_changes_one_camera_and_neither_the_label_nor_the_sample_given(
    name: str, bits: int
) -> None:
    corruption, given = named(name, bits), sample(bits)
    kept = {key: np.copy(value) for key, value in given.items() if key != "stem"}
    changed = corruption.apply(given, corruption.levels[-1], seed=1, index=2)
    for key, value in kept.items():
        assert np.array_equal(given[key], value)
        assert changed[key].shape == value.shape
        assert np.array_equal(changed[key], value) == (key != corruption.modality)
    if name != "thermal-lost":  # a lost camera is 16 bits of nothing
        assert changed[corruption.modality].dtype == kept[corruption.modality].dtype


@ALL
def test_follows_from_seed_and_index(name: str) -> None:
    corruption, given = named(name), sample()
    level = corruption.levels[0]
    first, again = (corruption.apply(given, level, seed=7, index=3) for _ in range(2))
    assert np.array_equal(first[corruption.modality], again[corruption.modality])
    other = [corruption.apply(given, level, seed, index) for seed, index in ((8, 3), (7, 4))]
    differs = [
        not np.array_equal(first[corruption.modality], o[corruption.modality]) for o in other
    ]
    drawn = {"misregistration", "warp", "motion-blur", "rgb-noise", "night", "thermal-noise"}
    of_the_camera = {"thermal-pattern", "dead-pixels"}
    assert differs == [name in drawn | of_the_camera, name in drawn]


@ALL
def test_a_greater_level_changes_more(name: str) -> None:
    corruption, given = named(name), sample()
    levels = (0.0, corruption.levels[0], corruption.levels[-1])
    before = given[corruption.modality].astype(np.float64)
    changed = [
        np.abs(corruption.apply(given, level)[corruption.modality] - before).mean()
        for level in levels
    ]
    assert changed == sorted(changed)
    assert changed[0] < changed[1]


@pytest.mark.parametrize("level", [2.0, 5.0, 20.0])
@pytest.mark.parametrize("index", [0, 1])
def test_misregistration_shifts_by_so_many_pixels(level: float, index: int) -> None:
    given = sample()
    moved = named("misregistration").apply(given, level, seed=2, index=index)["thermal"]
    window = cv2.createHanningWindow(SIZE_HW[::-1], cv2.CV_32F)
    before, after = given["thermal"].astype(np.float32), moved.astype(np.float32)
    shift, _ = cv2.phaseCorrelate(before - before.mean(), after - after.mean(), window)
    assert np.hypot(*shift) == pytest.approx(level, abs=0.15)


def test_warp_moves_each_corner_by_so_many_pixels() -> None:
    height, width = SIZE_HW
    across = np.tile(np.arange(width, dtype=np.float32) * 100 + 5000, (height, 1))
    down = np.tile((np.arange(height, dtype=np.float32) * 100 + 5000)[:, None], (1, width))
    level = 12.0
    # a ramp is carried along, so its value tells where a place of the picture came from
    came = [
        named("warp").apply({**sample(), "thermal": ramp.astype(np.uint16)}, level)["thermal"]
        for ramp in (across, down)
    ]
    source = np.stack([(image.astype(np.float64) - 5000) / 100 for image in came], axis=2)
    rng = np.random.default_rng(0)
    inside = np.stack(
        [rng.integers(60, width - 60, 400), rng.integers(50, height - 50, 400)], axis=1
    )
    matrix, _ = cv2.findHomography(source[inside[:, 1], inside[:, 0]], inside.astype(np.float64))
    corners = corners_of(height, width)
    moved = cv2.perspectiveTransform(corners[None], matrix)[0]
    assert np.hypot(*(moved - corners).T) == pytest.approx(np.full(4, level), abs=0.3)


@pytest.mark.parametrize("diameter_px", [1.0, 3.0, 6.0, 10.0, 16.0])
def test_disc_is_an_even_disc_of_its_diameter(diameter_px: float) -> None:
    kernel = disc(diameter_px)
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    assert np.allclose(kernel, kernel[::-1, ::-1])
    # an even disc lights pi r^2 pixels, so its brightest one holds the inverse of that
    if diameter_px >= 3:
        assert 1 / kernel.max() == pytest.approx(np.pi * (diameter_px / 2) ** 2, rel=0.02)


@pytest.mark.parametrize("length_px", [5.0, 10.0, 30.0])
@pytest.mark.parametrize("angle_deg", [0.0, 37.0, 90.0])
def test_streak_is_an_even_line_of_its_length(length_px: float, angle_deg: float) -> None:
    angle = np.deg2rad(angle_deg)
    kernel = streak(length_px, angle).astype(np.float64)
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    reach = kernel.shape[0] // 2
    yy, xx = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    along, across = xx * np.cos(angle) + yy * np.sin(angle), yy * np.cos(angle) - xx * np.sin(angle)
    # an even line of length L has a variance of L^2 / 12; sharing between pixels adds up to 1/4
    assert (kernel * along).sum() == pytest.approx(0, abs=1e-6)
    assert (kernel * along**2).sum() == pytest.approx(length_px**2 / 12, abs=0.3)
    assert (kernel * across**2).sum() < 0.3


@pytest.mark.parametrize(("name", "modality"), [("focus-blur", "rgb"), ("thermal-blur", "thermal")])
def test_blur_spreads_a_point_over_its_diameter(name: str, modality: str) -> None:
    level = 10.0
    given = plane(0, 0)
    height, width = SIZE_HW
    given["rgb"][height // 2, width // 2] = 255
    given["thermal"][height // 2, width // 2] = 65535
    blurred = named(name).apply(given, level)[modality]
    image = to_linear(blurred[:, :, 0]) if modality == "rgb" else blurred.astype(np.float64)
    lit = image > image.max() / 2
    columns, rows = np.flatnonzero(lit.any(axis=0)), np.flatnonzero(lit.any(axis=1))
    assert columns[-1] - columns[0] + 1 == pytest.approx(level, abs=1)
    assert rows[-1] - rows[0] + 1 == pytest.approx(level, abs=1)
    assert image.sum() / image.max() == pytest.approx(np.pi * (level / 2) ** 2, rel=0.05)


@pytest.mark.parametrize("name", ["focus-blur", "motion-blur"])
def test_blur_keeps_the_light(name: str) -> None:
    given = sample()
    blurred = named(name).apply(given, 10.0)["rgb"]
    assert to_linear(blurred).mean() == pytest.approx(to_linear(given["rgb"]).mean(), rel=0.02)


@pytest.mark.parametrize("level", [5.0, 20.0])
def test_rgb_noise_has_its_sigma_at_mid_grey_and_grows_with_light(level: float) -> None:
    corruption = named("rgb-noise")
    measured = {
        code: float(corruption.apply(plane(code, 30000), level)["rgb"].astype(np.float64).std())
        for code in (70, 128, 170)
    }
    assert measured[128] == pytest.approx(level, rel=0.02)
    for code in (70, 170):
        expected = level * np.sqrt(0.5 + 0.5 * code / 128)
        assert measured[code] == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("name", ["thermal-noise", "thermal-pattern"])
def test_thermal_noise_is_in_millikelvin_of_16_bits(name: str) -> None:
    noisy = named(name).apply(plane(0, 30000), 500.0)["thermal"].astype(np.float64)
    assert noisy.std() * 10 == pytest.approx(500, rel=0.06)  # a count is 10 mK


@pytest.mark.parametrize("name", ["thermal-noise", "thermal-pattern"])
def test_thermal_noise_is_in_percent_of_8_bits(name: str) -> None:
    noisy = named(name, 8).apply(plane(0, 128, np.uint8), 5.0)["thermal"].astype(np.float64)
    assert noisy.std() / 256 * 100 == pytest.approx(5, rel=0.06)
    assert named(name, 8).unit == "% of the range"


def test_half_of_the_fixed_pattern_belongs_to_columns() -> None:
    noisy = named("thermal-pattern").apply(plane(0, 30000), 800.0)["thermal"].astype(np.float64)
    of_columns = noisy.mean(axis=0).var()
    assert of_columns / noisy.var() == pytest.approx(0.5, abs=0.08)


def test_dead_pixels_are_so_many_and_stay_where_they_are() -> None:
    corruption, given = named("dead-pixels"), sample()
    stuck = {}
    for level in (0.5, 5.0):
        image = corruption.apply(given, level)["thermal"]
        stuck[level] = np.isin(image, (0, 65535))
        assert stuck[level].mean() == pytest.approx(level / 100, abs=1e-4)
        assert (image == 0).sum() == pytest.approx((image == 65535).sum(), abs=1)
    assert not (stuck[0.5] & ~stuck[5.0]).any()


@pytest.mark.parametrize("stops", [1.0, 2.0, 4.0])
def test_night_halves_the_light_with_every_stop(stops: float) -> None:
    given = sample()
    dark = named("night").apply(given, stops)["rgb"]
    ratio = to_linear(dark).mean() / to_linear(given["rgb"]).mean()
    assert np.log2(ratio) == pytest.approx(-stops, abs=0.05)


def test_night_is_noisier_where_less_light_is_left() -> None:
    signal_to_noise = []
    for stops in (2.0, 4.0):
        light = to_linear(named("night").apply(plane(200, 30000), stops)["rgb"])
        signal_to_noise.append(float(light.mean() / light.std()))
    # photons alone: a quarter of the light has half the signal to noise ratio
    assert signal_to_noise[0] / signal_to_noise[1] == pytest.approx(2, rel=0.12)


@pytest.mark.parametrize("percent", [40.0, 90.0])
def test_fog_takes_its_share_of_the_contrast(percent: float) -> None:
    given = sample()
    veiled, clear = to_linear(named("fog").apply(given, percent)["rgb"]), to_linear(given["rgb"])
    left = 1 - percent / 100
    assert veiled.std() / clear.std() == pytest.approx(left, rel=0.03)
    expected = left * clear.mean() + (1 - left) * AIRLIGHT
    assert veiled.mean() == pytest.approx(expected, rel=0.01)


def test_jpeg_is_that_of_its_quality() -> None:
    given = sample()
    changed = named("jpeg").apply(given, 70.0)["rgb"]
    settings = [cv2.IMWRITE_JPEG_QUALITY, 30]
    _, code = cv2.imencode(".jpg", cv2.cvtColor(given["rgb"], cv2.COLOR_RGB2BGR), settings)
    decoded = cv2.cvtColor(cv2.imdecode(code, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    assert np.array_equal(changed, decoded)


def test_linear_light_goes_both_ways() -> None:
    codes = np.arange(256, dtype=np.uint8)
    assert np.array_equal(to_srgb(to_linear(codes)), codes)
    assert to_linear(np.array([188], np.uint8))[0] == pytest.approx(0.5, abs=0.005)


def test_a_lost_rgb_camera_is_black() -> None:
    assert (named("rgb-lost").apply(sample(), 1.0)["rgb"] == LOST_PLANE["rgb"]).all()


@pytest.fixture
def drive(tmp_path: Path) -> FolderDataset:
    """Return six frames in a row and two alone; thermal holds the frame's number."""
    for name in ("rgb", "thermal"):
        (tmp_path / name).mkdir()
    for number in (3, 10, 11, 12, 13, 14, 15, 40):
        picture = np.full((8, 8), number, np.uint8)
        cv2.imwrite(str(tmp_path / "thermal" / f"{number:05d}D.png"), picture)
        cv2.imwrite(str(tmp_path / "rgb" / f"{number:05d}D.png"), np.dstack([picture] * 3))
    return FolderDataset(tmp_path)


def test_a_frozen_thermal_camera_shows_an_older_frame_of_its_sequence(drive: FolderDataset) -> None:
    frozen = frozen_thermal(drive, drive.stems)
    assert frozen is not None
    assert [drive.stems[index] for index in frozen.only or ()] == ["00014D", "00015D"]
    for index in frozen.only or ():
        number = int(drive[index]["thermal"][0, 0])
        for level in frozen.levels:
            changed = frozen.apply(drive[index], level)
            assert (changed["thermal"] == number - level).all()
            assert (changed["rgb"] == number).all()


def test_a_frozen_camera_is_looked_for_in_the_whole_folder(drive: FolderDataset) -> None:
    judged = ["00003D", "00015D"]
    frozen = frozen_thermal(drive, judged)
    assert frozen is not None
    assert frozen.only == (1,)
    assert frozen_thermal(drive, ["00003D", "00012D"]) is None


def test_another_drive_or_camera_is_never_an_older_frame(tmp_path: Path) -> None:
    places = [("drive1", 12), ("drive2", 12), ("drive3", 2)]
    stems = [
        f"{name}_cam{k}_{n:04d}" for name, count in places for k in (1, 2) for n in range(count)
    ]
    for name in ("rgb", "thermal"):
        (tmp_path / name).mkdir()
        for code, stem in enumerate(stems):
            picture = np.full((8, 8), code, np.uint8)
            cv2.imwrite(
                str(tmp_path / name / f"{stem}.png"),
                picture if name == "thermal" else np.dstack([picture] * 3),
            )
    drives = FolderDataset(tmp_path)
    frozen = frozen_thermal(drives, drives.stems)
    assert frozen is not None
    judged = [drives.stems[index] for index in frozen.only or ()]
    assert judged == [stem for stem in drives.stems if int(stem[-4:]) >= 4]
    for index in frozen.only or ():
        for level in frozen.levels:
            shown = stems[int(frozen.apply(drives[index], level)["thermal"][0, 0])]
            now = drives.stems[index]
            assert shown == f"{now[:-4]}{int(now[-4:]) - int(level):04d}"


def test_a_frozen_camera_has_no_other_levels_and_samples(drive: FolderDataset) -> None:
    frozen = frozen_thermal(drive, drive.stems)
    assert frozen is not None
    last, first = drive.stems.index("00015D"), drive.stems.index("00010D")
    for index, level in ((last, 3.0), (first, 1.0)):
        with pytest.raises(InputError, match=f"no frame {level:g} before sample"):
            frozen.apply(drive[index], level)


@pytest.mark.parametrize("name", ["misregistration", "warp"])
def test_depth_is_moved_without_distances_that_nobody_measured(name: str) -> None:
    change = {"misregistration": shifting, "warp": warping}[name]
    moved = Corruption(name, "", "depth", "px", (5.0,), "", change("depth"))
    yy, xx = np.mgrid[: SIZE_HW[0], : SIZE_HW[1]]
    depth = np.where((xx // 16 + yy // 16) % 2, 4000, 0).astype(np.uint16)
    found = moved.apply({"stem": "one", "depth": depth}, 5.0, seed=3)["depth"]
    assert not np.array_equal(found, depth)
    assert set(np.unique(found)) == {0, 4000}


def test_depth_is_shifted_by_so_many_pixels() -> None:
    moved = Corruption("misregistration", "", "depth", "px", (9.0,), "", shifting("depth"))
    ramps = [axis.astype(np.uint16) + 100 for axis in np.mgrid[: SIZE_HW[0], : SIZE_HW[1]]]
    came = [moved.apply({"stem": "one", "depth": ramp}, 9.0)["depth"][96, 128] for ramp in ramps]
    dy, dx = (int(code) - 100 - at for code, at in zip(came, (96, 128), strict=True))
    assert np.hypot(dx, dy) == pytest.approx(9, abs=0.75)  # half a pixel at most in each direction


def test_refuses_a_negative_level_and_a_sample_without_the_camera() -> None:
    with pytest.raises(InputError, match="0 or more"):
        named("fog").apply(sample(), -1.0)
    given = {key: value for key, value in sample().items() if key != "thermal"}
    with pytest.raises(InputError, match=r"sample 'one' has no thermal"):
        named("thermal-noise").apply(given, 100.0)


def test_chooses_by_name_in_the_suites_order() -> None:
    found = corruptions_of_rgb()
    chosen = choose(found, {}, "fog, night", ("rgb",))
    assert [corruption.name for corruption in chosen] == ["night", "fog"]
    assert choose(found, {}, None, ("rgb",)) == found
    for asked, said in (
        ("fgo", "did you mean fog"),
        ("thermal-lost", "the network takes rgb"),
        (",", "expected names"),
    ):
        with pytest.raises(InputError, match=said):
            choose(found, {}, asked, ("rgb",))
    with pytest.raises(InputError, match="no frames"):
        choose(found, {"thermal-frozen": "no frames"}, "thermal-frozen", ("rgb", "thermal"))


def test_levels_rise_and_names_are_unique() -> None:
    for bits in (8, 16):
        suite = every(bits)
        assert len({corruption.name for corruption in suite}) == len(suite)
        for corruption in suite:
            levels = dataclasses.astuple(corruption)[4]
            assert list(levels) == sorted(set(levels))
            assert levels[0] > 0
