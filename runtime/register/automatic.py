"""Register two cameras from what they see of any scene, without a target.

The cameras are fixed to each other, so all pairs are looked at together.  A search over scales,
turns and shifts gives a few starts; each is refined by matching blocks of structure images, coarse
to fine, and the one that agrees best is kept.  How sure it is, the data say themselves: blocks
that agree with the fit, two halves of the blocks that agree with each other, and no second fit
that is as good.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from differseg.errors import InputError
from differseg.runtime.register.blocks import (
    HOMOGRAPHY,
    SIMILARITY,
    Step,
    fit_step,
    match_blocks,
    weighted_median,
)
from differseg.runtime.register.scenes import Scenes
from differseg.runtime.register.search import Start, local_scale, scaling, search

Matrix = npt.NDArray[np.float64]

SURE = 0.5
"""Confidence from which a fit is accepted."""

_LEVELS = ((160, 14, 3), (320, 10, 3), (640, 8, 4))  # longer side, reach in pixels, repeats
_COARSEST = _LEVELS[0][0]
_LEAST_SIDE_PX = 48
_LARGEST_BLOW_UP = 2.5  # of the moving image at the finest level: beyond it is no detail
_HOMOGRAPHY_GAIN = 0.6  # residuals must fall to this part to pay for four parameters
_APART = 0.03  # of the fixed image's longer side: another fit, not the same one


@dataclass(frozen=True)
class AutomaticFit:
    """What was found, and how far it can be trusted.

    Attributes:
        matrix: (3, 3) float64, moving to fixed pixels.
        confidence: 0..1, the least of the three parts below; from ``SURE`` on it is accepted.
        agreeing: Part of the matched blocks, by weight, that lie within 1 % of the width.
        halves_px: How far the fits of the two halves of the blocks part, median over the view.
        rival: Correlation of the best other fit beside this one's, 0..1.
        residual_px: (N,) float64, of the blocks, in fixed pixels.
        model: ``similarity`` or ``homography``.
        reason: Why this model.
    """

    matrix: Matrix
    confidence: float
    agreeing: float
    halves_px: float
    rival: float
    residual_px: npt.NDArray[np.float64]
    model: str
    reason: str

    def doubts(self, longer_px: int) -> str:
        """Return what speaks against the fit, in words."""
        parts = _confidences(self.agreeing, self.halves_px / longer_px, self.rival)
        texts = (
            f"only {100 * self.agreeing:.0f} % of the image blocks agree on one registration",
            f"two halves of the blocks differ by {self.halves_px:.1f} px",
            "a second, different registration fits nearly as well",
        )
        return "; ".join(t for t, part in zip(texts, parts, strict=True) if part < SURE)


def register_scenes(
    rgb: Sequence[npt.NDArray[Any]],
    thermal: Sequence[npt.NDArray[Any]],
    start: Matrix | None = None,
) -> AutomaticFit:
    """Find the homography from what both cameras see.

    Args:
        rgb: (H, W, 3) uint8 BGR each, all of one size.
        thermal: (Ht, Wt) uint8 or uint16 each, all of one size; as many, in the same order.
        start: (3, 3) float64, a registration that is off by less than about a twentieth of the
            width; None searches.

    Raises:
        InputError: The images are too small to say anything.
    """
    for name, image in (("rgb", rgb[0]), ("thermal", thermal[0])):
        if min(image.shape[:2]) < _LEAST_SIDE_PX:
            raise InputError(
                f"registration: {name} images of {image.shape[1]}x{image.shape[0]} are too small; "
                f"each side needs {_LEAST_SIDE_PX} pixels (register pick takes any)"
            )
    scenes = Scenes(rgb, thermal)
    if start is not None:
        starts = [Start(start, 0.0)]
    else:
        starts = search(scenes.rgb, scenes.thermal, scenes.shown)
        # That both views are one, stretched, is likely enough to be tried in any case.
        starts.append(Start(scaling(scenes.moving_wh, scenes.fixed_wh), 0.0))
    matrix, rival = _best(scenes, starts)
    matrix, step, side, model, reason = _refined(scenes, matrix)
    if step is None:
        return AutomaticFit(matrix, 0.0, 0.0, 1e9, 1.0, np.zeros(0), model, reason)
    shrink = scenes.level(side).shrink
    longer = max(scenes.fixed_wh)
    residual_px = step.residual_px / shrink
    block_weight = scenes.last_matches.weight
    agreeing = float(block_weight[residual_px < 0.01 * longer].sum() / block_weight.sum())
    halves_px = _halves_px(scenes, side, model) / shrink
    confidence = min(_confidences(agreeing, halves_px / longer, rival))
    return AutomaticFit(matrix, confidence, agreeing, halves_px, rival, residual_px, model, reason)


def _confidences(agreeing: float, halves: float, rival: float) -> tuple[float, float, float]:
    """Return three figures 0..1; 0.5 is the least that is accepted."""
    return (
        float(np.clip((agreeing - 0.2) / 0.4, 0, 1)),
        float(1 / (1 + (halves / 0.006) ** 2)),
        float(np.clip((1 - rival) / 0.3, 0, 1)),
    )


def _best(scenes: Scenes, starts: list[Start]) -> tuple[Matrix, float]:
    """Refine every start at the coarsest level; return the best and its nearest rival's share."""
    found = []
    for start in starts:
        matrix, _ = _converge(scenes, start.matrix, _LEVELS[0], SIMILARITY)
        found.append((scenes.correlation(matrix, _COARSEST), matrix))
    found.sort(key=lambda item: -item[0])
    top, matrix = found[0]
    others = [
        s
        for s, other in found[1:]
        if scenes.distance_px(matrix, other) > _APART * max(scenes.fixed_wh)
    ]
    rival = max(max(others, default=0.0), 0.0) / top if top > 0 else 1.0
    return matrix, min(rival, 1.0)


def _refined(scenes: Scenes, matrix: Matrix) -> tuple[Matrix, Step | None, int, str, str]:
    """Go through the levels as a similarity, and allow perspective where it pays."""
    finest = _LARGEST_BLOW_UP * max(scenes.fixed_wh) / local_scale(matrix, scenes.moving_wh)
    finest = min(finest, 1.5 * max(scenes.fixed_wh))
    levels = [level for level in _LEVELS if level[0] == _COARSEST or level[0] <= finest]
    step = None
    for level in levels:
        matrix, step = _converge(scenes, matrix, level, SIMILARITY)
    side = levels[-1][0]
    free, free_step = matrix, None
    for _ in range(2):
        free, free_step = _converge(scenes, free, levels[-1], HOMOGRAPHY)
    matrix, step = _converge(scenes, matrix, (side, levels[-1][1], 1), SIMILARITY)
    if step is None or free_step is None:
        return matrix, step, side, "similarity", "too few blocks for more"
    plain, freed = (_typical(s) for s in (step, free_step))
    gain = freed / max(plain, 1e-9)
    said = f"a homography leaves {100 * gain:.0f} % of a similarity's residuals"
    if gain < _HOMOGRAPHY_GAIN:
        free, free_step = _converge(scenes, free, (side, levels[-1][1], 1), HOMOGRAPHY)
        assert free_step is not None
        return free, free_step, side, "homography", said
    return matrix, step, side, "similarity", said


def _typical(step: Step) -> float:
    return weighted_median(step.residual_px, step.weight)


def _converge(
    scenes: Scenes, matrix: Matrix, level: tuple[int, int, int], stiffness: float
) -> tuple[Matrix, Step | None]:
    """Match and step several times at one level."""
    side, reach_px, repeats = level
    at = scenes.level(side)
    up = scaling(scenes.fixed_wh, at.size_wh)
    down = np.linalg.inv(up)
    step = None
    for repeat in range(repeats):
        moved, seen = scenes.moved(matrix, side)
        matches = match_blocks(
            at.structures, moved, seen, reach_px if repeat == 0 else max(5, reach_px // 2)
        )
        step = fit_step(matches, at.size_wh, stiffness)
        if step is None:
            return matrix, None
        scenes.last_matches = matches
        matrix = down @ step.matrix @ up @ matrix
        matrix = matrix / matrix[2, 2]
    return matrix, step


def _halves_px(scenes: Scenes, side: int, model: str) -> float:
    """Return how far the fits of two halves of the blocks part, in the level's pixels."""
    at, stiffness = scenes.level(side), HOMOGRAPHY if model == "homography" else SIMILARITY
    steps = [fit_step(scenes.last_matches.of_half(n), at.size_wh, stiffness) for n in (0, 1)]
    if steps[0] is None or steps[1] is None:
        return float(max(at.size_wh))
    grid = scenes.last_matches.at_xy[None]
    first, second = (cv2.perspectiveTransform(grid, s.matrix)[0] for s in steps if s is not None)
    return float(np.median(np.hypot(*(first - second).T)))
