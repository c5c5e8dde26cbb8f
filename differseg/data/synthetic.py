"""Synthetic RGB-thermal scenes: two cameras on one moving world, with the mask and the truth.

A scene is a flat, perspective picture of a street, a crossing, a park or a yard by day or by
night, through which people, animals and vehicles of any temperature move.  They alone are
foreground.  Neither camera suffices: people vanish in the dark RGB picture, a truck at air
temperature vanishes in the thermal one, while lamps, cabinets, sunlit patches, shadows and
posters look like objects to one camera or the other.

Everything follows from the seed and the time asked for, in whatever order frames are taken::

    scene = SyntheticScene(seed=7)
    rgb, thermal, mask = scene.rgb(1.2), scene.thermal(1.2), scene.mask(1.2)

Command line: ``python -m differseg.data.synthetic --grid OUT.png`` or ``--session DIR``.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

if __name__ == "__main__":
    # Ahead of the imports: one that is not installed is one line, as of every command.
    from differseg.options import run_main

    sys.exit(run_main(lambda argv: import_module("differseg.data.synthetic_session").main(argv)))

import cv2
import numpy as np
import numpy.typing as npt

from differseg.data.synthetic_builder import Place
from differseg.data.synthetic_canvas import Weather
from differseg.data.synthetic_light import make_weather
from differseg.data.synthetic_places import make_place
from differseg.data.synthetic_render import ColorLayer, HeatLayer
from differseg.data.synthetic_sensors import ColorSensor, ThermalSensor
from differseg.data.synthetic_traffic import Actor, cast
from differseg.data.synthetic_view import View, make_homography, make_view, margin_for
from differseg.errors import InputError

_STREAMS = {"view": 0, "weather": 1, "place": 2, "cast": 3, "color": 4, "thermal": 5}


class SyntheticScene:
    """One seeded world seen by an RGB and a thermal camera.

    Attributes:
        size_wh: Width and height of the RGB picture.
        thermal_size_wh: Width and height of the thermal picture.
        fps: Frame rate that limits the exposure time at night.
        night: Whether it is night.
        ambient_k: Air temperature in kelvin.
        thermal_to_rgb: (3, 3) float64 homography from thermal pixels to RGB pixels.
        thermal_offset_s: A thermal frame stamped t shows the world at ``t - thermal_offset_s``.

    Convention:
        Pixel centres at integers, points (x, y, 1) as columns.  The world is a set of upright
        planes whose every point moves in both views together, so the homography is exact
        everywhere: there is no parallax.
    """

    def __init__(
        self,
        seed: int,
        size_wh: tuple[int, int] = (640, 480),
        fps: float = 30.0,
        night: bool | None = None,
        *,
        thermal_size_wh: tuple[int, int] = (320, 256),
        thermal_offset_s: float | None = None,
    ) -> None:
        """Build the world of ``seed``.

        Args:
            seed: Any integer >= 0; equal seeds give equal bytes.
            size_wh: RGB width and height, at least 64 pixels each.
            fps: Frame rate, above 0.
            night: Day or night; None lets the seed decide.
            thermal_size_wh: Thermal width and height, at least 32 pixels each.
            thermal_offset_s: Delay of the thermal camera; None lets the seed choose 0 to 0.1 s.

        Raises:
            InputError: A negative seed, a size too small, or a rate that is not above 0.
        """
        _check(seed, size_wh, fps, thermal_size_wh)
        rng = {name: np.random.default_rng([seed, key]) for name, key in _STREAMS.items()}
        self.seed, self.fps = seed, float(fps)
        self.size_wh, self.thermal_size_wh = size_wh, thermal_size_wh
        self._view: View = make_view(rng["view"], size_wh)
        self.thermal_to_rgb = make_homography(rng["view"], size_wh, thermal_size_wh)
        drawn = float(rng["view"].uniform(0.0, 0.1))
        self.thermal_offset_s = drawn if thermal_offset_s is None else float(thermal_offset_s)
        self._weather: Weather = make_weather(rng["weather"], night)
        margin = margin_for(self.thermal_to_rgb, size_wh, thermal_size_wh)
        place: Place = make_place(rng["place"], self._view, self._weather, margin)
        self._actors: list[Actor] = cast(rng["cast"], self._view, self._weather, place)
        exposure = min(0.5 / self.fps, 1 / 50) if self.night else 1 / 500
        self._color = ColorLayer(self._view, self._weather, place, exposure)
        self._heat = HeatLayer(self._view, place, self.thermal_to_rgb, thermal_size_wh)
        self._color_sensor = ColorSensor(rng["color"], size_wh, self.night)
        self._thermal_sensor = ThermalSensor(rng["thermal"], thermal_size_wh, self.ambient_k)

    @property
    def night(self) -> bool:
        """Whether it is night."""
        return self._weather.night

    @property
    def ambient_k(self) -> float:
        """Air temperature in kelvin."""
        return self._weather.ambient_k

    @property
    def dead_pixels_xy(self) -> npt.NDArray[np.int64]:
        """Thermal pixels that always show the same value, (N, 2) int64 as (x, y)."""
        return self._thermal_sensor.dead_xy.copy()

    def rgb(self, t_s: float) -> npt.NDArray[np.uint8]:
        """Return the RGB frame at ``t_s`` seconds: (H, W, 3) uint8, RGB order."""
        clean, _ = self._color.render(self._actors, t_s)
        return self._color_sensor.expose(clean, t_s)

    def mask(self, t_s: float) -> npt.NDArray[np.uint8]:
        """Return the visible foreground in the RGB view at ``t_s``: (H, W) uint8, 0 or 1."""
        return self._color.render(self._actors, t_s)[1].copy()

    def thermal(self, t_s: float) -> npt.NDArray[np.uint16]:
        """Return the thermal frame stamped ``t_s``: (Ht, Wt) uint16, centikelvin."""
        relative = self._heat.render(self._actors, t_s - self.thermal_offset_s)
        return self._thermal_sensor.expose(relative + np.float32(self.ambient_k), t_s)

    def sample(self, t_s: float) -> dict[str, npt.NDArray[Any]]:
        """Return a registered training sample of the world at ``t_s``.

        Returns:
            ``rgb`` (H, W, 3) uint8, ``thermal`` (H, W) uint16 centikelvin warped to the RGB view
            and free of the time offset, and ``mask`` (H, W) uint8, 0 or 1.
        """
        thermal = cv2.warpPerspective(
            self.thermal(t_s + self.thermal_offset_s),
            self.thermal_to_rgb,
            self.size_wh,
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        return {"rgb": self.rgb(t_s), "thermal": thermal, "mask": self.mask(t_s)}


def _check(
    seed: int, size_wh: tuple[int, int], fps: float, thermal_size_wh: tuple[int, int]
) -> None:
    if seed < 0:
        raise InputError(f"SyntheticScene: seed {seed} is below 0; use a whole number >= 0")
    for name, size, least in (
        ("size_wh", size_wh, 64),
        ("thermal_size_wh", thermal_size_wh, 32),
    ):
        if min(size) < least:
            raise InputError(
                f"SyntheticScene: {name} {size[0]}x{size[1]} is too small; "
                f"each side needs at least {least} pixels"
            )
    if not fps > 0:
        raise InputError(f"SyntheticScene: fps {fps} is not above 0; use for example 30")
