"""Sprites of synthetic scenes: how they are drawn, stored in several sizes, and placed.

A sprite is a flat figure that stands on the ground.  It is drawn once from polygons, discs and
limbs in metres, and later placed by one affine map, or by that map and a homography for the
thermal camera: both views therefore show exactly the same plane figure.

Convention:
    Pixel centres are at integers.  Sprite metres: origin at the foot, x right, y up.
    A matrix maps sprite pixels to view pixels: ``view = matrix @ (x_px, y_px, 1)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Float = npt.NDArray[Any]
Byte = npt.NDArray[Any]
Matrix = npt.NDArray[Any]
Color = tuple[float, float, float]
Point = tuple[float, float]

_OVERSAMPLE = 2
_SHIFT = 4
_SMALLEST_ROUND_PX = 7


_BACK_HALF = np.linspace(np.pi / 2, 3 * np.pi / 2, 9)
_FRONT_HALF = np.linspace(-np.pi / 2, np.pi / 2, 9)
_FULL_TURN = np.linspace(0, 2 * np.pi, 33)[:-1]


def _circle(angles: Matrix) -> Matrix:
    """Return points (N, 2) on the unit circle."""
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


class Painter:
    """A canvas in metres on which parts are painted back to front.

    Each part has a colour (gamma-encoded reflectance 0..1, RGB) and a temperature (kelvin above
    the scene's ambient); ``round_`` in 0..1 shades it like a rounded body lit from above.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        extent_m: tuple[float, float, float, float],
        px_per_m: float,
    ) -> None:
        """Open a canvas; ``extent_m`` is (left, right, bottom, top) around the foot point."""
        self._rng = rng
        left, right, bottom, top = extent_m
        self.px_per_m = px_per_m
        self._ppm = px_per_m * _OVERSAMPLE
        unit = 8  # keeps three halvings exact
        self.width = -(-int(np.ceil((right - left) * px_per_m) + 2) // unit) * unit
        self.height = -(-int(np.ceil((top - bottom) * px_per_m) + 2) // unit) * unit
        self.origin_px = (1 - left * px_per_m, 1 + top * px_per_m)
        shape = (self.height * _OVERSAMPLE, self.width * _OVERSAMPLE)
        self._planes: Float = np.zeros((5, *shape), np.float32)  # RGB, heat, cover
        noise = rng.standard_normal(shape, dtype=np.float32)
        self._grain = cv2.GaussianBlur(noise, (0, 0), 1.6) * np.float32(4.0)

    def _to_px(self, points: Sequence[Point] | Matrix) -> npt.NDArray[np.float64]:
        xy = np.asarray(points, np.float64)
        # drawing pixels: oversampled grid, centres at integers
        x = (self.origin_px[0] + xy[:, 0] * self.px_per_m + 0.5) * _OVERSAMPLE - 0.5
        y = (self.origin_px[1] - xy[:, 1] * self.px_per_m + 0.5) * _OVERSAMPLE - 0.5
        return np.stack([x, y], axis=1)

    def polygon(
        self,
        points_m: Sequence[Point],
        color: Color,
        heat_k: float,
        *,
        round_: float = 0.0,
        grain: float = 0.05,
        cool_edge_k: float = 0.0,
    ) -> None:
        """Paint a filled polygon given by its corners in metres."""
        self._paint([self._to_px(points_m)], color, heat_k, round_, grain, cool_edge_k)

    def limb(
        self,
        start_m: Point,
        end_m: Point,
        radii_m: tuple[float, float],
        color: Color,
        heat_k: float,
        *,
        round_: float = 0.8,
        grain: float = 0.06,
        cool_edge_k: float = 0.0,
    ) -> None:
        """Paint a tapered capsule from ``start_m`` to ``end_m``."""
        along = np.arctan2(end_m[1] - start_m[1], end_m[0] - start_m[0])
        back = np.array(start_m) + radii_m[0] * _circle(along + _BACK_HALF)
        front = np.array(end_m) + radii_m[1] * _circle(along + _FRONT_HALF)
        ring = np.concatenate([back, front])
        self._paint([self._to_px(ring)], color, heat_k, round_, grain, cool_edge_k)

    def ellipse(
        self,
        center_m: Point,
        radii_m: Point,
        color: Color,
        heat_k: float,
        *,
        hole: float = 0.0,
        round_: float = 0.8,
        grain: float = 0.05,
        cool_edge_k: float = 0.0,
    ) -> None:
        """Paint an ellipse, or a ring when ``hole`` (share of the radius) is above 0."""
        outline = np.array(radii_m) * _circle(_FULL_TURN)
        scales = (1.0, hole) if hole > 0 else (1.0,)
        loops = [self._to_px(np.array(center_m) + scale * outline) for scale in scales]
        self._paint(loops, color, heat_k, round_, grain, cool_edge_k)

    def _paint(
        self,
        loops: list[npt.NDArray[np.float64]],
        color: Color,
        heat_k: float,
        round_: float,
        grain: float,
        cool_edge_k: float,
    ) -> None:
        every = np.concatenate(loops)
        height, width = self._grain.shape
        x0, y0 = np.maximum(np.floor(every.min(axis=0)).astype(int) - 1, 0)
        x1, y1 = np.minimum(np.ceil(every.max(axis=0)).astype(int) + 2, (width, height))
        if x1 <= x0 or y1 <= y0:
            return
        cover8 = np.zeros((y1 - y0, x1 - x0), np.uint8)
        scaled = [np.round((loop - (x0, y0)) * (1 << _SHIFT)).astype(np.int32) for loop in loops]
        cv2.fillPoly(cover8, scaled, 255, cv2.LINE_AA, _SHIFT)
        window = (slice(y0, y1), slice(x0, x1))
        part = np.empty((5, *cover8.shape), np.float32)
        grained = self._grain[window]
        shade = 1 + np.float32(grain) * grained
        part[3] = np.float32(heat_k) + np.float32(0.25) * grained
        if (round_ > 0 or cool_edge_k > 0) and min(cover8.shape) >= _SMALLEST_ROUND_PX:
            body = _inflate(cover8)
            shade += np.float32(round_) * _relief(body)
            part[3] -= np.float32(cool_edge_k) * (1 - body)
        np.multiply(shade, np.array(color, np.float32)[:, None, None], out=part[:3])
        np.minimum(part[:3], 1, out=part[:3])
        part[4] = 1
        under = self._planes[:, window[0], window[1]]
        part -= under
        part *= cover8 * np.float32(1 / 255)
        under += part

    def frame(self) -> SpriteFrame:
        """Return what was painted as one frame of a sprite, and clear the canvas for the next.

        Colours and heat come out premultiplied, because every part is blended over nothing.
        """
        size_wh = (self.width, self.height)
        red, green, blue, heat, cover = (
            cv2.resize(plane, size_wh, interpolation=cv2.INTER_AREA) for plane in self._planes
        )
        self._planes[:] = 0
        return SpriteFrame.from_arrays(
            cv2.merge([red, green, blue, cover]), cv2.merge([heat, cover])
        )


def _relief(body: Float) -> Float:
    """Return the light and shadow of a rounded body, lit from the upper left, about 0."""
    slope_x = cv2.Sobel(body, cv2.CV_32F, 1, 0)
    slope_y = cv2.Sobel(body, cv2.CV_32F, 0, 1)
    size = np.float32(max(4.0, min(body.shape)))
    lit = np.clip((0.9 * slope_y + 0.35 * slope_x) * (size / 14), -1, 1)
    return 0.3 * lit - 0.22 * (1 - body)


def _inflate(cover8: Byte) -> Float:
    """Return the height (0 at the edge, 1 inside) of a rounded body with this silhouette."""
    padded = cv2.copyMakeBorder(cover8, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    _, hard = cv2.threshold(padded, 127, 255, cv2.THRESH_BINARY)
    distance = cv2.distanceTransform(hard, cv2.DIST_L2, 3)[1:-1, 1:-1]
    top = max(1.0, float(distance.max()))
    rest = 1 - distance / np.float32(top)
    return np.sqrt(np.maximum(0, 1 - rest * rest))


@dataclass
class SpriteFrame:
    """One picture of a sprite, premultiplied by its cover, in halving sizes.

    Attributes:
        rgba: Levels of (H, W, 4) uint8, RGB times alpha, and alpha.
        heat: Levels of (H, W, 2) float32: kelvin above ambient times alpha, and alpha.
        shade: One level (H, W) uint8: the blurred silhouette, for its shadow.
    """

    rgba: list[Byte]
    heat: list[Float]
    shade: list[Byte]

    @classmethod
    def from_arrays(cls, rgba: Float, heat: Float) -> SpriteFrame:
        """Build the levels from premultiplied (H, W, 4) and (H, W, 2) float32 arrays."""
        colors, heats = [], []
        alpha = np.clip(rgba[..., 3] * 255, 0, 255).astype(np.uint8)
        shade = [cv2.GaussianBlur(alpha, (0, 0), 1.5)]
        while True:
            colors.append(np.clip(rgba * 255 + 0.5, 0, 255).astype(np.uint8))
            heats.append(np.ascontiguousarray(heat))
            height, width = rgba.shape[:2]
            if height % 2 or width % 2 or min(height, width) < 8 or len(colors) == 4:
                return cls(colors, heats, shade)
            half = (width // 2, height // 2)
            rgba = cv2.resize(rgba, half, interpolation=cv2.INTER_AREA)
            heat = cv2.resize(heat, half, interpolation=cv2.INTER_AREA)


@dataclass
class Sprite:
    """A figure with the frames of its gait.

    Attributes:
        frames: One period of movement.
        px_per_m: Resolution of level 0.
        origin_px: Foot point (x, y) in level-0 pixels.
        stride_m: Distance covered in one period (0: it does not move its limbs).
        lights: Additive lights at night as (x_m, y_m, radius_m, strength, color).
        foreground: Whether it belongs to the mask.
    """

    frames: list[SpriteFrame]
    px_per_m: float
    origin_px: tuple[float, float]
    stride_m: float = 0.0
    lights: list[tuple[float, float, float, float, Color]] = field(default_factory=list)
    foreground: bool = True

    def frame_at(self, distance_m: float) -> SpriteFrame:
        """Return the frame that shows after walking ``distance_m``."""
        if self.stride_m <= 0:
            return self.frames[0]
        turn = (distance_m / self.stride_m) % 1.0
        return self.frames[int(turn * len(self.frames)) % len(self.frames)]

    def matrix(self, foot_xy: tuple[float, float], scale_px_per_m: float, flip: bool) -> Matrix:
        """Map level-0 sprite pixels to view pixels for a foot point and a scale."""
        ratio = scale_px_per_m / self.px_per_m
        along = -ratio if flip else ratio
        return np.array(
            [
                [along, 0.0, foot_xy[0] - along * self.origin_px[0]],
                [0.0, ratio, foot_xy[1] - ratio * self.origin_px[1]],
                [0.0, 0.0, 1.0],
            ]
        )


def level_for(matrix: Matrix, levels: int, size_hw: tuple[int, int]) -> tuple[int, Matrix]:
    """Choose the level whose resolution fits, and the map from that level's pixels.

    Convention:
        Level L pixel p covers level-0 pixels around ``2 ** L * p + (2 ** L - 1) / 2``.
    """
    height, width = size_hw
    corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]], float)
    mapped = corners @ matrix.T
    mapped = mapped[:, :2] / mapped[:, 2:]
    area = _area(mapped[1] - mapped[0], mapped[2] - mapped[0]) / max(1, height * width)
    level = int(np.clip(np.floor(-0.5 * np.log2(max(area, 1e-9)) + 0.35), 0, levels - 1))
    step = float(2**level)
    up = np.array([[step, 0, (step - 1) / 2], [0, step, (step - 1) / 2], [0, 0, 1.0]])
    return level, matrix @ up


def _area(a: Matrix, b: Matrix) -> float:
    return abs(float(a[0] * b[1] - a[1] * b[0]))


def place(
    levels: Sequence[npt.NDArray[Any]],
    matrix: Matrix,
    view_wh: tuple[int, int],
    pad_px: int = 0,
) -> tuple[npt.NDArray[Any], tuple[int, int, int, int]] | None:
    """Warp a sprite picture into its rectangle of the view.

    Args:
        levels: The picture in halving sizes, (H, W, C).
        matrix: (3, 3) map from level-0 pixels to view pixels.
        view_wh: Width and height of the view.
        pad_px: Room to leave on the left and right, for blur along the motion.

    Returns:
        The warped picture and its rectangle (x0, y0, x1, y1), or None when it is out of view.
    """
    size_hw = (levels[0].shape[0], levels[0].shape[1])
    level, mapped = level_for(matrix, len(levels), size_hw)
    source = levels[level]
    height, width = source.shape[:2]
    corners = np.array([[-1, -1, 1], [width, -1, 1], [-1, height, 1], [width, height, 1]], float)
    xy = corners @ mapped.T
    xy = xy[:, :2] / xy[:, 2:]
    room = (pad_px, 0)
    x0, y0 = np.maximum(np.floor(xy.min(axis=0)) - room, 0).astype(int)
    x1, y1 = np.minimum(np.ceil(xy.max(axis=0)) + 1 + room, view_wh).astype(int)
    if x1 <= x0 or y1 <= y0:
        return None
    shift = np.array([[1, 0, -x0], [0, 1, -y0], [0, 0, 1.0]])
    local = shift @ mapped
    size_wh = (int(x1 - x0), int(y1 - y0))
    if abs(local[2, 0]) + abs(local[2, 1]) < 1e-12:
        warped = cv2.warpAffine(source, local[:2], size_wh, flags=cv2.INTER_LINEAR)
    else:
        warped = cv2.warpPerspective(source, local, size_wh, flags=cv2.INTER_LINEAR)
    return warped, (int(x0), int(y0), int(x1), int(y1))
