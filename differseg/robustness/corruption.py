"""What a corruption is: a pure function of a sample, a level in a stated unit, and a seed.

A sample here is what a data set gives: ``rgb`` and ``flow`` (H, W, 3) uint8 RGB, ``thermal`` and
``depth`` (H, W) uint8 or uint16, ``mask`` and ``stem``.  A corruption changes one camera's image,
never the mask; level 0 is the sample itself.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from differseg.errors import InputError

Sample = dict[str, Any]


@dataclass(frozen=True)
class Chance:
    """Where the randomness of one corruption of one sample comes from.

    The level plays no part: the same direction and the same noise grow with it, so that a curve
    over the levels shows the level alone.

    Attributes:
        seed: Of the whole evaluation.
        corruption: Name of the corruption.
        index: Of the sample.
    """

    seed: int
    corruption: str
    index: int

    def frame(self) -> np.random.Generator:
        """Return a generator for what differs from frame to frame."""
        return np.random.default_rng([self.seed, self._name, 1, self.index])

    def camera(self) -> np.random.Generator:
        """Return a generator for what a camera keeps: the same for all samples."""
        return np.random.default_rng([self.seed, self._name, 2])

    @property
    def _name(self) -> int:
        return zlib.crc32(self.corruption.encode())


Change = Callable[[Sample, float, Chance], Sample]


@dataclass(frozen=True)
class Corruption:
    """One way in which images get worse.

    Attributes:
        name: As it is asked for, ``rgb-noise``.
        title: As a person reads it.
        modality: Which camera it changes.
        unit: Of the levels; empty where there is one level, all or nothing.
        levels: Above 0, rising.
        meaning: One sentence for the report: what the level measures.
        change: Returns a changed sample for a level above 0; neither changes the sample handed in.
        only: Indices of the samples that it can change; None for all.
    """

    name: str
    title: str
    modality: str
    unit: str
    levels: tuple[float, ...]
    meaning: str
    change: Change
    only: tuple[int, ...] | None = None

    def apply(self, sample: Sample, level: float, seed: int = 0, index: int = 0) -> Sample:
        """Return the sample at a level; at 0 the very sample.

        Args:
            sample: See the module.
            level: In the unit of the corruption, 0 or more.
            seed: Of the evaluation.
            index: Of the sample.

        Raises:
            InputError: A negative level, or a sample without the modality.
        """
        if not level >= 0:
            raise InputError(f"corruption {self.name}: level {level:g}, expected 0 or more")
        if self.modality not in sample:
            raise InputError(
                f"corruption {self.name}: sample '{sample.get('stem', '?')}' has no {self.modality}"
            )
        if level == 0:
            return sample
        return self.change(sample, level, Chance(seed, self.name, index))

    def shown(self, level: float) -> str:
        """Return a level as text without its unit: ``clean`` for 0, ``lost`` for all or nothing."""
        if level == 0:
            return "clean"
        return f"{level:g}" if self.unit else "lost"
