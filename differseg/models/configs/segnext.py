"""Settings and named configurations of SegNeXt with frequency-aware fusion."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal, get_args

from differseg.models.configs.class_sets import Classes, chosen_classes, plain_classes
from differseg.models.spec import MODALITIES, ModelSpec
from differseg.models.system import (
    LARGEST_PX,
    ModelInfo,
    System,
    check_choice,
    integers,
    plain,
)

Fusion = Literal["freqfusion", "dwt-ff", "dsconv-ff"]
Backbone = Literal["tiny", "edge"]
Direction = Literal["sim", "sim_concat"]


@dataclass(frozen=True)
class SegNeXtConfig:
    """What ``create_model`` accepts; values left at None follow from the backbone."""

    fusion: Fusion = "freqfusion"
    """How the decoder joins its levels: freqfusion, dwt-ff or dsconv-ff."""
    backbone: Backbone = "tiny"
    """Widths of trunk and decoder; ``tiny`` is the authors', ``edge`` ours."""
    classes: Classes = None
    """binary, a data set's name, or the names of the classes in the order of their numbers."""
    attention: bool | None = None
    """Self-attention over all pixels behind dwt-ff; the authors have it, their others have not."""
    direction: Direction = "sim"
    """What the sampler reads: sim, as the authors' SegNeXt, or sim_concat."""
    size_hw: tuple[int, int] | None = None
    """Height and width that the configuration is made for, in pixels; multiples of 32."""


@dataclass(frozen=True)
class Widths:
    """What a backbone setting stands for.

    ``channels``, ``depths`` and ``mlp_ratios`` are MSCAN's; ``compressed_channels`` are those of
    the two fusion steps, coarse to fine; ``head_width`` is the decoder's behind them.
    """

    channels: tuple[int, int, int, int]
    depths: tuple[int, int, int, int]
    mlp_ratios: tuple[int, int, int, int]
    compressed_channels: tuple[int, int]
    head_width: int
    size_hw: tuple[int, int]
    classes: str


WIDTHS: dict[Backbone, Widths] = {
    "tiny": Widths(
        channels=(32, 64, 160, 256),
        depths=(3, 3, 5, 2),
        mlp_ratios=(8, 8, 4, 4),
        compressed_channels=(104, 120),
        head_width=256,
        size_hw=(512, 512),
        classes="ade20k",
    ),
    "edge": Widths(
        channels=(32, 48, 96, 128),
        depths=(2, 2, 3, 2),
        mlp_ratios=(4, 4, 4, 4),
        compressed_channels=(32, 32),
        head_width=96,
        size_hw=(480, 640),
        classes="binary",
    ),
}
GROUPS = 4
"""Groups of channels that the sampler moves apart, and in which fused levels are interleaved."""


def _entry(
    name: str, summary: str, backbone: Backbone, fusion: Fusion, params: int, gmacs: float
) -> ModelInfo:
    return ModelInfo(
        name=name,
        system="segnext",
        task="rgb",
        summary=summary,
        inputs=("rgb",),
        size_hw=WIDTHS[backbone].size_hw,
        params=params,
        gmacs=gmacs,
        config={"backbone": backbone, "fusion": fusion},
    )


_MODELS = (
    _entry(
        "segnext-freqfusion-edge",
        "FreqFusion on edge devices",
        "edge",
        "freqfusion",
        1_145_141,
        2.24,
    ),
    _entry("segnext-dwt-ff-edge", "DWT-FF on edge devices", "edge", "dwt-ff", 1_160_711, 2.28),
    _entry(
        "segnext-dsconv-ff-edge", "DSConv-FF on edge devices", "edge", "dsconv-ff", 1_129_013, 2.18
    ),
    _entry(
        "segnext-freqfusion",
        "the authors' FreqFusion network",
        "tiny",
        "freqfusion",
        4_520_794,
        6.83,
    ),
    _entry("segnext-dwt-ff", "the authors' DWT-FF network", "tiny", "dwt-ff", 4_575_244, 23.91),
    _entry(
        "segnext-dsconv-ff", "the authors' DSConv-FF network", "tiny", "dsconv-ff", 4_464_346, 6.64
    ),
)


def _resolve(name: str, settings: SegNeXtConfig) -> tuple[ModelSpec, SegNeXtConfig]:
    """Check a configuration, fill in what follows from it, and describe the network."""
    for key, kind in (("fusion", Fusion), ("backbone", Backbone), ("direction", Direction)):
        check_choice(name, key, getattr(settings, key), get_args(kind))
    widths = WIDTHS[settings.backbone]
    dwt = settings.fusion == "dwt-ff"
    check_choice(name, "attention", settings.attention, (True, False, None) if dwt else (None,))
    attention = settings.attention
    if dwt and attention is None:
        attention = settings.backbone == "tiny"
    size_hw = settings.size_hw or widths.size_hw
    classes = widths.classes if settings.classes is None else settings.classes
    settings = dataclasses.replace(
        settings,
        attention=attention,
        classes=plain_classes(classes),
        size_hw=integers(name, "size_hw", size_hw, 2, multiple=32, most=LARGEST_PX),
    )
    spec = ModelSpec(
        name=name,
        system="segnext",
        task="rgb",
        modalities=MODALITIES["rgb"],
        classes=chosen_classes(name, settings.classes),
        size_hw=settings.size_hw,  # type: ignore[arg-type]
        config=plain(settings),
    )
    return spec, settings


SEGNEXT = System("segnext", SegNeXtConfig, _MODELS, _resolve)
