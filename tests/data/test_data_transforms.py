"""Joint transforms: planes stay aligned, values stay in range, randomness comes from the seed."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from differseg.data.transforms import (
    NONE,
    Augmentation,
    augment,
    crop_and_flip,
    fit,
    jitter_color,
    jitter_thermal,
    misregister,
    rotate,
)
from differseg.errors import ManifestError

ALWAYS = Augmentation(
    flip=1, rotate=1, misregister=1, color=1, color_noise=1, thermal=1, thermal_noise=1
)


def pattern(size_hw: tuple[int, int] = (96, 128)) -> dict[str, np.ndarray]:
    """A shape that is the same in all planes and has no symmetry."""
    mask = np.zeros(size_hw, np.uint8)
    mask[20:60, 30:50] = 1
    mask[48:60, 30:90] = 1
    return {
        "rgb": np.repeat(mask[..., None] * np.uint8(200), 3, axis=2),
        "thermal": mask * np.float32(0.8),
        "mask": mask,
    }


def overlap(planes: dict[str, np.ndarray]) -> tuple[float, float]:
    """IoU of the mask with the shape in RGB and in thermal."""
    mask = planes["mask"] == 1
    valid = planes["mask"] != 255
    scores = []
    for shape in (planes["rgb"][..., 0] > 100, planes["thermal"] > 0.4):
        shape = shape & valid
        scores.append(float((shape & mask).sum() / max(1, (shape | mask).sum())))
    return scores[0], scores[1]


@pytest.mark.parametrize("seed", range(12))
def test_geometry_keeps_the_planes_aligned(seed: int) -> None:
    options = dataclasses.replace(
        ALWAYS, misregister=0, color=0, color_noise=0, thermal=0, thermal_noise=0
    )
    out = augment(pattern(), (96, 128), options, np.random.default_rng(seed))
    assert out["rgb"].shape == (96, 128, 3)
    if (out["mask"] == 1).sum() > 200:
        assert min(overlap(out)) > 0.9


def test_geometry_really_moves() -> None:
    rng = np.random.default_rng(0)
    moved = [augment(pattern(), (96, 128), ALWAYS, rng)["mask"] == 1 for _ in range(6)]
    assert len({m.tobytes() for m in moved}) == 6


@pytest.mark.parametrize("seed", range(4))
def test_flip_mirrors_all_planes(seed: int) -> None:
    options = dataclasses.replace(NONE, flip=1)
    out = crop_and_flip(pattern(), (96, 128), options, np.random.default_rng(seed))
    for name, plane in pattern().items():
        np.testing.assert_array_equal(out[name], plane[:, ::-1])


@pytest.mark.parametrize("seed", range(6))
def test_without_zooming_out_crops_stay_inside(seed: int) -> None:
    options = dataclasses.replace(ALWAYS, rotate=0, largest_crop=1)
    out = crop_and_flip(pattern(), (96, 128), options, np.random.default_rng(seed))
    assert set(np.unique(out["mask"])) <= {0, 1}


def test_a_third_of_the_crops_reach_beyond_the_picture() -> None:
    options = dataclasses.replace(NONE, smallest_crop=0.5, largest_crop=1.4)
    planes = {"mask": np.ones((60, 80), np.uint8)}
    outs = [
        crop_and_flip(planes, (60, 80), options, np.random.default_rng(seed))["mask"]
        for seed in range(1000)
    ]
    beyond = [out for out in outs if (out == 255).any()]
    assert len(beyond) / len(outs) == pytest.approx(1 / 3, abs=0.03)
    shown = [np.argwhere(out == 1) for out in beyond]
    sides = np.array([(np.ptp(at, axis=0) + 1) / (60, 80) for at in shown])
    assert (sides >= 1 / 1.4 - 0.02).all()
    assert sides.min() < 0.75
    np.testing.assert_allclose(sides[:, 0], sides[:, 1], atol=0.03)
    firsts = np.array([at.min(axis=0) for at in shown])
    assert (firsts == 0).any()
    assert (firsts > (10, 14)).any(axis=0).all()


@pytest.mark.parametrize("largest", [1.4, 9.0])
@pytest.mark.parametrize("seed", range(8))
def test_around_the_picture_images_mirror_and_labels_are_ignored(largest: float, seed: int) -> None:
    options = dataclasses.replace(NONE, largest_crop=largest)
    planes = pattern()
    planes["thermal"] = np.random.default_rng(0).random((96, 128), np.float32)
    planes["depth"] = planes["thermal"].copy()
    planes["flow"] = np.random.default_rng(1).integers(0, 256, (96, 128, 3), np.uint8)
    out = crop_and_flip(planes, (64, 80), options, np.random.default_rng(seed))
    shown = np.argwhere(out["mask"] != 255)
    (top, left), (bottom, right) = shown.min(axis=0), shown.max(axis=0) + 1
    picture = fit(planes, (bottom - top, right - left))
    around = ((top, 64 - bottom), (left, 80 - right))
    for name, plane in picture.items():
        assert out[name].dtype == planes[name].dtype
        if name != "mask":
            pad = (*around, (0, 0))[: plane.ndim]
            np.testing.assert_array_equal(out[name], np.pad(plane, pad, mode="reflect"))
    np.testing.assert_array_equal(out["mask"], np.pad(picture["mask"], around, constant_values=255))


@pytest.mark.parametrize("largest", [1.0, 1.4])
def test_every_sample_draws_the_same_number_of_values(largest: float) -> None:
    options = dataclasses.replace(ALWAYS, largest_crop=largest, flip=0.5, rotate=0.5)
    for seed in range(12):
        rng, other = np.random.default_rng(seed), np.random.default_rng(seed)
        augment(pattern(), (48, 64), options, rng)
        augment(pattern(), (48, 64), NONE, other)
        assert rng.bit_generator.state == other.bit_generator.state


def test_rotation_ignores_the_corners() -> None:
    options = dataclasses.replace(NONE, rotate=1, rotate_deg=5)
    out = rotate(pattern(), options, np.random.default_rng(1))
    corners = [out["mask"][y, x] for y in (0, -1) for x in (0, -1)]
    assert 255 in corners
    assert set(np.unique(out["mask"])) <= {0, 1, 255}


def test_ignored_labels_stay_ignored() -> None:
    planes = pattern()
    planes["mask"][:30] = 255
    out = augment(planes, (48, 64), Augmentation(), np.random.default_rng(3))
    assert set(np.unique(out["mask"])) <= {0, 1, 255}


def test_misregistration_moves_thermal_alone_and_little() -> None:
    options = dataclasses.replace(NONE, misregister=1, misregister_px=15)
    planes = pattern()
    out = misregister(planes, options, np.random.default_rng(0))
    np.testing.assert_array_equal(out["rgb"], planes["rgb"])
    np.testing.assert_array_equal(out["mask"], planes["mask"])
    assert (out["thermal"] != planes["thermal"]).any()
    assert overlap(out)[1] > 0.6


def test_misregistration_moves_nothing_farther_than_it_says() -> None:
    options = dataclasses.replace(NONE, misregister=1, misregister_px=8)
    y, x = np.mgrid[:480, :640].astype(np.float32)
    farthest = []
    for seed in range(40):
        out = misregister({"thermal": x, "depth": y}, options, np.random.default_rng(seed))
        moved = np.hypot(out["thermal"] - x, out["depth"] - y)
        farthest.append(moved.max())
    assert max(farthest) < 8 * 1.02 + 0.1  # the map is sampled to 1/32 pixel
    assert max(farthest) > 7
    assert min(farthest) < 5


def test_none_only_stretches() -> None:
    out = augment(pattern(), (48, 64), NONE, np.random.default_rng(0))
    expected = fit(pattern(), (48, 64))
    for name in expected:
        np.testing.assert_array_equal(out[name], expected[name])


def test_input_is_not_modified() -> None:
    planes = pattern()
    augment(planes, (96, 128), ALWAYS, np.random.default_rng(0))
    for name, plane in pattern().items():
        np.testing.assert_array_equal(planes[name], plane)


@pytest.mark.parametrize("seed", range(8))
def test_thermal_stays_in_range_and_in_order(seed: int) -> None:
    ramp = np.linspace(0, 1, 64, dtype=np.float32)[None].repeat(32, axis=0)
    options = dataclasses.replace(ALWAYS, thermal_noise=0)
    out = jitter_thermal(ramp, options, np.random.default_rng(seed))
    assert out.dtype == np.float32
    assert out.min() >= 0
    assert out.max() <= 1
    assert (np.diff(out[0]) >= 0).all()  # warmer stays warmer
    noisy = jitter_thermal(ramp, ALWAYS, np.random.default_rng(seed))
    assert noisy.min() >= 0
    assert noisy.max() <= 1


def test_a_dark_picture_stays_dark_and_keeps_its_detail() -> None:
    dark = np.random.default_rng(0).integers(5, 40, (32, 32, 3), np.uint8)
    options = dataclasses.replace(ALWAYS, color_noise=0)
    for seed in range(12):
        out = jitter_color(dark, options, np.random.default_rng(seed))
        assert out.dtype == np.uint8
        assert out.mean() < 70
        assert len(np.unique(out)) > 8


def test_same_generator_same_result() -> None:
    one = augment(pattern(), (64, 64), Augmentation(), np.random.default_rng([1, 2, 3]))
    two = augment(pattern(), (64, 64), Augmentation(), np.random.default_rng([1, 2, 3]))
    for name in one:
        np.testing.assert_array_equal(one[name], two[name])


@pytest.mark.parametrize(
    ("name", "value"),
    [("smallest_crop", -1), ("largest_crop", 0), ("flip", 1.5), ("rotate_deg", float("nan"))],
)
def test_strengths_that_cannot_be_are_refused(name: str, value: float) -> None:
    with pytest.raises(ManifestError, match=rf"{name}: expected .* got"):
        Augmentation(**{name: value})
