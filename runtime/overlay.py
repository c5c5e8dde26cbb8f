"""Draw a mask, the thermal picture and a status line over a colour frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from differseg.errors import InputError
from differseg.manifest import ClassSpec, ThermalPolicy, background_of
from differseg.runtime.preprocess import resize
from differseg.runtime.thermal import ThermalMapper

Bgr = tuple[int, int, int]

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_WHITE: Bgr = (255, 255, 255)
_AMBER: Bgr = (60, 190, 255)
_DARK: Bgr = (24, 24, 24)

_LEAST_TEXT_PX = 120
"""Frames lower than this carry no text: it would cover the picture."""

_LEAST_NAMED = 0.0005
"""Smallest part of the mask of a class that the legend names; names of specks would flicker."""

_LEAST_LUMA = 110
"""Least brightness of an outline, 0..255: palettes of road scenes hold colours as dark as 64."""

_LEGEND_PART = 0.6
"""Largest part of the frame's height that the legend takes."""


@dataclass(frozen=True)
class StatusLine:
    """What stands under the picture; a field that is None is left out."""

    fps: float | None = None
    """Masks per second."""
    latency_ms: float | None = None
    """From the capture of the frame to its mask."""
    skew_ms: float | None = None
    """Thermal capture time minus RGB capture time; None without a pair."""
    dropped: int | None = None
    """Frames that were dropped so far."""
    mode: str | None = None
    """A degraded mode such as ``rgb only``; drawn as a warning."""

    def parts(self) -> list[tuple[str, bool]]:
        """Return the pieces of text, and whether each is a warning."""
        parts: list[tuple[str, bool]] = []
        if self.mode:
            parts.append((self.mode.upper(), True))
        if self.fps is not None:
            parts.append((f"{self.fps:.1f} fps", False))
        if self.latency_ms is not None:
            parts.append((f"{self.latency_ms:.0f} ms", False))
        if self.skew_ms is not None:
            parts.append((f"skew {round(self.skew_ms):+d} ms", False))
        if self.dropped is not None:
            parts.append((f"dropped {self.dropped}", False))
        return parts


class OverlayPainter:
    """Paint overlays of one stream; its buffers are kept between frames.

    With more than two classes a legend in the upper left names those that the mask shows.

    Args:
        classes: Classes of the mask's ids, with colours; the background is not painted.
        opacity: Of the class colour over the frame, 0..1.
        inset: Width of the thermal picture as a part of the frame's width, 0..0.5.
    """

    def __init__(
        self, classes: Sequence[ClassSpec], *, opacity: float = 0.45, inset: float = 0.28
    ) -> None:
        if not 0 <= opacity <= 1:
            raise InputError(f"opacity: expected 0..1, got {opacity}")
        if not 0 < inset <= 0.5:
            raise InputError(f"inset: expected a value in 0..0.5, got {inset}")
        background = background_of(classes)
        self._classes = [spec for spec in classes if spec is not background]
        self._colors = np.zeros((256, 1, 3), np.uint8)
        self._outlines = np.zeros((256, 1, 3), np.uint8)
        self._is_painted = np.zeros((256, 1), np.uint8)
        for spec in self._classes:
            self._colors[spec.id] = _bgr(spec.color_rgb)
            self._outlines[spec.id] = _outline_bgr(spec.color_rgb)
            self._is_painted[spec.id] = 255
        self._names_classes = len(classes) > 2
        self._histogram = np.empty((256, 1), np.float32)
        self._opacity = opacity
        self._inset = inset
        self._mapper = ThermalMapper(ThermalPolicy())
        self._size_hw: tuple[int, ...] = (0, 0)

    def draw(
        self,
        frame_bgr: npt.NDArray[np.uint8],
        mask: npt.NDArray[np.uint8] | None,
        *,
        thermal: npt.NDArray[Any] | None = None,
        status: StatusLine | None = None,
        timestamp_s: float | None = None,
        out: npt.NDArray[np.uint8] | None = None,
    ) -> npt.NDArray[np.uint8]:
        """Paint one frame.

        Args:
            frame_bgr: (H, W, 3) uint8 BGR.
            mask: (H, W) uint8 class ids; None paints no class.
            thermal: (Ht, Wt) uint8, uint16, or float32 in 0..1; shown small in the upper right.
            status: Text at the bottom; left out on frames under 120 lines.
            timestamp_s: Capture time in seconds; steadies the inset's brightness in a video.
            out: (H, W, 3) uint8 to paint on; ``frame_bgr`` itself paints in place, None makes
                a new array.

        Raises:
            InputError: Frame and mask differ in size, or a shape or dtype is wrong.
        """
        _check(frame_bgr, mask)
        if out is None:
            out = frame_bgr.copy()
        elif out is not frame_bgr:
            np.copyto(out, frame_bgr)
        if mask is not None:
            self._allocate(mask.shape)
            self._paint_classes(out, mask)
        if thermal is not None:
            self._paint_inset(out, thermal, timestamp_s)
        if mask is not None and self._names_classes and out.shape[0] >= _LEAST_TEXT_PX:
            _paint_legend(out, self._shown(mask))
        if status is not None and out.shape[0] >= _LEAST_TEXT_PX:
            _paint_status(out, status.parts())
        return out

    def colored(self, mask: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Return a mask in the classes' colours: (H, W, 3) uint8 BGR, black where not painted."""
        return np.asarray(cv2.applyColorMap(mask, self._colors), dtype=np.uint8)

    def _allocate(self, size_hw: tuple[int, ...]) -> None:
        if size_hw != self._size_hw:
            self._size_hw = size_hw
            self._selected = np.empty(size_hw, np.uint8)
            self._edge = np.empty(size_hw, np.uint8)
            self._highest = np.empty(size_hw, np.uint8)
            self._solid = np.empty((*size_hw, 3), np.uint8)
            self._blend = np.empty((*size_hw, 3), np.uint8)

    def _paint_classes(self, out: npt.NDArray[np.uint8], mask: npt.NDArray[np.uint8]) -> None:
        """Tint every class and draw its outline inside its edge."""
        cv2.LUT(mask, self._is_painted, dst=self._selected)
        if not cv2.countNonZero(self._selected):
            return
        cv2.applyColorMap(mask, self._colors, dst=self._solid)
        cv2.addWeighted(self._solid, self._opacity, out, 1 - self._opacity, 0, dst=self._blend)
        cv2.copyTo(self._blend, self._selected, dst=out)
        width_px = 1 + out.shape[0] // 400
        kernel = np.ones((2 * width_px + 1, 2 * width_px + 1), np.uint8)
        # Where the ids around a pixel differ.  A morphological edge costs the same for a ragged
        # mask, which traced contours do not.
        cv2.erode(mask, kernel, dst=self._edge)
        cv2.dilate(mask, kernel, dst=self._highest)
        cv2.compare(self._edge, self._highest, cv2.CMP_NE, dst=self._edge)
        cv2.bitwise_and(self._edge, self._selected, dst=self._edge)
        cv2.applyColorMap(mask, self._outlines, dst=self._solid)
        cv2.copyTo(self._solid, self._edge, dst=out)

    def _shown(self, mask: npt.NDArray[np.uint8]) -> list[ClassSpec]:
        """Return the painted classes that the mask shows, without specks, largest first."""
        cv2.calcHist([mask], [0], None, [256], [0, 256], hist=self._histogram)
        part = self._histogram[:, 0] / mask.size
        shown = [spec for spec in self._classes if part[spec.id] >= _LEAST_NAMED]
        return sorted(shown, key=lambda spec: -part[spec.id])

    def _paint_inset(
        self,
        out: npt.NDArray[np.uint8],
        thermal: npt.NDArray[Any],
        timestamp_s: float | None,
    ) -> None:
        """Show the thermal frame, colour-mapped, in the upper right corner."""
        height, width = out.shape[:2]
        aspect = thermal.shape[0] / thermal.shape[1]
        inset_w = min(int(width * self._inset), int(0.6 * height / aspect))
        inset_h = max(1, round(inset_w * aspect))
        margin = max(2, height // 60)
        small = resize(thermal, (inset_h, max(1, inset_w)))
        if small.dtype != np.float32:
            small = self._mapper.map(small, timestamp_s)
        picture = cv2.applyColorMap(cv2.convertScaleAbs(small, alpha=255.0), cv2.COLORMAP_INFERNO)
        top, left = margin, width - margin - picture.shape[1]
        out[top : top + inset_h, left : left + picture.shape[1]] = picture
        corner = (left - 1, top - 1), (left + picture.shape[1], top + inset_h)
        cv2.rectangle(out, *corner, _WHITE, 1)
        if height >= _LEAST_TEXT_PX:
            scale, thick = _font(height)
            origin_xy = left + margin // 2, top + inset_h - margin // 2
            _text(out, "thermal", origin_xy, scale, thick)


def _check(frame_bgr: npt.NDArray[np.uint8], mask: npt.NDArray[np.uint8] | None) -> None:
    if frame_bgr.ndim != 3 or frame_bgr.shape[2] != 3 or frame_bgr.dtype != np.uint8:
        raise InputError(
            f"overlay: expected a frame (H, W, 3) uint8, got {frame_bgr.shape} {frame_bgr.dtype}"
        )
    if mask is not None and (mask.shape != frame_bgr.shape[:2] or mask.dtype != np.uint8):
        raise InputError(
            f"overlay: expected a mask {frame_bgr.shape[:2]} uint8, got {mask.shape} {mask.dtype}"
        )


def _bgr(color_rgb: tuple[int, int, int]) -> Bgr:
    return color_rgb[2], color_rgb[1], color_rgb[0]


def _outline_bgr(color_rgb: tuple[int, int, int]) -> Bgr:
    """Return the colour of a class's outline: dark ones mixed with white, to be seen at night."""
    red, green, blue = color_rgb
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    white = max(0.0, (_LEAST_LUMA - luma) / (255 - luma))
    mixed = [round(part + white * (255 - part)) for part in color_rgb]
    return mixed[2], mixed[1], mixed[0]


def _font(height: int) -> tuple[float, int]:
    """Return font scale and stroke for a frame height: legible from 240 to 1080 lines."""
    scale = min(max(height / 900, 0.36), 1.2)
    return scale, max(1, round(scale * 1.6))


def _text(
    out: npt.NDArray[np.uint8],
    text: str,
    origin_xy: tuple[int, int],
    scale: float,
    thick: int,
    color: Bgr = _WHITE,
) -> None:
    """Write with a dark shadow, so that it can be read on any background."""
    shadow_xy = (origin_xy[0] + thick, origin_xy[1] + thick)
    cv2.putText(out, text, shadow_xy, _FONT, scale, _DARK, thick, cv2.LINE_AA)
    cv2.putText(out, text, origin_xy, _FONT, scale, color, thick, cv2.LINE_AA)


def _paint_legend(out: npt.NDArray[np.uint8], shown: list[ClassSpec]) -> None:
    """Name classes in the upper left, on a darkened box: those that fit, in order of their ids."""
    height, width = out.shape[:2]
    scale, thick = (0.85 * _font(height)[0], _font(height)[1])
    step = round(34 * scale)
    fit = max(1, int(_LEGEND_PART * height) // step)
    rows = sorted(shown[:fit], key=lambda spec: spec.id)
    if not rows:
        return
    swatch = round(18 * scale)
    widths = [cv2.getTextSize(spec.name, _FONT, scale, thick)[0][0] for spec in rows]
    box_w = min(max(widths) + 3 * swatch, round(0.45 * width))
    margin = max(2, height // 60)
    box = out[margin : margin + step * len(rows) + step // 3, margin : margin + box_w]
    cv2.convertScaleAbs(box, dst=box, alpha=0.4)
    for row, spec in enumerate(rows):
        y = step * row + step // 3
        corners = (swatch // 2, y), (swatch // 2 + swatch, y + swatch)
        cv2.rectangle(box, *corners, _bgr(spec.color_rgb), cv2.FILLED)
        cv2.rectangle(box, *corners, _outline_bgr(spec.color_rgb), max(1, thick - 1))
        _text(box, spec.name, (2 * swatch, y + swatch - swatch // 6), scale, thick)


def _paint_status(out: npt.NDArray[np.uint8], parts: list[tuple[str, bool]]) -> None:
    """Write the parts at the bottom on a darkened band, in as many lines as they need."""
    if not parts:
        return
    height, width = out.shape[:2]
    scale, thick = _font(height)
    gap = round(30 * scale)
    widths = [cv2.getTextSize(text, _FONT, scale, thick)[0][0] for text, _ in parts]
    lines: list[list[int]] = [[]]
    used = gap
    for index, text_w in enumerate(widths):
        if lines[-1] and used + text_w + gap // 2 > width:
            lines.append([])
            used = gap
        lines[-1].append(index)
        used += text_w + gap
    step = round(34 * scale)
    band = out[max(0, height - step * len(lines) - step // 3) :]
    cv2.convertScaleAbs(band, dst=band, alpha=0.4)
    y = height - step * (len(lines) - 1) - step * 2 // 5
    for line in lines:
        x = gap // 2
        for index in line:
            text, warns = parts[index]
            _text(out, text, (x, y), scale, thick, _AMBER if warns else _WHITE)
            x += widths[index] + gap
        y += step
