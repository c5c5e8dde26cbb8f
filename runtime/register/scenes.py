"""Several pairs of images from two fixed cameras, at several sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from differseg.runtime.register.blocks import Matches
from differseg.runtime.register.search import SizeWh, scaling, shrunk, warped
from differseg.runtime.register.structure import (
    Floats,
    empty_border,
    stretched,
    structure,
    without_dead_pixels,
)

Matrix = npt.NDArray[np.float64]

_BORDER_PX = 3  # structure near the end of the view is that of the end


@dataclass(frozen=True)
class Level:
    """The fixed images at one size.

    Attributes:
        size_wh: Width and height.
        shrink: Size beside the full one, 0..1.
        structures: (H, W, 4) float32 each.
    """

    size_wh: SizeWh
    shrink: float
    structures: list[Floats]


class Scenes:
    """Pairs of images, prepared once.

    Args:
        rgb: (H, W, 3) uint8 BGR each, all of one size.
        thermal: (Ht, Wt) uint8 or uint16 each, all of one size.
    """

    def __init__(
        self, rgb: Sequence[npt.NDArray[Any]], thermal: Sequence[npt.NDArray[Any]]
    ) -> None:
        self.rgb = [stretched(image) for image in rgb]
        self.thermal = [without_dead_pixels(stretched(image)) for image in thermal]
        self.shown = (~empty_border(list(thermal))).astype(np.float32)
        self.fixed_wh: SizeWh = (self.rgb[0].shape[1], self.rgb[0].shape[0])
        self.moving_wh: SizeWh = (self.thermal[0].shape[1], self.thermal[0].shape[0])
        self.last_matches = Matches(
            np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0), np.zeros(0, np.int64)
        )
        self._levels: dict[int, Level] = {}

    def level(self, side: int) -> Level:
        """Return the fixed images with a longer side of ``side`` pixels, or as they are."""
        if side not in self._levels:
            shrink = min(1.0, side / max(self.fixed_wh))
            size_wh = (round(self.fixed_wh[0] * shrink), round(self.fixed_wh[1] * shrink))
            structures = [structure(shrunk(image, size_wh)) for image in self.rgb]
            self._levels[side] = Level(size_wh, shrink, structures)
        return self._levels[side]

    def moved(self, matrix: Matrix, side: int) -> tuple[list[Floats], npt.NDArray[np.bool_]]:
        """Return the moving cameras' structures in the fixed view, and where they are seen."""
        size_wh = self.level(side).size_wh
        there = scaling(self.fixed_wh, size_wh) @ matrix
        seen = cv2.warpPerspective(self.shown, there, size_wh) > 0.99
        kernel = np.ones((2 * _BORDER_PX + 1,) * 2, np.uint8)
        inner = cv2.erode(seen.astype(np.uint8), kernel, borderType=cv2.BORDER_REPLICATE)
        return [structure(warped(i, there, size_wh)) for i in self.thermal], inner.astype(bool)

    def correlation(self, matrix: Matrix, side: int) -> float:
        """Return how well the structures agree, -1..1, less where little of the view is seen."""
        moved, seen = self.moved(matrix, side)
        if seen.mean() < 0.05:
            return -1.0
        top = own = other = 0.0
        for a, b in zip(self.level(side).structures, moved, strict=True):
            a, b = a[seen] - a[seen].mean(axis=0), b[seen] - b[seen].mean(axis=0)
            top += float((a * b).sum())
            own += float((a * a).sum())
            other += float((b * b).sum())
        # A small overlap finds a likeness by chance more easily.
        return top / max((own * other) ** 0.5, 1e-9) * float(np.sqrt(seen.mean()))

    def distance_px(self, one: Matrix, other: Matrix) -> float:
        """Return how far two registrations part, mean over the moving image, in fixed pixels."""
        width, height = self.moving_wh
        x, y = np.meshgrid(np.linspace(0, width - 1, 5), np.linspace(0, height - 1, 5))
        grid = np.stack([x, y], axis=-1).reshape(1, -1, 2)
        first, second = (cv2.perspectiveTransform(grid, m)[0] for m in (one, other))
        return float(np.hypot(*(first - second).T).mean())
