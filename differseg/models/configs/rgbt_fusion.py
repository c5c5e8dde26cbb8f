"""Settings and named configurations of frequency-guided RGB-thermal fusion."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal, get_args

from differseg.models.configs.class_sets import CLASS_SETS, Classes, chosen_classes, plain_classes
from differseg.models.spec import MODALITIES, ModalitySpec, ModelSpec
from differseg.models.system import LARGEST_PX, ModelInfo, System, check_choice, integers, plain

Backbone = Literal["edge", "nano", "tiny", "base"]
Dataset = Literal["mfnet", "pst900"]
Decoder = Literal["panet", "fpn"]


@dataclass(frozen=True)
class RgbtFusionConfig:
    """What ``create_model`` accepts; values left at None follow from the others."""

    backbone: Backbone = "nano"
    """Both image trunks; ``edge`` is ours, the others are ConvNeXt V2 and need timm."""
    dataset: Dataset = "mfnet"
    """Whose thermal normalisation, size and classes: mfnet (9 classes) or pst900 (5 classes)."""
    classes: Classes = None
    """The dataset's; or binary, another data set's name, or the names of the classes."""
    semantic_fusion: bool = True
    """Fuse the two coarse levels by channel meaning; false: by frequency, like the fine ones."""
    decoder: Decoder = "panet"
    """Bidirectional (panet), or top-down alone (fpn), which no published result uses."""
    deep_supervision: bool | None = None
    """Give each decoder level a side output in training; by default with panet, never with fpn."""
    size_hw: tuple[int, int] | None = None
    """Height and width that the configuration is made for, in pixels."""


@dataclass(frozen=True)
class _DatasetDefaults:
    thermal: ModalitySpec
    size_hw: tuple[int, int]


_DATASETS: dict[Dataset, _DatasetDefaults] = {
    "mfnet": _DatasetDefaults(ModalitySpec("thermal", 1, (0.3616,), (0.0765,)), (480, 640)),
    "pst900": _DatasetDefaults(ModalitySpec("thermal", 1, (0.2266,), (0.2804,)), (720, 1280)),
}


def _entry(
    name: str, summary: str, backbone: Backbone, dataset: Dataset, params: int, gmacs: float
) -> ModelInfo:
    return ModelInfo(
        name=name,
        system="rgbt_fusion",
        task="rgbt",
        summary=summary,
        inputs=("rgb", "thermal"),
        size_hw=_DATASETS[dataset].size_hw,
        params=params,
        gmacs=gmacs,
        config={"backbone": backbone, "dataset": dataset},
    )


def _authors(backbone: Backbone, dataset: Dataset, params: int, gmacs: float) -> ModelInfo:
    summary = f"the authors' {backbone} network, {len(CLASS_SETS[dataset])} classes"
    return _entry(f"rgbt-fusion-{backbone}-{dataset}", summary, backbone, dataset, params, gmacs)


_MODELS = (
    _entry(
        "rgbt-fusion-edge",
        "RGB and thermal classes on edge devices",
        "edge",
        "mfnet",
        1_630_604,
        2.58,
    ),
    _authors("nano", "mfnet", 35_517_284, 51.26),
    _authors("tiny", "mfnet", 63_712_804, 85.25),
    _authors("base", "mfnet", 189_539_556, 242.58),
    _authors("nano", "pst900", 35_515_500, 153.40),
    _authors("tiny", "pst900", 63_710_668, 255.03),
    _authors("base", "pst900", 189_536_716, 726.49),
)


def _resolve(name: str, settings: RgbtFusionConfig) -> tuple[ModelSpec, RgbtFusionConfig]:
    """Check a configuration, fill in what follows from it, and describe the network."""
    check_choice(name, "backbone", settings.backbone, get_args(Backbone))
    check_choice(name, "dataset", settings.dataset, get_args(Dataset))
    check_choice(name, "decoder", settings.decoder, get_args(Decoder))
    check_choice(name, "semantic_fusion", settings.semantic_fusion, (True, False))
    deep_choices = (True, False) if settings.decoder == "panet" else (False,)
    deep = deep_choices[0] if settings.deep_supervision is None else settings.deep_supervision
    check_choice(name, "deep_supervision", deep, deep_choices)
    defaults = _DATASETS[settings.dataset]
    # The authors' networks take any size from 32 x 32; ours halves its maps evenly.
    multiple = 32 if settings.backbone == "edge" else 1
    fitting = tuple(side // multiple * multiple for side in defaults.size_hw)
    size_hw = settings.size_hw or fitting
    classes = settings.dataset if settings.classes is None else settings.classes
    settings = dataclasses.replace(
        settings,
        classes=plain_classes(classes),
        deep_supervision=deep,
        size_hw=integers(name, "size_hw", size_hw, 2, multiple=multiple, most=LARGEST_PX),
    )
    spec = ModelSpec(
        name=name,
        system="rgbt_fusion",
        task="rgbt",
        modalities=(MODALITIES["rgb"][0], defaults.thermal),
        classes=chosen_classes(name, settings.classes),
        size_hw=settings.size_hw,  # type: ignore[arg-type]
        multiple=multiple,
        config=plain(settings),
    )
    return spec, settings


RGBT_FUSION = System("rgbt_fusion", RgbtFusionConfig, _MODELS, _resolve)
