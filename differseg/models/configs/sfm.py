"""Settings and named configurations of Spatial Frequency Modulation."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal, get_args

from differseg.models.configs.class_sets import Classes, chosen_classes, plain_classes
from differseg.models.spec import MODALITIES, ModelSpec
from differseg.models.system import LARGEST_PX, ModelInfo, System, check_choice, integers, plain

Backbone = Literal["edge", "resnet50", "convnext", "swin", "segnext"]
Attention = Literal["high-pass", "semantic"]


@dataclass(frozen=True)
class SfmConfig:
    """What ``create_model`` accepts; values left at None follow from the backbone."""

    backbone: Backbone = "resnet50"
    """The trunk that is modulated: resnet50, segnext, convnext or swin (timm), or edge (ours)."""
    classes: Classes = None
    """binary, a data set's name, or the names of the classes in the order of their numbers."""
    attention: Attention = "high-pass"
    """How samplers find detail: through a learned high-pass, or from pooled context alone."""
    size_hw: tuple[int, int] | None = None
    """Height and width that the configuration is made for, in pixels; multiples of 32 from 96."""


@dataclass(frozen=True)
class BackboneDefaults:
    """What a backbone setting stands for; ``width`` is the decoder's."""

    width: int
    size_hw: tuple[int, int] = (512, 1024)
    classes: str = "cityscapes"


BACKBONES: dict[Backbone, BackboneDefaults] = {
    "edge": BackboneDefaults(32, (480, 640), "binary"),
    "resnet50": BackboneDefaults(512),
    "convnext": BackboneDefaults(512),
    "swin": BackboneDefaults(512),
    "segnext": BackboneDefaults(256),
}


def _entry(name: str, summary: str, backbone: Backbone, params: int, gmacs: float) -> ModelInfo:
    return ModelInfo(
        name=name,
        system="sfm",
        task="rgb",
        summary=summary,
        inputs=("rgb",),
        size_hw=BACKBONES[backbone].size_hw,
        params=params,
        gmacs=gmacs,
        config={"backbone": backbone},
    )


_MODELS = (
    _entry("sfm-edge", "RGB on edge devices, resampled before halving", "edge", 724_486, 1.127),
    _entry("sfm-resnet50", "modulated FCN with ResNet-50", "resnet50", 50_883_358, 55.33),
    _entry("sfm-convnext", "modulated FCN with ConvNeXt-T", "convnext", 40_727_902, 52.90),
    _entry("sfm-swin", "modulated FCN with Swin-T", "swin", 40_427_128, 56.39),
    _entry("sfm-segnext", "modulated FCN with SegNeXt's MSCAN-T", "segnext", 6_495_678, 10.70),
)


def _resolve(name: str, settings: SfmConfig) -> tuple[ModelSpec, SfmConfig]:
    """Check a configuration, fill in what follows from it, and describe the network."""
    check_choice(name, "backbone", settings.backbone, get_args(Backbone))
    check_choice(name, "attention", settings.attention, get_args(Attention))
    defaults = BACKBONES[settings.backbone]
    size_hw = settings.size_hw or defaults.size_hw
    size_hw = integers(name, "size_hw", size_hw, 2, multiple=32, most=LARGEST_PX)
    classes = defaults.classes if settings.classes is None else settings.classes
    settings = dataclasses.replace(settings, classes=plain_classes(classes), size_hw=size_hw)
    spec = ModelSpec(
        name=name,
        system="sfm",
        task="rgb",
        modalities=MODALITIES["rgb"],
        classes=chosen_classes(name, settings.classes),
        size_hw=size_hw,
        config=plain(settings),
    )
    return spec, settings


SFM = System("sfm", SfmConfig, _MODELS, _resolve)
