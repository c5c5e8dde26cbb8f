"""The ground of synthetic scenes: materials laid out in metres and seen in perspective."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from differseg.data.synthetic_canvas import Canvas, Weather
from differseg.data.synthetic_textures import Float, noise_tile, smoothstep

_OCTAVES_M = (0.06, 0.2, 0.7, 2.5, 9.0)


@dataclass(frozen=True)
class Material:
    """A ground cover.

    Attributes:
        color: Mean gamma-encoded reflectance, RGB.
        rough: Strength of the texture per octave (0.06, 0.2, 0.7, 2.5 and 9 m).
        sun_k: How much full sun heats it above the air.
        night_k: How much it keeps above the air (or loses) at night.
        tile_m: Side of its slabs, 0 for none.
    """

    color: tuple[float, float, float]
    rough: tuple[float, float, float, float, float]
    sun_k: float
    night_k: float
    tile_m: float = 0.0


ASPHALT = Material((0.36, 0.36, 0.37), (0.10, 0.05, 0.04, 0.05, 0.05), 16, 3.0)
CONCRETE = Material((0.60, 0.59, 0.56), (0.04, 0.03, 0.03, 0.05, 0.04), 10, 1.5, 1.2)
SLABS = Material((0.54, 0.50, 0.46), (0.06, 0.04, 0.05, 0.05, 0.04), 11, 1.8, 0.6)
GRASS = Material((0.30, 0.38, 0.17), (0.20, 0.20, 0.13, 0.10, 0.08), 3, -2.5)
GRAVEL = Material((0.56, 0.51, 0.44), (0.22, 0.12, 0.06, 0.06, 0.06), 9, 0.0)
SOIL = Material((0.36, 0.30, 0.22), (0.14, 0.14, 0.12, 0.10, 0.08), 6, -1.0)
PAINT = Material((0.82, 0.82, 0.80), (0.10, 0.06, 0.10, 0.06, 0.03), 11, 2.6)
YELLOW = Material((0.78, 0.62, 0.22), (0.10, 0.06, 0.10, 0.06, 0.03), 12, 2.6)
KERB = Material((0.64, 0.63, 0.60), (0.06, 0.06, 0.06, 0.05, 0.04), 9, 1.5)


class Ground:
    """Paints materials onto the part of a canvas that shows the ground."""

    def __init__(self, rng: np.random.Generator, canvas: Canvas, weather: Weather) -> None:
        """Prepare the texture octaves of this ground."""
        self._canvas = canvas
        self._weather = weather
        self._rng = rng
        view = canvas.view
        self.top = max(0, int(np.ceil(view.horizon_px + canvas.margin_px)))
        self.x, self.z = canvas.x_m[self.top :], canvas.z_m[self.top :]
        # metres per pixel: what is finer than this is averaged away
        self._per_px_x = self.z / np.float32(view.focal_px)
        self._per_px_z = self.z**2 / np.float32(view.focal_px * view.height_m)
        tile = cv2.copyMakeBorder(noise_tile(rng, 128, 0.35), 0, 1, 0, 1, cv2.BORDER_WRAP)
        self.octaves = [self._octave(tile, size) for size in _OCTAVES_M]

    def _octave(self, tile: Float, size_m: float) -> Float:
        step = np.float32(2.0 / size_m)
        shift = self._rng.uniform(0, 128, 2).astype(np.float32)
        x = np.mod(self.x * step + shift[0], 128)
        z = np.mod(self.z * step + shift[1], 128)
        noise = cv2.remap(tile, x, z, cv2.INTER_LINEAR)
        return noise * np.clip(np.float32(size_m) / (2.5 * self._per_px_z), 0, 1)

    def band(self, low_m: float, high_m: float, along_x: bool) -> Float:
        """Return the cover of ``low <= X < high`` (or of Z when ``along_x`` is False)."""
        at, per_px = (self.x, self._per_px_x) if along_x else (self.z, self._per_px_z)
        first = np.clip(0.5 + (at - np.float32(low_m)) / per_px, 0, 1)
        last = np.clip(0.5 + (np.float32(high_m) - at) / per_px, 0, 1)
        return first * last

    def disc(self, x_m: float, z_m: float, radius_m: float) -> Float:
        """Return the cover of a round patch."""
        away = np.hypot(self.x - np.float32(x_m), self.z - np.float32(z_m))
        return np.clip(0.5 + (np.float32(radius_m) - away) / self._per_px_z, 0, 1)

    def lay(self, material: Material, cover: Float, heat_k: float = 0.0) -> None:
        """Blend a material over the ground where ``cover`` (H, W) says."""
        variation = np.zeros_like(self.x)
        for amount, octave in zip(material.rough, self.octaves, strict=True):
            variation += np.float32(amount) * octave
        color = np.clip(1 + variation, 0.2, 2)[..., None] * np.asarray(material.color, np.float32)
        if material.tile_m > 0:
            color *= self._joints(material.tile_m)[..., None]
        weather = self._weather
        heat = np.float32(material.sun_k * weather.sun + material.night_k * (
            1.0 if weather.night else 0.3) + heat_k) + variation * 2.0  # fmt: skip
        keep = (1 - cover)[..., None]
        canvas, window = self._canvas, slice(self.top, None)
        canvas.color[window] = canvas.color[window] * keep + color * cover[..., None]
        canvas.heat_k[window] = canvas.heat_k[window] * keep[..., 0] + heat * cover

    def _joints(self, tile_m: float) -> Float:
        dark = np.ones_like(self.x)
        for at, per_px in ((self.x, self._per_px_x), (self.z, self._per_px_z)):
            width = np.maximum(np.float32(0.025), per_px)
            distance = np.abs(np.mod(at, np.float32(tile_m)) - np.float32(tile_m / 2))
            line = np.clip((distance - np.float32(tile_m / 2) + width) / width, 0, 1)
            fade = np.clip(np.float32(tile_m) / (4 * per_px), 0, 1)
            dark = dark * (1 - 0.28 * line * fade * np.float32(0.025) / width)
        return dark

    def shadow(self, cover: Float, cool_k: float) -> None:
        """Darken the ground in a shadow; the sun has not heated it there."""
        window = slice(self.top, None)
        cover = cover * self._canvas.is_ground[window]
        self._canvas.shade[window] *= 1 - cover
        self._canvas.heat_k[window] -= np.float32(cool_k * self._weather.sun) * cover

    def puddles(self, amount: float) -> None:
        """Wet the ground in patches: a mirror of the sky in colour, cold in thermal."""
        wet = smoothstep(2.2 - amount, 2.6 - amount, self.octaves[3] + 0.4 * self.octaves[2])
        canvas, window = self._canvas, slice(self.top, None)
        canvas.color[window] *= 1 - 0.45 * wet[..., None]
        if not self._weather.night:
            canvas.emit[window] += 0.18 * wet[..., None] * np.array([0.9, 0.96, 1.0], np.float32)
        canvas.heat_k[window] -= 2.5 * wet
