"""Things that stand still in synthetic scenes: trees, lamp posts, signs, cabinets, posters.

None of them belongs to the mask, however warm, cold or person-like it looks.
"""

from __future__ import annotations

import numpy as np

from differseg.data.synthetic_figures import person
from differseg.data.synthetic_sprites import Color, Painter, Sprite, SpriteFrame
from differseg.data.synthetic_textures import Float, Surface, foliage, noise_image
from differseg.data.synthetic_vehicles import car_side


def _sprite_of(surface: Surface, px_per_m: float, origin_px: tuple[float, float]) -> Sprite:
    """Wrap a surface, padded so that its size can be halved, as a motionless prop."""
    pad = [(0, -size % 8) for size in surface.alpha.shape]
    alpha = np.pad(surface.alpha, pad)
    color = np.pad(surface.color, [*pad, (0, 0)])
    heat = np.pad(surface.heat_k, pad)
    frame = SpriteFrame.from_arrays(
        np.dstack([color * alpha[..., None], alpha]).astype(np.float32),
        np.dstack([heat * alpha, alpha]).astype(np.float32),
    )
    return Sprite([frame], px_per_m, origin_px, foreground=False)


def tree(rng: np.random.Generator, px_per_m: float, sun: float) -> Sprite:
    """Draw a tree with trunk and crown."""
    crown_h, crown_w = rng.uniform(3.0, 5.0), rng.uniform(3.0, 5.2)
    trunk_h, radius = rng.uniform(1.9, 3.0), rng.uniform(0.12, 0.3)
    height = round((crown_h + trunk_h - 0.6) * px_per_m)
    width = round(crown_w * px_per_m)
    surface = _trunk(rng, (height, width), radius * px_per_m, crown_h * 0.6 * px_per_m)
    crown = foliage(rng, (round(crown_h * px_per_m), width), max(2.0, 0.14 * px_per_m))
    over = crown.alpha.shape[0]
    cover = crown.alpha[..., None]
    surface.color[:over] = surface.color[:over] * (1 - cover) + crown.color * cover
    surface.heat_k[:over] = (
        surface.heat_k[:over] * (1 - crown.alpha) + (crown.heat_k + sun) * crown.alpha
    )
    surface.alpha[:over] = np.maximum(surface.alpha[:over], crown.alpha)
    return _sprite_of(surface, px_per_m, ((width - 1) / 2, height - 1.0))


def _trunk(
    rng: np.random.Generator, size_hw: tuple[int, int], radius_px: float, top_px: float
) -> Surface:
    height, width = size_hw
    x = np.arange(width, dtype=np.float32)[None, :] - np.float32((width - 1) / 2)
    y = np.arange(height, dtype=np.float32)[:, None]
    bark = noise_image(rng, size_hw, 1.0, 0.6)
    lean = np.float32(rng.uniform(-0.05, 0.05)) * (height - y)
    flare = radius_px * (1 + 0.5 * np.exp((y - height) / np.float32(3 * radius_px + 1)))
    across = (x - lean) / flare
    alpha = np.clip((1.02 - np.abs(across)) * radius_px, 0, 1) * (y > top_px)
    round_shade = np.sqrt(np.clip(1 - across * across, 0.05, 1))
    shade = (0.55 + 0.45 * round_shade - 0.12 * across) * (1 + 0.18 * bark)
    base = np.array([0.36, 0.30, 0.24], np.float32) * np.float32(rng.uniform(0.7, 1.15))
    color = np.clip(shade[..., None] * base, 0, 1).astype(np.float32)
    heat = (1.0 + 0.4 * bark + 0.6 * across).astype(np.float32)
    return Surface(color, alpha.astype(np.float32), np.zeros_like(color), heat)


def hedge(rng: np.random.Generator, px_per_m: float, length_m: float, height_m: float) -> Sprite:
    """Draw a hedge or a shrub."""
    size_hw = (round(height_m * px_per_m), round(length_m * px_per_m))
    surface = foliage(rng, size_hw, max(2.0, 0.1 * px_per_m), box=True)
    return _sprite_of(surface, px_per_m, ((size_hw[1] - 1) / 2, size_hw[0] - 1.0))


def lamp_post(rng: np.random.Generator, px_per_m: float, height_m: float, lit: bool) -> Sprite:
    """Draw a lamp post; the head is hot when it burns."""
    p = Painter(rng, (-0.3, 0.9, -0.05, height_m + 0.3), px_per_m)
    metal: Color = (0.34, 0.36, 0.36)
    p.limb((0, 0.1), (0, height_m - 0.3), (0.075, 0.045), metal, 1.0)
    p.limb((0, height_m - 0.3), (0.55, height_m), (0.045, 0.035), metal, 0.5)
    head: Color = (1.0, 0.98, 0.9) if lit else (0.7, 0.7, 0.68)
    p.ellipse((0.6, height_m - 0.03), (0.22, 0.09), head, 22.0 if lit else 1.5)
    p.polygon([(-0.14, 0), (0.14, 0), (0.1, 0.5), (-0.1, 0.5)], metal, 2.0, round_=0.5)
    return Sprite([p.frame()], px_per_m, p.origin_px, foreground=False)


def sign(rng: np.random.Generator, px_per_m: float) -> Sprite:
    """Draw a traffic sign on a pole."""
    height = rng.uniform(2.2, 2.8)
    p = Painter(rng, (-0.45, 0.45, -0.05, height + 0.45), px_per_m)
    p.limb((0, 0), (0, height), (0.035, 0.035), (0.55, 0.55, 0.55), rng.uniform(-1, 2))
    heat = rng.uniform(-2, 3)
    face: Color = ((0.75, 0.1, 0.1), (0.12, 0.25, 0.6), (0.85, 0.75, 0.15))[rng.integers(3)]
    p.ellipse((0, height), (0.34, 0.34), (0.85, 0.85, 0.85), heat, round_=0)
    p.ellipse((0, height), (0.31, 0.31), face, heat, round_=0)
    p.polygon([(-0.2, height - 0.05), (0.2, height - 0.05), (0.2, height + 0.06),
               (-0.2, height + 0.06)], (0.9, 0.9, 0.9), heat)  # fmt: skip
    return Sprite([p.frame()], px_per_m, p.origin_px, foreground=False)


def pole(rng: np.random.Generator, px_per_m: float) -> Sprite:
    """Draw a plain pole, thin as a bollard or thick as a column."""
    height = rng.choice([rng.uniform(0.8, 1.1), rng.uniform(3.5, 6.0)])
    radius = rng.uniform(0.06, 0.16)
    tone = rng.uniform(0.25, 0.7)
    p = Painter(rng, (-0.4, 0.4, -0.05, height + 0.2), px_per_m)
    heat = rng.uniform(-1.0, 4.0)
    p.limb((0, 0.02), (0, height), (radius, radius), (tone, tone, tone * 0.97), heat)
    p.polygon([(-radius, height * 0.78), (radius, height * 0.78), (radius, height * 0.88),
               (-radius, height * 0.88)], (0.8, 0.7, 0.2), heat, round_=0.6)  # fmt: skip
    return Sprite([p.frame()], px_per_m, p.origin_px, foreground=False)


def cabinet(rng: np.random.Generator, px_per_m: float) -> Sprite:
    """Draw an electric cabinet or a waste bin: warm or cold, about as large as a person."""
    width, height = rng.uniform(0.5, 1.1), rng.uniform(0.8, 1.6)
    tone = rng.uniform(0.3, 0.6)
    heat = rng.uniform(-3, 11)
    p = Painter(rng, (-width, width, -0.05, height + 0.2), px_per_m)
    half = width / 2
    p.polygon([(-half, 0), (half, 0), (half, height), (-half, height)],
              (tone, tone * 1.04, tone * 0.95), heat, round_=0.15)  # fmt: skip
    p.polygon([(-half - 0.03, height - 0.06), (half + 0.03, height - 0.06),
               (half + 0.03, height + 0.03), (-half - 0.03, height + 0.03)],
              (tone * 0.8, tone * 0.8, tone * 0.8), heat * 0.7)  # fmt: skip
    for y in np.arange(0.25, height - 0.15, 0.12):
        p.limb((-half * 0.6, y), (half * 0.6, y), (0.012, 0.012), (tone * 0.6,) * 3, heat * 1.2,
               round_=0)  # fmt: skip
    return Sprite([p.frame()], px_per_m, p.origin_px, foreground=False)


def poster(rng: np.random.Generator, px_per_m: float) -> Surface:
    """Print a person or a car on a board: life-like in colour, one flat temperature."""
    scale = px_per_m * 0.8
    person_like = rng.uniform() < 0.6
    figure = (
        person(rng, scale, 290.0, "front", frames=1)
        if person_like
        else car_side(rng, scale * 0.6, 0.0)
    )
    rgba = figure.frames[0].rgba[0].astype(np.float32) / 255
    height, width = rgba.shape[0] + 10, rgba.shape[1] + 14
    ramp = np.linspace(0.95, 0.6, height, dtype=np.float32)[:, None, None]
    color: Float = np.ones((height, width, 3), np.float32) * ramp
    color *= rng.uniform(0.35, 1.0, 3).astype(np.float32)
    inner = color[5:-5, 7:-7]
    inner[:] = inner * (1 - rgba[..., 3:]) + rgba[..., :3]
    color[:3] = color[-3:] = 0.12
    color[:, :3] = color[:, -3:] = 0.12
    heat = np.full((height, width), rng.uniform(-1.5, 2.5), np.float32)
    heat += 0.1 * noise_image(rng, (height, width), 2.0, 1.0)
    return Surface(color, np.ones((height, width), np.float32), np.zeros_like(color), heat)
