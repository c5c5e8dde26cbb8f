"""FSANet's settings and named configurations."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal, get_args

from differseg.models.spec import BINARY_CLASSES, MODALITIES, ModelSpec
from differseg.models.system import LARGEST_PX, ModelInfo, System, check_choice, integers, plain

Backbone = Literal["edge", "pvt_v2_b2"]


@dataclass(frozen=True)
class FsanetConfig:
    """What ``create_model`` accepts; ``size_hw`` left at None follows from the backbone."""

    backbone: Backbone = "pvt_v2_b2"
    """Both encoders: ``pvt_v2_b2`` with ResNet-50 as published, or ``edge``, which is ours."""
    size_hw: tuple[int, int] | None = None
    """Height and width that the configuration is made for, in pixels."""


_SIZES: dict[Backbone, tuple[int, int]] = {"edge": (480, 640), "pvt_v2_b2": (992, 992)}

_MODELS = (
    ModelInfo(
        name="fsanet-edge",
        system="fsanet",
        task="rgb",
        summary="RGB and its high-pass image on edge devices",
        inputs=("rgb",),
        size_hw=_SIZES["edge"],
        params=3_349_388,
        gmacs=3.24,
        config={"backbone": "edge"},
    ),
    ModelInfo(
        name="fsanet",
        system="fsanet",
        task="rgb",
        summary="the authors' network for fine masks of one object",
        inputs=("rgb",),
        size_hw=_SIZES["pvt_v2_b2"],
        params=109_194_130,
        gmacs=355.6,
        config={"backbone": "pvt_v2_b2"},
    ),
)


def _resolve(name: str, settings: FsanetConfig) -> tuple[ModelSpec, FsanetConfig]:
    """Check a configuration, fill in what follows from it, and describe the network."""
    check_choice(name, "backbone", settings.backbone, get_args(Backbone))
    size_hw = settings.size_hw or _SIZES[settings.backbone]
    size_hw = integers(name, "size_hw", size_hw, 2, multiple=32, most=LARGEST_PX)
    settings = dataclasses.replace(settings, size_hw=size_hw)
    spec = ModelSpec(
        name=name,
        system="fsanet",
        task="rgb",
        modalities=MODALITIES["rgb"],
        classes=BINARY_CLASSES,
        size_hw=size_hw,
        config=plain(settings),
    )
    return spec, settings


FSANET = System("fsanet", FsanetConfig, _MODELS, _resolve)
