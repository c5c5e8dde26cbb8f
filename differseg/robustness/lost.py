"""A camera that gives nothing, or nothing new."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from differseg.data.folder import FolderDataset
from differseg.data.modality_dropout import LOST_PLANE
from differseg.data.sequences import timelines
from differseg.errors import InputError
from differseg.manifest import ThermalPolicy
from differseg.robustness.corruption import Chance, Change, Corruption, Sample
from differseg.runtime.thermal import neutral_thermal

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
        return neutral_thermal(policy or ThermalPolicy(), size_hw)
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

    A sequence is a run of names that differ in their time alone, a number that rises by 1: another
    drive or another camera is never taken for an older frame.  Judged are the samples with as many
    frames before them as the greatest level, at every level the same ones.

    Args:
        everything: A folder with ``thermal``, where the older frames are looked for.
        judged: Names of the samples to judge, whose places are the indices of the corruption.
        levels: Whole numbers of frames, rising.

    Returns:
        The corruption; None where no run is long enough.
    """
    earlier: dict[str, dict[float, str]] = {}
    oldest, wanted = int(levels[-1]), set(judged)
    for frames in timelines(everything.stems):
        for number, stem in frames.items():
            if stem in wanted and all(number - age in frames for age in range(1, oldest + 1)):
                earlier[stem] = {level: frames[number - int(level)] for level in levels}
    if not earlier:
        return None

    def change(sample: Sample, level: float, chance: Chance) -> Sample:
        older = earlier.get(sample["stem"], {}).get(level)
        if older is None:
            raise InputError(
                f"corruption thermal-frozen: no frame {level:g} before sample '{sample['stem']}'; "
                f"there are {', '.join(f'{level:g}' for level in levels)}, each for a sample with "
                f"{oldest} frames before it"
            )
        return {**sample, "thermal": everything.decode(older, ("thermal",))["thermal"]}

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
