"""Procedural textures for synthetic scenes: noise, foliage, sky and building fronts.

Every function draws from the generator it is given and nothing else, so equal generators give
equal bytes.  Colours are gamma-encoded reflectances in 0..1, (H, W, 3) float32, RGB order:
multiplying such a colour by a gamma-encoded light (``light ** (1 / 2.2)``) is exact for a
power-law display curve, which keeps lighting a plain product at run time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Float = npt.NDArray[Any]


@dataclass
class Surface:
    """A flat picture of something: colour, cover, own light and temperature.

    Attributes:
        color: (H, W, 3) float32, gamma-encoded reflectance in 0..1, RGB.
        alpha: (H, W) float32, cover in 0..1.
        emit: (H, W, 3) float32, gamma-encoded light that the surface sends out itself.
        heat_k: (H, W) float32, kelvin above the scene's reference temperature.
    """

    color: Float
    alpha: Float
    emit: Float
    heat_k: Float


def noise_tile(rng: np.random.Generator, size: int = 256, slope: float = 1.0) -> Float:
    """Return tileable noise (size, size) with amplitude ~ 1 / f ** slope, mean 0 and std 1.

    ``slope`` 0 is white, 1 looks like concrete or grass, 1.6 like clouds.
    """
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :])
    frequency[0, 0] = 1.0
    shape = frequency.shape
    spectrum = (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)) / frequency**slope
    spectrum[0, 0] = 0.0
    tile = np.fft.irfft2(spectrum, s=(size, size)).astype(np.float32)
    return tile / np.float32(tile.std())


def noise_image(
    rng: np.random.Generator, size_hw: tuple[int, int], scale_px: float, slope: float = 1.0
) -> Float:
    """Return noise (H, W), std about 1, whose coarsest features span about ``64 * scale_px``."""
    tile = noise_tile(rng, 128, slope)
    height, width = size_hw
    x = np.arange(width, dtype=np.float32)[None, :] / np.float32(scale_px)
    y = np.arange(height, dtype=np.float32)[:, None] / np.float32(scale_px)
    shift = rng.uniform(0, 128, 2).astype(np.float32)
    grid_x = np.broadcast_to(np.mod(x + shift[0], 128), size_hw)
    grid_y = np.broadcast_to(np.mod(y + shift[1], 128), size_hw)
    padded = cv2.copyMakeBorder(tile, 0, 1, 0, 1, cv2.BORDER_WRAP)
    return cv2.remap(
        padded, np.ascontiguousarray(grid_x), np.ascontiguousarray(grid_y), cv2.INTER_LINEAR
    )


def smoothstep(low: float, high: float, value: Float) -> Float:
    """Ramp from 0 at ``low`` to 1 at ``high`` with flat ends."""
    t = np.clip((value - low) / np.float32(high - low), 0, 1)
    return t * t * (3 - 2 * t)


def tinted(base: tuple[float, float, float], variation: Float, amount: float) -> Float:
    """Spread a grey variation (H, W) over a base colour; returns (H, W, 3) in 0..1."""
    factor = 1 + np.float32(amount) * variation
    return np.clip(factor[..., None] * np.asarray(base, np.float32), 0, 1)


def foliage(
    rng: np.random.Generator, size_hw: tuple[int, int], leaf_px: float, box: bool = False
) -> Surface:
    """Draw a tree crown (elliptic) or a hedge (box): clumps of leaves lit from above.

    Args:
        rng: Source of all randomness.
        size_hw: Size of the picture in pixels; the plant fills it.
        leaf_px: Size of the finest leaf texture.
        box: A hedge, square and dense, in place of a crown.
    """
    height, width = size_hw
    yy, xx = np.mgrid[0:height, 0:width].astype(np.float32)
    best = np.full(size_hw, -1.0, np.float32)
    light = np.zeros(size_hw, np.float32)
    side = min(height, width)
    clumps = max(70, round(26 * width / height)) if box else 46
    for _ in range(clumps):
        radius = side * rng.uniform(0.13, 0.26) * (1.2 if box else 1.0)
        if box:
            cx, cy = rng.uniform(0, width), rng.uniform(radius * 0.8, height)
        else:
            angle, spread = rng.uniform(0, 2 * np.pi), np.sqrt(rng.uniform(0, 1))
            cx = width / 2 + np.cos(angle) * spread * (width / 2 - radius)
            cy = height / 2 + np.sin(angle) * spread * (height / 2 - radius)
        x0, x1 = max(0, int(cx - radius)), min(width, int(cx + radius) + 1)
        y0, y1 = max(0, int(cy - radius)), min(height, int(cy + radius) + 1)
        if x0 >= x1 or y0 >= y1:
            continue
        dx = (xx[y0:y1, x0:x1] - cx) / radius
        dy = (yy[y0:y1, x0:x1] - cy) / radius
        bump = 1 - dx * dx - dy * dy
        window = best[y0:y1, x0:x1]
        front = bump > window
        window[front] = bump[front]
        lit = 0.55 - 0.45 * dy - 0.2 * dx
        light[y0:y1, x0:x1][front] = lit[front]
    fine = noise_image(rng, size_hw, max(0.7, leaf_px / 3), 0.5)
    coarse = noise_image(rng, size_hw, max(1.5, leaf_px), 0.9)
    alpha = smoothstep(0.0, 0.25, best + 0.16 * fine + 0.12 * coarse)
    shade = np.clip(0.42 + 0.42 * light + 0.13 * fine + 0.08 * coarse, 0.12, 1.15)
    shade *= 1.1 - 0.35 * (yy / max(1, height))
    green = np.array([rng.uniform(0.24, 0.46), rng.uniform(0.40, 0.52), 0.17], np.float32)
    color = np.clip(shade[..., None] * green, 0, 1)
    color[..., 0] *= 1 + 0.12 * np.clip(coarse, -1, 1)
    heat = 0.35 * fine + 0.5 * coarse + 0.8 * (light - 0.5)
    zeros = np.zeros((*size_hw, 3), np.float32)
    return Surface(color, alpha, zeros, heat.astype(np.float32))


def sky(
    rng: np.random.Generator, size_hw: tuple[int, int], night: bool, overcast: float
) -> tuple[Float, Float]:
    """Return the sky's emitted colour (H, W, 3) and its cloud cover (H, W) in 0..1.

    The last row is the horizon.
    """
    height, width = size_hw
    up = np.linspace(1, 0, height, dtype=np.float32)[:, None]
    clouds = noise_image(rng, size_hw, max(2.0, width / 110), 1.5)
    # clouds flatten towards the horizon: stretch rows there
    rows = (np.linspace(0, 1, height, dtype=np.float32) ** 0.6 * (height - 1))[:, None]
    columns = np.broadcast_to(np.arange(width, dtype=np.float32)[None, :], size_hw)
    clouds = cv2.remap(
        clouds,
        np.ascontiguousarray(columns),
        np.ascontiguousarray(np.broadcast_to(rows, size_hw)),
        cv2.INTER_LINEAR,
    )
    cover = smoothstep(0.9 - 2.2 * overcast, 2.1 - 2.2 * overcast, clouds)
    if night:
        glow = np.array([0.16, 0.13, 0.13], np.float32) * np.float32(rng.uniform(0.5, 1.2))
        base = np.array([0.035, 0.04, 0.06], np.float32) + glow * (1 - up[..., None]) ** 2.5
        color = base * (1 + 0.5 * cover[..., None])
    else:
        top = np.array([0.38, 0.56, 0.82], np.float32)
        low = np.array([0.80, 0.87, 0.93], np.float32)
        blue = low + (top - low) * up[..., None] ** 0.7
        grey = np.float32(0.80 + 0.12 * rng.uniform()) + 0.05 * np.clip(clouds, -2, 2)
        color = blue * (1 - cover[..., None]) + grey[..., None] * cover[..., None]
    color = np.broadcast_to(color, (height, width, 3))
    return np.clip(color, 0, 1).astype(np.float32), cover


_WALLS = (
    (0.62, 0.58, 0.52), (0.70, 0.67, 0.62), (0.52, 0.36, 0.30), (0.58, 0.52, 0.42),
    (0.50, 0.52, 0.55), (0.74, 0.70, 0.58), (0.44, 0.40, 0.38),
)  # fmt: skip


def facade(
    rng: np.random.Generator, size_m: tuple[float, float], px_per_m: float, night: bool
) -> Surface:
    """Draw a building front with windows, a base course, stains and warm or cold spots.

    Args:
        rng: Source of all randomness.
        size_m: Width and height in metres.
        px_per_m: Resolution.
        night: Light some of the windows.
    """
    width, height = (max(8, round(s * px_per_m)) for s in size_m)
    size_hw = (height, width)
    wall = _WALLS[rng.integers(len(_WALLS))]
    grain = noise_image(rng, size_hw, 1.0, 0.4)
    stain = noise_image(rng, size_hw, px_per_m / 8, 1.3)
    streak = cv2.resize(noise_image(rng, (max(2, height // 10), width), 1.0, 0.8), (width, height))
    color = tinted(wall, 0.4 * grain + 0.6 * stain + 0.4 * streak, 0.07)
    if rng.uniform() < 0.5:
        _courses(color, px_per_m, rng.uniform(0.2, 0.9))
    heat = 0.25 * stain + 0.15 * streak + 0.1 * grain
    emit = np.zeros((height, width, 3), np.float32)
    _windows(rng, color, emit, heat, px_per_m, night)
    base = round(rng.uniform(0.3, 0.9) * px_per_m)
    color[height - base :] *= 0.78
    heat[height - base :] += 0.5
    _hot_spots(rng, color, heat, px_per_m)
    return Surface(color, np.ones(size_hw, np.float32), emit, heat.astype(np.float32))


def _courses(color: Float, px_per_m: float, course_m: float) -> None:
    """Darken the joints between courses of bricks or panels, in place."""
    step = max(3.0, course_m * px_per_m)
    for row in np.arange(step, color.shape[0], step):
        color[int(row)] *= 0.86


def _windows(
    rng: np.random.Generator, color: Float, emit: Float, heat: Float, ppm: float, night: bool
) -> None:
    """Draw a grid of windows with frames, sills, curtains and reflections, in place."""
    height, width = heat.shape
    floor = rng.uniform(2.8, 3.6) * ppm
    bay = rng.uniform(1.9, 3.8) * ppm
    win_w, win_h = bay * rng.uniform(0.4, 0.72), floor * rng.uniform(0.42, 0.64)
    glass_heat, leak = rng.uniform(-3.5, 0.8), rng.uniform(-0.5, 1.2)
    frame_color = np.float32(rng.choice([0.85, 0.3, 0.2]))
    lit_share = rng.uniform(0.08, 0.35) if night else 0.0
    for top in np.arange(height - floor, -floor, -floor):
        for left in np.arange((bay - win_w) / 2, width, bay):
            y0, y1 = int(top + floor * 0.2), int(top + floor * 0.2 + win_h)
            x0, x1 = int(left), int(left + win_w)
            if y0 < 1 or y1 >= height - 2 or x1 >= width - 2 or y1 - y0 < 3 or x1 - x0 < 3:
                continue
            color[y0 - 1 : y1 + 2, x0 - 1 : x1 + 2] = frame_color * (0.9 if night else 1.0)
            heat[y0 - 1 : y1 + 2, x0 - 1 : x1 + 2] += leak
            ramp = np.linspace(0.34, 0.16, y1 - y0, dtype=np.float32)[:, None, None]
            tint = np.array([0.85, 0.97, 1.1], np.float32) * rng.uniform(0.75, 1.25)
            color[y0:y1, x0:x1] = ramp * tint
            if rng.uniform() < 0.35:
                depth = y0 + int((y1 - y0) * rng.uniform(0.2, 0.9))
                color[y0:depth, x0:x1] = rng.uniform(0.35, 0.7)
            heat[y0:y1, x0:x1] += glass_heat + rng.uniform(-0.5, 0.5)
            if rng.uniform() < lit_share:
                lamp = np.array([1.0, rng.uniform(0.72, 0.98), rng.uniform(0.42, 0.95)], np.float32)
                emit[y0:y1, x0:x1] = lamp * rng.uniform(0.25, 0.85)
            middle = (x0 + x1) // 2
            color[y0:y1, middle : middle + 1] = frame_color
            emit[y0:y1, middle : middle + 1] *= 0.2
            color[y1 + 1 : y1 + 2, x0 - 2 : x1 + 3] *= 0.6


def _hot_spots(rng: np.random.Generator, color: Float, heat: Float, ppm: float) -> None:
    """Add vents and pipes: warm or cold in thermal, plain in colour, in place."""
    height, width = heat.shape
    for _ in range(rng.integers(1, 5)):
        w, h = (max(2, int(rng.uniform(0.3, 0.9) * ppm)) for _ in range(2))
        x, y = int(rng.integers(0, max(1, width - w))), int(rng.integers(0, max(1, height - h)))
        heat[y : y + h, x : x + w] += rng.uniform(-3, 9)
        color[y : y + h, x : x + w] = rng.uniform(0.35, 0.7)
        color[y : y + h : 3, x : x + w] *= 0.6
    if rng.uniform() < 0.5:
        x, w = int(rng.integers(0, max(1, width - 3))), max(1, int(0.12 * ppm))
        color[:, x : x + w] *= 0.7
        heat[:, x : x + w] += rng.uniform(-1, 7)
