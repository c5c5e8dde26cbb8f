"""Less light and less contrast, computed in linear light and stored as sRGB again.

sRGB is IEC 61966-2-1; a camera's own curve differs, which plays no part for how much light is
lost.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from differseg.robustness.corruption import Chance, Sample

FULL_WELL_E = 6000.0
"""Electrons of a pixel at the brightest level: a small sensor of 2 to 3 micrometres."""

READ_NOISE_E = 3.0
"""Standard deviation of the read-out in electrons."""

AIRLIGHT = 0.6
"""Linear brightness of fog, in all colours: sRGB 203 of 255."""

_CODES = np.arange(256) / 255.0
_TO_LINEAR = np.where(_CODES <= 0.04045, _CODES / 12.92, ((_CODES + 0.055) / 1.055) ** 2.4).astype(
    np.float32
)
_STEPS = 65535
_LINEAR = np.arange(_STEPS + 1) / _STEPS
_TO_SRGB = np.clip(
    np.where(_LINEAR <= 0.0031308, 12.92 * _LINEAR, 1.055 * _LINEAR ** (1 / 2.4) - 0.055) * 255
    + 0.5,
    0,
    255,
).astype(np.uint8)


def to_linear(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return sRGB codes (uint8) as linear light, float32 in 0..1."""
    return _TO_LINEAR[image]


def to_srgb(light: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Return linear light as sRGB codes, rounded; outside 0..1 is cut."""
    steps = np.clip(light, 0, 1) * np.float32(_STEPS) + np.float32(0.5)
    return _TO_SRGB[steps.astype(np.uint16)]


def night(sample: Sample, level: float, chance: Chance) -> Sample:
    """Take ``level`` stops of light from RGB: ``2 ** -level`` of it is left, with its noise.

    Photons are counted (shot noise) and read out (read noise); no gain brings the light back.
    """
    rng = chance.frame()
    electrons = to_linear(sample["rgb"]) * np.float32(FULL_WELL_E * 2.0**-level)
    counted = rng.poisson(electrons).astype(np.float32)
    counted += rng.standard_normal(counted.shape, dtype=np.float32) * np.float32(READ_NOISE_E)
    return {**sample, "rgb": to_srgb(counted / np.float32(FULL_WELL_E))}


def fog(sample: Sample, level: float, chance: Chance) -> Sample:
    """Veil RGB: ``level`` percent of the scene's light is replaced by the fog's.

    Koschmieder's law with one distance for the whole picture, since no depth is known.
    """
    share = np.float32(min(level, 100.0) / 100)
    light = to_linear(sample["rgb"])
    return {**sample, "rgb": to_srgb((1 - share) * light + share * np.float32(AIRLIGHT))}


def jpeg(sample: Sample, level: float, chance: Chance) -> Sample:
    """Compress RGB by JPEG of quality ``100 - level``, with colour at half the resolution."""
    quality = max(1, round(100 - level))
    half = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420
    settings = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, half]
    _, code = cv2.imencode(".jpg", sample["rgb"][:, :, ::-1], settings)
    decoded = np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), dtype=np.uint8)
    return {**sample, "rgb": np.ascontiguousarray(decoded[:, :, ::-1])}
