"""What an audit keeps of one image: a few figures, a hash and a thumbnail."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from differseg.calibration.noise import Texture, texture
from differseg.manifest import InputSpec
from differseg.runtime.health import FrameHealth

BINS = 256
"""Bins of a histogram over an input's value range."""

TINY_WH = (32, 24)
"""Size at which two images are compared."""
THUMB_WH = (160, 120)
"""Size of a thumbnail."""

_HASH_WH = (9, 8)
_FLAT_COUNTS = 0.7
"""Standard deviation below which a picture is constant; a sensor's own noise is above it."""
_FLAT_UNIT = 1e-4  # of floating point in 0..1


@dataclass(frozen=True)
class Measures:
    """One image of one modality.

    Attributes:
        place: Where it lies, for messages.
        modality: rgb, thermal, depth or flow.
        size_hw: Height and width in pixels as read.
        dtype: As read.
        digest: SHA-256 of the pixels as read.
        constant: No pixel stands out: standard deviation under 0.7 counts.
        black: As :class:`differseg.runtime.health.FrameHealth` calls it.
        clipped: Share of pixels at the highest code (in all channels).
        missing: Share of pixels at 0 (in all channels).
        grey: A colour image whose channels are equal.
        texture: What tells noise; None where it cannot be told.
        channel_ranges: Smallest and largest value of each channel as read.
        luminance: Mean of the prepared image, of its value range as 0..1.
        histogram: (256,) int64, values of the prepared image over its value range.
        hash: (64,) bool, whether each cell of 8 x 8 is darker than its right neighbour.
        tiny: (24, 32) float32, the prepared image in 0..1, without colour.
        thumb: (120, 160, 3) uint8 RGB, or (120, 160) uint8.
    """

    place: str
    modality: str
    size_hw: tuple[int, int]
    dtype: str
    digest: bytes
    constant: bool
    black: bool
    clipped: float
    missing: float
    grey: bool
    texture: Texture | None
    channel_ranges: tuple[tuple[float, float], ...]
    luminance: float
    histogram: npt.NDArray[np.int64]
    hash: npt.NDArray[np.bool_]
    tiny: npt.NDArray[np.float32]
    thumb: npt.NDArray[np.uint8]

    @property
    def noise(self) -> Literal["white", "enlarged"] | None:
        """Whether it looks like random numbers; a constant image is not called noise too."""
        return None if self.texture is None or self.constant else self.texture.noise


def measure(
    place: str, spec: InputSpec, image: npt.NDArray[Any], array: npt.NDArray[Any]
) -> Measures:
    """Measure one image.

    Args:
        place: Where it lies.
        spec: The input that it is for.
        image: As read: (H, W, 3) uint8 RGB, or (H, W).
        array: What the graph takes, from the runtime's preparation.
    """
    unit = _unit(spec, array)
    luma = unit if unit.ndim == 2 else cv2.cvtColor(unit, cv2.COLOR_RGB2GRAY)
    planes = image.reshape(-1, image.shape[2] if image.ndim == 3 else 1)
    low, high = planes.min(axis=0), planes.max(axis=0)
    cells = cv2.resize(luma, _HASH_WH, interpolation=cv2.INTER_AREA)
    thumb = cv2.resize(unit, THUMB_WH, interpolation=cv2.INTER_AREA)
    return Measures(
        place=place,
        modality=spec.modality,
        size_hw=(image.shape[0], image.shape[1]),
        dtype=image.dtype.name,
        digest=hashlib.sha256(image.tobytes()).digest(),
        constant=_is_constant(planes),
        black=FrameHealth().update(image, 0.0) == "black",
        clipped=_share_at(planes, _highest(image)),
        missing=_share_at(planes, 0),
        grey=image.ndim == 3 and bool((image == image[:, :, :1]).all()),
        texture=texture(image),
        channel_ranges=tuple((float(a), float(b)) for a, b in zip(low, high, strict=True)),
        luminance=float(luma.mean()),
        histogram=_histogram(unit),
        hash=np.asarray(cells[:, :-1] < cells[:, 1:]).ravel(),
        tiny=np.asarray(cv2.resize(luma, TINY_WH, interpolation=cv2.INTER_AREA), np.float32),
        thumb=np.asarray(np.round(thumb * 255), np.uint8),
    )


def _unit(spec: InputSpec, array: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return a prepared array as (H, W) or (H, W, 3) float32 in 0..1 of its value range."""
    plane = array[0] if spec.layout == "NHWC" else np.moveaxis(array[0], 0, -1)
    if plane.shape[2] == 1:
        plane = plane[:, :, 0]
    low, high = spec.value_range
    scaled = (plane.astype(np.float32) - np.float32(low)) / np.float32(high - low)
    return np.ascontiguousarray(np.clip(scaled, 0, 1))


def _is_constant(planes: npt.NDArray[Any]) -> bool:
    limit = _FLAT_UNIT if planes.dtype.kind == "f" else _FLAT_COUNTS
    return bool((planes.std(axis=0, dtype=np.float64) < limit).all())


def _highest(image: npt.NDArray[Any]) -> float:
    return 1.0 if image.dtype.kind == "f" else float(np.iinfo(image.dtype).max)


def _share_at(planes: npt.NDArray[Any], code: float) -> float:
    return float((planes == code).all(axis=1).mean())


def _histogram(unit: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    codes = np.round(unit * (BINS - 1)).astype(np.uint8)
    return np.bincount(codes.ravel(), minlength=BINS).astype(np.int64)
