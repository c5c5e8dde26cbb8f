"""Modality dropout: training samples on which one of the two cameras is lost.

A network that always saw both cameras leans on both.  On a part of the samples one input is
replaced by what the network gets when that camera is lost, so that the other one has to do (the
idea is that of ModDrop: Neverova et al., IEEE TPAMI 2016, arXiv 1501.00102).  Thermal becomes
exactly what a run feeds in its mode ``rgb_only``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from differseg.data.transforms import Planes
from differseg.errors import InputError
from differseg.runtime.thermal import NEUTRAL_THERMAL

LOST_PLANE: dict[str, float] = {"rgb": 0, "thermal": NEUTRAL_THERMAL, "depth": 0.0, "flow": 255}
"""What every pixel of a lost camera is, in the units of a training sample's planes.

RGB is black; thermal the constant of the runtime's ``rgb_only``; depth 0, which is "no
measurement"; flow white, which is "no motion" on the colour wheel of Baker et al. (IJCV 2011)."""


@dataclass(frozen=True)
class ModalityDropout:
    """How often a training sample lacks a camera; the two cases exclude each other.

    Raises:
        InputError: A probability outside 0..1, or more than 1 in sum.
    """

    second: float = 0.0
    """Probability that thermal, depth or flow is lost."""
    rgb: float = 0.0
    """Probability that RGB is lost."""

    def __post_init__(self) -> None:
        if not (0 <= self.second <= 1 and 0 <= self.rgb <= 1 and self.second + self.rgb <= 1):
            raise InputError(
                f"modality dropout: second {self.second:g}, rgb {self.rgb:g}: expected "
                "probabilities of 0 to 1 that are 1 at most together, since never both are lost"
            )

    def lost(self, names: Iterable[str]) -> dict[str, float]:
        """Return which cameras may be lost, with their probabilities.

        Args:
            names: Of the network's inputs.
        """
        shares = {name: self.rgb if name == "rgb" else self.second for name in names}
        return {name: share for name, share in shares.items() if share > 0}


def drop_modality(planes: Planes, options: ModalityDropout, rng: np.random.Generator) -> Planes:
    """Return a sample that perhaps lacks a camera; the label stays.

    It belongs behind the augmentation, which would change the constant of a lost camera.  One
    number is drawn whatever happens, so a sample is a function of its generator's seed.

    Args:
        planes: A sample as :mod:`differseg.data.transforms` has it; it is not modified.
        options: How often.
        rng: Source of all randomness.
    """
    drawn = rng.uniform()
    second = next((name for name in planes if name in ("thermal", "depth", "flow")), None)
    if second is None or "rgb" not in planes:
        return planes  # the only camera is never lost: nothing could be learnt
    if drawn < options.second:
        return {**planes, second: lost_plane(second, planes[second])}
    if drawn < options.second + options.rgb:
        return {**planes, "rgb": lost_plane("rgb", planes["rgb"])}
    return planes


def without_camera(batch: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """Return a batch of :mod:`differseg.data.loader` as it is when one camera is lost.

    Args:
        batch: Tensors by name, inputs (N, C, H, W) float32 in 0..1; it is not modified.
        name: rgb, thermal, depth or flow.
    """
    scale = 255.0 if batch[name].shape[1] == 3 else 1.0
    return {**batch, name: torch.full_like(batch[name], LOST_PLANE[name] / scale)}


def lost_plane(name: str, like: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the plane of a lost camera.

    Args:
        name: rgb, thermal, depth or flow.
        like: Plane whose shape and kind it has.
    """
    return np.full_like(like, LOST_PLANE[name])
