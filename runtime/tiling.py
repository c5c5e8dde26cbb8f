"""Cover a large frame with overlapping tiles, and blend what the network says of each.

Convention: pixels are half-open ranges, rows from the top and columns from the left.  Tiles lie on
a regular grid inside the frame: the last ones are shifted inwards, nothing is padded, and an axis
on which the frame is not larger than a tile has one tile of the frame's length.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from differseg.errors import InputError
from differseg.runtime.buffers import fitting_buffer
from differseg.runtime.preprocess import resize

DEFAULT_OVERLAP = 0.25
"""Share of a tile's side that neighbours have in common at least."""

_MARGIN = 0.25
"""Part of an overlap, at each end, in which the tile whose border is there has no say."""


HandOver = Callable[[slice, npt.NDArray[np.float32]], None]


@dataclass(frozen=True)
class Tile:
    """One tile: its place in the grid and the pixels of the frame that it covers."""

    row: int
    column: int
    rows: slice
    columns: slice


@dataclass(frozen=True, eq=False)
class TilePlan:
    """Where the tiles of a frame lie and what each counts, see :func:`plan_tiles`."""

    frame_hw: tuple[int, int]
    tile_hw: tuple[int, int]
    """Height and width of every tile in pixels of the frame."""
    tops: tuple[int, ...]
    """First row of each row of tiles."""
    lefts: tuple[int, ...]
    """First column of each column of tiles."""
    row_weights: npt.NDArray[np.float32]
    """(rows of tiles, tile height), 0..1: a tile's weight is the product of its row's and its
    column's, and the weights of all tiles at a pixel sum to 1."""
    column_weights: npt.NDArray[np.float32]
    """(columns of tiles, tile width), 0..1."""

    def __len__(self) -> int:
        return len(self.tops) * len(self.lefts)

    def __iter__(self) -> Iterator[Tile]:
        """Give the tiles row by row, from the left."""
        height, width = self.tile_hw
        for (row, top), (column, left) in itertools.product(
            enumerate(self.tops), enumerate(self.lefts)
        ):
            yield Tile(row, column, slice(top, top + height), slice(left, left + width))

    @property
    def margin_px(self) -> int:
        """How near a tile's inner border a pixel may lie and the tile count there, in pixels.

        A network that looks no farther than this gives the same tiled as on the whole frame.
        The frame's own length where no axis has two tiles.
        """
        gaps = [
            int(np.flatnonzero(weights[index])[0])
            for weights in (self.row_weights, self.column_weights)
            for index in range(1, len(weights))
        ]
        return min(gaps, default=max(self.frame_hw))


def plan_tiles(
    frame_hw: tuple[int, int],
    tile_hw: tuple[int, int],
    overlap: float = DEFAULT_OVERLAP,
) -> TilePlan:
    """Plan the tiles of a frame: as few as the overlap allows, spread evenly.

    Between two neighbours the weight goes from one to the other as a raised cosine over the
    middle half of their overlap; in the outer quarters only the tile whose border is farther away
    counts, because a network knows little at its border.

    Args:
        frame_hw: Height and width of the frame in pixels.
        tile_hw: Height and width of a tile in pixels of the frame.
        overlap: What neighbours have in common at least: below 1 a share of the tile's side, from
            1 on pixels.

    Raises:
        InputError: A size below 1, or an overlap that is negative or more than half a tile.
    """
    for what, size_hw in (("tiles", tile_hw), ("frames", frame_hw)):
        if min(size_hw) < 1:
            raise InputError(f"{what} of {_text(size_hw)}: expected at least 1 pixel a side")
    axes = [
        _axis(length, min(length, side), _overlap_px(overlap, side, tile_hw))
        for length, side in zip(frame_hw, tile_hw, strict=True)
    ]
    (tops, rows), (lefts, columns) = axes
    return TilePlan(frame_hw, (rows.shape[1], columns.shape[1]), tops, lefts, rows, columns)


def _overlap_px(overlap: float, side_px: int, tile_hw: tuple[int, int]) -> int:
    """Return an overlap in pixels along one side of a tile."""
    asked = overlap * side_px if overlap < 1 else overlap
    if not 0 <= asked <= side_px / 2:  # also true of NaN
        raise InputError(
            f"overlap {overlap:g}: expected a share of 0..0.5, or pixels up to half of a tile of "
            f"{_text(tile_hw)}"
        )
    return min(math.ceil(asked), side_px // 2)


def _text(size_hw: tuple[int, int]) -> str:
    return f"{size_hw[0]}x{size_hw[1]} (height x width)"


def _axis(
    length_px: int, side_px: int, overlap_px: int
) -> tuple[tuple[int, ...], npt.NDArray[np.float32]]:
    """Return the starts of the tiles along one axis, and the weight of each of their pixels."""
    count = 1
    if length_px > side_px:
        count = max(2, math.ceil((length_px - overlap_px) / (side_px - overlap_px)))
    room = length_px - side_px
    starts = tuple(round(index * room / max(1, count - 1)) for index in range(count))
    weights = np.ones((count, side_px))
    for index, (start, following) in enumerate(itertools.pairwise(starts)):
        shared = start + side_px - following
        if shared > 0:
            rise = _rise(shared)
            weights[index, side_px - shared :] *= 1 - rise
            weights[index + 1, :shared] *= rise
    total = np.zeros(length_px)
    for start, own in zip(starts, weights, strict=True):
        total[start : start + side_px] += own
    for start, own in zip(starts, weights, strict=True):
        own /= total[start : start + side_px]
    return starts, weights.astype(np.float32)


def _rise(length_px: int) -> npt.NDArray[np.float64]:
    """Return the weight of the later of two tiles over their overlap: 0, raised cosine, 1."""
    margin = int(_MARGIN * length_px)
    span = length_px - 2 * margin
    phase = np.clip((np.arange(length_px) - margin + 0.5) / span, 0.0, 1.0)
    return 0.5 - 0.5 * np.cos(np.pi * phase)


class TileBlender:
    """Sum the tiles of frames from the top; the memory is that of one row of tiles.

    Tiles come in the order of their plan, and may be left out.  As soon as no later tile touches
    them, rows of the frame are handed over.
    """

    def __init__(self) -> None:
        self._band = np.empty((0, 0, 0), np.float32)
        self._weighted = np.empty((0, 0), np.float32)
        self._row = 0

    def begin(self, plan: TilePlan, channels: int, hand_over: HandOver) -> None:
        """Begin a frame; what was there is forgotten.

        Args:
            plan: Of the frame.
            channels: Maps of a tile.
            hand_over: Takes rows of the frame and their maps, (channels, rows, frame width)
                float32: a view that it may change and not keep.
        """
        self._plan, self._hand_over, self._row = plan, hand_over, 0
        shape = (channels, plan.tile_hw[0], plan.frame_hw[1])
        self._band = fitting_buffer(self._band, shape, np.float32)
        self._weighted = fitting_buffer(self._weighted, plan.tile_hw, np.float32)
        self._band.fill(0)

    def add(self, tile: Tile, maps: npt.NDArray[np.float32]) -> None:
        """Add one tile's maps, (channels, H, W) float32, stretched where they are not its size."""
        while self._row < tile.row:
            self._finish_row()
        rows = self._plan.row_weights[tile.row][:, None]
        columns = self._plan.column_weights[tile.column]
        for band, plane in zip(self._band[:, :, tile.columns], maps, strict=True):
            resize(plane, self._plan.tile_hw, out=self._weighted)
            np.multiply(self._weighted, rows, out=self._weighted)
            np.multiply(self._weighted, columns, out=self._weighted)
            np.add(band, self._weighted, out=band)

    def end(self) -> None:
        """Hand over the rows that are left."""
        while self._row < len(self._plan.tops):
            self._finish_row()

    def _finish_row(self) -> None:
        """Hand over what no later row of tiles touches, and keep what the next one shares."""
        tops = (*self._plan.tops, self._plan.frame_hw[0])
        rows = slice(tops[self._row], tops[self._row + 1])
        done = rows.stop - rows.start
        self._hand_over(rows, self._band[:, :done])
        kept = self._band.shape[1] - done
        for plane in self._band:
            plane[:kept] = plane[done:]
            plane[kept:] = 0
        self._row += 1
