"""Find roughly how one camera's view lies in another's, from nothing: scale, turn and shift.

All pairs vote together, because the cameras are fixed to each other: the correlations of their
structure images are added up for every shift at once by FFT, over a grid of scales and turns.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from differseg.runtime.register.structure import Floats, structure

SizeWh = tuple[int, int]
Matrix = npt.NDArray[np.float64]

_SIDE_PX = 96  # longer side of the fixed image during the search
_LEAST_OVERLAP = 0.35  # of the smaller of the two views
_SCALES = np.geomspace(0.45, 1.9, 25)  # beside the scale at which the wider side fits
_TURNS_DEG = (-6.0, -3.0, 0.0, 3.0, 6.0)


@dataclass(frozen=True)
class Start:
    """A place to begin.

    Attributes:
        matrix: (3, 3) float64, moving to fixed pixels at full size.
        score: Correlation of the structures in the overlap, -1..1.
    """

    matrix: Matrix
    score: float


def search(rgb: list[Floats], thermal: list[Floats], shown: Floats, keep: int = 6) -> list[Start]:
    """Return the best starts, best first, each apart from the others.

    Args:
        rgb: (H, W) float32 each, 0..1, all of one size.
        thermal: (Ht, Wt) float32 each, 0..1, all of one size; as many.
        shown: (Ht, Wt) float32, 1 where the thermal images show something, else 0.
        keep: How many starts at most.
    """
    fixed_wh = rgb[0].shape[1], rgb[0].shape[0]
    moving_wh = thermal[0].shape[1], thermal[0].shape[0]
    shrink = _SIDE_PX / max(fixed_wh)
    small_wh = (round(fixed_wh[0] * shrink), round(fixed_wh[1] * shrink))
    to_small = scaling(fixed_wh, small_wh)
    fit = min(fixed_wh[0] / moving_wh[0], fixed_wh[1] / moving_wh[1])
    reach = max(fixed_wh) * shrink * (1 + _SCALES[-1] * 1.2)
    side = cv2.getOptimalDFTSize(int(np.ceil(reach)))
    fixed = _Fixed([shrunk(image, small_wh) for image in rgb])
    fixed.transform(side)
    starts: list[Start] = []
    for relative in _SCALES:
        for turn_deg in _TURNS_DEG:
            scale = fit * relative * shrink
            starts += _best_shifts(fixed, thermal, shown, scale, turn_deg, side)
    full = [Start(np.linalg.inv(to_small) @ s.matrix, s.score) for s in starts]
    return _apart(sorted(full, key=lambda s: -s.score), moving_wh, fixed_wh, keep)


class _Fixed:
    """The fixed images' structures and their transforms."""

    def __init__(self, images: list[Floats]) -> None:
        self.size_wh = images[0].shape[1], images[0].shape[0]
        self.structures = [_centred(structure(image), None) for image in images]

    def transform(self, side: int) -> None:
        power = np.sum([(s**2).sum(axis=-1) for s in self.structures], axis=0)
        self.channels = [
            np.fft.rfft2(s.transpose(2, 0, 1), (side, side)).astype(np.complex64)
            for s in self.structures
        ]
        self.power = np.fft.rfft2(power, (side, side))
        self.ones = np.fft.rfft2(np.ones(power.shape), (side, side))


def _best_shifts(
    fixed: _Fixed, thermal: list[Floats], shown: Floats, scale: float, turn_deg: float, side: int
) -> list[Start]:
    """Return the best shift of one scale and turn, and its like far from it."""
    moving_wh = thermal[0].shape[1], thermal[0].shape[0]
    turn = np.deg2rad(turn_deg)
    linear = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    corners = linear @ (np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * moving_wh).T
    low, high = corners.min(axis=1), corners.max(axis=1)
    box_wh = (int(np.ceil(high[0] - low[0])), int(np.ceil(high[1] - low[1])))
    place = np.eye(3)
    place[:2, :2], place[:2, 2] = linear, -low
    seen = cv2.warpPerspective(shown, place, box_wh) > 0.99
    inner = cv2.erode(seen.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    if not inner.any():
        return []
    cross = np.zeros((side, side // 2 + 1), np.complex128)
    energy = 0.0
    for channels, image in zip(fixed.channels, thermal, strict=True):
        template = _centred(structure(warped(image, place, box_wh)), inner)
        energy += float((template**2).sum())
        spectrum = np.fft.rfft2(template.transpose(2, 0, 1), (side, side))
        cross += (channels * np.conj(spectrum)).sum(axis=0)
    mask = np.conj(np.fft.rfft2(inner, (side, side)))
    shape = (side, side)
    overlap = np.fft.irfft2(fixed.ones * mask, shape)
    power = np.fft.irfft2(fixed.power * mask, shape)
    least = _LEAST_OVERLAP * min(inner.sum(), fixed.size_wh[0] * fixed.size_wh[1])
    # The template's own energy inside the overlap is taken as its share of the area.
    own = energy * np.clip(overlap / inner.sum(), 0, 1)
    score = np.fft.irfft2(cross, shape) / np.sqrt(np.maximum(power * own, 1e-6))
    score *= np.sqrt(np.clip(overlap / (fixed.size_wh[0] * fixed.size_wh[1]), 0, 1))
    score[overlap < least] = -1
    starts = []
    for _ in range(2):
        row, column = np.unravel_index(int(score.argmax()), score.shape)
        if score[row, column] <= 0:
            break
        shift = np.array([column, row], float)
        shift -= np.where(shift > side - np.array(box_wh), side, 0)
        matrix = np.eye(3)
        matrix[:2, 2] = shift
        starts.append(Start(matrix @ place, float(score[row, column])))
        rows = (np.arange(-8, 9) + row) % side
        columns = (np.arange(-8, 9) + column) % side
        score[np.ix_(rows, columns)] = -1
    return starts


def warped(image: Floats, matrix: Matrix, size_wh: SizeWh) -> Floats:
    """Warp without aliasing: an image that the matrix shrinks is shrunk by area first.

    Convention: ``matrix`` maps pixels of ``image`` to pixels of the result, centres at integers.
    """
    height, width = image.shape
    scale = local_scale(matrix, (width, height))
    if scale < 0.8:
        small_wh = (max(8, round(width * scale)), max(8, round(height * scale)))
        image = shrunk(image, small_wh)
        matrix = matrix @ scaling(small_wh, (width, height))
    result = cv2.warpPerspective(image, matrix, size_wh, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(result, np.float32)


def shrunk(image: Floats, size_wh: SizeWh) -> Floats:
    """Return an image at a smaller size, each pixel the mean of those that it replaces."""
    return np.asarray(cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA), np.float32)


def local_scale(matrix: Matrix, size_wh: SizeWh) -> float:
    """Return how much a matrix enlarges the middle of an image, per side."""
    x, y = size_wh[0] / 2, size_wh[1] / 2
    points = np.array([[[x, y], [x + 1, y], [x, y + 1]]])
    at, right, below = cv2.perspectiveTransform(points, matrix)[0]
    (a, b), (c, d) = right - at, below - at
    return float(np.sqrt(abs(a * d - b * c)))


def scaling(from_wh: SizeWh, to_wh: SizeWh) -> Matrix:
    """Return the (3, 3) matrix that stretches pixel coordinates from one size to another.

    Convention: pixel centres at integers, so ``x -> (x + 0.5) * s - 0.5``.
    """
    sx, sy = to_wh[0] / from_wh[0], to_wh[1] / from_wh[1]
    return np.array([[sx, 0, 0.5 * sx - 0.5], [0, sy, 0.5 * sy - 0.5], [0, 0, 1]], np.float64)


def _centred(channels: Floats, mask: npt.NDArray[np.bool_] | None) -> Floats:
    """Return structures with mean 0 over the mask, and 0 outside."""
    if mask is None:
        return channels - channels.mean(axis=(0, 1))
    return (channels - channels[mask].mean(axis=0)) * mask[..., None]


def _apart(starts: list[Start], moving_wh: SizeWh, fixed_wh: SizeWh, keep: int) -> list[Start]:
    """Keep the best of those that put the moving image's corners into about the same place."""
    width, height = moving_wh
    corners = np.array([[[0, 0], [width, 0], [width, height], [0, height]]], np.float64)
    kept: list[tuple[Start, npt.NDArray[np.float64]]] = []
    for start in starts:
        there = cv2.perspectiveTransform(corners, start.matrix)[0]
        near = 0.04 * max(fixed_wh)
        if all(np.abs(there - other).max() > near for _, other in kept):
            kept.append((start, there))
        if len(kept) == keep:
            break
    return [start for start, _ in kept]
