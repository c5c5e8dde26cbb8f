from __future__ import annotations

import cv2
import numpy as np
import pytest

from differseg.data.synthetic import SyntheticScene
from differseg.runtime.registration import Registration
from differseg.runtime.registration_watch import RegistrationWatch

SIZE_WH = (320, 240)


@pytest.fixture(scope="module")
def pairs() -> list[tuple[np.ndarray, np.ndarray]]:
    """Six pairs of one scene, registered."""
    scene = SyntheticScene(1, SIZE_WH, thermal_size_wh=(160, 128), thermal_offset_s=0.0)
    registration = Registration(scene.thermal_to_rgb, scene.thermal_size_wh, SIZE_WH)
    times_s = [0.8 * i for i in range(6)]
    return [(scene.rgb(t), registration.warp(scene.thermal(t))) for t in times_s]


def shifted(image: np.ndarray, x: float, y: float) -> np.ndarray:
    matrix = np.array([[1, 0, x], [0, 1, y]], np.float64)
    return cv2.warpAffine(image, matrix, SIZE_WH, borderMode=cv2.BORDER_REPLICATE)


def watch(
    pairs: list, watcher: RegistrationWatch, looks: int, shift: tuple[float, float], begin_s: float
) -> list[str]:
    said = []
    for number in range(looks):
        rgb, thermal = pairs[number % len(pairs)]
        text = watcher.update(rgb, shifted(thermal, *shift), begin_s + number * 2.0)
        said += [text] if text else []
    return said


def test_cameras_at_rest_are_not_warned_of(pairs: list) -> None:
    watcher = RegistrationWatch()
    assert watch(pairs, watcher, 40, (0, 0), 0) == []
    assert watcher.shift_px is not None
    assert np.hypot(*watcher.shift_px) < 1
    assert not watcher.moved


def test_a_shift_is_told_once_with_its_size(pairs: list) -> None:
    watcher = RegistrationWatch()
    watch(pairs, watcher, 12, (0, 0), 0)
    said = watch(pairs, watcher, 30, (9, -4), 24)
    assert len(said) == 1
    assert "registration: the thermal picture has moved by about" in said[0]
    assert "register again" in said[0]
    assert watcher.moved
    assert watcher.shift_px == pytest.approx((9, -4), abs=1)


def test_an_offset_from_the_start_is_no_shift(pairs: list) -> None:
    watcher = RegistrationWatch()
    assert watch(pairs, watcher, 40, (9, -4), 0) == []
    assert watcher.shift_px == pytest.approx((0, 0), abs=1)


def test_hysteresis(pairs: list) -> None:
    watcher = RegistrationWatch(limit_px=6)
    watch(pairs, watcher, 12, (0, 0), 0)
    assert len(watch(pairs, watcher, 30, (9, 0), 100)) == 1
    assert watch(pairs, watcher, 30, (4.5, 0), 200) == []  # below the limit, above its half
    assert watcher.moved
    assert watch(pairs, watcher, 30, (9, 0), 300) == []  # so this is the same warning
    watch(pairs, watcher, 30, (0, 0), 400)
    assert not watcher.moved
    assert len(watch(pairs, watcher, 30, (9, 0), 500)) == 1


def test_a_few_odd_frames_say_nothing(pairs: list) -> None:
    watcher = RegistrationWatch()
    watch(pairs, watcher, 12, (0, 0), 0)
    assert watch(pairs, watcher, 2, (9, 0), 24) == []
    assert watch(pairs, watcher, 20, (0, 0), 28) == []


def test_only_every_so_often_is_looked(pairs: list) -> None:
    watcher = RegistrationWatch(period_s=2.0)
    rgb, thermal = pairs[0]
    for number in range(300):  # 10 s at 30 Hz
        watcher.update(rgb, thermal, 1000 + number / 30)
    assert watcher.looks == 5
    watcher.update(rgb, thermal, 3.0)  # the clock began anew
    assert watcher.looks == 6
    assert watcher.cost_ms > 0


def test_pictures_of_nothing_and_a_new_size_are_taken(pairs: list) -> None:
    watcher = RegistrationWatch(period_s=1.0)
    black = np.zeros((240, 320, 3), np.uint8)
    for number in range(20):
        assert watcher.update(black, np.zeros((240, 320), np.uint16), float(number)) is None
    assert watcher.shift_px is None
    rgb, thermal = pairs[0]
    large = cv2.resize(rgb, (640, 480)), cv2.resize(thermal, (640, 480))
    for number in range(20, 50):
        assert watcher.update(*large, float(number)) is None
    assert watcher.shift_px == pytest.approx((0, 0), abs=1)
