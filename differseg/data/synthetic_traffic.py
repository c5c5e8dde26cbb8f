"""Who moves through a synthetic scene, and where each of them is at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from differseg.data import synthetic_figures as figures
from differseg.data import synthetic_vehicles as vehicles
from differseg.data.synthetic_canvas import Weather
from differseg.data.synthetic_places import Lane, Place
from differseg.data.synthetic_sprites import Sprite
from differseg.data.synthetic_view import View

_MAX_PX_PER_M = 100.0
_FAR_M = 42.0


@dataclass(frozen=True)
class Pose:
    """An actor at one moment: foot point in metres, distance walked, cover and image speed."""

    x_m: float
    z_m: float
    walked_m: float
    cover: float
    speed_x_mps: float


@dataclass(frozen=True)
class Actor:
    """A moving sprite on a straight path that begins again out of sight.

    Attributes:
        sprite: Its pictures, facing right.
        across: Along X at depth ``fixed_m``, or along Z at X ``fixed_m``.
        fixed_m: The coordinate that stays.
        low_m: Where the path begins.
        span_m: Length of the path until it begins again.
        start_m: Distance covered at time 0.
        speed_mps: Metres per second; 0 stands still.
        forward: To the right, or away from the camera.
        width_m: Widest extent.
    """

    sprite: Sprite
    across: bool
    fixed_m: float
    low_m: float
    span_m: float
    start_m: float
    speed_mps: float
    forward: bool
    width_m: float

    def pose(self, t_s: float) -> Pose:
        """Return where the actor is at world time ``t_s``."""
        walked = self.start_m + self.speed_mps * t_s
        along = walked % self.span_m
        at = self.low_m + (along if self.forward else self.span_m - along)
        if self.across:
            direction = 1.0 if self.forward else -1.0
            return Pose(at, self.fixed_m, walked, 1.0, direction * self.speed_mps)
        # appear and vanish softly at the far end
        cover = float(np.clip((self.low_m + self.span_m - at) / 3.0, 0, 1))
        return Pose(self.fixed_m, at, walked, cover, 0.0)


def cast(rng: np.random.Generator, view: View, weather: Weather, place: Place) -> list[Actor]:
    """Fill the lanes of a place with 4 to 10 people, animals and vehicles."""
    actors = []
    order = rng.permutation(len(place.lanes))
    wanted = int(rng.integers(4, 9))
    for index in order[:wanted]:
        lane = place.lanes[index]
        if lane.across and lane.at_m < 1.05 * view.near_m:
            continue
        actors.append(_make_actor(rng, view, weather, place, lane, 0.0))
        if lane.users == "people" and lane.across and rng.uniform() < 0.35:
            actors.append(_make_actor(rng, view, weather, place, lane, rng.uniform(0.2, 0.6)))
    return actors


def _make_actor(
    rng: np.random.Generator, view: View, weather: Weather, place: Place, lane: Lane, step: float
) -> Actor:
    half_view = (view.width_px / 2 + place.margin_px) / view.focal_px
    if lane.across:
        z = lane.at_m + step
        ppm = min(_MAX_PX_PER_M, view.focal_px / z)
        sprite, speed, width = _across(rng, ppm, weather, lane)
        reach = half_view * z + width / 2
        standing = speed == 0
        span = 2 * reach if standing else 2 * reach * (1 + float(rng.uniform(0, 0.5)))
        start = rng.uniform(0.2, 0.8) * span if standing else rng.uniform(0, 1) * 2 * reach
        return Actor(sprite, True, z, -reach, span, start, speed, lane.forward, width)
    vehicle = lane.users == "vehicles"
    if vehicle:
        sprite = vehicles.car_end(rng, min(70.0, view.focal_px / 5), weather.sun, not lane.forward)
        speed, width = rng.uniform(3, 9), 2.0
    else:
        facing = "back" if lane.forward else "front"
        ppm = min(80.0, view.focal_px / 4)
        sprite = figures.person(rng, ppm, weather.ambient_k, facing)
        speed, width = rng.uniform(0.9, 1.6), 0.8
    near = max(0.8, (abs(lane.at_m) - width / 2) / half_view)
    span = _FAR_M - near
    # begin where it is large enough to matter
    start = rng.uniform(0.0, 0.5) * span
    if not lane.forward:
        start = span - start
    return Actor(sprite, False, lane.at_m, near, span, start, speed, lane.forward, width)


def _across(
    rng: np.random.Generator, ppm: float, weather: Weather, lane: Lane
) -> tuple[Sprite, float, float]:
    """Choose a figure for a lane across the view: sprite, speed (m/s) and width (m)."""
    pick = rng.uniform()
    if lane.users == "vehicles":
        speed = 0.0 if rng.uniform() < 0.2 else rng.uniform(2.0, 8.0)
        if pick < 0.62:
            return vehicles.car_side(rng, ppm, weather.sun), speed, 4.8
        if pick < 0.82:
            return vehicles.truck_side(rng, ppm, weather.sun), speed, 6.8
        return figures.cyclist(rng, ppm, weather.ambient_k), rng.uniform(2.5, 5), 1.9
    if pick < 0.12:
        return figures.dog(rng, ppm, weather.ambient_k), rng.uniform(1.2, 2.4), 1.5
    if pick < 0.27:
        return figures.cyclist(rng, ppm, weather.ambient_k), rng.uniform(2.0, 4.5), 1.9
    if pick < 0.42:
        facing = "front" if rng.uniform() < 0.6 else "back"
        return figures.person(rng, ppm, weather.ambient_k, facing, frames=1), 0.0, 0.9
    return figures.person(rng, ppm, weather.ambient_k, "side"), rng.uniform(0.9, 1.7), 1.2
