"""Thermal images of any bit depth to the network's input in 0..1, by the policy in the manifest.

A thermal camera gives 8-bit pictures with its own gain control, raw 14-bit counts, or centikelvin
(TLinear); a network wants one range that does not jump.  ``fixed`` maps a span of centikelvin and
keeps temperatures comparable between images; ``percentile`` follows the scene and works with any
camera; ``full`` takes 8-bit pictures as they are.  Nothing here divides by the data, so the result
is finite whatever the image holds.
"""

from __future__ import annotations

import logging
import math
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from differseg.errors import InputError
from differseg.manifest import ThermalPolicy

_LOG = logging.getLogger("differseg.runtime")

NEUTRAL_THERMAL = 0.5
"""What a network sees at every pixel in place of a lost thermal camera."""

MIN_SPAN_U8 = 8.0
"""Smallest span of an 8-bit image in counts; ``min_span_ck`` of the policy is for 16 bit."""

_SMALL_PX = 160 * 120
"""In fewer pixels, ten hot ones would move a percentile."""

_LEAST_VALID = 0.01
"""With fewer than this part of the pixels off the end codes, the end codes count too."""

_ROWS = 64
"""Rows mapped at a time, which stay in the cache from step to step."""


def percentile_range(
    image: npt.NDArray[Any],
    low_percentile: float,
    high_percentile: float,
    histogram: npt.NDArray[np.float32] | None = None,
) -> tuple[float, float]:
    """Return two percentiles of an integer image, in counts, from its full histogram.

    The end codes (0 and 255 or 65535) are left out: they are dead or saturated pixels, and a sky
    at the end code would otherwise be one end of the range.  A code ``k`` is taken as spread
    evenly over ``k - 0.5 .. k + 0.5``, so that the result moves smoothly when a few pixels
    change, also where an 8-bit image holds only some tens of codes.

    Args:
        image: (H, W) uint8 or uint16, counts.
        low_percentile: 0..100.
        high_percentile: 0..100, above ``low_percentile``.
        histogram: (65536, 1) float32 buffer to count in; a new one when None.
    """
    codes = 256 if image.dtype == np.uint8 else 65536
    if histogram is None:
        histogram = new_histogram()
    # Blocks of 256 codes that the image holds: a scene is some thousand of 65536 codes wide.
    start = int(image.min()) // 256 * 256
    stop = (int(image.max()) // 256 + 1) * 256
    used = stop - start
    cv2.calcHist([image], [0], None, [used], [start, stop], hist=histogram[:used])
    histogram = histogram[:used, 0]
    ends = [end - start for end in (0, codes - 1) if start <= end < stop]
    counts = [float(histogram[end]) for end in ends]
    histogram[ends] = 0.0
    total = image.size - sum(counts)
    if total < _LEAST_VALID * image.size:
        histogram[ends] = counts
        total = float(image.size)
    # Blocks first, then one block: two short sums instead of one over 65536 codes.  Counts are
    # whole numbers, which float32 adds exactly; a sum in float64 would copy all of them first.
    blocks = histogram.reshape(-1, 256)
    below = np.cumsum(blocks.sum(axis=1), dtype=np.float64)
    return (
        start + _code_at(blocks, below, total * low_percentile / 100),
        start + _code_at(blocks, below, total * high_percentile / 100),
    )


def new_histogram() -> npt.NDArray[np.float32]:
    """Return a buffer for :func:`percentile_range`."""
    return np.empty((65536, 1), np.float32)


def _code_at(blocks: npt.NDArray[Any], below: npt.NDArray[Any], rank: float) -> float:
    """Return the code below which ``rank`` pixels lie.

    Args:
        blocks: (B, 256) pixels of every code.
        below: (B,) pixels up to and with each block.
        rank: 0..number of pixels.
    """
    rank = min(max(rank, 0.5), float(below[-1]) - 0.5)
    block = int(np.searchsorted(below, rank))
    inside = np.cumsum(blocks[block], dtype=np.float64)
    before = float(below[block] - inside[-1])
    code = int(np.searchsorted(inside, rank - before))
    count = float(blocks[block, code])
    part = (rank - before - (float(inside[code]) - count)) / count
    return block * 256 + code - 0.5 + part


class ThermalMapper:
    """Map thermal images to 0..1 by one policy, steadily over the frames of a stream.

    With time stamps, the range of a ``percentile`` policy follows the scene with the time
    constant ``smoothing_s``: it moves by ``1 - exp(-dt / smoothing_s)`` of the way, so 9 and
    60 frames a second give the same brightness course.  Without a time stamp a call neither uses
    nor changes the remembered range.  One mapper belongs to one stream and one thread.

    Example:
        >>> mapper = ThermalMapper(ThermalPolicy(kind="fixed", low_ck=29000, high_ck=31000))
        >>> mapper.map(np.full((2, 2), 30000, np.uint16)).tolist()
        [[0.5, 0.5], [0.5, 0.5]]
    """

    def __init__(self, policy: ThermalPolicy) -> None:
        self.policy = policy
        self.warning: str | None = None
        """One line about a policy that this camera cannot honour; logged once."""
        self.range: tuple[float, float] | None = None
        """Counts that the last image's 0 and 1 stood for."""
        self._state: tuple[float, float] | None = None
        self._state_s = 0.0
        self._state_dtype: np.dtype[Any] | None = None
        self._plausible = False
        self._histogram = new_histogram()

    def reset(self) -> None:
        """Forget the remembered range, for the next stream."""
        self._state = None

    def map(
        self,
        image: npt.NDArray[Any],
        timestamp_s: float | None = None,
        out: npt.NDArray[np.float32] | None = None,
    ) -> npt.NDArray[np.float32]:
        """Map one image.

        Args:
            image: (H, W) uint8 counts, or uint16 counts or centikelvin.
            timestamp_s: Capture time in seconds on any steady clock; None for a single image.
            out: (H, W) float32 buffer to write into; a new array when None.

        Returns:
            (H, W) float32 in 0..1, always finite.

        Raises:
            InputError: Another dtype or shape, or a time stamp that is not finite.
        """
        _check(image, timestamp_s, out)
        low, high = self._range_of(image, timestamp_s)
        self.range = (low, high)
        if out is None:
            out = np.empty(image.shape, np.float32)
        # Subtract first: offsets near 30000 would cost float32 digits if scaled before.
        offset, scale = np.float32(low), np.float32(1.0 / (high - low))
        for top in range(0, len(image), _ROWS):
            part = out[top : top + _ROWS]
            np.subtract(image[top : top + _ROWS], offset, out=part)
            np.multiply(part, scale, out=part)
            np.clip(part, 0.0, 1.0, out=part)
        if self.policy.kind == "fixed" and not self._plausible:
            self._check_plausible(image, out)
        return out

    def _range_of(self, image: npt.NDArray[Any], timestamp_s: float | None) -> tuple[float, float]:
        """Return the counts of 0 and 1; those of an image's own are the least span apart."""
        if self.policy.kind == "fixed":
            if image.dtype == np.uint16:
                return self.policy.low_ck, self.policy.high_ck
            self._warn(
                "thermal: the model wants temperatures (fixed range "
                f"{self.policy.low_ck:g}..{self.policy.high_ck:g} centikelvin) but the images are "
                "8 bit; taking 0..255 as the range; use the camera's 16-bit mode"
            )
            self._plausible = True
            return 0.0, 255.0
        if self.policy.kind == "full":
            if image.dtype == np.uint8:
                return 0.0, 255.0
            if self.warning is None and image.min() != image.max():  # else of no camera
                self._warn(
                    "thermal: the model was trained on a camera's 8-bit images as they are, but "
                    "these are 16 bit; mapping them by their percentiles; use the camera's 8-bit "
                    "mode"
                )
        low, high = percentile_range(
            _without_specks(image),
            self.policy.low_percentile,
            self.policy.high_percentile,
            self._histogram,
        )
        if timestamp_s is not None:
            low, high = self._smooth(low, high, timestamp_s, image.dtype)
        least = MIN_SPAN_U8 if image.dtype == np.uint8 else max(self.policy.min_span_ck, 1.0)
        if high - low < least:
            middle = (low + high) / 2
            low, high = middle - least / 2, middle + least / 2
        return low, high

    def _smooth(
        self, low: float, high: float, timestamp_s: float, dtype: np.dtype[Any]
    ) -> tuple[float, float]:
        """Move the remembered range towards the image's own by the time that passed."""
        elapsed_s = timestamp_s - self._state_s
        if self._state is not None and self._state_dtype == dtype and elapsed_s >= 0:
            tau_s = self.policy.smoothing_s
            step = 1.0 - math.exp(-elapsed_s / tau_s) if tau_s > 0 else 1.0
            low = self._state[0] + step * (low - self._state[0])
            high = self._state[1] + step * (high - self._state[1])
        # A clock that ran backwards (a looped video) or a new bit depth starts afresh.
        self._state, self._state_s, self._state_dtype = (low, high), timestamp_s, dtype
        return low, high

    def _check_plausible(self, image: npt.NDArray[Any], mapped: npt.NDArray[np.float32]) -> None:
        """Warn when a fixed range leaves nothing of the first image: not a radiometric camera."""
        self._plausible = True
        inside = np.count_nonzero((mapped > 0) & (mapped < 1))
        if inside < 0.05 * mapped.size:
            median = float(np.median(image))
            advice = "switch the camera to radiometric output (TLinear)"
            if self.policy.low_ck <= 10 * median <= self.policy.high_ck:
                advice = "it looks like TLinear at 0.1 K a count, so give that as its unit"
            self._warn(
                "thermal: nearly all values lie outside the model's fixed range "
                f"{self.policy.low_ck:g}..{self.policy.high_ck:g} centikelvin (median "
                f"{median:g}); {advice}"
            )

    def _warn(self, text: str) -> None:
        if self.warning is None:
            self.warning = text
            _LOG.warning(text)


def neutral_thermal(policy: ThermalPolicy, size_hw: tuple[int, int]) -> npt.NDArray[np.uint16]:
    """Return the picture that stands for a lost thermal camera, (H, W) uint16.

    It is the middle of the policy's range, which every policy maps to :data:`NEUTRAL_THERMAL`.

    Args:
        policy: Of the network's thermal input.
        size_hw: Height and width.
    """
    middle = round((policy.low_ck + policy.high_ck) / 2)
    return np.full(size_hw, min(max(middle, 1), 65534), np.uint16)


def _without_specks(image: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a small image without what is smaller than a half of 5x5 pixels; others as they are.

    A hot spot of ten pixels is a 500th part of an 80x60 picture, which the 99th percentile feels.
    """
    if image.size >= _SMALL_PX or min(image.shape) < 5:
        return image
    return cv2.medianBlur(np.ascontiguousarray(image), 5)


def _check(
    image: npt.NDArray[Any], timestamp_s: float | None, out: npt.NDArray[np.float32] | None
) -> None:
    if not isinstance(image, np.ndarray) or image.ndim != 2 or image.size == 0:
        raise InputError(f"thermal: expected an image (H, W), got {_kind(image)}")
    if image.dtype != np.uint8 and image.dtype != np.uint16:
        raise InputError(
            f"thermal: expected uint8 or uint16 (counts or centikelvin), got {_kind(image)}"
        )
    if timestamp_s is not None and not math.isfinite(timestamp_s):
        raise InputError(f"thermal: time stamp is {timestamp_s}, expected finite seconds")
    if out is not None and (out.shape != image.shape or out.dtype != np.float32):
        raise InputError(f"thermal: out is {_kind(out)}, expected float32 {image.shape}")


def _kind(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape}"
    return type(value).__name__
