"""Small sets of pictures that an audit has nothing against, to plant faults in."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from differseg.manifest import InputSpec, ThermalPolicy
from differseg.runtime.registration import Registration

Image = npt.NDArray[np.uint8]

SIZE_WH = (160, 128)
COUNT = 6


def picture(seed: int, size_wh: tuple[int, int] = SIZE_WH) -> npt.NDArray[np.float64]:
    """A random field with the spectrum of pictures, power as frequency to the -3: mean 0, std 1."""
    rng = np.random.default_rng(seed)
    width, height = size_wh
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    frequency[0, 0] = np.inf
    white = np.fft.rfft2(rng.normal(size=(height, width)))
    field = np.fft.irfft2(white * frequency**-1.5, s=(height, width))
    return (field - field.mean()) / field.std()


def rgb_picture(seed: int, size_wh: tuple[int, int] = SIZE_WH, mean: float = 110) -> Image:
    """Three different mixtures of two fields, (H, W, 3) uint8."""
    first, second = picture(2 * seed, size_wh), picture(2 * seed + 1, size_wh)
    planes = [first + share * second for share in (-0.6, 0.0, 0.6)]
    return np.clip(mean + 0.45 * mean * np.stack(planes, axis=-1), 0, 255).astype(np.uint8)


def thermal_picture(seed: int, size_wh: tuple[int, int] = SIZE_WH) -> npt.NDArray[np.uint16]:
    """(H, W) uint16, centikelvin."""
    return (29500 + 500 * picture(10_000 + seed, size_wh)).astype(np.uint16)


def write_pairs(folder: Path, count: int = COUNT) -> Path:
    """Write rgb/, bright and dark in turn, thermal/ (16 bit) and labels/."""
    for name in ("rgb", "thermal", "labels"):
        (folder / name).mkdir(parents=True)
    for index in range(count):
        thermal = thermal_picture(index)
        put(folder / "rgb" / f"s{index}.png", rgb_picture(index, mean=30 if index % 2 else 110))
        put(folder / "thermal" / f"s{index}.png", thermal)
        put(folder / "labels" / f"s{index}.png", (thermal > 30000).astype(np.uint8))
    return folder


def write_mfnet(folder: Path, count: int = COUNT) -> Path:
    """Write MFNet's release: RGB and thermal (8 bit) in one PNG, labels, and a list a split.

    The last two samples are ``test``, the rest is ``train``.
    """
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    names = [f"{index:05d}D" for index in range(count)]
    for index, name in enumerate(names):
        rgb = rgb_picture(index, mean=30 if index % 2 else 110)
        thermal = np.clip(120 + 40 * picture(10_000 + index), 1, 254).astype(np.uint8)
        put(folder / "images" / f"{name}.png", np.dstack([rgb, thermal]))
        put(folder / "labels" / f"{name}.png", (thermal > 140).astype(np.uint8))
    for split, listed in (("train", names[:-2]), ("test", names[-2:])):
        (folder / f"{split}.txt").write_text("\n".join(listed), encoding="utf-8")
    return folder


def write_drive(folder: Path, count: int) -> Path:
    """Write a session: two views that move by 8 pixels a frame and grow warmer, and labels."""
    width, height = SIZE_WH
    for name in ("rgb", "thermal", "labels"):
        (folder / name).mkdir(parents=True)
    rgb, thermal = rgb_picture(50), thermal_picture(50, (width // 2, height // 2))
    for index in range(count):
        noise = np.random.default_rng(index).integers(0, 3, rgb.shape).astype(np.uint8)
        moved = np.roll(rgb, 8 * index, axis=1)
        warmer = np.roll(thermal, 4 * index, axis=1) + 40 * index
        put(folder / "rgb" / f"{index:03d}.png", np.maximum(moved, 3) - noise)
        put(folder / "thermal" / f"{index:03d}.png", warmer.astype(np.uint16))
        put(folder / "labels" / f"{index:03d}.png", (moved[:, :, 0] > 120).astype(np.uint8))
    matrix = np.array([[1.9, 0.02, 3], [-0.02, 1.95, 2], [0, 0, 1]])
    Registration(matrix, (width // 2, height // 2), SIZE_WH).save(folder / "registration.json")
    return folder


def put(path: Path, image: npt.NDArray[np.generic]) -> None:
    assert cv2.imwrite(str(path), image)


def get(path: Path) -> npt.NDArray[np.generic]:
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert image is not None
    return image


def inputs_of(size_hw: tuple[int, int], policy: ThermalPolicy) -> tuple[InputSpec, ...]:
    height, width = size_hw
    rgb = InputSpec(
        name="rgb",
        modality="rgb",
        shape=(1, height, width, 3),
        dtype="uint8",
        layout="NHWC",
        value_range=(0, 255),
        mean=(0, 0, 0),
        std=(1, 1, 1),
        color_order="RGB",
    )
    thermal = InputSpec(
        name="thermal",
        modality="thermal",
        shape=(1, 1, height, width),
        dtype="float32",
        layout="NCHW",
        value_range=(0, 1),
        mean=(0,),
        std=(1,),
        thermal_policy=policy,
    )
    return rgb, thermal
