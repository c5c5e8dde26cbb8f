"""Find a checkerboard or a grid of circles in RGB and thermal shots, and match their points.

A heated or sunlit board shows its dark squares bright to a thermal camera, and which corner a
detector begins with depends on the colours: so the order of the points is settled over all shots.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from differseg.errors import InputError
from differseg.runtime.register.fitting import PointPairs, Points, fit_homography, residuals_px
from differseg.runtime.register.shots import Shot
from differseg.runtime.register.structure import stretched_u8

Kind = Literal["checkerboard", "circles", "asymmetric-circles"]

_LEAST_SIDE_PX = 640  # smaller images are enlarged before the search
_TURNS = (0, 1, 2, 3)  # quarter turns of one camera against the other
_CLEARLY_BETTER = 0.5


@dataclass(frozen=True)
class Board:
    """A target.

    Attributes:
        kind: What is on it.
        columns: Inner corners, or circles, in a row.
        rows: Rows of them.
    """

    kind: Kind
    columns: int
    rows: int

    def plane(self) -> npt.NDArray[np.float32]:
        """Return (N, 3) float32, the points on the board in units of its pitch."""
        row, column = np.divmod(np.arange(self.columns * self.rows), self.columns)
        if self.kind == "asymmetric-circles":
            column = 2 * column + row % 2
        return np.stack([column, row, 0 * row], axis=1).astype(np.float32)

    def orders(self) -> list[npt.NDArray[np.int64]]:
        """Return the orders in which a detector may give the points of one and the same view."""
        grid = np.arange(self.columns * self.rows).reshape(self.rows, self.columns)
        if self.kind == "asymmetric-circles":
            # Only where it looks the same upside down.
            turned = [grid, grid[::-1, ::-1]] if self.rows % 2 else [grid]
        elif self.columns == self.rows:
            turned = [np.rot90(grid, turns) for turns in range(4)]
        else:
            turned = [grid, grid[::-1, ::-1]]
        return [order.ravel() for order in turned]


@dataclass(frozen=True)
class Sightings:
    """What was found in the shots.

    Attributes:
        pairs: Shots with the board in both images, points in one order.
        missed: One line for every other shot.
    """

    pairs: list[PointPairs]
    missed: list[str]


def parse_pattern(text: str) -> tuple[int, int]:
    """Read ``9x6``: inner corners, or circles, in a row, and rows.

    Raises:
        InputError: Not two numbers of at least 3.
    """
    first, _, second = text.lower().partition("x")
    if not (first.isdigit() and second.isdigit() and 3 <= int(first) < 100 > int(second) >= 3):
        raise InputError(
            f"--pattern: expected COLUMNSxROWS of inner corners or circles, each at least 3, such "
            f"as 9x6 for a board of 10x7 squares; got '{text}'"
        )
    return int(first), int(second)


def find_board(image: npt.NDArray[Any], board: Board) -> Points | None:
    """Return the board's points in an image, of either polarity.

    Args:
        image: (H, W) uint8 or uint16, or (H, W, 3) uint8 BGR.
        board: What to look for.

    Returns:
        (N, 2) float64, pixels; None where it is not to be found.
    """
    grey = stretched_u8(image)
    enlarge = max(1.0, _LEAST_SIDE_PX / max(grey.shape))
    if enlarge > 1:
        larger = cv2.resize(grey, None, fx=enlarge, fy=enlarge, interpolation=cv2.INTER_CUBIC)
        grey = np.asarray(larger, np.uint8)
    # Of a board that fills a small part, the percentiles of the whole image leave little.
    even = np.asarray(cv2.createCLAHE(4.0, (4, 4)).apply(grey), np.uint8)
    tries = [(picture, False) for picture in (grey, 255 - grey, even, 255 - even)]
    for picture, thorough in [*tries, (grey, True)]:
        points = _find(picture, board, thorough)
        if points is not None:
            scale = np.array([grey.shape[1] / image.shape[1], grey.shape[0] / image.shape[0]])
            return (points + 0.5) / scale - 0.5
    return None


def _find(grey: npt.NDArray[np.uint8], board: Board, thorough: bool) -> Points | None:
    size = (board.columns, board.rows)
    if board.kind == "checkerboard":
        flags = cv2.CALIB_CB_NORMALIZE_IMAGE | cv2.CALIB_CB_ACCURACY
        flags |= cv2.CALIB_CB_EXHAUSTIVE if thorough else 0
        found, points = cv2.findChessboardCornersSB(grey, size, flags=flags)
    else:
        symmetric = board.kind == "circles"
        flags = cv2.CALIB_CB_SYMMETRIC_GRID if symmetric else cv2.CALIB_CB_ASYMMETRIC_GRID
        flags |= 0 if thorough else cv2.CALIB_CB_CLUSTERING
        found, points = cv2.findCirclesGrid(grey, size, flags=flags)
    return points.reshape(-1, 2).astype(np.float64) if found else None


def sight(shots: list[Shot], board: Board) -> Sightings:
    """Find the board in all shots and match the points of the two cameras.

    Raises:
        InputError: It is in no shot, with what to do.
    """
    found: list[PointPairs] = []
    missed = []
    for shot in shots:
        rgb = find_board(shot.rgb, board)
        thermal = find_board(shot.thermal, board)
        if rgb is not None and thermal is not None:
            found.append(PointPairs(shot.name, thermal, rgb))
            continue
        lacking = [n for n, p in (("RGB", rgb), ("thermal", thermal)) if p is None]
        missed.append(f"'{shot.name}': no board in the {' and the '.join(lacking)} image")
    if not found:
        raise InputError(
            f"registration: no {board.kind} of {board.columns}x{board.rows} points is in both "
            f"images of any of {len(shots)} shots ({missed[0]}); is --pattern right (inner "
            "corners, not squares), the whole board in view, and warm enough to be seen by the "
            "thermal camera?"
        )
    fixed_wh = shots[0].sizes_wh[1]
    return Sightings(_in_one_order(found, board, fixed_wh), missed)


def _in_one_order(
    found: list[PointPairs], board: Board, fixed_wh: tuple[int, int]
) -> list[PointPairs]:
    """Return the shots with the thermal points in the order of the RGB points.

    One shot fits in every order; over several shots only the right one does.  The cameras are
    taken to be upright to each other, unless a turn by 90, 180 or 270 degrees fits far better.
    """
    best: list[PointPairs] = []
    least = np.inf
    for turns in _TURNS:
        pairs = [_ordered(pair, board, turns) for pair in found]
        matrix = fit_homography(pairs, fixed_wh)
        off_px = float(np.median(np.concatenate([residuals_px(p, matrix) for p in pairs])))
        if off_px < _CLEARLY_BETTER * least - 0.05:
            best, least = pairs, off_px
    return best


def _ordered(pair: PointPairs, board: Board, turns: int) -> PointPairs:
    """Choose the order in which the thermal points look most like the RGB points, turned."""
    angle = np.pi / 2 * turns
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    rgb = _shape(pair.rgb)
    orders = [pair.thermal[order] for order in board.orders()]
    thermal = min(orders, key=lambda points: float(((_shape(points) @ turn.T - rgb) ** 2).sum()))
    return PointPairs(pair.name, thermal, pair.rgb)


def _shape(points: Points) -> Points:
    """Return points without place and size."""
    centred = points - points.mean(axis=0)
    return centred / np.sqrt((centred**2).sum())
