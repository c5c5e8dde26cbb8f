"""Joint changes of an image, its second modality and its mask, for training.

A sample here is a dict of planes of one size: ``rgb`` and ``flow`` (H, W, 3) uint8, ``thermal`` and
``depth`` (H, W) float32 in 0..1 (after the thermal policy), ``mask`` (H, W) uint8 with places of
classes (0 and 1 of two) and 255 = ignore. All randomness comes from the generator handed in, and
each step draws the same number of values whatever happens, so a sample is a function of its
generator's seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from differseg.data.labels import IGNORE
from differseg.errors import ManifestError
from differseg.runtime.preprocess import resize, resize_label

Planes = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Augmentation:
    """How strongly training samples are changed; 0 switches a change off."""

    flip: float = 0.5
    """Probability of a mirror image."""
    smallest_crop: float = 0.5
    """Smallest share of each side that a crop keeps; 1 keeps the whole picture."""
    largest_crop: float = 1.4
    """Largest crop, as a share of each side: a third of the crops reach beyond the picture, up to
    this, so that a network also sees scenes smaller than whole pictures show them.  Outside, images
    mirror and the mask is ignored; 1 keeps every crop inside."""
    aspect: float = 0.15
    """Largest relative stretch of a crop's aspect."""
    rotate: float = 0.25
    """Probability of a small rotation."""
    rotate_deg: float = 5.0
    """Largest rotation in degrees."""
    misregister: float = 0.5
    """Probability that the second modality is moved a little against RGB and mask."""
    misregister_px: float = 3.0
    """Farthest that this moves any pixel, in pixels of a 640 pixel wide picture."""
    color: float = 0.8
    """Probability of another exposure, contrast, saturation and white balance of RGB."""
    color_noise: float = 0.3
    """Probability of sensor noise or blur in RGB."""
    thermal: float = 0.8
    """Probability of another gain, offset and curve of thermal."""
    thermal_noise: float = 0.4
    """Probability of noise or blur in thermal."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            most = _MOST.get(name, 1.0)
            least = 0.05 if name.endswith("_crop") else 0.0
            if not least <= value <= most:
                raise ManifestError(f"{name}: expected {least:g} to {most:g}, got {value:g}")


_MOST = {"largest_crop": 16.0, "aspect": 0.9, "rotate_deg": 180.0, "misregister_px": 640.0}
"""Greatest value where it is not 1, that of a probability or a share."""

NONE = Augmentation(0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0)
"""Changes nothing but the size."""


def augment(
    planes: Planes, size_hw: tuple[int, int], options: Augmentation, rng: np.random.Generator
) -> Planes:
    """Return a randomly changed sample of the given size.

    Args:
        planes: The sample; it is not modified.
        size_hw: Height and width to give back.
        options: Which changes, and how strong.
        rng: Source of all randomness.
    """
    planes = misregister(planes, options, rng)
    planes = rotate(planes, options, rng)
    planes = crop_and_flip(planes, size_hw, options, rng)
    if "rgb" in planes:
        planes["rgb"] = jitter_color(planes["rgb"], options, rng)
    if "thermal" in planes:
        planes["thermal"] = jitter_thermal(planes["thermal"], options, rng)
    return planes


def fit(planes: Planes, size_hw: tuple[int, int]) -> Planes:
    """Return the sample stretched to a size, exactly as the runtime stretches its inputs."""
    return {
        name: resize_label(plane, size_hw) if name == "mask" else resize(plane, size_hw)
        for name, plane in planes.items()
    }


def crop_and_flip(
    planes: Planes, size_hw: tuple[int, int], options: Augmentation, rng: np.random.Generator
) -> Planes:
    """Cut one rectangle out of every plane, stretch it to ``size_hw``, and perhaps mirror it.

    A side of the rectangle that is longer than the picture's lies around the picture.
    """
    height, width = next(iter(planes.values())).shape[:2]
    share = _share(rng.uniform(), options)
    stretch = np.exp(rng.uniform(-options.aspect, options.aspect) / 2)
    most = 1.0 if share <= 1 else options.largest_crop
    at = rng.uniform(size=2)
    rows, above, below = _window(height, size_hw[0], min(share * stretch, most), at[0])
    columns, left, right = _window(width, size_hw[1], min(share / stretch, most), at[1])
    cut = {name: plane[rows, columns] for name, plane in planes.items()}
    fitted = fit(cut, (size_hw[0] - above - below, size_hw[1] - left - right))
    if above or below or left or right:
        for name, plane in fitted.items():
            border = cv2.BORDER_CONSTANT if name == "mask" else cv2.BORDER_REFLECT_101
            fitted[name] = cv2.copyMakeBorder(
                plane, above, below, left, right, border, value=(IGNORE, 0, 0, 0)
            )
    if rng.uniform() < options.flip:
        fitted = {name: np.ascontiguousarray(plane[:, ::-1]) for name, plane in fitted.items()}
    return fitted


def _share(drawn: float, options: Augmentation) -> float:
    """Turn a number in 0..1 into a crop's share: below 1 or, for a third of them, above."""
    above = 1 / 3 if options.largest_crop > 1 else 0.0
    if drawn < 1 - above:
        return options.smallest_crop + (1 - options.smallest_crop) * drawn / (1 - above)
    return 1 + (options.largest_crop - 1) * (drawn - (1 - above)) / above


def _window(length_px: int, out_px: int, share: float, at: float) -> tuple[slice, int, int]:
    """Place a crop along one side.

    Returns:
        What it shows of the picture, and how many of its ``out_px`` lie before and behind that.
    """
    if share <= 1:
        kept = max(1, round(length_px * share))
        first = round(at * (length_px - kept))
        return slice(first, first + kept), 0, 0
    outside = out_px - max(1, round(out_px / share))
    before = round(at * outside)
    return slice(0, length_px), before, outside - before


def rotate(planes: Planes, options: Augmentation, rng: np.random.Generator) -> Planes:
    """Turn every plane by the same small angle; corners mirror, and are ignored in the mask.

    Convention:
        About the picture's centre, pixel centres at integers; a positive angle turns
        counter-clockwise on the screen.
    """
    wanted = rng.uniform() < options.rotate
    angle = float(rng.uniform(-options.rotate_deg, options.rotate_deg))
    if not wanted or angle == 0:
        return planes
    height, width = next(iter(planes.values())).shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1.0)
    return {name: _warp(plane, matrix, name == "mask") for name, plane in planes.items()}


def misregister(planes: Planes, options: Augmentation, rng: np.random.Generator) -> Planes:
    """Shift and scale the modalities beside RGB a little, as an imperfect registration would.

    Shift and scale together move a corner, which they move farthest, by the limit at most.
    """
    wanted = rng.uniform() < options.misregister
    shift = rng.uniform(-1, 1, 2)
    spread = 0.8 * rng.uniform(-1, 1)
    others = [name for name in planes if name in ("thermal", "depth", "flow")]
    if not wanted or options.misregister_px == 0 or not others:
        return dict(planes)
    height, width = planes[others[0]].shape[:2]
    limit_px = options.misregister_px * width / 640
    unit_px = limit_px / max(1.0, np.hypot(*shift) + abs(spread))
    scale = 1 + spread * unit_px / max(1.0, np.hypot(width - 1, height - 1) / 2)
    matrix = np.array(
        [
            [scale, 0, shift[0] * unit_px + (1 - scale) * (width - 1) / 2],
            [0, scale, shift[1] * unit_px + (1 - scale) * (height - 1) / 2],
        ]
    )
    moved = dict(planes)
    for name in others:
        moved[name] = _warp(planes[name], matrix, False)
    return moved


def _warp(plane: npt.NDArray[Any], matrix: npt.NDArray[Any], mask: bool) -> npt.NDArray[Any]:
    size_wh = (plane.shape[1], plane.shape[0])
    if mask:
        return cv2.warpAffine(
            plane, matrix, size_wh, flags=cv2.INTER_NEAREST, borderValue=(IGNORE, 0, 0, 0)
        )
    return cv2.warpAffine(
        plane, matrix, size_wh, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )


def jitter_color(
    rgb: npt.NDArray[Any], options: Augmentation, rng: np.random.Generator
) -> npt.NDArray[Any]:
    """Change exposure, contrast, curve, saturation and white balance, and add noise or blur.

    Args:
        rgb: (H, W, 3) uint8, RGB.
        options: Probabilities.
        rng: Source of all randomness.
    """
    wanted, noisy = rng.uniform() < options.color, rng.uniform() < options.color_noise
    exposure, curve = np.exp(rng.uniform([-0.7, -0.35], [0.45, 0.35]))
    contrast, saturation = rng.uniform([0.7, 0.5], [1.3, 1.4])
    balance = rng.uniform(0.9, 1.1, 3)
    blur, sigma = rng.uniform() < 0.5, rng.uniform(1.0, 9.0)
    noise_seed = int(rng.integers(2**31))
    if wanted:
        grey = (1 - saturation) * np.array([0.299, 0.587, 0.114])
        rgb = cv2.transform(rgb, np.eye(3) * saturation + grey[None, :])
        level = np.arange(256)[:, None] / 255.0
        level = (level * exposure * balance) ** curve
        middle = (np.mean(cv2.mean(rgb)[:3]) / 255 * exposure) ** curve  # a dark picture stays so
        level = (level - middle) * contrast + middle
        table = np.clip(level * 255 + 0.5, 0, 255).astype(np.uint8)  # (256, 3)
        rgb = cv2.LUT(rgb, table[None])
    if noisy and blur:
        rgb = cv2.GaussianBlur(rgb, (0, 0), 0.4 + 0.12 * sigma)
    elif noisy:
        noise = _noise(noise_seed, rgb.shape) * np.float32(sigma)
        rgb = cv2.add(rgb, noise, dtype=cv2.CV_8U)
    return rgb


def jitter_thermal(
    thermal: npt.NDArray[Any], options: Augmentation, rng: np.random.Generator
) -> npt.NDArray[Any]:
    """Change gain, offset and curve, and add noise with stripes or blur; stays in 0..1.

    Args:
        thermal: (H, W) float32 in 0..1.
        options: Probabilities.
        rng: Source of all randomness.
    """
    wanted, noisy = rng.uniform() < options.thermal, rng.uniform() < options.thermal_noise
    gain, curve = np.exp(rng.uniform([-0.45, -0.4], [0.35, 0.4]))
    offset = rng.uniform(-0.12, 0.12)
    blur, sigma = rng.uniform() < 0.4, rng.uniform(0.004, 0.03)
    noise_seed = int(rng.integers(2**31))
    if wanted:
        # a table of 1025 steps in place of a power for every pixel
        level = np.linspace(0, 1, 1025) ** curve
        middle = 0.5 * gain
        table = np.clip(level * gain + (0.5 - middle) + offset, 0, 1).astype(np.float32)
        thermal = table[(thermal * 1024 + 0.5).astype(np.int32)]
    if noisy and blur:
        thermal = cv2.GaussianBlur(thermal, (0, 0), 0.5 + 40 * sigma)
    elif noisy:
        noise = _noise(noise_seed, thermal.shape)
        noise += _noise(noise_seed + 1, (thermal.shape[0], 1)) * np.float32(0.4)
        thermal = np.clip(thermal + noise * np.float32(sigma), 0, 1)
    return thermal


def _noise(seed: int, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
