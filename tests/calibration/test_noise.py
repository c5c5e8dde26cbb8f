"""Noise and pictures: what is told apart, and that no real picture is taken for noise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from calibration_data import picture, rgb_picture

from differseg.calibration.noise import texture
from differseg.runtime.image_files import list_images

HW = (240, 320)
Image = npt.NDArray[Any]
Rng = np.random.Generator


def clipped(values: npt.NDArray[np.float64]) -> Image:
    return np.clip(values, 0, 255).astype(np.uint8)


def scene(night: bool = False) -> Image:
    return rgb_picture(5, HW[::-1], mean=30 if night else 110)


def shuffled(rng: Rng) -> Image:
    image = scene()
    return rng.permutation(image.reshape(-1, 3)).reshape(image.shape)


def as_jpeg(image: Image, quality: int) -> Image:
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.imdecode(data, cv2.IMREAD_COLOR)


NOISE: dict[str, Callable[[Rng], Image]] = {
    "uniform": lambda rng: clipped(rng.uniform(0, 256, (*HW, 3))),
    "Gaussian": lambda rng: clipped(rng.normal(128, 40, (*HW, 3))),
    "one channel": lambda rng: clipped(rng.normal(90, 9, HW)),
    "16 bit": lambda rng: rng.normal(30000, 40, HW).astype(np.uint16),
    "floating point": lambda rng: rng.random(HW),
    "shuffled pixels": shuffled,
    "tinted": lambda rng: clipped(np.array([200, 30, 90]) + rng.normal(0, 6, (*HW, 3))),
    "tinted as a scene": lambda rng: clipped(scene().mean((0, 1)) + rng.normal(0, 20, (*HW, 3))),
    "faint": lambda rng: clipped(128 + rng.normal(0, 1.5, (*HW, 3))),
    "two values": lambda rng: rng.integers(0, 2, HW).astype(np.uint8) * 255,
    "salt": lambda rng: np.where(rng.random(HW) < 0.02, 255, 0).astype(np.uint8),
    "JPEG": lambda rng: as_jpeg(clipped(rng.normal(128, 40, (*HW, 3))), 30),
    "under a gradient": lambda rng: clipped(80 + np.linspace(0, 50, HW[1]) + rng.normal(0, 40, HW)),
    "small": lambda rng: clipped(rng.normal(128, 40, (64, 64))),
    "large": lambda rng: clipped(rng.normal(128, 40, (1300, 1100))),
}


@pytest.mark.parametrize("kind", NOISE)
def test_random_numbers_are_noise(kind: str) -> None:
    for seed in range(2):
        found = texture(NOISE[kind](np.random.default_rng(seed)))
        assert found is not None
        assert found.noise == "white", found


@pytest.mark.parametrize("factor", [2, 4])
def test_enlarged_noise_is_told(factor: int) -> None:
    rng = np.random.default_rng(factor)
    small = clipped(rng.normal(128, 50, (HW[0] // factor, HW[1] // factor)))
    found = texture(cv2.resize(small, HW[::-1]))
    assert found is not None
    assert found.noise == "enlarged", found


@pytest.mark.parametrize(("night", "noise"), [(False, 0), (False, 30), (True, 0), (True, 10)])
def test_a_noisy_picture_is_a_picture(night: bool, noise: float) -> None:
    rng = np.random.default_rng(1)
    image = scene(night)
    found = texture(clipped(image + rng.normal(0, noise, image.shape)))
    assert found is not None
    assert found.noise is None, found


def test_slope_of_a_known_spectrum() -> None:
    """Power that falls as the frequency to the third has the slope -3."""
    found = texture(picture(3, (256, 256)))
    assert found is not None
    assert found.slope == pytest.approx(-3, abs=0.15)


def test_what_has_no_texture_is_not_judged() -> None:
    assert texture(np.full(HW, 7, np.uint8)) is None
    assert texture(clipped(np.random.default_rng(0).uniform(0, 256, (16, 16)))) is None


def _not_noise(sample_data: Path, most: int) -> None:
    folders = [path for path in sorted(sample_data.glob("*/*")) if path.is_dir()]
    seen = 0
    for folder in folders:
        if folder.name in ("labels", "warp_grid"):
            continue
        paths = list(list_images(folder).values())
        for path in paths[:: -(-len(paths) // most)]:
            found = texture(cv2.imread(str(path), cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH))
            assert found is not None, path
            assert found.noise is None, (path, found)
            seen += 1
    assert seen >= 15


def test_no_real_picture_is_noise(sample_data: Path) -> None:
    _not_noise(sample_data, 1)


@pytest.mark.slow
def test_none_of_all_real_pictures_is_noise(sample_data: Path) -> None:
    _not_noise(sample_data, 1000)
