"""Tell, while a system runs, whether the two cameras have moved against each other.

A knock on the mount shows as one shift between the thermal picture and the RGB picture that stays.
Every few seconds small structure images (see :mod:`differseg.runtime.register.structure`) of a
pair are correlated over small shifts, and the correlations are averaged over many pairs: single
scenes say little, and near things have a parallax of their own.  What is watched is the change
against the state at the start, so that a registration with a known offset does not warn.
"""

from __future__ import annotations

import time
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from differseg.runtime.register.structure import stretched, structure, without_dead_pixels

_SMALL_WIDTH_PX = 160
_REACH_PX = 12
_LEAST_ROUNDS = 6
_LEAST_PEAK = 0.06
"""Mean correlation below which the pictures say nothing about a shift."""
_LEAST_STRUCTURE = 1e-3


class RegistrationWatch:
    """Watches for a shift that stays, from frames as they come.

    Args:
        period_s: Time between two looks; frames between are not looked at.
        limit_px: Shift, in pixels of the RGB frame, from which a warning is given; None takes
            1.5 % of its width.
        memory: Looks that the mean goes over, about; also how many make the state at the start.

    Attributes:
        shift_px: Shift against the start in pixels of the RGB frame, (x, y); None before it is
            known.
        looks: Pairs looked at.
        cost_ms: Mean time of a look.
    """

    def __init__(
        self, period_s: float = 2.0, limit_px: float | None = None, memory: int = 10
    ) -> None:
        self._period_s, self._limit_px, self._memory = period_s, limit_px, max(memory, 2)
        self._mean: npt.NDArray[np.float64] | None = None
        self._start: tuple[float, float] | None = None
        self._next_s = -np.inf
        self._warned = False
        self._size: tuple[int, ...] = ()
        self._since = 0
        self.shift_px: tuple[float, float] | None = None
        self.looks = 0
        self.cost_ms = 0.0

    @property
    def moved(self) -> bool:
        """Whether the registration is taken to have moved."""
        return self._warned

    def update(
        self, rgb: npt.NDArray[Any], warped_thermal: npt.NDArray[Any], timestamp_s: float
    ) -> str | None:
        """Look at a pair, where it is time.

        Args:
            rgb: (H, W, 3) uint8.
            warped_thermal: (H, W) uint8 or uint16, in the RGB view.
            timestamp_s: Of the pair; a clock that steps back is a new beginning of the period.

        Returns:
            The warning, once, when the shift has passed the limit; else None.  It is given again
            only after the shift has been below half the limit.
        """
        if self._next_s - self._period_s <= timestamp_s < self._next_s:
            return None
        self._next_s = timestamp_s + self._period_s
        began_s = time.perf_counter()
        try:
            return self._look(rgb, warped_thermal)
        finally:
            self.looks += 1
            self.cost_ms += ((time.perf_counter() - began_s) * 1e3 - self.cost_ms) / self.looks

    def _look(self, rgb: npt.NDArray[Any], warped_thermal: npt.NDArray[Any]) -> str | None:
        if rgb.shape[:2] != self._size:
            self._size, self._mean, self._start, self._since = rgb.shape[:2], None, None, 0
        shrink = min(1.0, _SMALL_WIDTH_PX / rgb.shape[1])
        votes = self._votes(rgb, warped_thermal, shrink)
        self._since += 1
        share = 1.0 / min(self._since, self._memory)
        self._mean = votes if self._mean is None else self._mean + share * (votes - self._mean)
        if self._since < min(_LEAST_ROUNDS, self._memory):
            return None
        place = _peak(self._mean)
        if place is None:
            return None
        if self._start is None:
            if self._since >= self._memory:
                self._start = place
            return None
        # The votes say where the thermal picture would have to go: back.
        self.shift_px = (
            (self._start[0] - place[0]) / shrink,
            (self._start[1] - place[1]) / shrink,
        )
        return self._judge(float(np.hypot(*self.shift_px)), rgb.shape[1])

    def _judge(self, off_px: float, width: int) -> str | None:
        limit_px = self._limit_px or 0.015 * width
        if self._warned:
            self._warned = off_px > limit_px / 2
            return None
        if off_px <= limit_px:
            return None
        self._warned = True
        assert self.shift_px is not None
        x, y = self.shift_px
        return (
            f"registration: the thermal picture has moved by about {off_px:.0f} px ({x:+.0f}, "
            f"{y:+.0f}) against the RGB picture since the start; has a camera been knocked? "
            "register again: differseg register"
        )

    def _votes(
        self, rgb: npt.NDArray[Any], thermal: npt.NDArray[Any], shrink: float
    ) -> npt.NDArray[np.float64]:
        """Return (2R + 1, 2R + 1) float64, the correlation of every small shift."""
        size_wh = (round(rgb.shape[1] * shrink), round(rgb.shape[0] * shrink))
        colors = cv2.resize(rgb, size_wh, interpolation=cv2.INTER_AREA)
        heat = cv2.resize(thermal, size_wh, interpolation=cv2.INTER_AREA)
        fixed = structure(stretched(colors))
        moving = structure(without_dead_pixels(stretched(heat)))
        reach = min(_REACH_PX, min(size_wh) // 4)
        inner = np.ascontiguousarray(moving[reach:-reach, reach:-reach])
        if min(float(inner.std()), float(fixed.std())) < _LEAST_STRUCTURE:
            return np.zeros((2 * reach + 1, 2 * reach + 1))
        found = cv2.matchTemplate(fixed, inner, cv2.TM_CCOEFF_NORMED)
        return np.nan_to_num(found, posinf=0.0, neginf=0.0).astype(np.float64)


def _peak(votes: npt.NDArray[np.float64]) -> tuple[float, float] | None:
    """Return x and y of the best shift from the middle, between pixels; None where none is."""
    row, column = (int(n) for n in np.unravel_index(int(votes.argmax()), votes.shape))
    if votes[row, column] < _LEAST_PEAK:
        return None
    reach = votes.shape[0] // 2
    place = [float(column - reach), float(row - reach)]
    for axis, line, at in ((0, votes[row], column), (1, votes[:, column], row)):
        if 0 < at < len(line) - 1:
            bend = line[at - 1] - 2 * line[at] + line[at + 1]
            if bend < -1e-12:
                place[axis] += float(np.clip(0.5 * (line[at - 1] - line[at + 1]) / bend, -0.5, 0.5))
    return place[0], place[1]
