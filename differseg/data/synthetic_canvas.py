"""The painted background of a synthetic scene, before and after lighting."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from differseg.data.synthetic_textures import Float, Surface
from differseg.data.synthetic_view import View


@dataclass(frozen=True)
class Weather:
    """Light and air of a scene.

    Attributes:
        night: Lamps in place of daylight.
        overcast: Cloud cover in 0..1.
        ambient_k: Air temperature in kelvin.
        sun: How strongly the sun heats and casts shadows, 0..1 (0 at night).
        sun_x: Shadow length along X per metre of height.
        sun_z: Shadow length along Z per metre of height (positive: away from the camera).
        daylight: Gamma-encoded ambient light, RGB.
        cast: Colour cast of the camera, RGB factors near 1.
    """

    night: bool
    overcast: float
    ambient_k: float
    sun: float
    sun_x: float
    sun_z: float
    daylight: tuple[float, float, float]
    cast: tuple[float, float, float]


@dataclass
class Lamp:
    """A street lamp: ground position, strength and reach in metres, colour (linear RGB)."""

    x_m: float
    z_m: float
    strength: float
    reach_m: float
    color: tuple[float, float, float]


@dataclass
class Canvas:
    """Everything static, pixel by pixel: the RGB picture with a margin on each side.

    Attributes:
        color: (H, W, 3) float32 gamma-encoded reflectance.
        emit: (H, W, 3) float32 gamma-encoded own light.
        heat_k: (H, W) float32 kelvin above ambient.
        x_m: (H, W) float32 ground position of what the pixel shows.
        z_m: (H, W) float32 depth of what the pixel shows.
        shade: (H, W) float32, 1 in the sun, lower in shadow.
        is_ground: (H, W) bool, where nothing hides the ground.
    """

    view: View
    margin_px: int
    color: Float = field(init=False)
    emit: Float = field(init=False)
    heat_k: Float = field(init=False)
    x_m: Float = field(init=False)
    z_m: Float = field(init=False)
    shade: Float = field(init=False)
    is_ground: Float = field(init=False)

    def __post_init__(self) -> None:
        """Allocate the layers."""
        self.x_m, self.z_m = self.view.ground(self.margin_px)
        shape = self.x_m.shape
        self.color = np.zeros((*shape, 3), np.float32)
        self.emit = np.zeros((*shape, 3), np.float32)
        self.heat_k = np.zeros(shape, np.float32)
        self.shade = np.ones(shape, np.float32)
        rows = np.arange(shape[0], dtype=np.float32)[:, None] - self.margin_px
        self.is_ground = np.broadcast_to(rows > self.view.horizon_px, shape).copy()

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height of the canvas in pixels."""
        return self.color.shape[1], self.color.shape[0]

    def foot(self, x_m: float, z_m: float) -> tuple[float, float]:
        """Project a ground point to canvas pixels."""
        u, v = self.view.foot(x_m, z_m)
        return u + self.margin_px, v + self.margin_px

    def paint_wall(
        self,
        surface: Surface,
        ends_xz: tuple[tuple[float, float], tuple[float, float]],
        height_m: float,
        haze: tuple[float, float, float],
        light: float = 1.0,
    ) -> None:
        """Paint an upright plane that stands on the ground line between ``ends_xz`` (metres).

        Args:
            surface: Its picture; the first column lies at the first end.
            ends_xz: The two ends, each at a depth above 0.
            height_m: Height of the plane.
            haze: Colour of far air, gamma-encoded RGB.
            light: Daylight on this side of the building (gamma-encoded factor).
        """
        (x0, z0), (x1, z1) = ends_xz
        rows, columns = surface.alpha.shape
        corners = []
        for x, z, level in ((x0, z0, 1), (x1, z1, 1), (x1, z1, 0), (x0, z0, 0)):
            u, v = self.foot(x, z)
            corners.append((u, v - level * height_m * self.view.focal_px / z))
        edge = (
            (-0.5, -0.5),
            (columns - 0.5, -0.5),
            (columns - 0.5, rows - 0.5),
            (-0.5, rows - 0.5),
        )
        matrix = cv2.getPerspectiveTransform(
            np.array(edge, np.float32), np.array(corners, np.float32)
        )
        share = np.linspace(0, 1, columns, dtype=np.float32)
        z_row = z0 + share * np.float32(z1 - z0)
        place = np.broadcast_to(
            np.stack([x0 + share * np.float32(x1 - x0), z_row], axis=1), (rows, columns, 2)
        )
        self._blend(surface, place, matrix, np.asarray(corners), haze, light)

    def paint_upright(
        self, surface: Surface, foot_xz: tuple[float, float], size_m: tuple[float, float],
        haze: tuple[float, float, float], light: float = 1.0, lift_m: float = 0.0,
    ) -> None:  # fmt: skip
        """Paint a picture that faces the camera, centred above a ground point."""
        (x, z), (width, height) = foot_xz, size_m
        scale = self.view.focal_px / z
        u, v = self.foot(x, z)
        rows, columns = surface.alpha.shape
        left, top = u - width / 2 * scale, v - (lift_m + height) * scale
        ratio_x, ratio_y = width * scale / columns, height * scale / rows
        matrix = np.array(
            [
                [ratio_x, 0, left + 0.5 * ratio_x - 0.5],
                [0, ratio_y, top + 0.5 * ratio_y - 0.5],
                [0, 0, 1.0],
            ]
        )
        corners = np.array([[left, top], [left + width * scale, top + height * scale]])
        place = np.broadcast_to(np.array([x, z], np.float32), (rows, columns, 2))
        self._blend(surface, place, matrix, corners, haze, light)

    def _blend(
        self,
        surface: Surface,
        place_xz: Float,
        matrix: np.ndarray,
        corners: np.ndarray,
        haze: tuple[float, float, float],
        light: float,
    ) -> None:
        """Warp a surface into the canvas and blend it over what stands there."""
        limit = np.array(self.size_wh)
        x0, y0 = np.clip(np.floor(corners.min(axis=0)) - 1, 0, limit).astype(int)
        x1, y1 = np.clip(np.ceil(corners.max(axis=0)) + 2, 0, limit).astype(int)
        if x1 <= x0 or y1 <= y0:
            return
        local = np.array([[1, 0, -x0], [0, 1, -y0], [0, 0, 1.0]]) @ matrix
        size = (int(x1 - x0), int(y1 - y0))
        alpha = surface.alpha[..., None]
        air = np.exp(-place_xz[..., 1:] / np.float32(350))
        emit = surface.emit * air + np.asarray(haze, np.float32) * (1 - air)
        rest = np.dstack([surface.heat_k, place_xz, surface.alpha])
        rest[..., :3] *= alpha
        layers = [surface.color * (air * np.float32(light) * alpha), emit * alpha, rest]
        color, glow, rest = (
            cv2.warpPerspective(np.ascontiguousarray(layer, np.float32), local, size)
            for layer in layers
        )
        window = (slice(y0, y1), slice(x0, x1))
        cover = rest[..., 3]
        keep = 1 - cover
        self.color[window] = self.color[window] * keep[..., None] + color
        self.emit[window] = self.emit[window] * keep[..., None] + glow
        self.heat_k[window] = self.heat_k[window] * keep + rest[..., 0]
        front = cover > 0.5  # positions are never mixed across an edge
        safe = np.maximum(cover, 0.01)
        self.x_m[window][front] = (rest[..., 1] / safe)[front]
        self.z_m[window][front] = (rest[..., 2] / safe)[front]
        self.shade[window][front] = 1.0
        self.is_ground[window][front] = False
