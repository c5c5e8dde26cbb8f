"""Places of synthetic scenes: a street, a crossing, a park or a yard, ready to be peopled."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import cv2
import numpy as np

from differseg.data import synthetic_ground as ground_kinds
from differseg.data import synthetic_props as props
from differseg.data.synthetic_canvas import Canvas, Lamp, Weather
from differseg.data.synthetic_ground import Ground, Material
from differseg.data.synthetic_light import bloom, contact_shadow, gain, sun_shadow, vignette
from differseg.data.synthetic_sprites import Sprite
from differseg.data.synthetic_sprites import place as warp_into
from differseg.data.synthetic_textures import Float, facade, foliage, sky, smoothstep
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


class _Builder:
    """Builds one place; each layout method paints far things first."""

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
        canvas, weather = self.canvas, self.weather
        rows = self.ground.top
        if rows < 4:
            return
        color, cover = sky(self.rng, (rows, canvas.size_wh[0]), weather.night, weather.overcast)
        canvas.emit[:rows] = color
        canvas.color[:rows] = 0
        up = np.linspace(1, 0, rows, dtype=np.float32)[:, None]
        clear = self.rng.uniform(8, 24)
        depth = np.float32(clear) * (0.35 + 0.65 * up) * (1 - 0.85 * cover)
        canvas.heat_k[:rows] = -depth - np.float32(3 * (1 - weather.overcast)) * up

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

    # -- layouts ---------------------------------------------------------------------------

    def street(self) -> None:
        """A road along the view with pavements, fronts or trees on both sides."""
        rng, ground = self.rng, self.ground
        half = rng.uniform(3.0, 4.4)
        # at the kerb, or (as from a vehicle) on the road itself
        middle = rng.choice([-1, 1]) * (half / 2 + rng.choice([0.0, rng.uniform(2.2, 3.6)]))
        walk = rng.uniform(2.0, 3.6)
        base = (ground_kinds.GRASS, ground_kinds.SLABS, ground_kinds.SOIL)[rng.integers(3)]
        ground.lay(base, np.ones_like(ground.x))
        pave = (ground_kinds.SLABS, ground_kinds.CONCRETE)[rng.integers(2)]
        ground.lay(pave, ground.band(middle - half - walk, middle + half + walk, True))
        ground.lay(ground_kinds.KERB, ground.band(middle - half - 0.2, middle + half + 0.2, True))
        ground.lay(ground_kinds.ASPHALT, ground.band(middle - half, middle + half, True))
        dash = smoothstep(0.45, 0.55, np.mod(ground.z / np.float32(6), 1.0))
        dash *= np.clip(ground.z * 0 + 20 / ground.z, 0, 1)
        ground.lay(ground_kinds.PAINT, 0.8 * dash * ground.band(middle - 0.07, middle + 0.07, True))
        for side in (-1, 1):
            edge = middle + side * (half - 0.35)
            ground.lay(ground_kinds.YELLOW, 0.6 * ground.band(edge - 0.06, edge + 0.06, True))
        self.manhole(middle + rng.uniform(-2, 2), rng.uniform(6, 14))
        self.far()
        self.sides(middle, half + walk)
        for side, forward in ((-1, False), (1, True)):
            self.lanes.append(Lane("vehicles", False, middle + side * half / 2, forward))
            self.lanes.append(Lane("people", False, middle + side * (half + walk / 2), forward))
        for z in rng.uniform(7, 22, 4):
            self.lanes.append(Lane("people", True, float(z), bool(rng.uniform() < 0.5)))

    def sides(self, middle: float, reach: float) -> None:
        """Line both sides of the street, far to near."""
        rng = self.rng
        for side in (-1.0, 1.0):
            lit = 1.0 if side * self.weather.sun_x < 0 else 0.68
            light = 1.0 - self.weather.sun * (1.0 - lit)
            edge = middle + side * (reach + rng.uniform(0.2, 1.5))
            if rng.uniform() < 0.55:
                far = rng.uniform(35, 70)
                near = rng.uniform(3.0, 12.0)
                height = rng.uniform(4, 14)
                reach_x = side * np.float32(self.weather.sun_x * height)
                if reach_x < 0:
                    low, high = sorted((edge, edge + side * float(reach_x)))
                    self.ground.shadow(
                        self.ground.band(low, high, True) * self.ground.band(near, far, False), 5.0
                    )
                self.wall((edge, far), (edge, near), height, light)
                if rng.uniform() < 0.5:
                    self.wall((edge + side * 9, near), (edge, near), height, light * 0.9)
            for z in np.sort(rng.uniform(8, 45, rng.integers(2, 6)))[::-1]:
                self.tree(edge - side * 0.6, float(z))
            post = edge - side * (0.9 + rng.uniform(0, 0.5))
            for z in (rng.uniform(26, 34), rng.uniform(9, 16)):
                self.lamp_post(post, float(z))
            self.clutter([(post - side * 0.2, float(z)) for z in rng.uniform(5, 22, 2)])

    def crossing(self) -> None:
        """A road across the view with a pavement before and behind it and fronts beyond."""
        rng, ground = self.rng, self.ground
        near = max(self.view.near_m * 1.1, rng.uniform(4, 8))
        road = near + rng.uniform(1.5, 3.0)
        kerb = road + rng.uniform(5.5, 7.5)
        front = kerb + rng.uniform(2.5, 5.0)
        ground.lay(ground_kinds.SLABS, np.ones_like(ground.x))
        ground.lay(ground_kinds.KERB, ground.band(road - 0.2, kerb + 0.2, False))
        ground.lay(ground_kinds.ASPHALT, ground.band(road, kerb, False))
        middle = (road + kerb) / 2
        dash = smoothstep(0.45, 0.55, np.mod(ground.x / np.float32(4) + 0.25, 1.0))
        line = ground.band(middle - 0.08, middle + 0.08, False)
        ground.lay(ground_kinds.PAINT, 0.85 * dash * line)
        if rng.uniform() < 0.6:
            left = rng.uniform(-5, 2)
            stripe = smoothstep(0.48, 0.52, np.mod(ground.x, 1.0))
            zone = ground.band(left, left + 3.6, True) * ground.band(road + 0.4, kerb - 0.4, False)
            ground.lay(ground_kinds.PAINT, 0.85 * stripe * zone)
        self.manhole(rng.uniform(-3, 3), middle + rng.uniform(-2, 2))
        self.far()
        self.backdrop(front)
        for z, forward in ((road + 0.27 * (kerb - road), True), (kerb - 0.25 * (kerb - road),
                                                                 False)):  # fmt: skip
            self.lanes += [Lane("vehicles", True, z, forward)] * 2
        for z in (near + 0.4, (near + road) / 2, kerb + 0.8, (kerb + front) / 2, middle):
            self.lanes.append(Lane("people", True, z, bool(rng.uniform() < 0.5)))
        self.lanes.append(Lane("people", False, rng.choice([-2.2, 2.2]), False))
        for x in rng.uniform(-7, 7, 2):
            self.lamp_post(float(x), kerb + 0.7)
        self.clutter([(float(x), road - 0.5) for x in rng.uniform(-4, 4, 2)])
        self.clutter([(float(x), kerb + 0.6) for x in rng.uniform(-8, 8, 3)])
        if rng.uniform() < 0.5:
            self.tree(float(rng.choice([-1, 1]) * rng.uniform(2.5, 5)), road - 0.8)

    def backdrop(self, z_m: float) -> None:
        """Close the view: building fronts side by side, or trees and a hedge."""
        rng = self.rng
        reach = 0.62 * self.view.width_px / self.view.focal_px * (z_m + 1)
        if rng.uniform() < 0.3:
            self.tree_line(z_m + 14, rng.uniform(4, 7))
            length = 2.2 * reach
            hedge = foliage(rng, (round(1.3 * 24), round(length * 24)), 3.0, box=True)
            self.canvas.paint_upright(hedge, (0.0, z_m), (length, 1.3), self.haze)
            for x in rng.uniform(-reach, reach, 4):
                self.tree(float(x), z_m + 1.5)
            return
        left = -reach - rng.uniform(0, 4)
        light = 1.0 - 0.25 * self.weather.sun * float(self.weather.sun_z < 0)
        while left < reach:
            width = rng.uniform(6, 15)
            self.wall((left, z_m), (left + width, z_m), rng.uniform(5, 13), light)
            left += width + (0 if rng.uniform() < 0.7 else rng.uniform(1.5, 4))
        for _ in range(rng.integers(0, 3)):
            self.poster(float(rng.uniform(-0.8, 0.8) * reach), z_m - 0.05)

    def park(self) -> None:
        """Grass with a path across and one along the view, trees and hedges."""
        rng, ground = self.rng, self.ground
        ground.lay(ground_kinds.GRASS, np.ones_like(ground.x))
        ground.lay(ground_kinds.SOIL, 0.7 * smoothstep(0.9, 1.8, ground.octaves[3]))
        path = (ground_kinds.GRAVEL, ground_kinds.ASPHALT, ground_kinds.SLABS)[rng.integers(3)]
        bend = np.float32(rng.uniform(0.5, 2.0)) * np.sin(ground.z / np.float32(rng.uniform(6, 12)))
        centre = rng.uniform(-2.5, 2.5)
        away = np.abs(ground.x - np.float32(centre) - bend)
        ground.lay(path, smoothstep(1.5, 1.3, away + 0.06 * ground.octaves[2]))
        across = max(1.5 * self.view.near_m, rng.uniform(7, 13))
        ragged = np.abs(ground.z - np.float32(across) - 0.1 * ground.octaves[3])
        ground.lay(path, smoothstep(1.7, 1.4, ragged))
        self.far()
        self.backdrop(rng.uniform(32, 50))
        for z in np.sort(rng.uniform(across + 2.5, 34, rng.integers(4, 9)))[::-1]:
            self.tree(float(rng.uniform(-0.55, 0.55) * z), float(z))
        for x in rng.uniform(-6, 6, 2):
            self.lamp_post(float(x), across + 2.0)
        self.clutter([(float(x), across + 2.3) for x in rng.uniform(-7, 7, 3)])
        self.clutter([(float(x), across - 1.9) for x in rng.uniform(-3, 3, 2)])
        if rng.uniform() < 0.6:
            x = float(rng.choice([-1, 1]) * rng.uniform(1.5, 3.5))
            self.tree(x, max(1.08 * self.view.near_m, across - 2.2))
        for z in (across - 0.8, across, across + 0.8, across + 4, 0.75 * across + 0.2):
            self.lanes.append(Lane("people", True, z, bool(rng.uniform() < 0.5)))
        for x in (-2.3, 2.5):
            self.lanes.append(Lane("people", False, x, bool(rng.uniform() < 0.5)))

    def yard(self) -> None:
        """A paved yard before a works building with pipes, posters and parked goods."""
        rng, ground = self.rng, self.ground
        kinds = (ground_kinds.CONCRETE, ground_kinds.ASPHALT, ground_kinds.GRAVEL)
        ground.lay(kinds[rng.integers(3)], np.ones_like(ground.x))
        back = max(2.2 * self.view.near_m, rng.uniform(15, 26))
        for x in np.arange(-9, 10, 2.7):
            ground.lay(ground_kinds.PAINT, 0.6 * ground.band(x - 0.06, x + 0.06, True)
                       * ground.band(back - 6.5, back - 1.8, False))  # fmt: skip
        for _ in range(rng.integers(1, 4)):
            self.manhole(rng.uniform(-5, 5), rng.uniform(1.2 * self.view.near_m, back - 2))
        self.far()
        self.backdrop(back)
        middle = 0.5 * (self.view.near_m + back)
        for x in rng.uniform(-6, 6, 2):
            self.lamp_post(float(x), back - 1.2)
        self.clutter([(float(x), back - 1.0) for x in rng.uniform(-8, 8, 5)])
        self.clutter([(float(x), float(rng.uniform(1.1 * self.view.near_m, middle)))
                      for x in rng.uniform(-4, 4, 3)])  # fmt: skip
        self.lanes.append(Lane("vehicles", True, 0.6 * back, True))
        self.lanes.append(Lane("vehicles", True, 0.85 * back, False))
        for share in (0.15, 0.35, 0.55, 0.8):
            z = self.view.near_m * 1.15 + share * (back - 1.5 - self.view.near_m * 1.15)
            self.lanes.append(Lane("people", True, z, bool(rng.uniform() < 0.5)))
        self.lanes.append(Lane("people", False, float(rng.choice([-2.1, 2.1])), True))

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


def make_place(rng: np.random.Generator, view: View, weather: Weather, margin_px: int) -> Place:
    """Build a random place for this camera and weather."""
    builder = _Builder(rng, view, weather, margin_px)
    layout = (builder.street, builder.crossing, builder.park, builder.yard)[rng.integers(4)]
    builder.sky()
    layout()
    return builder.finish()
