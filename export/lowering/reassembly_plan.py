"""What a reassembly consists of, and how its columns fall into tiles with a window each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from differseg.export.lowering.framework import Call

Ints = npt.NDArray[np.int64]

_FEW_CHANNELS = {3: 16}
"""Kernel size to the channels of a group that are too few for products at scale 1, 8 beyond."""

_LARGEST_INDEX = 65536
"""Entries of one block's index list, 4 bytes each in the file."""


@dataclass(frozen=True)
class Reassembly:
    """Sizes and options of one reassembly.

    Attributes:
        planes: Batch times groups, -1 where the batch varies.
        groups: Groups of channels.
        channels: Channels of one group.
        height, width: Of the map, pixels.
        kernel_size, scale, dilation, border: As in :func:`differseg.ops.reassembly.reassemble`.
    """

    planes: int
    groups: int
    channels: int
    height: int
    width: int
    kernel_size: int
    scale: int
    dilation: int
    border: str

    @classmethod
    def of(cls, call: Call) -> Reassembly:
        """Read the sizes of a node."""
        channels, height, width = call.sizes()
        groups = call.number("groups")
        return cls(
            planes=-1 if call.batch < 0 else call.batch * groups,
            groups=groups,
            channels=channels // groups,
            height=height,
            width=width,
            kernel_size=call.number("kernel_size"),
            scale=call.number("scale"),
            dilation=call.number("dilation"),
            border=call.text("border"),
        )

    @property
    def taps(self) -> int:
        """Taps of a kernel."""
        return self.kernel_size**2

    @property
    def batch(self) -> int:
        """The batch as a Reshape wants it: a number, or -1 where it varies."""
        return -1 if self.planes < 0 else self.planes // self.groups

    @property
    def reach_px(self) -> int:
        """Farthest tap from the centre, pixels of the map."""
        return self.kernel_size // 2 * self.dilation

    @property
    def why_shifts(self) -> str | None:
        """Why a sum of shifted maps beats products of matrices, as measured on a CPU; else None.

        It passes over the map twice a tap; products pass over it a few times in all, but over the
        kernels as well, and in more steps where a dilation scatters a tile's columns.  Taps that
        reach over the whole map read little but its border, and before that the blocks of rows
        become so low that a step for each costs more than one for each tap.
        """
        if self.scale > 1:
            return None
        few = _FEW_CHANNELS.get(self.kernel_size, 8) * (2 if self.dilation > 1 else 1)
        if self.kernel_size == 1 or self.channels <= few:
            return f"{self.channels} channels a group are too few for products of matrices"
        rows = self.height - 1 - 2 * self.reach_px  # of a block
        if self.height > self.taps * rows or 2 * self.reach_px >= self.width - 1:
            return f"taps {self.reach_px} px away leave too little for products of matrices"
        return None

    @property
    def offsets(self) -> Ints:
        """Distances of the taps of one side from the centre, pixels of the map."""
        return (np.arange(self.kernel_size) - self.kernel_size // 2) * self.dilation


@dataclass(frozen=True)
class Tiling:
    """Columns in tiles: the pixels of a tile lie a dilation apart, so their windows overlap most.

    Attributes:
        work: What is tiled.
        tile: Columns of a tile.
    """

    work: Reassembly
    tile: int

    @classmethod
    def of(cls, work: Reassembly) -> Tiling:
        """Choose the tile: near the best, and dividing the columns if any number does.

        Half or double the best is slower by a tenth; large tiles cost more with few channels.
        """
        best = {1: 8, 2: 6}.get(work.scale, 4) if work.channels > 16 else 4
        columns = -(-work.width // work.dilation)
        choices = range(max(1, best - 2), best + 3)
        tile = min(choices, key=lambda t: (-(-columns // t) * t, abs(t - best), -t))
        return cls(work, min(tile, columns))

    @property
    def window(self) -> int:
        """Columns that the taps of a tile read."""
        return self.tile + self.work.kernel_size - 1

    @cached_property
    def columns(self) -> Ints:
        """Columns of every tile ``(tiles, tile)``; those beyond the width fill the last ones up."""
        width, step = self.work.width, self.work.dilation
        first = [
            start + step * number
            for start in range(min(step, width))
            for number in range(0, -(-(width - start) // step), self.tile)
        ]
        return np.array(first)[:, None] + step * np.arange(self.tile)

    @property
    def tiles(self) -> int:
        """Tiles in a row."""
        return len(self.columns)

    @property
    def in_order(self) -> bool:
        """Whether the tiles are the row as it is."""
        return np.array_equal(self.columns.ravel(), np.arange(self.work.width))

    def kernel_columns(self) -> Ints:
        """Return the kernels' columns in the order of the tiles, ``(tiles * tile * scale,)``."""
        return self._phases(np.minimum(self.columns.ravel(), self.work.width - 1))

    def result_columns(self) -> Ints:
        """Return where the tiles hold each column of the result, ``(width * scale,)``."""
        columns = self.columns.ravel()
        order = np.argsort(columns, kind="stable")
        return self._phases(order[columns[order] < self.work.width])

    def _phases(self, columns: Ints) -> Ints:
        """Return a number for every output column over these columns."""
        scale = self.work.scale
        return (columns[:, None] * scale + np.arange(scale)).ravel()

    def spread(self) -> npt.NDArray[np.float64]:
        """Return the zeros and ones that put a tile's taps where they read in its window.

        Returns:
            ``(kernel_size * tile * scale, window * tile * scale)``: from (tap, column, phase) to
            (column of the window, column, phase).
        """
        work, columns = self.work, np.arange(self.tile)
        to = np.zeros((work.kernel_size, self.tile, self.window, self.tile))
        for tap in range(work.kernel_size):
            to[tap, columns, tap + columns, columns] = 1
        lines, rows = work.kernel_size * self.tile, self.window * self.tile
        return np.kron(to.reshape(lines, rows), np.eye(work.scale)).astype(np.float64)

    def rows_per_block(self) -> int:
        """Return how many rows fit a block whose tensors are not larger than result or kernels."""
        work = self.work
        pixels = work.scale**2 * work.width * work.height
        result, kernels = work.channels * pixels, work.taps * pixels
        window = work.kernel_size * self.window * self.tiles  # of one row
        bands = window * work.scale**2 * self.tile
        most = min(
            result // (work.channels * window),
            max(result, kernels) // bands,
            _LARGEST_INDEX // window,
            work.height - 1 - 2 * work.reach_px if work.scale == 1 else work.height,
        )
        return -(-work.height // -(-work.height // max(1, most)))  # blocks of nearly equal size

    def reads(self, top: int, bottom: int) -> tuple[slice, Ints]:
        """Return what the rows from ``top`` up to ``bottom`` read.

        Returns:
            The rows of the map that are read, and the pixels among them, counted row by row,
            ``(rows, tiles, kernel_size * window)``; -1 for those that count as zero.
        """
        work = self.work
        rows = np.arange(top, bottom)[:, None, None, None] + work.offsets[:, None]
        starts = self.columns[:, None, :1] + work.offsets[0]
        columns = starts + work.dilation * np.arange(self.window)  # (tiles, 1, window)
        near_rows, near_columns = rows.clip(0, work.height - 1), columns.clip(0, work.width - 1)
        first, last = int(near_rows.min()), int(near_rows.max())
        pixels = (near_rows - first) * work.width + near_columns  # (rows, tiles, k, window)
        if work.border == "zeros":
            pixels = np.where((near_rows == rows) & (near_columns == columns), pixels, -1)
        return slice(first, last + 1), pixels.reshape(bottom - top, self.tiles, -1)
