"""Samples that nearly equal an earlier one: by a hash of each input, then by their thumbnails."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from differseg.calibration.audit_measure import TINY_WH
from differseg.calibration.audit_source import Item

NEAR_BITS, NEAR_MEAN = 10, 0.02
"""Two images are near-equal when their hashes differ in at most this many of 64 bits, and their
thumbnails by at most this on average, of 0..1."""

_HASH_BITS = 64
_FIRST_ROOM = 64


def distinct_items(items: Sequence[Item]) -> tuple[list[Item], list[tuple[Item, Item]]]:
    """Return the samples that no earlier one nearly equals, and the others with that one.

    A sample is compared with those kept alone, so that a slow drift is not one long chain.  All
    inputs must be near-equal; samples with other inputs are not comparable.
    """
    kept: list[Item] = []
    repeats: list[tuple[Item, Item]] = []
    groups: dict[tuple[str, ...], _Kept] = {}
    for item in items:
        names = tuple(sorted(item.views))
        if not names:
            continue
        hashed = np.array([item.views[name].hash for name in names])
        tiny = np.array([item.views[name].tiny for name in names])
        group = groups.setdefault(names, _Kept(len(names)))
        near = group.near(hashed, tiny)
        if near is None:
            group.add(item, hashed, tiny)
            kept.append(item)
        else:
            repeats.append((item, near))
    return kept, repeats


class _Kept:
    """Samples of the same inputs, in arrays that double when they are full.

    Args:
        inputs: Number of inputs.
    """

    def __init__(self, inputs: int) -> None:
        self._items: list[Item] = []
        self._hashes = np.empty((_FIRST_ROOM, inputs, _HASH_BITS), np.bool_)
        self._tinies = np.empty((_FIRST_ROOM, inputs, *TINY_WH[::-1]), np.float32)

    def near(self, hashed: npt.NDArray[np.bool_], tiny: npt.NDArray[np.float32]) -> Item | None:
        """Return the first sample that nearly equals this one.

        Args:
            hashed: (inputs, 64).
            tiny: (inputs, 24, 32), 0..1.
        """
        count = len(self._items)
        bits = (self._hashes[:count] != hashed).sum(axis=2)  # (kept, inputs)
        for index in np.flatnonzero((bits <= NEAR_BITS).all(axis=1)).tolist():
            if (np.abs(self._tinies[index] - tiny).mean(axis=(1, 2)) <= NEAR_MEAN).all():
                return self._items[index]
        return None

    def add(self, item: Item, hashed: npt.NDArray[np.bool_], tiny: npt.NDArray[np.float32]) -> None:
        """Keep a sample."""
        count = len(self._items)
        if count == len(self._hashes):
            self._hashes = np.concatenate([self._hashes, np.empty_like(self._hashes)])
            self._tinies = np.concatenate([self._tinies, np.empty_like(self._tinies)])
        self._hashes[count], self._tinies[count] = hashed, tiny
        self._items.append(item)
