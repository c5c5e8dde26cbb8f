"""Named configurations as data, and the two functions that list and build them.

Parameters and multiply-adds are recorded here, so that listing needs no torch; a test builds
every configuration and compares.
"""

from __future__ import annotations

import dataclasses
import difflib
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from differseg.errors import InputError
from differseg.models.spec import BINARY_CLASSES, MODALITIES, ModelSpec, Task

if TYPE_CHECKING:
    from differseg.models.base import SegmentationModel

Backbone = Literal["edge", "hiera_t", "hiera_s", "hiera_b_plus", "hiera_l"]
Adapter = Literal["linear", "fft"]

LARGEST_PX = 8192
"""Longest side of an input."""


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


@dataclass(frozen=True)
class ModelInfo:
    """One named configuration; ``params`` and ``gmacs`` are at ``size_hw``, batch 1."""

    name: str
    system: str
    task: Task
    summary: str
    inputs: tuple[str, ...]
    size_hw: tuple[int, int]
    params: int
    gmacs: float
    config: dict[str, Any] = field(default_factory=dict)

    @property
    def shipped_weights(self) -> Path | None:
        """Path of the weights in the package, or None."""
        return shipped_weights(self.name)


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
_WIDEST = 1024  # a checkpoint's settings must not ask for terabytes
_DEFAULTS: dict[Backbone, _BackboneDefaults] = {
    "edge": _BackboneDefaults((16, 24, 40, 56), (480, 640)),
    "hiera_t": _BackboneDefaults((32, 64, 128, 256), (448, 448)),
    "hiera_s": _BackboneDefaults(_AUTHORS_WIDTHS, (448, 448)),
    "hiera_b_plus": _BackboneDefaults(_AUTHORS_WIDTHS, (448, 448)),
    "hiera_l": _BackboneDefaults(_AUTHORS_WIDTHS, (512, 512)),
}

_MODELS: dict[str, ModelInfo] = {
    info.name: info
    for info in (
        _entry(
            "differseg-edge", "RGB and thermal on edge devices", "edge", "rgbt", 1_594_211, 3.48
        ),
        _entry("differseg-rgb-edge", "RGB alone on edge devices", "edge", "rgb", 1_173_735, 1.86),
        _entry(
            "differseg-rgbd-edge", "RGB and depth on edge devices", "edge", "rgbd", 1_594_211, 3.48
        ),
        _entry(
            "differseg-video-edge", "RGB and flow on edge devices", "edge", "video", 1_594_499, 3.51
        ),
        _entry("differseg-rgb", "the authors' RGB network", "hiera_l", "rgb", 277_241_716, 270.6),
        _entry(
            "differseg-rgbd", "the authors' RGB-D network", "hiera_l", "rgbd", 303_372_072, 536.8
        ),
        _entry(
            "differseg-rgbt", "the authors' RGB-T network", "hiera_l", "rgbt", 305_932_872, 543.8
        ),
        _entry(
            "differseg-video", "the authors' video network", "hiera_l", "video", 303_372_072, 536.8
        ),
    )
}


def list_models() -> list[ModelInfo]:
    """Return every named configuration, the edge ones first."""
    return list(_MODELS.values())


def shipped_weights(name: str) -> Path | None:
    """Return the path of the weights that the package ships for a configuration, or None."""
    path = Path(str(resources.files("differseg"))) / "weights" / f"{name}.safetensors"
    return path if path.is_file() else None


def create_model(name: str, /, **config: Any) -> SegmentationModel:
    """Build a network with fresh weights.

    Args:
        name: A named configuration of :func:`list_models`, or the system ``differseg``.
        **config: Fields of :class:`DifferSegConfig` that differ from the named configuration.

    Returns:
        A network in training mode with ``spec``.

    Raises:
        InputError: Unknown name, unknown key (nearest match named) or a value out of range.
        MissingComponentError: The backbone needs a package that is not installed.
    """
    if name != "differseg" and name not in _MODELS:
        near = difflib.get_close_matches(name, ["differseg", *_MODELS], n=1)
        hint = f"did you mean '{near[0]}'?" if near else "'differseg models' lists them"
        raise InputError(f"create_model: there is no model '{name}'; {hint}")
    base = _MODELS[name].config if name in _MODELS else {}
    spec, settings = _resolve(name, {**base, **config})
    from differseg.models.building import build_differseg

    return build_differseg(spec, settings)


def _resolve(name: str, values: dict[str, Any]) -> tuple[ModelSpec, DifferSegConfig]:
    """Check a configuration, fill in what follows from it, and describe the network."""
    fields = [f.name for f in dataclasses.fields(DifferSegConfig)]
    for key in values:
        if key not in fields:
            near = difflib.get_close_matches(key, fields, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(fields)}"
            raise InputError(f"create_model('{name}'): there is no setting '{key}'; {hint}")
    settings = DifferSegConfig(**values)
    _check_choice(name, "task", settings.task, get_args(Task))
    _check_choice(name, "backbone", settings.backbone, get_args(Backbone))
    defaults = _DEFAULTS[settings.backbone]
    if settings.backbone == "edge":
        _check_choice(name, "adapter", settings.adapter, (None,))
        adapter = None
    else:
        adapter = settings.adapter or ("fft" if settings.task == "rgbt" else "linear")
        _check_choice(name, "adapter", adapter, get_args(Adapter))
    settings = dataclasses.replace(
        settings,
        adapter=adapter,
        widths=_integers(
            name, "widths", settings.widths or defaults.widths, 4, multiple=8, most=_WIDEST
        ),
        size_hw=_integers(
            name, "size_hw", settings.size_hw or defaults.size_hw, 2, multiple=32, most=LARGEST_PX
        ),
    )
    plain = {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in dataclasses.asdict(settings).items()
    }
    spec = ModelSpec(
        name=name,
        system="differseg",
        task=settings.task,
        modalities=MODALITIES[settings.task],
        classes=BINARY_CLASSES,
        size_hw=settings.size_hw,  # type: ignore[arg-type]
        config=plain,
    )
    return spec, settings


def _check_choice(name: str, key: str, value: Any, choices: tuple[Any, ...]) -> None:
    if value not in choices:
        shown = ", ".join(map(repr, choices))
        raise InputError(f"create_model('{name}'): {key}: expected one of {shown}; got {value!r}")


def _integers(name: str, key: str, value: Any, count: int, *, multiple: int, most: int) -> Any:
    """Return ``value`` as a tuple of ``count`` positive multiples, or say what is wrong."""
    values = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    good = all(
        isinstance(v, int) and not isinstance(v, bool) and 0 < v <= most and v % multiple == 0
        for v in values
    )
    if len(values) != count or not good:
        raise InputError(
            f"create_model('{name}'): {key}: expected {count} positive multiples of {multiple} "
            f"up to {most}, got {value!r:.80}"
        )
    return values
