"""What the two cameras add to the world: noise of a colour sensor, faults of a thermal one."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Float = npt.NDArray[Any]

_SPARE = 48
_TICKS_HZ = 1_000_000


def tick(t_s: float) -> int:
    """Return a time as whole microseconds, the key of everything random in a frame."""
    return round(t_s * _TICKS_HZ)


def _hash(seed: int, key: int) -> int:
    """Mix two integers to 64 bits (splitmix64); the order of calls plays no part."""
    value = (seed * 0x9E3779B97F4A7C15 + key * 0xBF58476D1CE4E5B9 + 0x94D049BB133111EB) % 2**64
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) % 2**64
    return value ^ (value >> 31)


class _NoiseBank:
    """A field of noise larger than the frame; each frame shows its own window of it."""

    def __init__(self, seed: int, field: Float, size_hw: tuple[int, int]) -> None:
        self._seed = seed
        self._field = field
        self._size_hw = size_hw

    def window(self, key: int) -> Float:
        """Return the noise (H, W[, C]) of the frame ``key``."""
        value = _hash(self._seed, key)
        y, x = value % _SPARE, (value // _SPARE) % _SPARE
        height, width = self._size_hw
        window = self._field[y : y + height, x : x + width]
        if (value >> 40) % 2:
            window = window[:, ::-1]
        if (value >> 41) % 2:
            window = window[::-1]
        return np.ascontiguousarray(window)


class ColorSensor:
    """Shot and read noise, stronger and blotchy under night gain."""

    def __init__(self, rng: np.random.Generator, size_wh: tuple[int, int], night: bool) -> None:
        """Draw the noise bank and the noise curve (grey level -> standard deviation)."""
        width, height = size_wh
        shape = (height + _SPARE, width + _SPARE)
        fine = rng.standard_normal((*shape, 3), dtype=np.float32)
        if night:  # in-camera denoising leaves blotches
            fine = cv2.GaussianBlur(fine, (0, 0), 0.7) * np.float32(2.2)
            grey = cv2.GaussianBlur(rng.standard_normal(shape, dtype=np.float32), (0, 0), 0.6)
            fine = 0.55 * fine + (1.7 * 0.85) * grey[..., None]
        read, shot = (rng.uniform(1.4, 2.8), rng.uniform(0.5, 0.9)) if night else (
            rng.uniform(0.4, 0.9), rng.uniform(0.12, 0.3))  # fmt: skip
        level = np.arange(256, dtype=np.float32)
        self._curve = np.sqrt(read**2 + shot**2 * level * 0.25).astype(np.float32)
        self._bank = _NoiseBank(int(rng.integers(2**62)), fine, (height, width))

    def expose(self, image: npt.NDArray[np.uint8], t_s: float) -> npt.NDArray[np.uint8]:
        """Return ``image`` (H, W, 3) uint8 with the noise of the frame at ``t_s``."""
        noise = cv2.multiply(self._bank.window(tick(t_s)), cv2.LUT(image, self._curve))
        return cv2.add(image, noise, dtype=cv2.CV_8U)  # type: ignore[return-value]


class ThermalSensor:
    """A microbolometer: optics blur, NETD, row noise, fixed pattern, drift and dead pixels."""

    def __init__(
        self, rng: np.random.Generator, size_wh: tuple[int, int], ambient_k: float
    ) -> None:
        """Draw the camera's own faults; ``ambient_k`` sets what stuck pixels show."""
        width, height = size_wh
        shape = (height, width)
        self.netd_k = float(rng.uniform(0.035, 0.07))
        bank = rng.standard_normal((height + _SPARE, width + _SPARE), dtype=np.float32)
        self._bank = _NoiseBank(int(rng.integers(2**62)), bank * np.float32(self.netd_k), shape)
        self._row_seed = int(rng.integers(2**62))
        self._rows = (rng.standard_normal((64, height)) * rng.uniform(0.008, 0.03)).astype(
            np.float32
        )
        column = rng.standard_normal(width).astype(np.float32) * np.float32(0.03)
        yy, xx = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
        corner = np.float32(rng.uniform(-0.5, 0.5)) * (xx * xx + yy * yy)
        self._pattern = corner + column[None, :]
        self._growth = (
            rng.standard_normal(shape).astype(np.float32) * np.float32(0.04)
            + np.float32(rng.uniform(-0.3, 0.3)) * yy
        )
        self._calibration_s = float(rng.uniform(45, 120))
        self._drift = (rng.uniform(0.15, 0.6), rng.uniform(0, 6.28), rng.uniform(70, 200))
        self._blur_px = float(rng.uniform(0.45, 0.75))
        self.dead_xy = self._dead_pixels(rng, width, height)
        stuck = rng.choice([-45.0, -18.0, 25.0, 60.0], size=len(self.dead_xy))
        self._stuck_ck = np.round((ambient_k + stuck) * 100).astype(np.uint16)

    @staticmethod
    def _dead_pixels(rng: np.random.Generator, width: int, height: int) -> npt.NDArray[np.int64]:
        """Choose about 4 in 10 000 pixels, some in clusters; returns (N, 2) int64 as (x, y)."""
        count = max(2, round(width * height * 2e-4))
        points = rng.integers([0, 0], [width, height], size=(count, 2))
        near = points[: max(1, count // 3)]
        grown = np.concatenate([near + step for step in ((1, 0), (0, 1), (1, 1))])
        grown = grown[rng.uniform(size=len(grown)) < 0.7]
        every = np.concatenate([points, grown])
        return np.unique(np.clip(every, 0, [width - 1, height - 1]), axis=0)

    def drift_k(self, t_s: float) -> float:
        """Return the common offset in kelvin at ``t_s``: slow, back near 0 at each shutter."""
        amount, phase, period = self._drift
        since = (t_s % self._calibration_s) / self._calibration_s
        return float(amount * (0.6 * since + 0.4 * np.sin(phase + 2 * np.pi * t_s / period)))

    def expose(self, kelvin: Float, t_s: float) -> npt.NDArray[np.uint16]:
        """Turn scene temperatures (H, W) float32 kelvin into a frame (H, W) uint16 centikelvin."""
        image = cv2.GaussianBlur(kelvin, (0, 0), self._blur_px)
        key = tick(t_s)
        since = np.float32((t_s % self._calibration_s) / self._calibration_s)
        row = self._rows[_hash(self._row_seed, key) % len(self._rows)]
        image += self._bank.window(key)
        image += self._pattern + since * self._growth
        image += (row + np.float32(self.drift_k(t_s)))[:, None]
        frame = np.clip(image * 100 + 0.5, 0, 65535).astype(np.uint16)
        frame[self.dead_xy[:, 1], self.dead_xy[:, 0]] = self._stuck_ck
        return frame
