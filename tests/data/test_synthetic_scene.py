"""Synthetic scenes: same seed, same bytes; one world in two exactly related views."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest

from differseg.data.synthetic import SyntheticScene
from differseg.data.synthetic_render import _blend, _merged
from differseg.data.synthetic_view import make_homography
from differseg.errors import InputError
from differseg.runtime.registration import Registration

SMALL = {"size_wh": (320, 240), "thermal_size_wh": (160, 128)}


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / max(1, (a | b).sum()))


@pytest.fixture(scope="module")
def scene() -> SyntheticScene:
    return SyntheticScene(4, **SMALL)


def test_shapes_and_types(scene: SyntheticScene) -> None:
    rgb, thermal, mask = scene.rgb(0.5), scene.thermal(0.5), scene.mask(0.5)
    assert (rgb.shape, rgb.dtype) == ((240, 320, 3), np.uint8)
    assert (thermal.shape, thermal.dtype) == ((128, 160), np.uint16)
    assert (mask.shape, mask.dtype) == ((240, 320), np.uint8)
    assert set(np.unique(mask)) == {0, 1}


def test_bytes_follow_from_seed_and_time_alone(scene: SyntheticScene) -> None:
    times = (0.0, 0.25, 7.5)
    first = {t: (scene.rgb(t), scene.thermal(t), scene.mask(t)) for t in times}
    again = SyntheticScene(4, **SMALL)
    for t in reversed(times):
        mask, thermal, rgb = again.mask(t), again.thermal(t), again.rgb(t)
        for new, old in zip((rgb, thermal, mask), first[t], strict=True):
            np.testing.assert_array_equal(new, old)


def test_giving_a_frame_away_does_not_let_it_be_changed(scene: SyntheticScene) -> None:
    before = scene.mask(3.0).copy()
    scene.mask(3.0)[:] = 7
    np.testing.assert_array_equal(scene.mask(3.0), before)


def test_seeds_times_and_light_differ(scene: SyntheticScene) -> None:
    other = SyntheticScene(5, **SMALL)
    assert np.abs(scene.rgb(0).astype(int) - other.rgb(0)).mean() > 5
    assert (scene.mask(0) != scene.mask(2)).any()
    day, night = SyntheticScene(4, night=False, **SMALL), SyntheticScene(4, night=True, **SMALL)
    assert (day.night, night.night) == (False, True)
    assert night.rgb(0).mean() < 0.5 * day.rgb(0).mean()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_thermal_is_plausible_centikelvin(seed: int) -> None:
    scene = SyntheticScene(seed, **SMALL)
    assert 270 <= scene.ambient_k <= 310
    frame = scene.thermal(1.0)
    alive = np.ones(frame.shape, bool)
    alive[scene.dead_pixels_xy[:, 1], scene.dead_pixels_xy[:, 0]] = False
    celsius = frame[alive] / 100 - 273.15
    assert celsius.min() > -50
    assert celsius.max() < 90
    assert abs(np.median(celsius) + 273.15 - scene.ambient_k) < 25


def test_noise_of_thermal_is_that_of_a_microbolometer(scene: SyntheticScene) -> None:
    # two frames 1 ms apart show the same world
    change = scene.thermal(1.0).astype(float) - scene.thermal(1.001)
    sigma_k = np.median(np.abs(change)) / 0.6745 / np.sqrt(2) / 100
    assert 0.02 < sigma_k < 0.12


def test_dead_pixels_stay_the_same(scene: SyntheticScene) -> None:
    x, y = scene.dead_pixels_xy.T
    frames = np.stack([scene.thermal(t)[y, x] for t in (0.0, 1.0, 5.0)])
    assert len(x) >= 2
    assert (frames == frames[0]).all()
    away = np.abs(frames[0] / 100 - scene.ambient_k)
    assert away.min() > 15


@pytest.mark.parametrize("seed", [0, 3, 5])
def test_homography_is_exact(seed: int) -> None:
    """The moving things in the thermal view, warped by the homography, lie on the mask."""
    scene = SyntheticScene(seed, thermal_size_wh=(640, 512))
    heat = scene._heat
    moving = np.abs(heat.render(scene._actors, 0.3) - heat.render([], 0.3)) > 0.25
    mask = scene.mask(0.3) > 0

    def warped(matrix: np.ndarray) -> np.ndarray:
        view = cv2.warpPerspective(
            moving.astype(np.uint8), matrix, scene.size_wh, flags=cv2.INTER_NEAREST
        )
        return view > 0

    registered = warped(scene.thermal_to_rgb)
    stretched = warped(np.diag([1.0, 480 / 512, 1.0]))
    assert iou(registered, mask) > 0.78
    assert iou(stretched, mask) < iou(registered, mask) - 0.15
    shifts = [(dx, dy) for dx in range(-2, 3) for dy in range(-2, 3)]
    best = max(shifts, key=lambda s: iou(np.roll(registered, s[::-1], (0, 1)), mask))
    assert best == (0, 0)


@pytest.mark.parametrize("size_wh", [(640, 480), (512, 512), (320, 180)])
def test_thermal_view_covers_the_rgb_view(size_wh: tuple[int, int]) -> None:
    for seed in range(20):
        matrix = make_homography(np.random.default_rng(seed), size_wh, (160, 128))
        assert Registration(matrix, (160, 128), size_wh).coverage == 1.0
        stretched = Registration.identity((160, 128), size_wh).matrix
        assert np.abs(matrix - stretched).max() > 0.5  # the two views do differ


def test_thermal_offset_is_the_delay_of_the_world() -> None:
    late = SyntheticScene(4, thermal_offset_s=0.1, **SMALL)
    prompt = SyntheticScene(4, thermal_offset_s=0.0, **SMALL)
    assert late.thermal_offset_s == 0.1
    seen = late.thermal(2.0).astype(np.float32)
    lags = np.arange(0, 0.21, 0.02)
    error = [np.abs(prompt.thermal(2.0 - lag) - seen).mean() for lag in lags]
    assert lags[int(np.argmin(error))] == pytest.approx(0.1)
    assert 0.0 <= SyntheticScene(4, **SMALL).thermal_offset_s <= 0.1


def test_sample_takes_out_view_and_delay() -> None:
    scene = SyntheticScene(4, thermal_offset_s=0.3, **SMALL)
    sample = scene.sample(2.0)
    assert sample["thermal"].dtype == np.uint16
    assert sample["thermal"].shape == sample["mask"].shape == (240, 320)
    expected = cv2.warpPerspective(
        scene.thermal(2.3), scene.thermal_to_rgb, (320, 240), borderMode=cv2.BORDER_REPLICATE
    )
    np.testing.assert_array_equal(sample["thermal"], expected)
    np.testing.assert_array_equal(sample["mask"], scene.mask(2.0))


def test_motion_is_smooth_at_video_rate() -> None:
    scene = SyntheticScene(3, **SMALL)
    masks = [scene.mask(k / 30) > 0 for k in range(10)]
    steps = [iou(a, b) for a, b in itertools.pairwise(masks)]
    assert min(steps) > 0.6
    assert iou(masks[0], scene.mask(2.0) > 0) < min(steps)


@pytest.mark.parametrize("seed", [2, 4, 8])
def test_drawing_only_where_things_move_changes_nothing(seed: int) -> None:
    """Repainting parts of the picture equals painting everything from the bare background."""
    scene = SyntheticScene(seed, **SMALL)
    layer = scene._color
    picture, mask = layer.render(scene._actors, 1.3)
    whole, marked = layer._bare.copy(), np.zeros_like(mask)
    moving = [found for actor in scene._actors if (found := layer._actor(actor, 1.3))]
    for item in sorted([*moving, *layer._props], key=lambda item: -item.z_m):
        _blend(whole, marked, item, (0, 0, 320, 240))
    np.testing.assert_array_equal(picture, whole)
    np.testing.assert_array_equal(mask, marked)


def test_merged_rectangles_are_disjoint_and_cover() -> None:
    rng = np.random.default_rng(0)
    corner = rng.integers(0, 80, (40, 2))
    size = rng.integers(1, 12, (40, 2))
    rects = [(*map(int, a), *map(int, a + b)) for a, b in zip(corner, size, strict=True)]
    covered = np.zeros((100, 100), int)
    for x0, y0, x1, y1 in _merged(rects):
        covered[y0:y1, x0:x1] += 1
    assert covered.max() == 1
    for x0, y0, x1, y1 in rects:
        assert covered[y0:y1, x0:x1].all()


def test_neither_camera_suffices() -> None:
    """Over many objects, some hide in the dark picture and some in the thermal one."""
    scenes = [SyntheticScene(seed, night=True, **SMALL) for seed in range(6)]
    dim = cold = 0
    for scene in scenes:
        sample = scene.sample(1.0)
        mask = sample["mask"] > 0
        dim += int((sample["rgb"].max(axis=2)[mask] < 40).sum())
        ambient = scene.ambient_k * 100
        cold += int((sample["thermal"][mask] < ambient + 100).sum())
    assert dim > 500
    assert cold > 500


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"seed": -1}, "below 0"),
        ({"size_wh": (32, 480)}, "size_wh 32x480 is too small"),
        ({"thermal_size_wh": (16, 16)}, "thermal_size_wh"),
        ({"fps": 0.0}, "fps"),
    ],
)
def test_wrong_arguments_are_one_line(change: dict[str, object], text: str) -> None:
    arguments: dict[str, object] = {"seed": 0, **change}
    with pytest.raises(InputError, match=text) as caught:
        SyntheticScene(**arguments)
    assert "\n" not in str(caught.value)
