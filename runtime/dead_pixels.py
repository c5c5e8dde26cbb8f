"""Pixels of a thermal sensor that do not follow the scene: found, and filled from neighbours."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from differseg.runtime.buffers import BufferPool

LOOK_EVERY_S = 0.5
"""Time between two looks."""

DEAD_AT = 12
"""Score of a dead pixel: changes around it that it did not follow, less twice the looks at
which it agreed with its neighbours."""

MOST_DEAD = 0.01
"""Above this part of the pixels it is the scene or the camera, not its pixels."""

_OUTLIER_NOISES = 6.0
_LEAST_OUTLIER = {"B": 12, "H": 40}
_SAMPLE_PX = 8
# OpenCV takes numbers beside arrays; its type stubs do not know.
_FALL: Any = 2
_RISE: Any = 1
_CEILING: Any = 24
_RINGS_PX = 4


class DeadPixels:
    """The dead pixels of one camera.

    A pixel is an outlier where it differs from the median of its 3x3 neighbourhood by six times
    what pixels usually do.  It is dead when it stays one while its neighbourhood changes: a small
    hot object moves on with what is around it, and of a still scene nothing is learnt.  A pixel
    that recovers leaves the map.

    Attributes:
        looks: Frames that were looked at.
        warning: Why the map is not used; None where it is.
    """

    def __init__(self) -> None:
        self._start((0, 0))

    def _start(self, shape: tuple[int, ...]) -> None:
        self.looks = 0
        self.warning: str | None = None
        self._score = np.zeros(shape, np.uint8)
        self._looked_s = -math.inf
        self._seen: npt.NDArray[Any] | None = None
        self._dead = np.empty(0, np.int64)
        self._sources = np.empty((0, 0), np.int64)

    @property
    def xy(self) -> npt.NDArray[np.int64]:
        """Dead pixels, (N, 2) int64 as (x, y), in the order of the rows."""
        width = max(1, self._score.shape[1])
        return np.stack([self._dead % width, self._dead // width], axis=1)

    def update(self, image: npt.NDArray[Any], timestamp_s: float) -> None:
        """Look at a frame, where enough time has passed.

        Args:
            image: (H, W) uint8 or uint16, uncorrected.
            timestamp_s: Capture time in seconds.
        """
        if image.shape != self._score.shape:
            self._start(image.shape)
        if 0 <= timestamp_s - self._looked_s < LOOK_EVERY_S or min(image.shape) < 3:
            return
        self._looked_s = timestamp_s
        self.looks += 1
        around = cv2.medianBlur(image, 3)
        away = cv2.absdiff(image, around)
        usual = float(np.mean(np.minimum(away[::_SAMPLE_PX, ::3], 100)))
        if self._seen is None or self._seen.dtype != image.dtype:
            self._seen = around.copy()
            return
        changed = _above(cv2.absdiff(around, self._seen), 3 * usual + 2)
        cv2.copyTo(around, changed, self._seen)
        limit = max(_OUTLIER_NOISES * usual, _LEAST_OUTLIER[image.dtype.char])
        outlier = _above(away, limit)
        cv2.subtract(self._score, _FALL, dst=self._score, mask=cv2.bitwise_not(outlier))
        cv2.add(self._score, _RISE, dst=self._score, mask=cv2.bitwise_and(outlier, changed))
        cv2.min(self._score, _CEILING, dst=self._score)
        # Half of the score keeps a pixel in the map that only now and then agrees by chance.
        kept = self._dead[self._score.ravel()[self._dead] >= DEAD_AT // 2]
        now = self._score >= DEAD_AT
        now.ravel()[kept] = True
        dead = np.flatnonzero(now)
        if not np.array_equal(dead, self._dead):
            self._take(dead)

    def replace(
        self, image: npt.NDArray[Any], out: npt.NDArray[Any] | None, pool: BufferPool
    ) -> npt.NDArray[Any]:
        """Return the image with the mean of the nearest living pixels in the dead ones.

        Args:
            image: (H, W), of the shape last looked at.
            out: Where to write; may be ``image``.  None takes memory from the pool.
            pool: Where memory comes from.
        """
        if not self._sources.size or image.shape != self._score.shape:
            return image
        if out is None:
            out = pool.take(image.shape, image.dtype)
            np.copyto(out, image)
        values = image.ravel()[self._sources].mean(axis=1)
        out.ravel()[self._dead] = np.rint(values).astype(image.dtype)
        return out

    def _take(self, dead: npt.NDArray[np.int64]) -> None:
        """Take a new map, and say for each pixel which ones fill it."""
        self._dead, self.warning = dead, None
        self._sources = np.empty((0, 0), np.int64)
        if dead.size > MOST_DEAD * self._score.size:
            self.warning = (
                f"thermal: {dead.size} of {self._score.size} pixels look dead, which is too many "
                "to be true, so none is replaced; is the picture sharpened or compressed?"
            )
            return
        is_dead = np.zeros(self._score.shape, bool)
        is_dead.ravel()[dead] = True
        self._sources = np.array([_nearest_living(is_dead, int(place)) for place in dead])
        self._sources = self._sources.reshape(len(dead), 8)


def _above(image: npt.NDArray[Any], limit: Any) -> npt.NDArray[Any]:
    """Return 255 where the image is above a limit, else 0."""
    return cv2.compare(image, limit, cv2.CMP_GT)


def _nearest_living(is_dead: npt.NDArray[np.bool_], place: int) -> npt.NDArray[np.int64]:
    """Return the places of living pixels around a dead one, 8 with repeats; itself if none."""
    width = is_dead.shape[1]
    y, x = divmod(place, width)
    for ring in range(1, _RINGS_PX + 1):
        top, left = max(0, y - ring), max(0, x - ring)
        around = ~is_dead[top : y + ring + 1, left : x + ring + 1]
        if around.any():
            rows, columns = np.nonzero(around)
            return np.resize((rows + top) * width + columns + left, 8)
    return np.full(8, place)
