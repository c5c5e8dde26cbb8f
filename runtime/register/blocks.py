"""Find blocks of one structure image again in another, and the step that the blocks ask for."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from differseg.runtime.register.structure import Floats

_BLOCK_PX = 48
_SEEN = 0.98  # part of a block that the moving camera must see
_LEAST_PEAK = 0.05
_LEAST_STRUCTURE = 1e-3
_SAME_PEAK_PX = 4
_LEAST_SCALE_PX = 1.5  # below it, residuals are the matching's own noise
SIMILARITY, HOMOGRAPHY = 1e3, 1e-4
"""Stiffness of :func:`fit_step`: four free parameters, or eight."""


@dataclass(frozen=True)
class Matches:
    """Blocks found again, in pixels of the images matched.

    Attributes:
        at_xy: (N, 2) float64, centres of the blocks.
        shift_xy: (N, 2) float64, where each was found, from there.
        weight: (N,) float64, 0..1, how far its peak stands out.
        half: (N,) int64, 0 or 1: neighbouring groups of blocks alternate, as on a chessboard.
    """

    at_xy: npt.NDArray[np.float64]
    shift_xy: npt.NDArray[np.float64]
    weight: npt.NDArray[np.float64]
    half: npt.NDArray[np.int64]

    def of_half(self, number: int) -> Matches:
        """Return the blocks of one half."""
        use = self.half == number
        return Matches(self.at_xy[use], self.shift_xy[use], self.weight[use], self.half[use])


@dataclass(frozen=True)
class Step:
    """A fit to matches.

    Attributes:
        matrix: (3, 3) float64, from the moved image as it is to where it should be, in pixels.
        residual_px: (N,) float64, what is left of each block's shift.
        weight: (N,) float64, 0..1: the block's own times what the robust fit gave it.
    """

    matrix: npt.NDArray[np.float64]
    residual_px: npt.NDArray[np.float64]
    weight: npt.NDArray[np.float64]


def match_blocks(
    fixed: list[Floats], moved: list[Floats], seen: npt.NDArray[np.bool_], radius_px: int
) -> Matches:
    """Find blocks of the moved structures in the fixed ones; all pairs vote on each shift.

    Args:
        fixed: (H, W, C) float32 each.
        moved: The same of the other camera, brought about into place.
        seen: (H, W) bool, True where ``moved`` shows something.
        radius_px: How far to look.
    """
    height, width = seen.shape
    block = min(_BLOCK_PX, min(height, width) // 4)
    found = []
    for j, row in enumerate(range(radius_px, height - block - radius_px + 1, block // 2)):
        for i, column in enumerate(range(radius_px, width - block - radius_px + 1, block // 2)):
            part = np.s_[row : row + block, column : column + block]
            if seen[part].mean() < _SEEN:
                continue
            around = np.s_[
                row - radius_px : row + block + radius_px,
                column - radius_px : column + block + radius_px,
            ]
            peak = _peak(_votes([f[around] for f in fixed], [m[part] for m in moved]), radius_px)
            if peak is not None:
                middle = (column + (block - 1) / 2, row + (block - 1) / 2)
                found.append((*middle, *peak, (j // 2 + i // 2) % 2))
    table = np.array(found, np.float64).reshape(-1, 6)
    return Matches(table[:, :2], table[:, 2:4], table[:, 4], table[:, 5].astype(np.int64))


def _votes(areas: list[Floats], blocks: list[Floats]) -> npt.NDArray[np.float64]:
    """Return the mean correlation over the pairs, (2R + 1, 2R + 1), of every shift."""
    reach = areas[0].shape[0] - blocks[0].shape[0]
    maps = []
    for area, block in zip(areas, blocks, strict=True):
        if min(float(area.std()), float(block.std())) < _LEAST_STRUCTURE:
            maps.append(np.zeros((reach + 1, reach + 1)))  # 0 / 0 is no likeness
            continue
        found = cv2.matchTemplate(
            np.ascontiguousarray(area), np.ascontiguousarray(block), cv2.TM_CCOEFF_NORMED
        )
        maps.append(np.nan_to_num(found, nan=0.0, posinf=0.0, neginf=0.0).clip(-1, 1))
    return np.mean(maps, axis=0, dtype=np.float64)


def _peak(votes: npt.NDArray[np.float64], radius_px: int) -> tuple[float, float, float] | None:
    """Return x and y of the highest vote from the middle, between pixels, and its clearness."""
    row, column = (int(n) for n in np.unravel_index(int(votes.argmax()), votes.shape))
    top = float(votes[row, column])
    if top < _LEAST_PEAK or not (0 < row < 2 * radius_px and 0 < column < 2 * radius_px):
        return None
    apart = votes.copy()
    near = _SAME_PEAK_PX
    apart[max(0, row - near) : row + near + 1, max(0, column - near) : column + near + 1] = 0
    clearness = min(1.0, 2 * (top - max(float(apart.max()), 0.0)) / top)
    dx = _vertex(votes[row, column - 1], top, votes[row, column + 1])
    dy = _vertex(votes[row - 1, column], top, votes[row + 1, column])
    return column - radius_px + dx, row - radius_px + dy, max(0.0, clearness)


def _vertex(before: float, top: float, after: float) -> float:
    """Return where a parabola through three neighbours is highest, -0.5..0.5."""
    bend = before - 2 * top + after
    return float(np.clip(0.5 * (before - after) / bend, -0.5, 0.5)) if bend < -1e-12 else 0.0


def fit_step(matches: Matches, size_wh: tuple[int, int], stiffness: float) -> Step | None:
    """Fit a small homography to shifts, by least squares with Tukey's weights.

    Convention: for small steps ``x' = a + b x + c y + (g x + h y) x``, with x and y from the
    image's middle in half widths.  ``stiffness`` holds shear, aspect, g and h down.

    Args:
        matches: From :func:`match_blocks`.
        size_wh: Of the images matched.
        stiffness: Weight of the prior beside all blocks together.

    Returns:
        None where the blocks are too few.
    """
    if len(matches.weight) < 6 or matches.weight.sum() < 2:
        return None
    half = max(size_wh) / 2
    middle = np.array([(size_wh[0] - 1) / 2, (size_wh[1] - 1) / 2])
    x, y = ((matches.at_xy - middle) / half).T
    shift = matches.shift_xy / half
    none, one = np.zeros_like(x), np.ones_like(x)
    of_x = np.stack([one, x, y, none, none, none, x * x, x * y], axis=1)
    of_y = np.stack([none, none, none, one, x, y, x * y, y * y], axis=1)
    prior = 1e-9 * np.eye(8) + stiffness * matches.weight.sum() * _NOT_SIMILAR
    weight = matches.weight.copy()
    for _ in range(30):
        normal = (of_x.T * weight) @ of_x + (of_y.T * weight) @ of_y + prior
        right = (of_x.T * weight) @ shift[:, 0] + (of_y.T * weight) @ shift[:, 1]
        p = np.linalg.solve(normal, right)
        residual = np.hypot(shift[:, 0] - of_x @ p, shift[:, 1] - of_y @ p)
        limit = max(3.0 * weighted_median(residual, matches.weight), _LEAST_SCALE_PX / half)
        weight = matches.weight * np.clip(1 - (residual / limit) ** 2, 0, None) ** 2
    unit = np.array([[1 + p[1], p[2], p[0]], [p[4], 1 + p[5], p[3]], [-p[6], -p[7], 1.0]])
    to_unit = np.array(
        [[1 / half, 0, -middle[0] / half], [0, 1 / half, -middle[1] / half], [0, 0, 1]]
    )
    return Step(np.linalg.inv(to_unit) @ unit @ to_unit, residual * half, weight)


def weighted_median(values: npt.NDArray[np.float64], weight: npt.NDArray[np.float64]) -> float:
    """Return the value that half of the weight lies below."""
    order = np.argsort(values)
    summed = np.cumsum(weight[order])
    return float(values[order][np.searchsorted(summed, summed[-1] / 2)])


def _not_similar() -> npt.NDArray[np.float64]:
    """Return the (8, 8) form that is 0 for similarities alone."""
    rows = np.zeros((4, 8))
    rows[0, 1], rows[0, 5] = 1, -1  # one scale for x and y
    rows[1, 2], rows[1, 4] = 1, 1  # a turn, not a shear
    rows[2, 6] = rows[3, 7] = 1  # no perspective
    return rows.T @ rows


_NOT_SIMILAR = _not_similar()
