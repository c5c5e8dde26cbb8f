"""Places of synthetic scenes: a street, a crossing, a park or a yard, ready to be peopled.

A layout lays the ground first, then far things, then near ones.
"""

from __future__ import annotations

import numpy as np

from differseg.data import synthetic_ground as ground_kinds
from differseg.data.synthetic_builder import Builder, Lane, Place
from differseg.data.synthetic_canvas import Weather
from differseg.data.synthetic_textures import foliage, smoothstep
from differseg.data.synthetic_view import View


def make_place(rng: np.random.Generator, view: View, weather: Weather, margin_px: int) -> Place:
    """Build a random place for this camera and weather."""
    builder = Builder(rng, view, weather, margin_px)
    layout = (_street, _crossing, _park, _yard)[rng.integers(4)]
    builder.sky()
    layout(builder)
    return builder.finish()


def _street(b: Builder) -> None:
    """A road along the view with pavements, fronts or trees on both sides."""
    rng, ground = b.rng, b.ground
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
    dash *= np.minimum(20 / ground.z, 1)
    ground.lay(ground_kinds.PAINT, 0.8 * dash * ground.band(middle - 0.07, middle + 0.07, True))
    for side in (-1, 1):
        edge = middle + side * (half - 0.35)
        ground.lay(ground_kinds.YELLOW, 0.6 * ground.band(edge - 0.06, edge + 0.06, True))
    b.manhole(middle + rng.uniform(-2, 2), rng.uniform(6, 14))
    b.far()
    _sides(b, middle, half + walk)
    for side, forward in ((-1, False), (1, True)):
        b.lanes.append(Lane("vehicles", False, middle + side * half / 2, forward))
        b.lanes.append(Lane("people", False, middle + side * (half + walk / 2), forward))
    for z in rng.uniform(7, 22, 4):
        b.lanes.append(Lane("people", True, float(z), bool(rng.uniform() < 0.5)))


def _sides(b: Builder, middle: float, reach: float) -> None:
    """Line both sides of the street, far to near."""
    rng = b.rng
    for side in (-1.0, 1.0):
        sun_behind = side * b.weather.sun_x < 0  # these fronts throw their shadow on the street
        light = 1.0 - b.weather.sun * (0.32 if sun_behind else 0.0)
        edge = middle + side * (reach + rng.uniform(0.2, 1.5))
        if rng.uniform() < 0.55:
            far = rng.uniform(35, 70)
            near = rng.uniform(3.0, 12.0)
            height = rng.uniform(4, 14)
            if sun_behind:
                low, high = sorted((edge, edge + b.weather.sun_x * height))
                b.ground.shadow(
                    b.ground.band(low, high, True) * b.ground.band(near, far, False), 5.0
                )
            b.wall((edge, far), (edge, near), height, light)
            if rng.uniform() < 0.5:
                b.wall((edge + side * 9, near), (edge, near), height, light * 0.9)
        for z in np.sort(rng.uniform(8, 45, rng.integers(2, 6)))[::-1]:
            b.tree(edge - side * 0.6, float(z))
        post = edge - side * (0.9 + rng.uniform(0, 0.5))
        for z in (rng.uniform(26, 34), rng.uniform(9, 16)):
            b.lamp_post(post, float(z))
        b.clutter([(post - side * 0.2, float(z)) for z in rng.uniform(5, 22, 2)])


def _crossing(b: Builder) -> None:
    """A road across the view with a pavement before and behind it and fronts beyond."""
    rng, ground = b.rng, b.ground
    near = max(b.view.near_m * 1.1, rng.uniform(4, 8))
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
    b.manhole(rng.uniform(-3, 3), middle + rng.uniform(-2, 2))
    b.far()
    _backdrop(b, front)
    for z, forward in ((road + 0.27 * (kerb - road), True), (kerb - 0.25 * (kerb - road),
                                                             False)):  # fmt: skip
        b.lanes += [Lane("vehicles", True, z, forward)] * 2
    for z in (near + 0.4, (near + road) / 2, kerb + 0.8, (kerb + front) / 2, middle):
        b.lanes.append(Lane("people", True, z, bool(rng.uniform() < 0.5)))
    b.lanes.append(Lane("people", False, rng.choice([-2.2, 2.2]), False))
    for x in rng.uniform(-7, 7, 2):
        b.lamp_post(float(x), kerb + 0.7)
    b.clutter([(float(x), road - 0.5) for x in rng.uniform(-4, 4, 2)])
    b.clutter([(float(x), kerb + 0.6) for x in rng.uniform(-8, 8, 3)])
    if rng.uniform() < 0.5:
        b.tree(float(rng.choice([-1, 1]) * rng.uniform(2.5, 5)), road - 0.8)


def _backdrop(b: Builder, z_m: float) -> None:
    """Close the view: building fronts side by side, or trees and a hedge."""
    rng = b.rng
    reach = 0.62 * b.view.width_px / b.view.focal_px * (z_m + 1)
    if rng.uniform() < 0.3:
        b.tree_line(z_m + 14, rng.uniform(4, 7))
        length = 2.2 * reach
        hedge = foliage(rng, (round(1.3 * 24), round(length * 24)), 3.0, box=True)
        b.canvas.paint_upright(hedge, (0.0, z_m), (length, 1.3), b.haze)
        for x in rng.uniform(-reach, reach, 4):
            b.tree(float(x), z_m + 1.5)
        return
    left = -reach - rng.uniform(0, 4)
    light = 1.0 - 0.25 * b.weather.sun * float(b.weather.sun_z < 0)
    while left < reach:
        width = rng.uniform(6, 15)
        b.wall((left, z_m), (left + width, z_m), rng.uniform(5, 13), light)
        left += width + (0 if rng.uniform() < 0.7 else rng.uniform(1.5, 4))
    for _ in range(rng.integers(0, 3)):
        b.poster(float(rng.uniform(-0.8, 0.8) * reach), z_m - 0.05)


def _park(b: Builder) -> None:
    """Grass with a path across and one along the view, trees and hedges."""
    rng, ground = b.rng, b.ground
    ground.lay(ground_kinds.GRASS, np.ones_like(ground.x))
    ground.lay(ground_kinds.SOIL, 0.7 * smoothstep(0.9, 1.8, ground.octaves[3]))
    path = (ground_kinds.GRAVEL, ground_kinds.ASPHALT, ground_kinds.SLABS)[rng.integers(3)]
    bend = np.float32(rng.uniform(0.5, 2.0)) * np.sin(ground.z / np.float32(rng.uniform(6, 12)))
    centre = rng.uniform(-2.5, 2.5)
    away = np.abs(ground.x - np.float32(centre) - bend)
    ground.lay(path, smoothstep(1.5, 1.3, away + 0.06 * ground.octaves[2]))
    across = max(1.5 * b.view.near_m, rng.uniform(7, 13))
    ragged = np.abs(ground.z - np.float32(across) - 0.1 * ground.octaves[3])
    ground.lay(path, smoothstep(1.7, 1.4, ragged))
    b.far()
    _backdrop(b, rng.uniform(32, 50))
    for z in np.sort(rng.uniform(across + 2.5, 34, rng.integers(4, 9)))[::-1]:
        b.tree(float(rng.uniform(-0.55, 0.55) * z), float(z))
    for x in rng.uniform(-6, 6, 2):
        b.lamp_post(float(x), across + 2.0)
    b.clutter([(float(x), across + 2.3) for x in rng.uniform(-7, 7, 3)])
    b.clutter([(float(x), across - 1.9) for x in rng.uniform(-3, 3, 2)])
    if rng.uniform() < 0.6:
        x = float(rng.choice([-1, 1]) * rng.uniform(1.5, 3.5))
        b.tree(x, max(1.08 * b.view.near_m, across - 2.2))
    for z in (across - 0.8, across, across + 0.8, across + 4, 0.75 * across + 0.2):
        b.lanes.append(Lane("people", True, z, bool(rng.uniform() < 0.5)))
    for x in (-2.3, 2.5):
        b.lanes.append(Lane("people", False, x, bool(rng.uniform() < 0.5)))


def _yard(b: Builder) -> None:
    """A paved yard before a works building with pipes, posters and parked goods."""
    rng, ground = b.rng, b.ground
    kinds = (ground_kinds.CONCRETE, ground_kinds.ASPHALT, ground_kinds.GRAVEL)
    ground.lay(kinds[rng.integers(3)], np.ones_like(ground.x))
    back = max(2.2 * b.view.near_m, rng.uniform(15, 26))
    for x in np.arange(-9, 10, 2.7):
        ground.lay(ground_kinds.PAINT, 0.6 * ground.band(x - 0.06, x + 0.06, True)
                   * ground.band(back - 6.5, back - 1.8, False))  # fmt: skip
    for _ in range(rng.integers(1, 4)):
        b.manhole(rng.uniform(-5, 5), rng.uniform(1.2 * b.view.near_m, back - 2))
    b.far()
    _backdrop(b, back)
    middle = 0.5 * (b.view.near_m + back)
    for x in rng.uniform(-6, 6, 2):
        b.lamp_post(float(x), back - 1.2)
    b.clutter([(float(x), back - 1.0) for x in rng.uniform(-8, 8, 5)])
    b.clutter([(float(x), float(rng.uniform(1.1 * b.view.near_m, middle)))
                  for x in rng.uniform(-4, 4, 3)])  # fmt: skip
    b.lanes.append(Lane("vehicles", True, 0.6 * back, True))
    b.lanes.append(Lane("vehicles", True, 0.85 * back, False))
    for share in (0.15, 0.35, 0.55, 0.8):
        z = b.view.near_m * 1.15 + share * (back - 1.5 - b.view.near_m * 1.15)
        b.lanes.append(Lane("people", True, z, bool(rng.uniform() < 0.5)))
    b.lanes.append(Lane("people", False, float(rng.choice([-2.1, 2.1])), True))
