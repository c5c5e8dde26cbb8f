"""Pictures that a working camera does not give."""

import numpy as np
import pytest

from differseg.runtime.health import FrameHealth


def noise(rng, dtype=np.uint8):
    high = 255 if dtype == np.uint8 else 31000
    return rng.integers(high // 2, high, (96, 128), dtype=dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_living_picture_is_ok(dtype):
    rng, health = np.random.default_rng(0), FrameHealth()
    states = {health.update(noise(rng, dtype), k / 30) for k in range(90)}
    assert states == {"ok"}
    assert health.counts == {}


def test_frozen_after_a_second_and_alive_again_at_once():
    rng, health = np.random.default_rng(0), FrameHealth()
    still = noise(rng)
    states = [health.update(still, k / 30) for k in range(60)]
    assert states[:29] == ["ok"] * 29
    assert states[31:] == ["frozen"] * 29
    assert health.update(noise(rng), 2.0) == "ok"


def test_a_static_scene_with_sensor_noise_is_not_frozen():
    rng, health = np.random.default_rng(0), FrameHealth()
    scene = noise(rng).astype(int) // 2
    for k in range(90):
        picture = (scene + rng.integers(0, 3, scene.shape)).astype(np.uint8)
        assert health.update(picture, k / 30) == "ok"


def test_black():
    rng, health = np.random.default_rng(0), FrameHealth()
    assert health.update(rng.integers(0, 4, (96, 128, 3), dtype=np.uint8), 0.0) == "black"
    assert health.update(np.zeros((96, 128), np.uint16), 0.1) == "black"
    assert health.update(np.full((96, 128), 3, np.uint16), 0.2) == "ok", "dark 16 bit has an offset"
    assert health.counts == {"black": 2}


def test_not_finite():
    picture = np.ones((96, 128), np.float32)
    picture[8, 8] = np.nan
    assert FrameHealth().update(picture, 0.0) == "nan"


def test_tiny_pictures_do_not_crash():
    assert FrameHealth().update(np.zeros((4, 4), np.uint8), 0.0) == "ok"
