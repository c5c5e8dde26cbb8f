"""A camera that gives nothing, or nothing new."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from differseg.data.folder import FolderDataset
from differseg.data.modality_dropout import LOST_PLANE
from differseg.data.sequences import find_runs
from differseg.manifest import ThermalPolicy
from differseg.robustness.corruption import Chance, Change, Corruption, Sample

FROZEN_LEVELS = (1.0, 2.0, 4.0)


def lost_image(
    name: str, size_hw: tuple[int, int], policy: ThermalPolicy | None
) -> npt.NDArray[Any]:
    """Return what stands for a lost camera, before any mapping.

    Thermal is the image that a run in ``rgb_only`` feeds: 16 bits at the middle of the policy's
    range, which every policy maps to ``NEUTRAL_THERMAL``.  The others are
    :data:`differseg.data.modality_dropout.LOST_PLANE`; depth in 8 bits, whose 0 stays 0.

    Args:
        name: rgb, thermal, depth or flow.
        size_hw: Height and width.
        policy: Of the network's thermal input; the defaults of :class:`ThermalPolicy` when None.
    """
    if name == "thermal":
        policy = policy or ThermalPolicy()
        middle = round((policy.low_ck + policy.high_ck) / 2)
        return np.full(size_hw, min(max(middle, 1), 65534), np.uint16)
    shape = (*size_hw, 3) if name in ("rgb", "flow") else size_hw
    return np.full(shape, round(LOST_PLANE[name]), np.uint8)


def losing(name: str, policy: ThermalPolicy | None) -> Change:
    """Return the corruption that loses a camera at every level above 0."""

    def change(sample: Sample, level: float, chance: Chance) -> Sample:
        height, width = sample[name].shape[:2]
        return {**sample, name: lost_image(name, (height, width), policy)}

    return change


def frozen_thermal(
    everything: FolderDataset, judged: Sequence[str], levels: tuple[float, ...] = FROZEN_LEVELS
) -> Corruption | None:
    """Return the corruption that shows an older thermal frame, where the names form sequences.

    A sequence is a run of names whose numbers rise by 1.  Judged are the samples with as many
    frames before them as the greatest level, at every level the same ones.

    Args:
        everything: A folder with ``thermal``, where the older frames are looked for.
        judged: Names of the samples to judge, whose places are the indices of the corruption.
        levels: Whole numbers of frames, rising.

    Returns:
        The corruption; None where no run is long enough.
    """
    place = {stem: index for index, stem in enumerate(everything.stems)}
    earlier: dict[str, tuple[int, ...]] = {}
    oldest, wanted = int(levels[-1]), set(judged)
    for run in find_runs(everything.stems, gap=1):
        for at in range(oldest, len(run)):
            if run[at] in wanted:
                earlier[run[at]] = tuple(place[run[at - int(level)]] for level in levels)
    if not earlier:
        return None

    def change(sample: Sample, level: float, chance: Chance) -> Sample:
        index = earlier[sample["stem"]][levels.index(level)]
        return {**sample, "thermal": everything[index]["thermal"]}

    return Corruption(
        "thermal-frozen",
        "Thermal frozen",
        "thermal",
        "frames",
        levels,
        "RGB goes on, and thermal still shows the frame that many frames before.",
        change,
        tuple(index for index, stem in enumerate(judged) if stem in earlier),
    )
