"""Lighting of synthetic scenes: daylight and shadow, or lamps in the dark."""

from __future__ import annotations

import cv2
import numpy as np

from differseg.data.synthetic_canvas import Canvas, Lamp, Weather
from differseg.data.synthetic_textures import Float
from differseg.data.synthetic_view import Matrix, View

_GAMMA = 1 / 2.2


def make_weather(rng: np.random.Generator, night: bool | None) -> Weather:
    """Choose time of day, cloud and temperature (air 270-310 K)."""
    dark = bool(rng.uniform() < 0.45) if night is None else night
    overcast = float(rng.uniform(0, 1))
    ambient = float(rng.uniform(270, 298) if dark else rng.uniform(273, 310))
    sun = 0.0 if dark else float(np.clip(1.25 - 1.6 * overcast, 0.0, 1.0))
    if dark:
        level = float(rng.uniform(0.09, 0.40))
        tint = rng.uniform([0.8, 0.85, 0.8], [1.1, 1.1, 1.15])
    else:
        level = float(rng.uniform(0.78, 1.05))
        tint = rng.uniform([0.97, 0.98, 0.94], [1.05, 1.02, 1.06])
    red, green, blue = (level * tint).tolist()
    cast = rng.uniform(0.95, 1.05, 3).tolist()
    return Weather(
        night=dark,
        overcast=overcast,
        ambient_k=ambient,
        sun=sun,
        sun_x=float(rng.uniform(-1.6, 1.6)),
        sun_z=float(rng.choice([-1, 1, 1]) * rng.uniform(0.5, 1.6)),
        daylight=(red, green, blue),
        cast=(cast[0], cast[1], cast[2]),
    )


def gain(weather: Weather, lamps: list[Lamp], x_m: Float, z_m: Float, shade: Float) -> Float:
    """Return the gamma-encoded light (H, W, 3) that falls on surfaces at these places.

    Args:
        weather: Daylight, or the little light of the night.
        lamps: Street lamps; each lights a pool around its foot.
        x_m: (H, W) float32.
        z_m: (H, W) float32.
        shade: (H, W) float32, share of direct light that arrives.
    """
    base = np.asarray(weather.daylight, np.float32) ** np.float32(2.2)
    shadow = np.float32(1 - 0.7 * np.sqrt(weather.sun))
    direct = shadow + (1 - shadow) * shade
    if weather.sun > 0:  # skylight in the shadow is bluer than the sun
        blue = np.array([0.92, 1.0, 1.12], np.float32)
        tint = 1 + (blue - 1) * (1 - shade[..., None])
        light = base * direct[..., None] * tint
    else:
        light = base * direct[..., None]
    for lamp in lamps:
        square = (x_m - np.float32(lamp.x_m)) ** 2 + (z_m - np.float32(lamp.z_m)) ** 2
        fall = np.float32(lamp.strength) / (1 + square / np.float32(lamp.reach_m**2)) ** 1.6
        light = light + fall[..., None] * np.asarray(lamp.color, np.float32)
    return cv2.pow(light, _GAMMA)


def sun_shadow(
    weather: Weather, view: View, foot_xy: tuple[float, float]
) -> tuple[Matrix, float] | None:
    """Return the map that lays an upright figure on the ground away from the sun.

    Convention:
        (3, 3), from pixels of the upright figure to pixels of its shadow, exact near the foot.

    Returns:
        The map and the shadow's darkness (gamma-encoded, 0..1), or None without a sun.
    """
    if weather.sun <= 0.05:
        return None
    rise = weather.sun_z * (foot_xy[1] - view.horizon_px) / view.focal_px
    matrix = np.array(
        [
            [1, -weather.sun_x, weather.sun_x * foot_xy[1]],
            [0, rise, foot_xy[1] * (1 - rise)],
            [0, 0, 1.0],
        ]
    )
    return matrix, 0.42 * float(np.sqrt(weather.sun))


def contact_shadow(foot_xy: tuple[float, float], height_px: float) -> Matrix:
    """Return the map that flattens a figure to the dim patch under its feet."""
    low = foot_xy[1] + 0.022 * height_px
    return np.array([[1, 0, 0], [0, 0.05, 0.95 * low], [0, 0, 1.0]])


def vignette(size_wh: tuple[int, int], strength: float) -> Float:
    """Return the lens' gamma-encoded fall-off (H, W, 1)."""
    width, height = size_wh
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None] * np.float32(height / width)
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    return (1 - np.float32(strength) * (x * x + y * y))[..., None]


def bloom(canvas: Canvas, u: float, v: float, radius_px: float, color: Float) -> None:
    """Add the glow of a lamp to the canvas' own light, in place."""
    width, height = canvas.size_wh
    reach = 5 * radius_px
    x0, x1 = int(max(0, u - reach)), int(min(width, u + reach + 1))
    y0, y1 = int(max(0, v - reach)), int(min(height, v + reach + 1))
    if x0 >= x1 or y0 >= y1:
        return
    dx = np.arange(x0, x1, dtype=np.float32)[None, :] - np.float32(u)
    dy = np.arange(y0, y1, dtype=np.float32)[:, None] - np.float32(v)
    square = (dx * dx + dy * dy) / np.float32(radius_px**2)
    glow = 1.5 * np.exp(-square * 1.2) + 0.34 / (1 + square) * np.clip(1 - square / 25, 0, 1)
    canvas.emit[y0:y1, x0:x1] += glow[..., None] * color
