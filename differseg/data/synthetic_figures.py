"""People, cyclists and animals of synthetic scenes, with the frames of their gait.

Heights and limb shares follow ordinary body proportions; temperatures are kelvin above ambient.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from differseg.data.synthetic_sprites import Color, Painter, Point, Sprite

_SKIN: tuple[Color, ...] = ((0.80, 0.62, 0.52), (0.66, 0.47, 0.37), (0.45, 0.31, 0.25))
_CLOTH: tuple[Color, ...] = (
    (0.16, 0.17, 0.20), (0.22, 0.26, 0.38), (0.45, 0.15, 0.15), (0.75, 0.74, 0.72),
    (0.30, 0.34, 0.28), (0.55, 0.45, 0.33), (0.12, 0.12, 0.13), (0.24, 0.38, 0.52),
    (0.62, 0.55, 0.22), (0.40, 0.40, 0.42), (0.20, 0.30, 0.24), (0.52, 0.30, 0.40),
)  # fmt: skip


@dataclass(frozen=True)
class Dress:
    """What a person looks like in both cameras (colours 0..1 RGB, kelvin above ambient)."""

    height_m: float
    skin: Color
    hair: Color
    top: Color
    legs: Color
    shoe: Color
    skin_k: float
    hair_k: float
    top_k: float
    legs_k: float
    pack: Color | None
    coat: bool


def dress(rng: np.random.Generator, ambient_k: float) -> Dress:
    """Choose a person; clothes lie between air and skin temperature, rarely at air temperature."""
    skin_k = 305.5 - 0.18 * (297 - ambient_k) - ambient_k
    warm = rng.uniform(0.3, 0.62)
    if rng.uniform() < 0.12:  # a wet or well insulated coat
        warm = rng.uniform(-0.05, 0.12)
    hair = rng.uniform(0.05, 0.3)
    return Dress(
        height_m=rng.uniform(1.5, 1.9),
        skin=_SKIN[rng.integers(len(_SKIN))],
        hair=(hair, hair * 0.85, hair * 0.7),
        top=_CLOTH[rng.integers(len(_CLOTH))],
        legs=_CLOTH[rng.integers(len(_CLOTH))],
        shoe=(0.12, 0.11, 0.11) if rng.uniform() < 0.7 else (0.7, 0.7, 0.7),
        skin_k=skin_k,
        hair_k=skin_k * 0.55,
        top_k=skin_k * warm,
        legs_k=skin_k * (warm * 0.85),
        pack=_CLOTH[rng.integers(len(_CLOTH))] if rng.uniform() < 0.35 else None,
        coat=bool(rng.uniform() < 0.35),
    )


def _darker(color: Color, factor: float) -> Color:
    return (color[0] * factor, color[1] * factor, color[2] * factor)


def _ahead(start: Point, length: float, angle: float) -> Point:
    """Return the end of a limb that hangs down and swings forward by ``angle`` (radians)."""
    return start[0] + length * np.sin(angle), start[1] - length * np.cos(angle)


def _leg_side(p: Painter, hip: Point, phase: float, d: Dress, far: bool) -> None:
    h = d.height_m
    thigh = 0.44 * np.sin(phase)
    knee = 0.08 + 0.95 * max(0.0, float(np.cos(phase))) ** 2
    mid = _ahead(hip, 0.245 * h, thigh)
    foot = _ahead(mid, 0.235 * h, thigh - knee)
    tone = 0.72 if far else 1.0
    cloth = _darker(d.legs, tone)
    p.limb(mid, foot, (0.038 * h, 0.026 * h), cloth, d.legs_k, cool_edge_k=0.8)
    p.limb(hip, mid, (0.055 * h, 0.04 * h), cloth, d.legs_k, cool_edge_k=0.8)
    tip = (foot[0] + 0.085 * h * np.cos(thigh - knee), foot[1] - 0.02 * h)
    p.limb(foot, tip, (0.022 * h, 0.018 * h), _darker(d.shoe, tone), d.legs_k * 0.4)


def _arm_side(p: Painter, shoulder: Point, phase: float, d: Dress, far: bool) -> None:
    h = d.height_m
    upper = -0.4 * np.sin(phase)
    elbow = _ahead(shoulder, 0.165 * h, upper)
    hand = _ahead(elbow, 0.15 * h, upper + 0.35)
    cloth = _darker(d.top, 0.7 if far else 0.94)
    p.limb(elbow, hand, (0.026 * h, 0.02 * h), cloth, d.top_k * 0.95, cool_edge_k=0.6)
    p.limb(shoulder, elbow, (0.036 * h, 0.028 * h), cloth, d.top_k, cool_edge_k=0.6)
    end = _ahead(elbow, 0.18 * h, upper + 0.35)
    p.ellipse(end, (0.022 * h, 0.026 * h), d.skin, d.skin_k * 0.75)


def _reach(phase: float) -> float:
    """Return how far a leg (in body heights) reaches below the hip."""
    thigh = 0.44 * np.sin(phase)
    knee = 0.08 + 0.95 * max(0.0, float(np.cos(phase))) ** 2
    return float(0.245 * np.cos(thigh) + 0.235 * np.cos(thigh - knee) + 0.038)


def _head(p: Painter, center: Point, d: Dress, facing: float) -> None:
    """Paint head, face and hair; ``facing`` 1 looks right, 0 at the camera, -1 away."""
    h = d.height_m
    radius = (0.05 * h, 0.066 * h)
    away = facing < 0
    p.ellipse(center, radius, d.hair if away else d.skin, d.hair_k if away else d.skin_k)
    if away:
        return
    back = center[0] - 0.022 * h * facing
    p.ellipse((back, center[1] + 0.028 * h), (0.046 * h, 0.045 * h), d.hair, d.hair_k)
    if facing > 0:
        p.ellipse((center[0] - 0.03 * h, center[1] + 0.01 * h), (0.026 * h, 0.045 * h),
                  d.hair, d.hair_k)  # fmt: skip


def _person_side(p: Painter, phase: float, d: Dress) -> None:
    h = d.height_m
    hip = (0.0, h * max(_reach(phase), _reach(phase + np.pi)))
    shoulder = (0.02 * h, hip[1] + 0.29 * h)
    _arm_side(p, shoulder, phase + np.pi, d, far=True)
    _leg_side(p, hip, phase + np.pi, d, far=True)
    _leg_side(p, hip, phase, d, far=False)
    if d.pack is not None:
        p.limb((-0.09 * h, hip[1] + 0.1 * h), (-0.075 * h, hip[1] + 0.25 * h),
               (0.062 * h, 0.05 * h), d.pack, d.top_k * 0.25)  # fmt: skip
    low = hip[1] - (0.12 * h if d.coat else 0.02 * h)
    p.polygon(
        [(-0.075 * h, low), (0.075 * h, low), (0.07 * h, hip[1] + 0.12 * h),
         (0.085 * h, hip[1] + 0.24 * h), (0.045 * h, hip[1] + 0.315 * h),
         (-0.02 * h, hip[1] + 0.32 * h), (-0.07 * h, hip[1] + 0.27 * h)],
        d.top, d.top_k, round_=0.9, cool_edge_k=1.0,
    )  # fmt: skip
    neck = (0.02 * h, hip[1] + 0.31 * h)
    p.limb(neck, (0.03 * h, hip[1] + 0.36 * h), (0.034 * h, 0.03 * h), d.skin, d.skin_k)
    _head(p, (0.035 * h, hip[1] + 0.415 * h), d, 1)
    _arm_side(p, shoulder, phase, d, far=False)


def _person_front(p: Painter, phase: float, d: Dress, away: bool) -> None:
    h = d.height_m
    sway = 0.012 * h * np.sin(phase)
    hip_y = 0.51 * h + 0.008 * h * np.cos(2 * phase)
    for side in (-1.0, 1.0):
        lift = max(0.0, side * float(np.sin(phase))) * 0.07 * h
        hip = (sway + side * 0.05 * h, hip_y)
        knee = (sway + side * 0.058 * h, hip_y - 0.24 * h + 0.35 * lift)
        foot = (side * 0.055 * h, 0.03 * h + lift)
        tone = _darker(d.legs, 1.0 if lift > 0 else 0.88)
        p.limb(knee, foot, (0.042 * h, 0.028 * h), tone, d.legs_k, cool_edge_k=0.8)
        p.limb(hip, knee, (0.06 * h, 0.044 * h), tone, d.legs_k, cool_edge_k=0.8)
        p.ellipse((foot[0], foot[1] - 0.012 * h), (0.034 * h, 0.022 * h), d.shoe, d.legs_k * 0.4)
        swing = -side * 0.06 * float(np.sin(phase))
        shoulder = (sway + side * 0.105 * h, hip_y + 0.28 * h)
        elbow = (sway + side * 0.135 * h, hip_y + 0.13 * h + swing * 0.2 * h)
        hand = (sway + side * (0.13 - abs(swing)) * h, hip_y - 0.02 * h + swing * h)
        sleeve = _darker(d.top, 0.9)
        p.limb(elbow, hand, (0.027 * h, 0.02 * h), sleeve, d.top_k * 0.9, cool_edge_k=0.6)
        p.limb(shoulder, elbow, (0.04 * h, 0.03 * h), sleeve, d.top_k, cool_edge_k=0.6)
        p.ellipse(hand, (0.022 * h, 0.028 * h), d.skin, d.skin_k * 0.75)
    low = hip_y - (0.12 * h if d.coat else 0.02 * h)
    p.polygon(
        [(sway - 0.1 * h, low), (sway + 0.1 * h, low), (sway + 0.09 * h, hip_y + 0.1 * h),
         (sway + 0.13 * h, hip_y + 0.27 * h), (sway + 0.05 * h, hip_y + 0.325 * h),
         (sway - 0.05 * h, hip_y + 0.325 * h), (sway - 0.13 * h, hip_y + 0.27 * h),
         (sway - 0.09 * h, hip_y + 0.1 * h)],
        d.top, d.top_k, round_=0.8, cool_edge_k=1.0,
    )  # fmt: skip
    if d.pack is not None and away:
        p.limb((sway, hip_y + 0.08 * h), (sway, hip_y + 0.24 * h), (0.08 * h, 0.07 * h),
               d.pack, d.top_k * 0.25)  # fmt: skip
    p.limb((sway, hip_y + 0.31 * h), (sway, hip_y + 0.36 * h), (0.036 * h, 0.032 * h),
           d.skin, d.skin_k)  # fmt: skip
    _head(p, (sway, hip_y + 0.42 * h), d, -1 if away else 0)


def person(
    rng: np.random.Generator, px_per_m: float, ambient_k: float, view: str, frames: int = 14
) -> Sprite:
    """Draw a walking person; ``view`` is ``side`` (looks right), ``front`` or ``back``."""
    d = dress(rng, ambient_k)
    pictures = []
    p = Painter(rng, (-0.62, 0.62, -0.08, 2.05), px_per_m)
    for k in range(frames):
        phase = 2 * np.pi * k / frames
        if view == "side":
            _person_side(p, phase, d)
        else:
            _person_front(p, phase, d, view == "back")
        pictures.append(p.frame())
    return Sprite(pictures, px_per_m, p.origin_px, stride_m=0.82 * d.height_m)


def _wheel(p: Painter, center: Point, radius: float, turn: float, heat_k: float) -> None:
    for spoke in range(4):
        a = turn + spoke * np.pi / 4
        dx, dy = 0.94 * radius * np.cos(a), 0.94 * radius * np.sin(a)
        p.limb((center[0] - dx, center[1] - dy), (center[0] + dx, center[1] + dy),
               (0.006, 0.006), (0.5, 0.5, 0.5), 0.3, round_=0)  # fmt: skip
    p.ellipse(center, (radius, radius), (0.1, 0.1, 0.1), heat_k, hole=0.86, round_=0)


def _rider(p: Painter, seat: Point, bars: Point, turn: float, d: Dress) -> None:
    h = d.height_m
    crank = (0.05, 0.3)
    for far, offset in ((True, np.pi), (False, 0.0)):
        a = -(turn + offset)
        pedal = (crank[0] + 0.16 * np.cos(a), crank[1] + 0.16 * np.sin(a))
        reach = np.hypot(pedal[0] - seat[0], pedal[1] - seat[1])
        bone = 0.25 * h
        bend = np.arccos(np.clip(reach / (2 * bone), 0, 1))
        base = np.arctan2(pedal[1] - seat[1], pedal[0] - seat[0])
        knee = (seat[0] + bone * np.cos(base + bend), seat[1] + bone * np.sin(base + bend))
        cloth = _darker(d.legs, 0.72 if far else 1.0)
        p.limb(seat, knee, (0.06 * h, 0.042 * h), cloth, d.legs_k, cool_edge_k=0.8)
        p.limb(knee, pedal, (0.04 * h, 0.028 * h), cloth, d.legs_k, cool_edge_k=0.8)
        p.limb(pedal, (pedal[0] + 0.13, pedal[1]), (0.035, 0.028), d.shoe, d.legs_k * 0.4)
    shoulder = (seat[0] + 0.17 * h, seat[1] + 0.27 * h)
    p.limb(seat, shoulder, (0.085 * h, 0.085 * h), d.top, d.top_k, cool_edge_k=1.0)
    if d.pack is not None:
        p.limb((seat[0] - 0.02, seat[1] + 0.2), (shoulder[0] - 0.14, shoulder[1] - 0.03),
               (0.09, 0.08), d.pack, d.top_k * 0.25)  # fmt: skip
    elbow = (shoulder[0] + 0.08, shoulder[1] - 0.24)
    p.limb(shoulder, elbow, (0.04 * h, 0.03 * h), _darker(d.top, 0.93), d.top_k)
    p.limb(elbow, bars, (0.03 * h, 0.022 * h), _darker(d.top, 0.93), d.top_k * 0.9)
    p.ellipse(bars, (0.035, 0.035), d.skin, d.skin_k * 0.7)
    _head(p, (shoulder[0] + 0.07 * h, shoulder[1] + 0.12 * h), d, 1)


def cyclist(
    rng: np.random.Generator, px_per_m: float, ambient_k: float, frames: int = 14
) -> Sprite:
    """Draw a person on a bicycle, riding to the right."""
    d = dress(rng, ambient_k)
    frame_color = _CLOTH[rng.integers(len(_CLOTH))]
    pictures = []
    p = Painter(rng, (-1.0, 1.0, -0.08, 2.0), px_per_m)
    for k in range(frames):
        turn = 2 * np.pi * k / frames
        rear, front, crank = (-0.5, 0.34), (0.56, 0.34), (0.05, 0.3)
        seat, head = (-0.16, 0.88), (0.38, 0.86)
        _wheel(p, rear, 0.34, -turn, 1.5)
        _wheel(p, front, 0.34, -turn, 1.5)
        for a, b in ((rear, crank), (crank, seat), (seat, head), (crank, head), (rear, seat),
                     (front, head)):  # fmt: skip
            p.limb(a, b, (0.02, 0.02), frame_color, 0.4, round_=0.3)
        p.limb((-0.24, 0.92), (-0.06, 0.92), (0.045, 0.03), (0.1, 0.1, 0.1), 1.0)
        p.limb(head, (0.42, 1.06), (0.018, 0.018), (0.3, 0.3, 0.3), 0.3)
        _rider(p, (-0.14, 0.98), (0.46, 1.07), turn, d)
        pictures.append(p.frame())
    lamp = (0.48, 0.95, 0.5, 0.8, (1.0, 0.97, 0.9))
    return Sprite(pictures, px_per_m, p.origin_px, stride_m=4.4, lights=[lamp])


def dog(rng: np.random.Generator, px_per_m: float, ambient_k: float, frames: int = 10) -> Sprite:
    """Draw a dog trotting to the right; its fur is a few kelvin above ambient."""
    size = rng.uniform(0.75, 1.15)
    fur = ((0.36, 0.24, 0.15), (0.12, 0.11, 0.11), (0.68, 0.62, 0.52))[rng.integers(3)]
    core = 309.0 - ambient_k
    fur_k, bare_k = 0.36 * core, 0.8 * core
    pictures = []
    p = Painter(rng, (-0.85, 0.85, -0.06, 1.0), px_per_m)
    for k in range(frames):
        phase = 2 * np.pi * k / frames
        for x, offset, far in ((-0.26, 0.0, True), (0.26, np.pi, True), (-0.24, np.pi, False),
                               (0.28, 0.0, False)):  # fmt: skip
            swing = 0.5 * np.sin(phase + offset)
            hip = (x * size, 0.42 * size)
            knee = _ahead(hip, 0.2 * size, swing)
            bend = 0.7 * max(0.0, float(np.cos(phase + offset)))
            foot = _ahead(knee, 0.2 * size, swing - bend)
            tone = _darker(fur, 0.7 if far else 1.0)
            p.limb(hip, knee, (0.075 * size, 0.045 * size), tone, fur_k)
            p.limb(knee, foot, (0.04 * size, 0.03 * size), tone, fur_k * 0.8)
        p.limb((-0.3 * size, 0.52 * size), (0.3 * size, 0.5 * size), (0.12 * size, 0.15 * size),
               fur, fur_k, cool_edge_k=1.0)  # fmt: skip
        tail = 0.1 * np.sin(2 * phase)
        p.limb((-0.36 * size, 0.56 * size), ((-0.6 + tail) * size, 0.74 * size),
               (0.04 * size, 0.02 * size), fur, fur_k * 0.7)  # fmt: skip
        p.limb((0.34 * size, 0.56 * size), (0.48 * size, 0.74 * size), (0.11 * size, 0.08 * size),
               fur, fur_k)  # fmt: skip
        p.limb((0.5 * size, 0.78 * size), (0.68 * size, 0.73 * size), (0.1 * size, 0.05 * size),
               fur, 0.5 * (fur_k + bare_k))  # fmt: skip
        p.ellipse((0.54 * size, 0.8 * size), (0.03 * size, 0.03 * size), (0.05, 0.05, 0.05), bare_k)
        p.limb((0.46 * size, 0.86 * size), (0.41 * size, 0.74 * size), (0.03 * size, 0.05 * size),
               _darker(fur, 0.7), bare_k * 0.8)  # fmt: skip
        pictures.append(p.frame())
    return Sprite(pictures, px_per_m, p.origin_px, stride_m=0.9 * size)
