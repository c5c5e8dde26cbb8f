"""What is shown of one moment, as JPEG and PNG."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import cv2
import numpy as np
import numpy.typing as npt

from differseg.manifest import ClassSpec, ThermalPolicy
from differseg.runtime.overlay import OverlayPainter, StatusLine
from differseg.runtime.sinks import FrameResult
from differseg.runtime.thermal import ThermalMapper

Layer = Literal["rgb", "thermal", "mask", "overlay"]
LAYERS: tuple[Layer, ...] = get_args(Layer)

MEDIA_TYPES: dict[Layer, str] = {
    "rgb": "image/jpeg",
    "thermal": "image/jpeg",
    "mask": "image/png",
    "overlay": "image/jpeg",
}

_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 80]
_PNG = [cv2.IMWRITE_PNG_COMPRESSION, 1]


@dataclass(frozen=True, slots=True)
class Moment:
    """One result and the images that belong to it; they do not change afterwards.

    Attributes:
        result: Its own arrays are not looked at.
        rgb: (H, W, 3) uint8 BGR.
        thermal: (H, W) uint8 or uint16, in the RGB view; None without one.
        mask: (H, W) uint8 class ids; None without one.
        fps: Results per second, for the status line.
    """

    result: FrameResult
    rgb: npt.NDArray[np.uint8]
    thermal: npt.NDArray[Any] | None = None
    mask: npt.NDArray[np.uint8] | None = None
    fps: float | None = None


class PictureMaker:
    """Makes the layers of moments; belongs to one thread.

    Args:
        classes: Of the mask's ids.
        max_side_px: Longer side of the pictures; larger frames are made smaller.
    """

    def __init__(self, classes: Sequence[ClassSpec], max_side_px: int = 960) -> None:
        self._max_side_px = max_side_px
        self._painter = OverlayPainter(classes)
        self._mapper = ThermalMapper(ThermalPolicy())

    def make(self, moment: Moment, layer: Layer) -> bytes | None:
        """Return one layer as a file's content; None where the moment has no such image.

        ``rgb`` and ``overlay`` are colour JPEG, ``thermal`` grey JPEG with its range stretched,
        ``mask`` grey PNG whose values are the class ids.
        """
        if layer == "rgb":
            return _encoded(".jpg", self._smaller(moment.rgb), _JPEG)
        if layer == "thermal":
            return None if moment.thermal is None else self._thermal(moment)
        if layer == "mask":
            return None if moment.mask is None else _encoded(".png", self._mask(moment.mask), _PNG)
        return _encoded(".jpg", self._overlay(moment), _JPEG)

    def _thermal(self, moment: Moment) -> bytes:
        assert moment.thermal is not None
        # Smaller first: percentiles of fewer pixels are as good to look at.
        small = self._smaller(moment.thermal)
        mapped = self._mapper.map(small, moment.result.rgb_time_s)
        return _encoded(".jpg", cv2.convertScaleAbs(mapped, alpha=255.0), _JPEG)

    def _overlay(self, moment: Moment) -> npt.NDArray[Any]:
        result = moment.result
        mode = None if result.status == "ok" else result.status.replace("_", " ")
        return self._painter.draw(
            self._smaller(moment.rgb),
            None if moment.mask is None else self._mask(moment.mask),
            thermal=moment.thermal,
            status=StatusLine(moment.fps, result.age_ms, result.skew_ms, mode=mode),
            timestamp_s=result.rgb_time_s,
            out=None,
        )

    def _mask(self, mask: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        return self._smaller(mask, cv2.INTER_NEAREST)

    def _smaller(self, image: npt.NDArray[Any], how: int = cv2.INTER_AREA) -> npt.NDArray[Any]:
        height, width = image.shape[:2]
        part = self._max_side_px / max(height, width)
        if part >= 1:
            return image
        size_wh = max(1, round(width * part)), max(1, round(height * part))
        return np.asarray(cv2.resize(image, size_wh, interpolation=how))


def snapshot(moment: Moment, classes: Sequence[ClassSpec], state: dict[str, Any]) -> bytes:
    """Return a ZIP file of one moment in full size.

    ``rgb.png``, ``thermal.png`` (16 bit stays 16 bit), ``mask.png`` (class ids), ``overlay.png``
    and ``result.json``; images that the moment has not are left out.

    Args:
        moment: What to save.
        classes: Of the mask's ids.
        state: What else is known of that moment; stored beside the result.
    """
    overlay = OverlayPainter(classes).draw(moment.rgb, moment.mask)
    images = {
        "rgb": moment.rgb,
        "thermal": moment.thermal,
        "mask": moment.mask,
        "overlay": overlay,
    }
    document = {"result": moment.result.document(), **state}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, image in images.items():
            if image is not None:
                archive.writestr(f"{name}.png", _encoded(".png", image, _PNG))
        archive.writestr("result.json", json.dumps(document, indent=2) + "\n")
    return buffer.getvalue()


def _encoded(kind: str, image: npt.NDArray[Any], options: list[int]) -> bytes:
    return bytes(cv2.imencode(kind, image, options)[1].data)
