"""Noise and faults of the two sensors.

Thermal noise is in millikelvin where images have 16 bits, whose counts are taken as centikelvin,
and in percent of the 256 codes where they have 8.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from differseg.robustness.corruption import Chance, Sample

_MK_PER_COUNT = 10.0
_CODES_U8 = 256.0
_MID_GREY = 128.0


def rgb_noise(sample: Sample, level: float, chance: Chance) -> Sample:
    """Add noise to RGB with a standard deviation of ``level`` grey levels at the code 128.

    Half of the variance there is read noise, the same at every code; the other half is shot
    noise, whose variance grows with the code.  Channels are independent.
    """
    rgb = sample["rgb"]
    sigma = np.sqrt(0.5 + 0.5 * np.arange(256, dtype=np.float32) / np.float32(_MID_GREY))
    noise = chance.frame().standard_normal(rgb.shape, dtype=np.float32)
    noisy = rgb + noise * sigma[rgb] * np.float32(level)
    return {**sample, "rgb": np.clip(np.round(noisy), 0, 255).astype(np.uint8)}


def thermal_noise(sample: Sample, level: float, chance: Chance) -> Sample:
    """Add noise to thermal that is new in every frame; ``level`` is its standard deviation."""
    image = sample["thermal"]
    noise = chance.frame().standard_normal(image.shape, dtype=np.float32)
    return {**sample, "thermal": _added(image, noise * np.float32(counts(level, image.dtype)))}


def thermal_pattern(sample: Sample, level: float, chance: Chance) -> Sample:
    """Add a pattern to thermal that is the same in every frame of a size.

    ``level`` is its standard deviation; half of the variance belongs to columns, as the read-out
    of microbolometers shows it, half to single pixels.
    """
    image, rng = sample["thermal"], chance.camera()
    height, width = image.shape
    columns = rng.standard_normal((1, width), dtype=np.float32)
    pattern = (rng.standard_normal((height, width), dtype=np.float32) + columns) * np.sqrt(0.5)
    scaled = (pattern * counts(level, image.dtype)).astype(np.float32)
    return {**sample, "thermal": _added(image, scaled)}


def dead_pixels(sample: Sample, level: float, chance: Chance) -> Sample:
    """Make ``level`` percent of the thermal pixels stuck, in every frame of a size the same.

    Half of them are at the lowest code and half at the highest.
    """
    image, rng = sample["thermal"].copy(), chance.camera()
    count = round(image.size * min(level, 100.0) / 100)
    places = rng.permutation(image.size)[:count]  # a greater level has those of a smaller one
    image.flat[places] = np.where(np.arange(count) % 2, np.iinfo(image.dtype).max, 0)
    return {**sample, "thermal": image}


def counts(level: float, dtype: np.dtype[Any]) -> float:
    """Return thermal noise in counts: from millikelvin of 16 bits, from percent of 8."""
    return level / _MK_PER_COUNT if dtype == np.uint16 else level * _CODES_U8 / 100


def _added(image: npt.NDArray[Any], change: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
    highest = np.iinfo(image.dtype).max
    return np.clip(np.round(image + change), 0, highest).astype(image.dtype)
