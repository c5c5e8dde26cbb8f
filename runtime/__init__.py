"""What runs on the device: numpy, OpenCV and one inference engine; never torch.

``Segmenter(model_file)(rgb=..., thermal=...)`` is the whole of it for single frames;
``run_images`` works through folders and ``run_camera`` through two live cameras.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from differseg.extras import naming_the_extra

if TYPE_CHECKING:
    from differseg.runtime.registration import Registration as Registration
    from differseg.runtime.segmenter import Result as Result
    from differseg.runtime.segmenter import Segmenter as Segmenter
    from differseg.runtime.thermal import ThermalMapper as ThermalMapper
    from differseg.runtime.tiled_segmenter import TiledSegmenter as TiledSegmenter

_HOMES = {
    "Registration": "registration",
    "Result": "segmenter",
    "Segmenter": "segmenter",
    "ThermalMapper": "thermal",
    "TiledSegmenter": "tiled_segmenter",
}

__all__ = ["Registration", "Result", "Segmenter", "ThermalMapper", "TiledSegmenter"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        with naming_the_extra(f"{__name__}.{name}"):
            return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
