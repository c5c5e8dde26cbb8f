"""Cars, vans and trucks of synthetic scenes, seen from the side, the front or the back.

``state`` decides how they look in the thermal camera: ``hot`` (long driven), ``warm``, ``cold``
(just started: at air temperature or below, wet) and, for trucks, a refrigerated box.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from differseg.data.synthetic_sprites import Color, Painter, Point, Sprite

_PAINT: tuple[Color, ...] = (
    (0.78, 0.78, 0.78), (0.88, 0.88, 0.86), (0.16, 0.16, 0.17), (0.42, 0.43, 0.45),
    (0.50, 0.10, 0.10), (0.14, 0.22, 0.42), (0.24, 0.30, 0.27), (0.60, 0.52, 0.36),
)  # fmt: skip
_GLASS: Color = (0.13, 0.15, 0.17)
_TYRE: Color = (0.08, 0.08, 0.08)
_WHITE: Color = (1.0, 0.96, 0.86)
_RED: Color = (1.0, 0.12, 0.06)


@dataclass(frozen=True)
class Heat:
    """Temperatures of a vehicle's parts, kelvin above ambient."""

    body: float
    hood: float
    glass: float
    tyre: float
    under: float
    load: float


def vehicle_heat(rng: np.random.Generator, sun: float) -> Heat:
    """Choose hot, warm or cold; ``sun`` in 0..1 heats the body."""
    kind = rng.choice(["hot", "warm", "cold"], p=[0.4, 0.3, 0.3])
    body = rng.uniform(1, 7) * sun
    if kind == "cold":
        wet = rng.uniform(-3.5, -0.5)
        return Heat(wet, wet + 0.5, wet - 2, wet + 0.5, wet + 0.5, rng.uniform(-12, -2))
    strength = rng.uniform(0.8, 1.2) if kind == "hot" else rng.uniform(0.25, 0.6)
    return Heat(
        body=body + 2.0 * strength,
        hood=body + 13 * strength,
        glass=rng.uniform(-4, 0.5),
        tyre=9 * strength,
        under=16 * strength,
        load=rng.uniform(-10, 1.5),
    )


def _tone(color: Color, factor: float) -> Color:
    return (min(1, color[0] * factor), min(1, color[1] * factor), min(1, color[2] * factor))


def _smooth(points: list[Point], rounds: int = 2) -> list[Point]:
    """Round a polygon's corners by cutting them (Chaikin)."""
    for _ in range(rounds):
        cut: list[Point] = []
        for (x0, y0), (x1, y1) in zip(points, [*points[1:], points[0]], strict=True):
            cut.append((0.8 * x0 + 0.2 * x1, 0.8 * y0 + 0.2 * y1))
            cut.append((0.2 * x0 + 0.8 * x1, 0.2 * y0 + 0.8 * y1))
        points = cut
    return points


def _wheel(p: Painter, x: float, radius: float, heat: Heat) -> None:
    p.ellipse((x, radius + 0.02), (radius * 1.18, radius * 1.16), (0.05, 0.05, 0.05), heat.under,
              round_=0)  # fmt: skip
    p.ellipse((x, radius), (radius, radius), _TYRE, heat.tyre, round_=0.3)
    p.ellipse((x, radius), (radius * 0.62, radius * 0.62), (0.5, 0.5, 0.52), heat.tyre * 1.3,
              round_=0.6)  # fmt: skip
    for k in range(5):
        a = 2 * np.pi * k / 5 + 0.3
        p.ellipse((x + 0.36 * radius * np.cos(a), radius + 0.36 * radius * np.sin(a)),
                  (radius * 0.13, radius * 0.13), (0.12, 0.12, 0.12), heat.tyre)  # fmt: skip
    p.ellipse((x, radius), (radius * 0.14, radius * 0.14), (0.3, 0.3, 0.3), heat.tyre * 1.5)


def car_side(rng: np.random.Generator, px_per_m: float, sun: float) -> Sprite:
    """Draw a car (saloon, hatchback or estate) driving to the right."""
    heat = vehicle_heat(rng, sun)
    paint = _PAINT[rng.integers(len(_PAINT))]
    length, roof = rng.uniform(3.9, 4.7), rng.uniform(1.4, 1.62)
    tail = rng.choice([-0.42, -0.3, -0.47])  # where the roof ends, as a share of the length
    half = length / 2
    belt = 0.62 * roof
    p = Painter(rng, (-half - 0.2, half + 0.2, -0.06, roof + 0.15), px_per_m)
    p.polygon([(-half + 0.2, 0.14), (half - 0.2, 0.14), (half - 0.3, 0.45), (-half + 0.3, 0.45)],
              (0.05, 0.05, 0.05), heat.under)  # fmt: skip
    body = _smooth([
        (-half, 0.3), (half - 0.05, 0.28), (half, 0.55), (half - 0.1, 0.5 * roof),
        (0.22 * length, belt), (0.07 * length, roof - 0.04), (-0.1 * length, roof),
        (tail * length * 0.75, roof - 0.06), (tail * length, belt + 0.1), (-half + 0.02, belt),
    ])  # fmt: skip
    p.polygon(body, paint, heat.body, round_=0.55, grain=0.015)
    p.polygon([(-half + 0.03, 0.3), (half - 0.06, 0.28), (half - 0.02, 0.46), (-half + 0.02, 0.46)],
              _tone(paint, 0.6), heat.body + 0.3, grain=0.015)  # fmt: skip
    p.polygon(_smooth([(0.24 * length, 0.42), (half - 0.06, 0.4), (half - 0.12, 0.5 * roof),
                       (0.24 * length, belt - 0.03)]),
              _tone(paint, 1.02), heat.hood, grain=0.015, round_=0.3)  # fmt: skip
    glass_top = roof - 0.1
    for x0, x1, x2, x3 in (
        (0.19 * length, 0.065 * length, -0.075 * length, -0.075 * length),
        (-0.1 * length, -0.1 * length, tail * length * 0.72, tail * length * 0.92),
    ):
        p.polygon([(x0, belt), (x1, glass_top), (x2, glass_top), (x3, belt)], _GLASS, heat.glass,
                  grain=0.02)  # fmt: skip
        p.polygon([(x1, glass_top), (x2, glass_top), (x2 - 0.02, glass_top - 0.1),
                   (x1 + 0.03, glass_top - 0.1)], (0.3, 0.34, 0.38), heat.glass)  # fmt: skip
    for x in (-0.088 * length, 0.17 * length, tail * length * 0.8):
        p.limb((x, 0.4), (x, belt), (0.008, 0.008), _tone(paint, 0.5), heat.body, round_=0)
    p.ellipse((half - 0.12, 0.62), (0.12, 0.07), (0.85, 0.85, 0.8), heat.hood * 0.6)
    p.ellipse((-half + 0.08, 0.72), (0.08, 0.1), (0.55, 0.08, 0.06), heat.body)
    for x in (-0.3 * length, 0.31 * length):
        _wheel(p, x, 0.32, heat)
    lights = [(half - 0.05, 0.62, 1.1, 1.0, _WHITE), (-half + 0.05, 0.72, 0.5, 0.7, _RED)]
    return Sprite([p.frame()], px_per_m, p.origin_px, lights=lights)


def car_end(rng: np.random.Generator, px_per_m: float, sun: float, front: bool) -> Sprite:
    """Draw a car from the front (coming) or the back (going)."""
    heat = vehicle_heat(rng, sun)
    paint = _PAINT[rng.integers(len(_PAINT))]
    half, roof = rng.uniform(0.84, 0.93), rng.uniform(1.4, 1.6)
    p = Painter(rng, (-half - 0.25, half + 0.25, -0.06, roof + 0.12), px_per_m)
    p.polygon([(-half + 0.05, 0.16), (half - 0.05, 0.16), (half - 0.05, 0.5), (-half + 0.05, 0.5)],
              (0.04, 0.04, 0.04), heat.under)  # fmt: skip
    for side in (-1, 1):
        x0, x1 = side * (half - 0.22), side * half
        p.polygon([(x0, 0), (x1, 0), (x1, 0.5), (x0, 0.5)], _TYRE, heat.tyre)
    p.polygon(_smooth([(-half, 0.24), (half, 0.24), (half, 0.86), (half - 0.16, 0.95),
                       (half - 0.3, roof), (-half + 0.3, roof), (-half + 0.16, 0.95),
                       (-half, 0.86)]), paint, heat.body, round_=0.5, grain=0.015)  # fmt: skip
    p.polygon([(-half + 0.2, 0.95), (half - 0.2, 0.95), (half - 0.34, roof - 0.1),
               (-half + 0.34, roof - 0.1)], _GLASS, heat.glass, grain=0.02)  # fmt: skip
    p.polygon([(-half + 0.3, roof - 0.22), (half - 0.3, roof - 0.22), (half - 0.34, roof - 0.1),
               (-half + 0.34, roof - 0.1)], (0.3, 0.34, 0.38), heat.glass)  # fmt: skip
    if front:
        p.polygon([(-half + 0.12, 0.7), (half - 0.12, 0.7), (half - 0.2, 0.93),
                   (-half + 0.2, 0.93)], _tone(paint, 1.04), heat.hood, grain=0.015)  # fmt: skip
        p.polygon([(-half + 0.34, 0.42), (half - 0.34, 0.42), (half - 0.3, 0.66),
                   (-half + 0.3, 0.66)], (0.07, 0.07, 0.07), heat.hood * 1.15)  # fmt: skip
    else:
        p.polygon([(-half + 0.06, 0.3), (half - 0.06, 0.3), (half - 0.06, 0.46),
                   (-half + 0.06, 0.46)], _tone(paint, 0.6), heat.body)  # fmt: skip
        p.ellipse((half - 0.35, 0.26), (0.07, 0.05), (0.1, 0.1, 0.1), heat.under * 1.6)
    lamp = (0.88, 0.88, 0.84) if front else (0.6, 0.07, 0.05)
    for side in (-1, 1):
        p.ellipse((side * (half - 0.17), 0.66), (0.15, 0.085), lamp, heat.hood * 0.4)
        p.limb((side * half, 0.98), (side * (half + 0.13), 1.0), (0.06, 0.07), _tone(paint, 0.8),
               heat.body)  # fmt: skip
    p.polygon([(-0.25, 0.5), (0.25, 0.5), (0.25, 0.61), (-0.25, 0.61)], (0.8, 0.8, 0.75),
              heat.body)  # fmt: skip
    color, strength, radius = (_WHITE, 1.0, 1.0) if front else (_RED, 0.7, 0.45)
    lights = [(side * (half - 0.17), 0.66, radius, strength, color) for side in (-1, 1)]
    return Sprite([p.frame()], px_per_m, p.origin_px, lights=lights)


def truck_side(rng: np.random.Generator, px_per_m: float, sun: float) -> Sprite:
    """Draw a small truck to the right; its box is often at air temperature or colder."""
    heat = vehicle_heat(rng, sun)
    cab = _PAINT[rng.integers(len(_PAINT))]
    box = ((0.86, 0.86, 0.84), (0.35, 0.45, 0.55), (0.7, 0.66, 0.55))[rng.integers(3)]
    length, top = rng.uniform(5.4, 6.6), rng.uniform(2.5, 2.95)
    half = length / 2
    p = Painter(rng, (-half - 0.2, half + 0.2, -0.06, top + 0.15), px_per_m)
    p.polygon([(-half + 0.1, 0.35), (half - 0.1, 0.35), (half - 0.1, 0.75), (-half + 0.1, 0.75)],
              (0.07, 0.07, 0.07), heat.under * 0.7)  # fmt: skip
    cab_x = half - 1.75
    p.polygon([(-half, 0.7), (cab_x - 0.08, 0.7), (cab_x - 0.08, top), (-half, top)], box,
              heat.load, round_=0.12, grain=0.02)  # fmt: skip
    stripe = _PAINT[rng.integers(len(_PAINT))]
    low = rng.uniform(0.9, 1.5)
    p.polygon([(-half, low), (cab_x - 0.08, low), (cab_x - 0.08, low + 0.35), (-half, low + 0.35)],
              stripe, heat.load + 0.2, grain=0.02)  # fmt: skip
    for x in np.arange(-half + 0.9, cab_x - 0.4, 0.9):
        p.limb((x, 0.75), (x, top - 0.05), (0.012, 0.012), _tone(box, 0.75), heat.load, round_=0)
    p.polygon(_smooth([(cab_x, 0.4), (half, 0.4), (half, 1.15), (half - 0.42, 2.1),
                       (half - 0.6, 2.2), (cab_x, 2.2)]), cab, heat.body, round_=0.5,
              grain=0.015)  # fmt: skip
    p.polygon([(cab_x + 0.55, 1.3), (half - 0.2, 1.3), (half - 0.52, 2.02), (cab_x + 0.55, 2.02)],
              _GLASS, heat.glass)  # fmt: skip
    p.polygon([(half - 0.8, 0.5), (half - 0.05, 0.5), (half - 0.08, 1.0), (half - 0.8, 1.05)],
              _tone(cab, 0.95), heat.hood)  # fmt: skip
    p.ellipse((half - 0.06, 0.72), (0.08, 0.1), (0.85, 0.85, 0.8), heat.hood * 0.5)
    for x in (-half + 1.1, half - 0.95):
        _wheel(p, x, 0.42, heat)
    lights = [(half - 0.02, 0.72, 1.2, 1.0, _WHITE), (-half + 0.02, 0.8, 0.5, 0.7, _RED)]
    return Sprite([p.frame()], px_per_m, p.origin_px, lights=lights)
