"""Draw a mask, the thermal picture and a status line over a colour frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from differseg.errors import InputError
from differseg.manifest import ClassSpec, ThermalPolicy
from differseg.runtime.preprocess import resize
from differseg.runtime.thermal import ThermalMapper

Bgr = tuple[int, int, int]

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_WHITE: Bgr = (255, 255, 255)
_AMBER: Bgr = (60, 190, 255)
_DARK: Bgr = (24, 24, 24)

_LEAST_TEXT_PX = 120
"""Frames lower than this carry no text: it would cover the picture."""


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
            parts.append((f"skew {self.skew_ms:+.0f} ms", False))
        if self.dropped is not None:
            parts.append((f"dropped {self.dropped}", False))
        return parts


class OverlayPainter:
    """Paint overlays of one stream; its buffers are kept between frames.

    Args:
        classes: Classes of the mask's ids, with colours; the first is the background.
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
        self._classes = [(spec.id, _bgr(spec.color_rgb)) for spec in classes[1:]]
        self._opacity = opacity
        self._inset = inset
        self._mapper = ThermalMapper(ThermalPolicy())
        self._size_hw = (0, 0)

    def draw(
        self,
        frame_bgr: npt.NDArray[np.uint8],
        mask: npt.NDArray[np.uint8],
        *,
        thermal: npt.NDArray[Any] | None = None,
        status: StatusLine | None = None,
        timestamp_s: float | None = None,
        out: npt.NDArray[np.uint8] | None = None,
    ) -> npt.NDArray[np.uint8]:
        """Paint one frame.

        Args:
            frame_bgr: (H, W, 3) uint8 BGR.
            mask: (H, W) uint8 class ids.
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
        self._allocate(frame_bgr.shape[:2])
        for class_id, color in self._classes:
            self._paint_class(out, mask, class_id, color)
        if thermal is not None:
            self._paint_inset(out, thermal, timestamp_s)
        if status is not None and out.shape[0] >= _LEAST_TEXT_PX:
            _paint_status(out, status.parts())
        return out

    def _allocate(self, size_hw: tuple[int, int]) -> None:
        if size_hw != self._size_hw:
            self._size_hw = size_hw
            self._selected = np.empty(size_hw, np.uint8)
            self._edge = np.empty(size_hw, np.uint8)
            self._solid = np.empty((*size_hw, 3), np.uint8)
            self._blend = np.empty((*size_hw, 3), np.uint8)

    def _paint_class(
        self,
        out: npt.NDArray[np.uint8],
        ids: npt.NDArray[np.uint8],
        class_id: int,
        color: Bgr,
    ) -> None:
        """Tint the class and draw its outline, full colour, inside its edge."""
        cv2.inRange(ids, class_id, class_id, dst=self._selected)
        if not cv2.countNonZero(self._selected):
            return
        self._solid[:] = color
        cv2.addWeighted(self._solid, self._opacity, out, 1 - self._opacity, 0, dst=self._blend)
        cv2.copyTo(self._blend, self._selected, dst=out)
        width_px = 1 + out.shape[0] // 400
        kernel = np.ones((2 * width_px + 1, 2 * width_px + 1), np.uint8)
        # A morphological edge costs the same for a ragged mask, which traced contours do not.
        cv2.erode(self._selected, kernel, dst=self._edge)
        cv2.subtract(self._selected, self._edge, dst=self._edge)
        cv2.copyTo(self._solid, self._edge, dst=out)

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


def _check(frame_bgr: npt.NDArray[np.uint8], mask: npt.NDArray[np.uint8]) -> None:
    if frame_bgr.ndim != 3 or frame_bgr.shape[2] != 3 or frame_bgr.dtype != np.uint8:
        raise InputError(
            f"overlay: expected a frame (H, W, 3) uint8, got {frame_bgr.shape} {frame_bgr.dtype}"
        )
    if mask.shape != frame_bgr.shape[:2] or mask.dtype != np.uint8:
        raise InputError(
            f"overlay: expected a mask {frame_bgr.shape[:2]} uint8, got {mask.shape} {mask.dtype}"
        )


def _bgr(color_rgb: tuple[int, int, int]) -> Bgr:
    return color_rgb[2], color_rgb[1], color_rgb[0]


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
