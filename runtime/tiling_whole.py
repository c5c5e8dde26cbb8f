"""What the network says of the whole frame at once, and where the tiles know it better.

A tile inside a large object sees no outline, so alone it cannot tell the object from its
surroundings; the whole frame shrunk to the network's size shows every object and only coarse
outlines.  So the whole frame decides where it is sure, and the tiles where it is not, which is
along the outlines.  InSPyReNet (Kim et al., "Revisiting Image Pyramid Structure for High
Resolution Salient Object Detection", ACCV 2022) merges its two scales in the same spirit.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from differseg.runtime.buffers import fitting_buffer
from differseg.runtime.tiling import Tile

_SURE = 0.1
"""Impurity up to which the whole frame's word stands; two classes: a probability of 0.053."""

_UNSURE = 0.3
"""Impurity from which the tiles decide alone; two classes: a probability of 0.18."""

_NEIGHBOURS = np.ones((3, 3), np.uint8)


def detail_weight(maps: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return how much the tiles count at each pixel of the network's output.

    By the impurity of the probabilities, ``1 - sum(p^2)``; its maximum among the 8 neighbours,
    and then the mean of those, so that the weight falls to 0 within two pixels.

    Args:
        maps: (1, H, W) float32 probability of the foreground, or (K, H, W) of each class, 0..1.

    Returns:
        (H, W) float32 in 0..1.
    """
    if len(maps) == 1:
        impurity = 2 * maps[0] * (1 - maps[0])
    else:
        impurity = 1 - np.einsum("khw,khw->hw", maps, maps)
    weight = np.clip((impurity - _SURE) / (_UNSURE - _SURE), 0.0, 1.0, dtype=np.float32)
    widened = cv2.dilate(weight, _NEIGHBOURS)
    # A running sum would leave traces of what it has passed, and no place would be exactly 0.
    cv2.filter2D(widened, -1, np.full((3, 3), 1 / 9, np.float32), dst=weight)
    return weight


class WholeView:
    """The whole frame's probabilities, mixed into those of the tiles.

    Convention: the maps are stretched to the frame by bilinear interpolation, pixel centres at
    half-integers, borders repeated.
    """

    def __init__(self) -> None:
        self._maps = np.empty((0, 0, 0), np.float32)
        self._weight = np.empty((0, 0), np.float32)
        self._frame_hw = (0, 0)
        self._wide = np.empty((0, 0), np.float32)
        self._share = np.empty((0, 0), np.float32)

    def take(self, maps: npt.NDArray[np.float32], frame_hw: tuple[int, int]) -> None:
        """Keep a copy of a frame's maps, (1 or K, H, W) float32 at the network's size."""
        self._maps = fitting_buffer(self._maps, maps.shape, np.float32)
        np.copyto(self._maps, maps)
        self._weight = detail_weight(self._maps)
        self._frame_hw = frame_hw

    def needs(self, tile: Tile) -> bool:
        """Whether the tile counts at any of its pixels."""
        rows, columns = (
            _sources(part, length, count)
            for part, length, count in zip(
                (tile.rows, tile.columns), self._frame_hw, self._weight.shape, strict=True
            )
        )
        touched = self._weight[rows[0][0] : rows[1][-1] + 1, columns[0][0] : columns[1][-1] + 1]
        return bool(touched.max() > 0)

    def mix(self, rows: slice, tiled: npt.NDArray[np.float32]) -> None:
        """Mix the whole frame's maps into some rows of the tiles', in place.

        Args:
            rows: Rows of the frame.
            tiled: (1 or K, rows, frame width) float32, blended tiles; 0 where none was needed.
        """
        shape = (tiled.shape[1], tiled.shape[2])
        self._share = fitting_buffer(self._share, shape, np.float32)
        self._wide = fitting_buffer(self._wide, shape, np.float32)
        share = self._stretched(self._weight, rows, self._share)
        for plane, whole in zip(tiled, self._maps, strict=True):
            coarse = self._stretched(whole, rows, self._wide)
            np.subtract(plane, coarse, out=plane)
            np.multiply(plane, share, out=plane)
            np.add(plane, coarse, out=plane)

    def _stretched(
        self, plane: npt.NDArray[np.float32], rows: slice, out: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        """Return some rows of a plane (H, W) stretched to the frame's size."""
        above, below, part = _sources(rows, self._frame_hw[0], len(plane))
        part = part[:, None]
        tall = plane[above] * (1 - part) + plane[below] * part
        cv2.resize(tall, out.shape[::-1], dst=out, interpolation=cv2.INTER_LINEAR)
        return out


def _sources(
    part: slice, length: int, count: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.float32]]:
    """Return between which two of ``count`` samples each pixel of a longer axis lies.

    Args:
        part: Pixels of the axis.
        length: Pixels of the whole axis.
        count: Samples of the whole axis.

    Returns:
        (n,) the sample before, (n,) the one after, (n,) float32 the part of the way between.
    """
    place = (np.arange(part.start, part.stop) + 0.5) * (count / length) - 0.5
    place = np.clip(place, 0, count - 1)
    before = np.floor(place).astype(np.intp)
    return before, np.minimum(before + 1, count - 1), (place - before).astype(np.float32)
