"""DifferSeg's settings and named configurations."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal, get_args

from differseg.models.spec import BINARY_CLASSES, MODALITIES, ModelSpec, Task
from differseg.models.system import (
    LARGEST_PX,
    WIDEST,
    ModelInfo,
    System,
    check_choice,
    integers,
    plain,
)

Backbone = Literal["edge", "hiera_t", "hiera_s", "hiera_b_plus", "hiera_l"]
Adapter = Literal["linear", "fft"]


@dataclass(frozen=True)
class DifferSegConfig:
    """What ``create_model`` accepts; values left at None follow from task and backbone."""

    task: Task = "rgbt"
    """Modalities: rgb, rgbd (depth), rgbt (thermal) or video (optical flow)."""
    backbone: Backbone = "hiera_l"
    """Image trunk; ``edge`` is ours, the others are SAM 2's and need timm."""
    adapter: Adapter | None = None
    """Adapter in front of every Hiera block; the authors use fft for rgbt, linear otherwise."""
    widths: tuple[int, int, int, int] | None = None
    """Decoder widths at strides 4, 8, 16 and 32; multiples of 8."""
    size_hw: tuple[int, int] | None = None
    """Height and width that the configuration is made for, in pixels."""


def _entry(
    name: str, summary: str, backbone: Backbone, task: Task, params: int, gmacs: float
) -> ModelInfo:
    return ModelInfo(
        name=name,
        system="differseg",
        task=task,
        summary=summary,
        inputs=tuple(modality.name for modality in MODALITIES[task]),
        size_hw=_DEFAULTS[backbone].size_hw,
        params=params,
        gmacs=gmacs,
        config={"task": task, "backbone": backbone},
    )


@dataclass(frozen=True)
class _BackboneDefaults:
    widths: tuple[int, int, int, int]
    size_hw: tuple[int, int]


_AUTHORS_WIDTHS = (64, 128, 256, 512)
_DEFAULTS: dict[Backbone, _BackboneDefaults] = {
    "edge": _BackboneDefaults((16, 24, 40, 56), (480, 640)),
    "hiera_t": _BackboneDefaults((32, 64, 128, 256), (448, 448)),
    "hiera_s": _BackboneDefaults(_AUTHORS_WIDTHS, (448, 448)),
    "hiera_b_plus": _BackboneDefaults(_AUTHORS_WIDTHS, (448, 448)),
    "hiera_l": _BackboneDefaults(_AUTHORS_WIDTHS, (512, 512)),
}

_TRUNKS: dict[Backbone, tuple[str, str]] = {
    "hiera_l": ("", "the authors' {} network"),
    "hiera_b_plus": ("-base-plus", "the authors' {} network with SAM 2's base plus trunk"),
    "hiera_s": ("-small", "the authors' {} network with SAM 2's small trunk"),
    "hiera_t": ("-tiny", "the authors' {} network with SAM 2's tiny trunk, decoder half as wide"),
}
"""What each trunk adds to a name, and the summary; the authors publish the large one alone."""

_TASKS: dict[Task, str] = {"rgb": "RGB", "rgbd": "RGB-D", "rgbt": "RGB-T", "video": "video"}


def _authors(task: Task, backbone: Backbone, params: int, gmacs: float) -> ModelInfo:
    suffix, summary = _TRUNKS[backbone]
    name, summary = f"differseg-{task}{suffix}", summary.format(_TASKS[task])
    return _entry(name, summary, backbone, task, params, gmacs)


_MODELS = (
    _entry("differseg-edge", "RGB and thermal on edge devices", "edge", "rgbt", 1_594_211, 3.48),
    _entry("differseg-rgb-edge", "RGB alone on edge devices", "edge", "rgb", 1_173_735, 1.86),
    _entry("differseg-rgbd-edge", "RGB and depth on edge devices", "edge", "rgbd", 1_594_211, 3.48),
    _entry(
        "differseg-video-edge", "RGB and flow on edge devices", "edge", "video", 1_594_499, 3.51
    ),
    _authors("rgb", "hiera_l", 277_241_716, 270.61),
    _authors("rgbd", "hiera_l", 303_372_072, 536.81),
    _authors("rgbt", "hiera_l", 305_932_872, 543.78),
    _authors("video", "hiera_l", 303_372_072, 536.81),
    _authors("rgb", "hiera_b_plus", 131_832_004, 92.38),
    _authors("rgbd", "hiera_b_plus", 157_962_360, 181.37),
    _authors("rgbt", "hiera_b_plus", 158_931_584, 183.73),
    _authors("video", "hiera_b_plus", 157_962_360, 181.37),
    _authors("rgb", "hiera_s", 96_382_164, 66.67),
    _authors("rgbd", "hiera_s", 122_512_520, 129.96),
    _authors("rgbt", "hiera_s", 123_054_168, 131.32),
    _authors("video", "hiera_s", 122_512_520, 129.96),
    _authors("rgb", "hiera_t", 43_371_844, 31.47),
    _authors("rgbd", "hiera_t", 49_909_080, 61.95),
    _authors("rgbt", "hiera_t", 50_301_348, 63.08),
    _authors("video", "hiera_t", 49_909_080, 61.95),
)


def _resolve(name: str, settings: DifferSegConfig) -> tuple[ModelSpec, DifferSegConfig]:
    """Check a configuration, fill in what follows from it, and describe the network."""
    check_choice(name, "task", settings.task, get_args(Task))
    check_choice(name, "backbone", settings.backbone, get_args(Backbone))
    defaults = _DEFAULTS[settings.backbone]
    if settings.backbone == "edge":
        check_choice(name, "adapter", settings.adapter, (None,))
        adapter = None
    else:
        adapter = settings.adapter or ("fft" if settings.task == "rgbt" else "linear")
        check_choice(name, "adapter", adapter, get_args(Adapter))
    settings = dataclasses.replace(
        settings,
        adapter=adapter,
        widths=integers(
            name, "widths", settings.widths or defaults.widths, 4, multiple=8, most=WIDEST
        ),
        size_hw=integers(
            name, "size_hw", settings.size_hw or defaults.size_hw, 2, multiple=32, most=LARGEST_PX
        ),
    )
    spec = ModelSpec(
        name=name,
        system="differseg",
        task=settings.task,
        modalities=MODALITIES[settings.task],
        classes=BINARY_CLASSES,
        size_hw=settings.size_hw,  # type: ignore[arg-type]
        config=plain(settings),
    )
    return spec, settings


DIFFERSEG = System("differseg", DifferSegConfig, _MODELS, _resolve)
