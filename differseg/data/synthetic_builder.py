"""Builds the background of a synthetic scene piece by piece: sky, walls, props, lamps, light."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import cv2
import numpy as np

from differseg.data import synthetic_props as props
from differseg.data.synthetic_canvas import Canvas, Lamp, Weather
from differseg.data.synthetic_ground import Ground, Material
from differseg.data.synthetic_light import bloom, contact_shadow, gain, sun_shadow, vignette
from differseg.data.synthetic_sprites import Sprite
from differseg.data.synthetic_sprites import place as warp_into
from differseg.data.synthetic_textures import Float, facade, foliage, sky
from differseg.data.synthetic_view import View

_MAX_PX_PER_M = 90.0
_HAZE_DAY = (0.74, 0.79, 0.84)
_HAZE_NIGHT = (0.03, 0.03, 0.04)

LIGHT_STEP_PX = 4
"""Step of the coarse map of the light on the ground."""


@dataclass(frozen=True)
class Lane:
    """Where something may move: across the view at depth ``at_m``, or along it at X ``at_m``."""

    users: Literal["people", "vehicles"]
    across: bool
    at_m: float
    forward: bool


@dataclass
class Prop:
    """A motionless sprite on the ground."""

    sprite: Sprite
    x_m: float
    z_m: float


@dataclass
class Place:
    """A finished background.

    Attributes:
        picture: (H, W, 3) uint8, lit canvas without the props, RGB.
        heat_k: (H, W) float32, kelvin above ambient, without the props.
        light: (H / 4, W / 4, 3) float32, gamma-encoded light on the ground at every fourth pixel.
        props: Motionless sprites, any order.
        lanes: Where actors may move.
        margin_px: How far the canvas reaches beyond the picture on each side.
    """

    picture: np.ndarray
    heat_k: Float
    light: Float
    margin_px: int
    props: list[Prop] = field(default_factory=list)
    lanes: list[Lane] = field(default_factory=list)


class Builder:
    """Paints one place, far things first; the layouts say what stands where."""

    def __init__(
        self, rng: np.random.Generator, view: View, weather: Weather, margin_px: int
    ) -> None:
        self.rng, self.view, self.weather = rng, view, weather
        self.canvas = Canvas(view, margin_px)
        self.ground = Ground(rng, self.canvas, weather)
        self.haze = _HAZE_NIGHT if weather.night else _HAZE_DAY
        self.props: list[Prop] = []
        self.lanes: list[Lane] = []
        self.lamps: list[Lamp] = []

    def ppm(self, z_m: float) -> float:
        """Return the resolution at which a thing at this depth is drawn."""
        return float(min(_MAX_PX_PER_M, self.view.focal_px / z_m))

    # -- far things ------------------------------------------------------------------------

    def sky(self) -> None:
        """Fill everything above the horizon; a clear sky is far colder than the air."""
        canvas, weather = self.canvas, self.weather
        rows = self.ground.top
        if rows < 4:
            return
        color, cover = sky(self.rng, (rows, canvas.size_wh[0]), weather.night, weather.overcast)
        canvas.emit[:rows] = color
        canvas.color[:rows] = 0
        up = np.linspace(1, 0, rows, dtype=np.float32)[:, None]
        clear = self.rng.uniform(8, 24)
        canvas.heat_k[:rows] = -np.float32(clear) * (0.35 + 0.75 * up) * (1 - 0.85 * cover)

    def far(self) -> None:
        """Wet the finished ground, then paint far buildings and trees on the horizon."""
        if self.rng.uniform() < 0.3:
            self.ground.puddles(float(self.rng.uniform(0.2, 1.2)))
        rng, night = self.rng, self.weather.night
        reach = self.view.width_px / self.view.focal_px
        for _ in range(rng.integers(0, 5)):
            z = rng.uniform(90, 220)
            width, height = rng.uniform(10, 34), rng.uniform(8, 42)
            x = rng.uniform(-0.6, 0.6) * reach * z
            surface = facade(rng, (width, height), 5.0, night)
            self.canvas.paint_wall(
                surface, ((x - width / 2, z), (x + width / 2, z)), height, self.haze,
                light=rng.uniform(0.75, 1.0),
            )  # fmt: skip
        for z in (80.0, 55.0):
            if rng.uniform() < 0.75:
                self.tree_line(z, rng.uniform(4, 9))

    def tree_line(self, z_m: float, height_m: float) -> None:
        """Paint a row of trees right across the view."""
        width_m = 1.35 * self.view.width_px / self.view.focal_px * z_m
        scale = min(12.0, self.view.focal_px / z_m)
        size = (max(8, round(height_m * scale)), max(8, round(width_m * scale)))
        surface = foliage(self.rng, size, 3.0, box=True)
        surface.heat_k += 1.2 * self.weather.sun
        self.canvas.paint_upright(surface, (0.0, z_m), (width_m, height_m), self.haze, light=0.8)

    def wall(
        self, start: tuple[float, float], end: tuple[float, float], height_m: float, light: float
    ) -> None:
        """Paint a building front between two ground points."""
        length = float(np.hypot(end[0] - start[0], end[1] - start[1]))
        scale = 22.0 if min(start[1], end[1]) < 40 else 10.0
        surface = facade(self.rng, (length, height_m), scale, self.weather.night)
        surface.heat_k += np.float32(7 * self.weather.sun * max(0.0, light - 0.75) + 0.5)
        self.canvas.paint_wall(surface, (start, end), height_m, self.haze, light)

    def poster(self, x_m: float, z_m: float) -> None:
        """Hang a poster just in front of a wall that faces the camera."""
        surface = props.poster(self.rng, max(14.0, min(60.0, self.ppm(z_m))))
        height = self.rng.uniform(1.7, 2.4)
        width = height * surface.alpha.shape[1] / surface.alpha.shape[0]
        self.canvas.paint_upright(
            surface, (x_m, z_m), (width, height), self.haze, lift_m=self.rng.uniform(0.2, 0.7)
        )

    # -- near things -----------------------------------------------------------------------

    def stand(self, sprite: Sprite, x_m: float, z_m: float) -> None:
        """Put a prop on the ground."""
        self.props.append(Prop(sprite, x_m, z_m))

    def tree(self, x_m: float, z_m: float) -> None:
        """Plant a tree."""
        self.stand(props.tree(self.rng, self.ppm(z_m), self.weather.sun), x_m, z_m)

    def lamp_post(self, x_m: float, z_m: float) -> None:
        """Put up a lamp post that lights the ground at night."""
        height = self.rng.uniform(4.0, 6.5)
        lit = self.weather.night and bool(self.rng.uniform() < 0.85)
        self.stand(props.lamp_post(self.rng, self.ppm(z_m), height, lit), x_m, z_m)
        if lit:
            warm = float(self.rng.uniform(0.35, 0.9))
            color = (1.0, 0.62 + 0.36 * warm, 0.30 + 0.62 * warm)
            self.lamps.append(
                Lamp(x_m + 0.6, z_m, self.rng.uniform(0.2, 0.9), self.rng.uniform(3, 7), color)
            )
            u, v = self.canvas.foot(x_m + 0.6, z_m)
            scale = self.view.focal_px / z_m
            bloom(self.canvas, u, v - height * scale, max(3.0, 0.34 * scale),
                  np.asarray(color, np.float32))  # fmt: skip

    def manhole(self, x_m: float, z_m: float) -> None:
        """Lay a manhole cover: dark, and warm from below."""
        cover = self.ground.disc(x_m, z_m, 0.35)
        self.ground.lay(Material((0.24, 0.23, 0.22), (0.1, 0.1, 0, 0, 0), 14, 5.0), cover,
                        self.rng.uniform(-1, 7))  # fmt: skip

    def clutter(self, spots: list[tuple[float, float]]) -> None:
        """Put signs, poles, cabinets and shrubs on some of the given spots."""
        for x, z in spots:
            kind = self.rng.choice(["sign", "pole", "cabinet", "shrub", "none"])
            if kind == "none" or z < 1.02 * self.view.near_m:
                continue
            if kind == "shrub":
                sprite = props.hedge(self.rng, self.ppm(z), self.rng.uniform(1.2, 3.2),
                                     self.rng.uniform(0.6, 1.2))  # fmt: skip
            else:
                maker = {"sign": props.sign, "pole": props.pole, "cabinet": props.cabinet}[kind]
                sprite = maker(self.rng, self.ppm(z))
            self.stand(sprite, x, z)

    def _throw_shadow(self, prop: Prop) -> None:
        """Darken and cool the ground where a prop keeps the sun away, and under its foot."""
        canvas = self.canvas
        foot = canvas.foot(prop.x_m, prop.z_m)
        scale = self.view.focal_px / prop.z_m
        frame = prop.sprite.frames[0]
        upright = prop.sprite.matrix(foot, scale, False)
        height_px = frame.shade[0].shape[0] * scale / prop.sprite.px_per_m
        maps = [(contact_shadow(foot, height_px), 0.5, 0.0)]
        on_view = (foot[0] - canvas.margin_px, foot[1] - canvas.margin_px)
        if (thrown := sun_shadow(self.weather, self.view, on_view)) is not None:
            shift = np.array([[1, 0, canvas.margin_px], [0, 1, canvas.margin_px], [0, 0, 1.0]])
            maps.append((shift @ thrown[0] @ np.linalg.inv(shift), 1.0, 5.0 * self.weather.sun))
        for lay, dark, cool_k in maps:
            found = warp_into(frame.shade, lay @ upright, canvas.size_wh)
            if found is None:
                continue
            x0, y0, x1, y1 = found[1]
            window = (slice(y0, y1), slice(x0, x1))
            cover = found[0] * np.float32(dark / 255) * canvas.is_ground[window]
            canvas.shade[window] *= 1 - cover
            canvas.heat_k[window] -= np.float32(cool_k) * cv2.blur(cover, (5, 3))

    def finish(self) -> Place:
        """Light the canvas and round it to the picture."""
        canvas, weather, ground = self.canvas, self.weather, self.ground
        for prop in self.props:
            self._throw_shadow(prop)
        lens = vignette(canvas.size_wh, self.rng.uniform(0.05, 0.22))
        lens = lens * np.asarray(weather.cast, np.float32)
        light = gain(weather, self.lamps, canvas.x_m, canvas.z_m, canvas.shade)
        lit = (canvas.color * light + canvas.emit) * lens
        picture = np.clip(lit * 255 + 0.5, 0, 255).astype(np.uint8)
        ground_shade = np.ones_like(canvas.shade)
        ground_shade[ground.top :] = canvas.shade[ground.top :]
        x, z = self.view.ground(canvas.margin_px)
        coarse = (slice(None, None, LIGHT_STEP_PX),) * 2
        on_ground = gain(weather, self.lamps, x[coarse], z[coarse], ground_shade[coarse])
        return Place(picture, canvas.heat_k, on_ground * lens[coarse], canvas.margin_px,
                     self.props, self.lanes)  # fmt: skip
