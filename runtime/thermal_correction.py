"""What a thermal sensor adds to its picture, taken away again before anything looks at it.

Dead pixels, stripes of the columns and rows, and the jump of the whole picture when the camera
closes its shutter to correct itself (FFC).  Everything is found from the frames of a running
camera.  The result is in centikelvin where the camera is radiometric, else in its own counts.

Convention: codes 0 and the largest one (255, 65535) are dead or saturated pixels and stay.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from differseg.errors import InputError
from differseg.runtime.buffers import BufferPool
from differseg.runtime.dead_pixels import DeadPixels

ThermalUnit = Literal["counts", "0.01K", "0.1K"]

ZERO_CELSIUS_CK = 27315.0

# OpenCV takes numbers beside arrays; its type stubs do not know.
_TENTHS: Any = 10.0
_END_CODES: tuple[Any, Any] = (0, 65535)
_SAMPLED_LINES = 48
_STRIPE_LINES = 64
_STRIPE_EVERY_S = 0.2
_STRIPE_TAU_S = 10.0
_STRIPE_WIDTH_PX = 9
_LEAST_JUMP_CK = 15.0


@dataclass(frozen=True)
class CorrectionOptions:
    """What is corrected.

    Attributes:
        unit: What a count is: ``0.01K`` and ``0.1K`` are the two TLinear resolutions (0.1 K is
            turned into centikelvin, and ends at 382 degrees Celsius), ``counts`` anything else.
        dead_pixels: Find and replace pixels that do not follow their neighbours.
        stripes: Take away constant differences between columns and between rows.  For cameras
            that show them, on something that moves: of a still scene, posts and ledges are taken
            for stripes.
        jump_smoothing_s: Time constant with which a jump of the whole picture, as a shutter
            correction makes, is let through; 0 lets it through at once.
    """

    unit: ThermalUnit = "0.01K"
    dead_pixels: bool = True
    stripes: bool = False
    jump_smoothing_s: float = 5.0

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            InputError: One is out of range.
        """
        if self.unit not in ("counts", "0.01K", "0.1K"):
            raise InputError(f"thermal unit: expected counts, 0.01K or 0.1K, got {self.unit!r}")
        if not 0 <= self.jump_smoothing_s <= 600:
            raise InputError(f"jump_smoothing_s: expected 0 to 600, got {self.jump_smoothing_s}")


class ThermalCorrector:
    """Corrects the frames of one thermal camera, in order, in one thread.

    Attributes:
        dead: The dead pixels found so far.
        jumps: Jumps of the whole picture seen so far.
    """

    def __init__(self, options: CorrectionOptions | None = None) -> None:
        self.options = options or CorrectionOptions()
        self._pool = BufferPool()
        self.reset()

    def reset(self) -> None:
        """Forget all that was learnt: another camera follows."""
        self.dead = DeadPixels()
        self.jumps = 0
        self._drift = _JumpSmoother(self.options.jump_smoothing_s)
        self._stripes = _Stripes()
        self._plus = self._minus = np.empty((0, 0), np.uint16)
        self._applied = -1

    def apply(self, image: npt.NDArray[Any], timestamp_s: float) -> npt.NDArray[Any]:
        """Return the corrected image.

        Args:
            image: (H, W) uint8 or uint16, in the camera's counts; not written to.
            timestamp_s: Capture time in seconds.

        Returns:
            (H, W) of the same dtype, counts or centikelvin; ``image`` itself where nothing is to
            be done.  Stays as it is as long as it is held.

        Raises:
            InputError: Another dtype or shape, or a time stamp that is not finite.
        """
        _check(image, timestamp_s)
        source, looked = image, False
        if image.dtype == np.uint16 and self.options.unit == "0.1K":
            image = cv2.multiply(image, _TENTHS, dst=self._pool.take(image.shape, np.uint16))
        if self.options.dead_pixels:
            looks = self.dead.looks
            self.dead.update(image, timestamp_s)
            looked = self.dead.looks > looks
            image = self.dead.replace(image, image if image is not source else None, self._pool)
        if image.dtype == np.uint16:
            # The gain control of an 8-bit camera moves offsets with every frame.
            image = self._without_offsets(image, timestamp_s, learn=not looked)
        return image

    def _without_offsets(
        self, image: npt.NDArray[np.uint16], timestamp_s: float, *, learn: bool
    ) -> npt.NDArray[np.uint16]:
        offset = self._drift.update(image, timestamp_s)
        self.jumps = self._drift.jumps
        # No frame pays for two looks.
        if self.options.stripes and learn:
            self._stripes.update(image, timestamp_s)
        if not offset and not self._stripes.found:
            return image
        out = self._pool.take(image.shape, np.uint16)
        done: npt.NDArray[Any] = image
        if self._stripes.found:
            if self._applied != self._stripes.version or self._plus.shape != image.shape:
                pattern = self._stripes.pattern(image.shape)
                self._plus = np.maximum(pattern, 0).astype(np.uint16)
                self._minus = np.maximum(-pattern, 0).astype(np.uint16)
                self._applied = self._stripes.version
            done = cv2.subtract(cv2.add(image, self._plus, dst=out), self._minus, dst=out)
        if offset:
            cv2.add(done, offset, dst=out)
        extremes = cv2.minMaxLoc(image)[:2]
        for code in _END_CODES:
            if code in extremes:
                cv2.copyTo(image, cv2.compare(image, code, cv2.CMP_EQ), out)
        return out


class _JumpSmoother:
    """Finds jumps of the whole picture, and lets them through slowly."""

    def __init__(self, tau_s: float) -> None:
        self.jumps = 0
        self._tau_s = tau_s
        self._offset = 0.0
        self._last: npt.NDArray[np.int32] | None = None
        self._last_s = -math.inf

    def update(self, image: npt.NDArray[np.uint16], timestamp_s: float) -> Any:
        """Return what to add to this image, in whole counts."""
        step = max(1, image.shape[0] // _SAMPLED_LINES)
        sample = image[step // 2 :: step, step // 2 :: step].astype(np.int32)
        last, elapsed_s = self._last, timestamp_s - self._last_s
        self._last, self._last_s = sample, timestamp_s
        if last is None or last.shape != sample.shape or elapsed_s < 0 or not self._tau_s:
            self._offset = 0.0
            return 0.0
        self._offset *= math.exp(-elapsed_s / self._tau_s)
        difference = sample - last
        quarter, jump, other = _quartiles(difference)
        # A shutter correction moves every pixel alike; a turn of the camera does not.
        if abs(jump) >= _LEAST_JUMP_CK and other - quarter < abs(jump) / 2:
            self.jumps += 1
            self._offset -= jump
        return float(round(self._offset))


def _quartiles(values: npt.NDArray[np.int32]) -> tuple[float, float, float]:
    flat = values.ravel()
    places = [flat.size // 4, flat.size // 2, 3 * flat.size // 4]
    low, middle, high = np.partition(flat, places)[places]
    return float(low), float(middle), float(high)


class _Stripes:
    """Constant offsets of columns and rows, learnt slowly from the differences of neighbours.

    The typical difference between two neighbouring columns is what the two columns differ by;
    edges of the scene are outliers in it, and another scene has them elsewhere.
    """

    def __init__(self) -> None:
        self.found = False
        self.version = 0
        self._looked_s = -math.inf
        self._axis = 0
        self._profiles: list[npt.NDArray[np.float32]] = []

    def pattern(self, shape: tuple[int, ...]) -> npt.NDArray[np.int16]:
        """Return what to add to an image, (H, W) int16."""
        if not self.found or tuple(p.size for p in self._profiles) != tuple(shape[::-1]):
            return np.zeros(shape, np.int16)
        columns, rows = (np.rint(p).astype(np.int16) for p in self._profiles)
        return -(columns[None, :] + rows[:, None])

    def update(self, image: npt.NDArray[np.uint16], timestamp_s: float) -> None:
        """Look at one axis of one image, a few times a second."""
        if image.shape[0] < 2 * _STRIPE_WIDTH_PX or image.shape[1] < 2 * _STRIPE_WIDTH_PX:
            return
        if tuple(p.size for p in self._profiles) != image.shape[::-1]:
            self._profiles = [np.zeros(n, np.float32) for n in image.shape[::-1]]
            self.found, self._looked_s = False, -math.inf
        elapsed_s = timestamp_s - self._looked_s
        if 0 <= elapsed_s < _STRIPE_EVERY_S:
            return
        self._looked_s = timestamp_s
        axis, self._axis = self._axis, 1 - self._axis
        if axis == 0:
            lines = image[:: max(1, image.shape[0] // _STRIPE_LINES)]
        else:
            step = max(1, image.shape[1] // _STRIPE_LINES)
            lines = np.ascontiguousarray(image[:, ::step].T)
        seen = _profile(lines)
        before = np.rint(self._profiles[axis])
        step = 1 - math.exp(-2 * _STRIPE_EVERY_S / _STRIPE_TAU_S)
        self._profiles[axis] += np.float32(step) * (seen - self._profiles[axis])
        if not np.array_equal(before, np.rint(self._profiles[axis])):
            self.version += 1
        self.found = any(np.abs(p).max() >= 0.5 for p in self._profiles)


def _profile(lines: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
    """Return how much each column lies above the smooth course of its neighbours, (W,) float32.

    Args:
        lines: (N, W) uint16, counts.
    """
    difference = cv2.subtract(lines[:, 1:], lines[:, :-1], dtype=cv2.CV_32F)
    middle = np.partition(difference.ravel()[::7], difference.size // 14)[difference.size // 14]
    noise = float(np.mean(np.minimum(np.abs(difference - middle), 50.0)))
    limit = 2 * noise + 1
    np.clip(difference, -limit, limit, out=difference)
    course = np.concatenate([[0.0], np.cumsum(difference.mean(axis=0))]).astype(np.float32)
    smooth = cv2.blur(course[None], (_STRIPE_WIDTH_PX, 1), borderType=cv2.BORDER_REFLECT)[0]
    return course - smooth


def to_celsius(value: float, unit: ThermalUnit = "0.01K") -> float:
    """Return the temperature of a radiometric pixel value in degrees Celsius.

    Args:
        value: Count of the camera; after :class:`ThermalCorrector`, ``0.01K`` in any case.
        unit: ``0.01K`` or ``0.1K``.

    Raises:
        InputError: Raw counts, which are no temperature.
    """
    if unit == "counts":
        raise InputError(
            "raw counts are no temperature; switch the camera to TLinear (0.01 K or 0.1 K a count)"
        )
    return value * (0.01 if unit == "0.01K" else 0.1) - ZERO_CELSIUS_CK / 100


def celsius_at(image: npt.NDArray[np.uint16], x: int, y: int, unit: ThermalUnit = "0.01K") -> float:
    """Return the temperature at a pixel in degrees Celsius.

    Args:
        image: (H, W) uint16 of a radiometric camera.
        x: Column, 0..W - 1.
        y: Row, 0..H - 1.
        unit: ``0.01K`` or ``0.1K``.

    Raises:
        InputError: The pixel lies outside, or the image is not radiometric.
    """
    if image.ndim != 2 or image.dtype != np.uint16:
        raise InputError(
            f"a temperature needs a 16-bit thermal image, got {image.dtype} {image.shape}"
        )
    height, width = image.shape
    if not (0 <= x < width and 0 <= y < height):
        raise InputError(f"pixel ({x}, {y}) lies outside of the {width}x{height} thermal image")
    return to_celsius(float(image[y, x]), unit)


def _check(image: npt.NDArray[Any], timestamp_s: float) -> None:
    if image.ndim != 2 or image.size == 0 or image.dtype not in (np.uint8, np.uint16):
        raise InputError(
            f"thermal: expected an image (H, W) uint8 or uint16, got {image.dtype} {image.shape}"
        )
    if not math.isfinite(timestamp_s):
        raise InputError(f"thermal: time stamp is {timestamp_s}, expected finite seconds")
