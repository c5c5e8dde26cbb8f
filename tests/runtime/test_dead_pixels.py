import numpy as np
import pytest
from two_views import TwoViews

from differseg.data.synthetic import SyntheticScene
from differseg.runtime.buffers import BufferPool
from differseg.runtime.dead_pixels import DeadPixels

DEAD = [(0, 0), (159, 0), (40, 50), (41, 50), (100, 119), (3, 77), (80, 60)]  # x, y


def faulty(views: TwoViews, time_s: float) -> np.ndarray:
    image = views.thermal(time_s)
    for number, (x, y) in enumerate(DEAD):
        image[y, x] = (0, 65535, 30_000 + 900, 28_000)[number % 4]
    return image


def learn(dead: DeadPixels, seconds: float = 20.0) -> TwoViews:
    views = TwoViews(1)
    for k in range(int(9 * seconds)):
        dead.update(faulty(views, k / 9), k / 9)
    return views


def test_dead_pixels_are_found_and_nothing_else() -> None:
    dead = DeadPixels()
    learn(dead)
    assert sorted(map(tuple, dead.xy.tolist())) == sorted(DEAD)
    assert dead.warning is None


def test_they_are_filled_from_living_neighbours() -> None:
    dead = DeadPixels()
    views = learn(dead)
    image = faulty(views, 21.0)
    before = image.copy()
    filled = dead.replace(image, None, BufferPool())
    assert np.array_equal(image, before), "a frame of a source is not written to"
    assert (filled != before).sum() == len(DEAD)
    for x, y in DEAD:
        around = before[max(0, y - 3) : y + 4, max(0, x - 3) : x + 4].astype(int)
        around = around[(around > 29_000) & (around < 30_700)]
        assert abs(int(filled[y, x]) - around.mean()) < 60


def test_of_a_still_scene_nothing_is_learnt() -> None:
    dead, views = DeadPixels(), TwoViews(1, moves=False)
    for k in range(300):
        dead.update(faulty(views, 0.0), k / 9)
    assert not dead.xy.size


def test_a_hot_spot_that_moves_with_the_scene_is_not_dead() -> None:
    dead, views = DeadPixels(), TwoViews(1)
    for k in range(300):
        image = views.thermal(k / 9)
        image[60, (k * 3) % 160] = 33_000
        dead.update(image, k / 9)
    assert not dead.xy.size


def test_a_pixel_that_recovers_leaves_the_map() -> None:
    dead = DeadPixels()
    views = learn(dead)
    for k in range(9 * 20):
        dead.update(views.thermal(20 + k / 9), 20 + k / 9)
    assert not dead.xy.size


def test_too_many_are_the_scene_or_the_camera() -> None:
    dead, views = DeadPixels(), TwoViews(1)
    rng = np.random.default_rng(0)
    places = rng.permutation(120 * 160)[:600]
    for k in range(200):
        image = views.thermal(k / 9)
        image.ravel()[places] = 33_000
        dead.update(image, k / 9)
    assert "too many to be true" in (dead.warning or "")
    assert dead.replace(image, None, BufferPool()) is image


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_another_size_starts_afresh(dtype: type) -> None:
    dead = DeadPixels()
    learn(dead, 10)
    small = np.full((40, 50), 90, dtype)
    dead.update(small, 11.0)
    assert not dead.xy.size
    assert dead.replace(small, None, BufferPool()) is small


def test_the_synthetic_camera_shows_its_dead_pixels() -> None:
    scene = SyntheticScene(3, size_wh=(320, 240), thermal_size_wh=(160, 128))
    dead = DeadPixels()
    for k in range(120):
        dead.update(scene.thermal(k / 4), k / 4)
    truth = set(map(tuple, scene.dead_pixels_xy.tolist()))
    found = set(map(tuple, dead.xy.tolist()))
    assert found <= truth, "thin and hot things of a camera that stands still are not dead"
